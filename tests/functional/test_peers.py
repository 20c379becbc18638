"""The real daemons that functional tests run against come up in a lab, tell the time, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.functional.peers import fetch
from tests.functional.peers.daemons import Chrony, Daemon, NTPDRs, NTPsec
from tests.functional.peers.lab import FIRST_LINK_IPS, POOL_IPS, POOL_NAME, Lab

pytestmark = pytest.mark.functional

EVERY_PEER = [
    (Chrony, "bookworm"),
    (Chrony, "sid"),
    (NTPDRs, "sid"),
    (NTPsec, "bookworm"),
    (NTPsec, "sid"),
]
CAP_SYS_TIME = 25


@pytest.mark.parametrize(("peer", "suite"), EVERY_PEER)
def test_a_peer_answers_a_plain_request(lab: Lab, peer: type[Daemon], suite: str) -> None:
    """Each real daemon starts within seconds and answers an NTPv4 request with the time of its local reference."""
    server = peer(lab, suite, stratum=1).start().wait_synchronised(10)
    request = bytes([0x23]).ljust(40, b"\0") + os.urandom(8)
    reply = lab.ask(request, *server.address)

    assert reply is not None
    assert len(reply) == 48
    assert (reply[0] >> 6, reply[0] >> 3 & 7, reply[0] & 7, reply[1]) == (0, 4, 4, 1)
    assert request[40:] == reply[24:32]


@pytest.mark.parametrize(("peer", "suite"), [each for each in EVERY_PEER if each != (NTPsec, "bookworm")])
def test_a_peer_follows_a_source(lab: Lab, peer: type[Daemon], suite: str) -> None:
    """Each real daemon, given a source, serves one stratum below it."""
    ip = FIRST_LINK_IPS[0] if peer is NTPsec else "127.0.1.2"
    server = Chrony(lab, "sid", ip=ip, stratum=3).start().wait_serving()
    client = peer(lab, suite, sources=[server.address]).start().wait_synchronised()
    reply = lab.ask(bytes([0x23]).ljust(48, b"\0"), *client.address)

    assert reply is not None
    assert reply[1] == 4


def test_a_peer_without_a_reference_is_not_synchronised(lab: Lab) -> None:
    """A real daemon that knows no time answers all the same, and says so."""
    server = Chrony(lab, "sid").start().wait_serving()
    reply = lab.ask(bytes([0x23]).ljust(48, b"\0"), *server.address)

    assert reply is not None
    assert reply[0] >> 6 == 3


def test_the_operators_tools_reach_a_peer(lab: Lab) -> None:
    """What chronyc, ntpq and the observation socket tell of a daemon can be asked for."""
    chrony = Chrony(lab, "sid", ip="127.0.1.1", stratum=5).start()
    ntpd_rs = NTPDRs(lab, "sid", ip="127.0.1.2", stratum=1).start()
    ntpsec = NTPsec(lab, "sid", stratum=7).start()
    for each in (chrony, ntpd_rs, ntpsec):
        each.wait_synchronised()
    system = ntpd_rs.state()["system"]

    assert chrony.chronyc("tracking").split(",")[2] == "5"
    assert isinstance(system, dict)
    assert system["stratum"] == 1
    assert "stratum=7" in ntpsec.ntpq("-c", "readvar")


def test_a_stopped_peer_is_silent_until_it_starts_again(lab: Lab) -> None:
    """A real daemon can be taken away and given back in the course of a test."""
    server = Chrony(lab, "sid", stratum=1).start().wait_serving()
    server.stop()

    assert lab.ask(bytes([0x23]).ljust(48, b"\0"), *server.address, seconds=0.1) is None

    server.start().wait_serving()

    assert lab.ask(bytes([0x23]).ljust(48, b"\0"), *server.address) is not None


def test_the_clock_is_out_of_reach_in_a_lab(lab: Lab) -> None:
    """No command in a lab can gain the capability to set the machine's clock."""
    for namespace in (lab, lab.second):
        status = namespace.run(["cat", "/proc/self/status"])
        bounds = [line.split()[1] for line in status.splitlines() if line.startswith(("CapBnd", "CapInh", "CapEff"))]

        assert len(bounds) == 3
        assert not any(int(each, 16) >> CAP_SYS_TIME & 1 for each in bounds)


def test_names_are_known_in_a_lab_without_a_name_server(lab: Lab) -> None:
    """The pool of a lab has four addresses."""
    lines = lab.run(["getent", "ahostsv4", POOL_NAME]).splitlines()

    assert set(POOL_IPS) == {line.split()[0] for line in lines}


def test_a_lab_leaves_nothing_behind() -> None:
    """A process that left its group and ignores SIGTERM ends with the lab all the same, and so does its directory."""
    stubborn = "trap '' TERM; echo $$ > pid; mv pid stubborn; while :; do sleep 1; done"
    with closing(Lab()) as made:
        made.popen(["setsid", "--fork", "sh", "-c", stubborn], directory=made.directory)
        deadline = time.monotonic() + 5
        while not (made.directory / "stubborn").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        pid = int((made.directory / "stubborn").read_text())
        network = Path(f"/proc/{pid}/ns/net")  # gone with the process, also where nobody collects its status
        alive = network.exists()
    deadline = time.monotonic() + 5
    while network.exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert alive
    assert not network.exists()
    assert not made.directory.exists()


def test_peers_that_cannot_be_fetched_are_named(tmp_path: Path) -> None:
    """Where there is no apt, fetching fails with one line for each release."""
    done = subprocess.run(
        [sys.executable, fetch.__file__],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": str(tmp_path), "NTPTWIST_CACHE": str(tmp_path)},
    )

    assert done.returncode == 1
    assert [f"peers of {each}: not fetched: apt-get is not on this machine" for each in fetch.PACKAGES] == (
        done.stderr.splitlines()
    )
