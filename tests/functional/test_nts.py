"""The daemon follows real servers under NTS: chronyd, ntpd-rs and ntpd of ntpsec."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import Ntptwist
from tests.functional.peers.lab import Lab
from tests.functional.peers.nts import KEY_EXCHANGE_PORT, ChronyNTS, Credentials, NTPDRsNTS, NTPsecNTS
from tests.ntske.certificates import Authority

pytestmark = pytest.mark.functional

PEERS = [(ChronyNTS, "bookworm"), (ChronyNTS, "sid"), (NTPDRsNTS, "sid"), (NTPsecNTS, "sid")]
SOURCE = """
[[source]]
mode = "nts"
address = "{host}:{port}"
certificate-authority = "{authority}"
"""


def follow(lab: Lab, host: str, authority: Path, minimum: int = 0) -> Ntptwist:
    """Start our daemon with one NTS source."""
    daemon = Ntptwist(lab, [], minimum=minimum)
    source = SOURCE.format(host=host, port=KEY_EXCHANGE_PORT, authority=authority)
    daemon.file.write_text(daemon.file.read_text() + source)
    return daemon.start()


def settled(state: dict[str, Any]) -> bool:
    """Tell whether the source has been answered often, the clock is known, and all cookies are there."""
    (row,) = state["sources"]
    return bool(state["synchronized"] and row["measurements"] >= 6 and row["nts_cookies"] == 8)


def exchanges(daemon: Ntptwist) -> list[str]:
    """Give the algorithms of the key exchanges that gave keys."""
    return re.findall(r"key exchange with .*: (AES\w+), 8 cookies", daemon.log())


@pytest.mark.parametrize(("peer", "suite"), PEERS)
def test_synchronised_and_authenticated(lab: Lab, peer: type[Any], suite: str) -> None:
    """One key exchange, eight cookies all the time, and a clock that is known to 100 µs."""
    credentials = Credentials(lab)
    server = peer(lab, suite, credentials, stratum=1).start().wait_synchronised(15)
    daemon = follow(lab, server.ip, credentials.authority)
    state = daemon.wait(settled, 25)
    seen = {daemon.status()["sources"][0]["nts_cookies"] for _ in range(5)}
    status = daemon.stop()
    (row,) = state["sources"]

    assert row["mode"] == "nts"
    assert row["selected"]
    assert row["dropped"] == 0
    assert abs(state["offset"]) < 100e-6
    assert seen <= {7, 8}
    assert len(exchanges(daemon)) == 1
    assert status == 0


@pytest.mark.parametrize(("peer", "suite"), PEERS)
def test_lost_cookie_keys_lead_to_one_exchange(lab: Lab, peer: type[Any], suite: str) -> None:
    """A server that was restarted without its keys is asked for new ones once, and followed again."""
    credentials = Credentials(lab)
    server = peer(lab, suite, credentials, stratum=1).start().wait_synchronised(15)
    daemon = follow(lab, server.ip, credentials.authority)
    daemon.wait(settled, 25)
    server.stop()
    server.start().wait_synchronised(15)
    daemon.wait(lambda state: len(exchanges(daemon)) == 2 and settled(state), 40)
    state = daemon.status()
    daemon.stop()

    assert len(exchanges(daemon)) == 2
    assert re.search("kiss code NTSN|cookies are used up", daemon.log())  # ntpsec sends no NTSN
    assert state["sources"][0]["selected"]


def test_by_name(lab: Lab) -> None:
    """A server that is given by name is verified by name."""
    credentials = Credentials(lab)
    ChronyNTS(lab, "sid", credentials, stratum=1).start().wait_synchronised(15)
    daemon = follow(lab, "ntp1.lab.test", credentials.authority)
    state = daemon.wait(settled, 25)
    daemon.stop()

    assert state["sources"][0]["name"] == "ntp1.lab.test:4460"
    assert state["sources"][0]["address"] == "127.0.1.1:123"


def test_another_port(lab: Lab) -> None:
    """Requests go to the port that the key exchange names."""
    credentials = Credentials(lab)
    server = NTPDRsNTS(lab, "sid", credentials, stratum=1, port=1123).start().wait_synchronised(15)
    daemon = follow(lab, server.ip, credentials.authority)
    state = daemon.wait(settled, 25)
    daemon.stop()

    assert state["sources"][0]["address"] == "127.0.1.1:1123"


def test_a_restart_needs_no_exchange(lab: Lab) -> None:
    """After an orderly restart the daemon goes on with the cookies that it had."""
    credentials = Credentials(lab)
    server = ChronyNTS(lab, "sid", credentials, stratum=1).start().wait_synchronised(15)
    daemon = follow(lab, server.ip, credentials.authority)
    daemon.wait(settled, 25)
    daemon.stop()
    kept = [(path.stat().st_mode & 0o777, path.name[:4]) for path in daemon.directory.glob("nts-*")]
    daemon.start()
    daemon.wait(settled, 25)
    daemon.stop()

    assert kept == [(0o600, "nts-")]
    assert len(exchanges(daemon)) == 1


def test_an_unknown_authority(lab: Lab) -> None:
    """A server whose authority is not trusted is not followed, and the reason stands in the status."""
    credentials = Credentials(lab)
    server = ChronyNTS(lab, "sid", credentials, stratum=1).start().wait_synchronised(15)
    other = lab.directory / "other.pem"
    other.write_bytes(Authority.make("other").pem)
    daemon = follow(lab, server.ip, other)
    state = daemon.wait(lambda state: "not trusted" in (state["sources"][0]["reason"] or ""), 10)
    daemon.stop()

    assert "its certificate is not trusted" in state["sources"][0]["reason"]
    assert "Traceback" not in daemon.log()
    assert not state["synchronized"]
