"""Real clients take the time from our server: plain, under NTS, interleaved, and just once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.functional.peers.clients import (
    ChronyClient,
    chronyd_once,
    followers,
    ntpdig_once,
)
from tests.functional.peers.lab import Lab
from tests.functional.peers.nts import Credentials
from tests.functional.serving import TO_EVERYBODY, counters, request, serve

pytestmark = pytest.mark.functional

T = TypeVar("T")

CLOSE = 1e-3
"""Seconds; on loopback clients are within some microseconds, on a machine that does much else within this."""


def soon(client: T, holds: Callable[[T], bool], seconds: float = 10.0) -> bool:
    """Give whether something is so of a client within some seconds."""
    deadline = time.monotonic() + seconds
    while not holds(client):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_real_clients_follow(lab: Lab) -> None:
    """chronyd of two releases, ntpd-rs and ntpsec synchronise to our server, one stratum below it."""
    daemon = serve(lab, TO_EVERYBODY)
    clients = followers(lab)
    for client in clients:
        client.wait_synchronised()
    replies = [lab.ask(request(), *client.address) for client in clients]
    seen = counters(daemon)
    daemon.stop()

    assert [2] * 4 == [reply[1] if reply else None for reply in replies]
    assert seen["received"] == seen["accepted"] > 4 * 4
    assert seen["nts_received"] == 0
    assert "Traceback" not in daemon.log()


def test_real_clients_follow_under_nts(lab: Lab) -> None:
    """The same clients synchronise under NTS, and get a new cookie for each one that they use."""
    credentials = Credentials(lab)
    daemon = serve(lab, TO_EVERYBODY, 'require-nts = "ignore"', credentials=credentials)
    clients = followers(lab, credentials)
    for client in clients:
        client.wait_synchronised()
    full = [soon(client, lambda client: client.cookies == 8) for client in clients]
    seen = counters(daemon)
    daemon.stop()

    assert [True] * 4 == full
    assert seen["nts_received"] == seen["nts_accepted"] > 4 * 4
    assert (seen["nts_nak"], seen["nts_denied"]) == (0, 0)
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("nts", [False, True], ids=["plain", "NTS"])
def test_interleaved_mode(lab: Lab, nts: bool) -> None:
    """chronyd that asks for interleaved mode gets it, also under NTS."""
    credentials = Credentials(lab) if nts else None
    daemon = serve(lab, credentials=credentials)
    clients = [
        ChronyClient(lab, suite, f"127.0.3.{number}", "xleave", credentials=credentials).start()
        for number, suite in enumerate(("bookworm", "sid"), 1)
    ]
    for client in clients:
        client.wait_synchronised()
    interleaved = [soon(client, lambda client: client.interleaved) for client in clients]
    seen = counters(daemon)
    daemon.stop()

    assert [True, True] == interleaved
    assert seen["interleaved"] >= 2


def test_kept_keys_spare_clients_a_key_exchange(lab: Lab) -> None:
    """A server that was restarted and has kept its keys answers the cookies that it gave before."""
    credentials = Credentials(lab)
    keys = f'[keyset]\nkey-storage-path = "{lab.directory}/keys"'
    daemon = serve(lab, keys, credentials=credentials)
    client = ChronyClient(lab, "sid", "127.0.3.1", credentials=credentials).start().wait_synchronised()
    client.chronyc("offline")  # or it spends its cookies, four a second, while nobody answers
    daemon.stop()
    daemon.start().wait(lambda state: bool(state["servers"]), 15)
    client.chronyc("online")
    state = daemon.wait(lambda state: state["servers"][0]["counters"]["nts_accepted"] >= 4, 15)
    exchanges = client.exchanges
    daemon.stop()

    assert state["servers"][0]["counters"]["nts_nak"] == 0
    assert exchanges == 1


def test_clients_that_look_once(lab: Lab) -> None:
    """``chronyd -Q`` of two releases and ``ntpdig`` find this machine's own time."""
    daemon = serve(lab)
    offsets = [chronyd_once(lab, suite) for suite in ("bookworm", "sid")]
    found = ntpdig_once(lab)
    daemon.stop()

    assert all(offset is not None and abs(offset) < CLOSE for offset in offsets)
    assert abs(found["offset"]) < CLOSE + found["precision"]  # its stamps are its own: what held it up is told there
    assert found["precision"] < 1.0
    assert (1, "no-leap") == (found["stratum"], found["leap"])
