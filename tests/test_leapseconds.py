"""The list of leap seconds is read again while the daemon runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.algorithm.leap import LeapSecond
from ntptwist.identifiers import Leap
from ntptwist.leapseconds import FIRST_LOOK, LOOK_INTERVAL
from ntptwist.sim.replay import read_record, replay
from ntptwist.sim.world import World
from ntptwist.timestamp import EPOCH_OFFSET, NANOSECONDS
from tests.sim.daemon import NEAR, VirtualDaemon

SERVER = """
[source-defaults]
poll-interval-limits = { min = 10, max = 10 }

[[source]]
mode = "server"
address = "198.51.100.1"
"""
DAY = 86_400
END_OF_JANUARY = 1_769_904_000
"""The first of February 2026, a month after the world began."""


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged of the list."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        line = formatEvent(event)
        if "list of leap seconds" in line:
            lines.append(f"{event['log_level'].name}: {line.partition(': /')[0]}")

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield lines
    publisher.removeObserver(observe)


def write(file: Path, tai: int, expires: int, leap: int | None = None) -> None:
    """Write a list with one entry, and maybe another from ``leap`` on; all in seconds of UTC since 1970."""
    fields = [str(expires + EPOCH_OFFSET), "2272060800", str(tai)]
    if leap is not None:
        fields += [str(leap + EPOCH_OFFSET), str(tai + 1)]
    octets = hashlib.sha1("".join(fields).encode(), usedforsecurity=False).digest()
    words = " ".join(octets[i : i + 4].hex() for i in range(0, 20, 4))
    entries = "".join(f"{start} {ahead}\n" for start, ahead in zip(fields[1::2], fields[2::2], strict=True))
    file.write_text(f"#@ {fields[0]}\n{entries}#h {words}\n")


@pytest.fixture
def world() -> World:
    """Give a world with one server."""
    world = World(1)
    world.add_server("198.51.100.1", up=NEAR)
    return world


def start(world: World, file: Path) -> VirtualDaemon:
    """Start a daemon that has a list."""
    return VirtualDaemon(world, f'{SERVER}[synchronization]\nleap-seconds-file = "{file}"\n')


def test_a_new_list_is_read_within_a_day(world: World, tmp_path: Path, told: list[str]) -> None:
    """The kernel hears of TAI from the first list, and from the one that takes its place; nothing else is said."""
    file = tmp_path / "leap-seconds.list"
    now = world.timeline.now // NANOSECONDS
    write(file, 37, now + 100 * DAY)
    heard = []
    with start(world, file) as daemon:
        for tai in (38, 38, 38):
            daemon.run(LOOK_INTERVAL * 0.6)
            heard.append(world.clock.tai_offset)
            write(file, tai, now + 200 * DAY)
        controller: Any = daemon.system.controller

        assert heard == [37, 38, 38]
        assert controller.leap_table.seconds == (LeapSecond(63_072_000, 38),)
    assert told == ["info: a new list of leap seconds"]


def test_a_new_list_is_recorded(world: World, tmp_path: Path) -> None:
    """A replay of the record decides the same, for it gets the new list when the daemon did."""
    file, record = tmp_path / "leap-seconds.list", tmp_path / "record"
    now = world.timeline.now // NANOSECONDS
    text = f'{SERVER}[synchronization]\nleap-seconds-file = "{file}"\n[observability]\nrecord = "{record}"\n'
    write(file, 37, now + 100 * DAY)
    with VirtualDaemon(world, text) as daemon:
        write(file, 37, now + 100 * DAY, END_OF_JANUARY)
        daemon.run(2 * FIRST_LOOK)
    (outcome,) = [replay(lines) for lines in read_record(str(record))]

    assert outcome.differing is None
    assert "leap" in {decision.kind for decision in outcome.course.decisions}


def test_a_list_that_expires_is_told_once(world: World, tmp_path: Path, told: list[str]) -> None:
    """An operator hears of it, once; with the next list all is well again."""
    file = tmp_path / "leap-seconds.list"
    now = world.timeline.now // NANOSECONDS
    write(file, 37, now + 3600)
    with start(world, file) as daemon:
        daemon.run(2.1 * LOOK_INTERVAL)
        write(file, 37, now + 100 * DAY)
        daemon.run(LOOK_INTERVAL)

    assert told == [
        "warn: the list of leap seconds has expired and says nothing any more",
        "info: a new list of leap seconds",
    ]


def test_a_list_that_can_not_be_used_changes_nothing(world: World, tmp_path: Path, told: list[str]) -> None:
    """A file that was cut short or is gone is told once, and the list that was known stays."""
    file = tmp_path / "leap-seconds.list"
    now = world.timeline.now // NANOSECONDS
    write(file, 37, now + 100 * DAY)
    with start(world, file) as daemon:
        daemon.run(2 * FIRST_LOOK)
        file.write_text("#@ 1\n")
        daemon.run(2 * LOOK_INTERVAL)
        file.unlink()
        daemon.run(2 * LOOK_INTERVAL)
        known: Any = daemon.system.controller.leap_table

        assert known.tai(world.clock.read().local) == 37
        assert world.clock.tai_offset == 37
    assert told == [
        "warn: the list of leap seconds is not read again: its hash is missing or wrong",
        "warn: the list of leap seconds is not read again: No such file or directory",
    ]


def test_a_list_that_comes_later(world: World, tmp_path: Path, told: list[str]) -> None:
    """A daemon that was started without the file takes it when it is there; an unknown one is no list."""
    file = tmp_path / "leap-seconds.list"
    with start(world, file) as daemon:
        daemon.run(FIRST_LOOK / 2)
        write(file, 37, world.timeline.now // NANOSECONDS + 100 * DAY)
        daemon.run(FIRST_LOOK)

        assert world.clock.tai_offset == 37
        assert daemon.snapshot().time.leap is Leap.NONE
    assert told == ["info: a new list of leap seconds"]


def test_an_unchanged_file_is_not_read(world: World, tmp_path: Path, told: list[str]) -> None:
    """Only a file that looks different is opened: what has the same size and times is the same."""
    file = tmp_path / "leap-seconds.list"
    write(file, 37, world.timeline.now // NANOSECONDS + 100 * DAY)
    with start(world, file) as daemon:
        daemon.run(2 * FIRST_LOOK)
        status = file.stat()
        file.write_bytes(b"x" * status.st_size)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        daemon.run(LOOK_INTERVAL)

    assert told == []
