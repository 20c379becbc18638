"""The daemon follows real servers: chronyd, ntpd of ntpsec and ntpd-rs, and tells a wrong one from good ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import Ntptwist
from tests.functional.peers.daemons import Chrony, Daemon, NTPDRs, NTPsec
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

VIRTUAL = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = 40.0'
WRONG = "server 127.0.1.1 iburst minpoll -2 maxpoll 0 offset 0.1\nmakestep 0.001 3\n"
"""Makes a chronyd follow a good server at a distance of 100 ms; without a clock to steer it corrects what it serves."""
PEERS = [(Chrony, "bookworm"), (Chrony, "sid"), (NTPDRs, "sid"), (NTPsec, "sid")]


@pytest.mark.parametrize(("peer", "suite"), PEERS)
def test_observes_a_real_server(lab: Lab, peer: type[Daemon], suite: str) -> None:
    """Within 15 s of its start the daemon knows how this clock stands to a real server's: the same, to 100 µs."""
    server = peer(lab, suite, stratum=1).start().wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address]).start()
    state = daemon.wait(lambda state: state["synchronized"] and state["sources"][0]["measurements"] >= 4, 15)
    status = daemon.stop()

    assert abs(state["offset"]) < 100e-6
    assert state["sources"][0]["selected"]
    assert state["sources"][0]["reach"] & 1
    assert state["steps"] == 0
    assert status == 0


def errors_of(lab: Lab, daemon: Ntptwist, seconds: float) -> list[dict[str, Any]]:
    """Run the daemon of a configuration on a virtual clock and give that clock's true errors."""
    script = Path(__file__).with_name("virtual_daemon.py")
    printed = lab.run([sys.executable, script, daemon.file, str(seconds)], seconds=seconds + 20)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(("peer", "suite"), [(Chrony, "sid"), (NTPsec, "sid")])
def test_steers_a_virtual_clock(lab: Lab, peer: type[Daemon], suite: str) -> None:
    """A clock that starts 0.3 s and 40 ppm off is within 100 µs of a real server after half a minute."""
    server = peer(lab, suite, stratum=1).start().wait_synchronised(15)
    errors = errors_of(lab, Ntptwist(lab, [server.address], clock=VIRTUAL, minimum=3), 30)

    assert abs(errors[0]["error"]) > 0.29
    assert errors[-1]["synchronized"]
    assert max(abs(line["error"]) for line in errors[-5:]) < 100e-6


@pytest.mark.nightly
@pytest.mark.parametrize(("peer", "suite"), [(Chrony, "bookworm"), (Chrony, "sid"), (NTPDRs, "sid"), (NTPsec, "sid")])
def test_steers_a_virtual_clock_at_default_polls(lab: Lab, peer: type[Daemon], suite: str) -> None:
    """With the polls of everyday, that clock is within 100 µs after 5 minutes."""
    server = peer(lab, suite, stratum=1).start().wait_synchronised(15)
    errors = errors_of(lab, Ntptwist(lab, [server.address], clock=VIRTUAL), 300)

    assert max(abs(line["error"]) for line in errors[-10:]) < 100e-6


def test_a_wrong_server_is_never_selected(lab: Lab) -> None:
    """Of four real servers one is wrong by 100 ms: it is never selected, and its reason says by how much."""
    good = [Chrony(lab, "sid", ip=f"127.0.1.{each}", stratum=1).start() for each in (1, 2, 3)]
    wrong = Chrony(lab, "sid", ip="127.0.1.4", extra=WRONG).start()
    for server in (*good, wrong):
        server.wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address for server in (wrong, *good)]).start()
    seen: list[bool] = []

    def settled(state: dict[str, Any]) -> bool:
        seen.append(state["sources"][0]["selected"])
        return bool(state["synchronized"]) and all(row["measurements"] >= 4 for row in state["sources"])

    state = daemon.wait(settled, 20)
    daemon.stop()

    assert not any(seen)
    assert state["sources"][0]["reason"].startswith("falseticker")
    assert "100 ms" in state["sources"][0]["reason"]
    assert [row["selected"] for row in state["sources"][1:]] == [True, True, True]
    assert abs(state["offset"]) < 100e-6


def test_a_server_that_dies_and_comes_back(lab: Lab) -> None:
    """A server that stops answering is named in the status, and used again when it is back."""
    server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address], minimum=0).start()
    daemon.wait(lambda state: state["synchronized"], 15)
    server.stop()
    lost = daemon.wait(lambda state: state["sources"][0]["reach"] == 0, 20)
    server.start().wait_synchronised(15)
    back = daemon.wait(lambda state: state["sources"][0]["selected"], 20)
    daemon.stop()

    assert "refused" in lost["sources"][0]["reason"]
    assert back["synchronized"]
