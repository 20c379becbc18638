"""A record of the real daemon, on real sockets and the kernel's clock, is replayed to the last bit."""

from __future__ import annotations

import pytest

from ntptwist.sim.replay import read_record, replay
from tests.functional.daemon import Ntptwist
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

VIRTUAL = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = 40.0'


def test_a_real_record_is_replayed(lab: Lab) -> None:
    """Two runs of a daemon that steers a virtual clock by two real servers decide the same when they are replayed."""
    servers = [Chrony(lab, "sid", ip=f"127.0.1.{each}", stratum=1).start() for each in (1, 2)]
    for server in servers:
        server.wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address for server in servers], clock=VIRTUAL, minimum=0)
    record = daemon.directory / "record"
    daemon.file.write_text(f'{daemon.file.read_text()}\n[observability]\nrecord = "{record}"\n')
    for _ in range(2):
        daemon.start()
        daemon.wait(lambda state: state["synchronized"] and state["sources"][0]["measurements"] >= 8, 20)
        daemon.stop()
    outcomes = [replay(lines) for lines in read_record(str(record))]
    reasons = [told.reason for outcome in outcomes for told in outcome.course.decisions]

    assert [outcome.differing for outcome in outcomes] == [None, None]
    assert min(outcome.calls for outcome in outcomes) > 20
    assert sum("stepped forward" in reason for reason in reasons) == 2
    assert max(abs(outcome.course.offset) for outcome in outcomes) < 1e-3
