"""The files of statistics: batches, days, and disks that are full."""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from ntptwist.algorithm.update import ControllerStatus, ControlUpdate
from ntptwist.config.loader import loads
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.interfaces import IClockController
from ntptwist.observe.formats import CHRONY_HEADERS
from ntptwist.observe.statistics import FLUSH_LINES, Format, Statistics, WatchedController, names_of
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.world import World
from ntptwist.snapshot import SourceEstimate, SourceObservation, SourceSnapshot, SystemSnapshot, TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp
from tests.observe.test_formats import NOON, PULSE, SAMPLE

DAY = 86_400 * NANOSECONDS


class Thinking:
    """What a controller thinks of everything."""

    def estimate(self, source: SourceId) -> SourceEstimate:
        """Give what is thought of a source."""
        return SAMPLE.estimate

    def status(self) -> ControllerStatus:
        """Give the state."""
        return SAMPLE.status

    def desired_poll(self, source: SourceId) -> int:
        """Give the poll exponent."""
        return 6


class Bench:
    """Statistics on a clock of ours."""

    def __init__(self, directory: Path, style: Format = "ntpd") -> None:
        self.clock = Clock()
        self.asked = 0
        self.statistics = Statistics(str(directory), style, self.names, self.clock)
        self.statistics.startService()

    def names(self) -> dict[SourceId, str]:
        """Give the names of the sources there are."""
        self.asked += 1
        return {SourceId(3): "192.0.2.17"}

    def measure(self, local: int = NOON, source: int = 3) -> None:
        """Let a source measure."""
        pulse = replace(PULSE, local=Timestamp(local))
        self.statistics.measured(SourceId(source), pulse, Thinking(), ControlUpdate(TimeSnapshot(), 1.0))


def lines(file: Path) -> list[str]:
    """Give the lines of a file."""
    return file.read_text().splitlines()


def test_lines_are_written_together(tmp_path: Path) -> None:
    """Nothing is written with a measurement, all of it a minute later, and the rest at the stop."""
    bench = Bench(tmp_path / "log")
    bench.measure()
    bench.measure(NOON + NANOSECONDS)
    nothing = list(tmp_path.iterdir())
    bench.clock.advance(60)
    first = lines(tmp_path / "log/peerstats.20261122")
    bench.measure(NOON + 60 * NANOSECONDS)
    bench.statistics.stopService()
    second = lines(tmp_path / "log/peerstats.20261122")

    assert nothing == []
    assert [line.split()[1] for line in first] == ["43200.000", "43201.000"]
    assert second[:2] == first
    assert len(second) == len(lines(tmp_path / "log/loopstats.20261122")) == 3
    assert bench.clock.getDelayedCalls() == []


def test_a_file_a_day(tmp_path: Path) -> None:
    """Each day has its own files, by the time of the measurement, which others may read."""
    bench = Bench(tmp_path)
    before = os.umask(0o077)
    bench.measure(NOON + DAY // 2 - 1)
    bench.measure(NOON + DAY // 2)
    bench.statistics.stopService()
    os.umask(before)
    files = sorted(tmp_path.iterdir())

    assert [file.name for file in files] == [
        "loopstats.20261122",
        "loopstats.20261123",
        "peerstats.20261122",
        "peerstats.20261123",
    ]
    assert [line.split()[:2] for line in lines(files[3])] == [["61367", "0.000"]]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o644}


def test_headers(tmp_path: Path) -> None:
    """A file of chrony's begins with its header, once, also over a restart."""
    for _ in range(2):
        bench = Bench(tmp_path, "chrony")
        bench.measure()
        bench.statistics.stopService()
    (rule, header, below, *rest) = lines(tmp_path / "tracking.log.20261122")

    assert header == CHRONY_HEADERS["tracking.log"]
    assert rule == below == "=" * len(header)
    assert [line.split()[2] for line in rest] == ["192.0.2.17"] * 2


def test_many_lines_do_not_wait(tmp_path: Path) -> None:
    """What waits in memory is bounded."""
    bench = Bench(tmp_path)
    for _ in range(FLUSH_LINES // 2):
        bench.measure()
    written = len(lines(tmp_path / "peerstats.20261122"))
    bench.statistics.stopService()

    assert written == FLUSH_LINES // 2


def test_names_are_asked_for_when_a_source_is_new(tmp_path: Path) -> None:
    """The list of sources is looked up once for each; one that is in no list has a name all the same."""
    bench = Bench(tmp_path)
    for _ in range(5):
        bench.measure()
    asked = bench.asked
    bench.measure(source=9)
    bench.statistics.stopService()

    assert asked == 1
    assert lines(tmp_path / "peerstats.20261122")[-1].split()[2] == "source-9"


@contextmanager
def largest_file(octets: int) -> Iterator[None]:
    """Refuse files above a size, as a full disk does: in the middle of a line."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk(tmp_path: Path) -> None:
    """A full disk is one error in the log however long it lasts, leaves no half lines, and its end is told."""
    bench = Bench(tmp_path)
    bench.measure()
    bench.clock.advance(60)
    file = tmp_path / "peerstats.20261122"
    whole = file.read_text()
    with capturedLogs() as events:
        with largest_file(len(whole) + 20):
            for _ in range(3):
                bench.measure()
                bench.clock.advance(60)
            full = file.read_text()
        bench.clock.advance(60)
        bench.measure()
        bench.clock.advance(60)
        bench.statistics.stopService()

    assert full == whole
    assert file.read_text() == whole * 2
    assert [formatEvent(event) for event in events] == [
        f"{tmp_path}: statistics can't be written and are lost: File too large",
        f"{tmp_path}: statistics are written again",
    ]


@pytest.mark.parametrize("kind", ["no parent", "a file", "a fifo", "a link"])
def test_what_can_not_be_written(tmp_path: Path, kind: str) -> None:
    """A directory that can't be used, or a name that is no file, is one error, and nothing blocks."""
    directory = tmp_path / "log"
    if kind == "no parent":
        directory = tmp_path / "none/log"
    elif kind == "a file":
        directory.write_text("")
    else:
        directory.mkdir()
        if kind == "a fifo":
            os.mkfifo(directory / "peerstats.20261122")
        else:
            (directory / "peerstats.20261122").symlink_to(tmp_path / "elsewhere")
    bench = Bench(directory)
    with capturedLogs() as events:
        bench.measure()
        bench.statistics.stopService()

    assert len(events) == 1
    assert "statistics can't be written and are lost: " in formatEvent(events[0])
    assert not (tmp_path / "elsewhere").exists()


def test_names() -> None:
    """A server is known by its address without the port, a device by its path, and no name has blanks."""
    addresses = ["192.0.2.1:123", "[2001:db8::1]:123", "/dev/pps0", "gps radio", ""]
    rows = tuple(
        SourceSnapshot(SourceId(number), SourceObservation("name", address, "server"), SourceEstimate())
        for number, address in enumerate(addresses)
    )
    waiting = SourceSnapshot(None, SourceObservation("later", "", "server"), SourceEstimate())
    snapshot = SystemSnapshot(
        Timestamp(0), Monotonic(0), TimeSnapshot(), "observe", False, "waiting", sources=(*rows, waiting)
    )

    assert list(names_of(snapshot).values()) == ["192.0.2.1", "2001:db8::1", "/dev/pps0", "gps_radio", "name"]


def test_the_daemon(tmp_path: Path) -> None:
    """Where it is configured the daemon's controller is watched; what is told to it arrives."""
    text = f'[control]\ndirectory = "/none"\n[statistics]\ndirectory = "{tmp_path}"\nformat = "chrony"\n'
    world = World(1)
    daemon = make_service(loads(text, find_driver), world.reactor, world.clock, world.randbytes)
    system: Any = daemon.system
    own = frozenset({ReferenceId(b"self")})
    system.controller.own_addresses = own

    assert isinstance(system.controller, WatchedController)
    assert verifyObject(IClockController, system.controller)
    assert system.controller._controller.own_addresses == own
    assert isinstance(next(iter(daemon)), Statistics)
