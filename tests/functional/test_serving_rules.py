"""Whom our server answers, from which address, and what it leaves unanswered."""

from __future__ import annotations

import pytest

from tests.functional.peers.clients import LINK_IP, LOOPBACK_IP, ChronyClient, chronyd_once
from tests.functional.peers.lab import FIRST_LINK_IPS, SECOND_IP, Lab
from tests.functional.peers.nts import Credentials
from tests.functional.serving import TO_EVERYBODY, counters, request, serve

pytestmark = pytest.mark.functional

UNSYNCHRONISED, SERVER = 3, 4


def test_replies_come_from_the_address_that_was_asked(lab: Lab) -> None:
    """On a wildcard each reply leaves from the address that its request went to, IPv4 and IPv6."""
    daemon = serve(lab, TO_EVERYBODY)
    addresses = ("127.0.0.1", LOOPBACK_IP, "127.9.8.7", FIRST_LINK_IPS[0], FIRST_LINK_IPS[5], "::1")
    answers = {ip: lab.ask(request(), ip) for ip in addresses}  # on a connected socket
    over_the_link = [lab.second.ask(request(), ip) for ip in FIRST_LINK_IPS]
    daemon.stop()

    assert [ip for ip, answer in answers.items() if answer is None] == []
    assert None not in over_the_link


def test_only_this_machine_is_answered_unless_said(lab: Lab) -> None:
    """Without a list of who is allowed, requests from this machine are answered and others are not."""
    daemon = serve(lab)
    near, far = lab.ask(request(), LINK_IP), lab.second.ask(request(), LINK_IP)
    other = lab.ask(request(), LOOPBACK_IP)
    seen = counters(daemon)
    daemon.stop()

    assert other is not None
    assert far is None
    assert near is None  # its sender's address is that of the link, which is not loopback
    assert (1, 2) == (seen["accepted"], seen["ignored"])


def test_a_denied_client_is_told(lab: Lab) -> None:
    """A client on the deny list gets the kiss DENY, and a real one finds no time."""
    denied = f'denylist = {{ filter = ["{SECOND_IP}/32", "127.0.0.1/32"], action = "deny" }}'
    daemon = serve(lab, TO_EVERYBODY, denied)
    kiss = lab.second.ask(request(b"12345678"), LINK_IP)
    once = chronyd_once(lab, "sid")
    allowed = lab.ask(request(), LINK_IP)
    seen = counters(daemon)
    daemon.stop()

    assert kiss is not None
    assert (UNSYNCHRONISED, SERVER, 0, b"DENY", b"12345678") == (
        kiss[0] >> 6,
        kiss[0] & 7,
        kiss[1],
        kiss[12:16],
        kiss[24:32],
    )
    assert once is None
    assert allowed is not None
    assert seen["denied"] > 1


def test_nts_can_be_demanded(lab: Lab) -> None:
    """Where NTS is demanded a plain request gets no time, and a client with NTS does."""
    credentials = Credentials(lab)
    daemon = serve(lab, 'require-nts = "deny"', credentials=credentials)
    client = ChronyClient(lab, "sid", "127.0.3.1", credentials=credentials).start()
    plain = lab.ask(request(), LOOPBACK_IP)
    client.wait_synchronised()
    daemon.stop()

    assert plain is not None
    assert (0, b"DENY") == (plain[1], plain[12:16])


def test_only_clients_are_answered(lab: Lab) -> None:
    """Symmetric peers, servers, broadcasts, monitors and fragments of packets get no answer."""
    daemon = serve(lab)
    modes = [lab.ask(bytes([0x20 | mode]).ljust(48, b"\0"), LOOPBACK_IP, seconds=0.1) for mode in range(8)]
    short = lab.ask(request()[:47], LOOPBACK_IP, seconds=0.1)
    version_2 = lab.ask(bytes([0x13]).ljust(48, b"\0"), LOOPBACK_IP, seconds=0.1)
    version_3 = lab.ask(bytes([0x1B]).ljust(48, b"\0"), LOOPBACK_IP)
    daemon.stop()

    assert [3] == [mode for mode, answer in enumerate(modes) if answer is not None]
    assert short is None
    assert version_2 is None
    assert version_3 is not None
    assert version_3[0] & 0x3F == 0x1C
