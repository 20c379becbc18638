"""What a source may report, and what never reaches the algorithm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from ntptwist.driver import (
    NANOSECONDS,
    Leap,
    Measurement,
    Monotonic,
    OneWayMeasurement,
    OneWaySettings,
    OneWaySource,
    ReferenceId,
    Timestamp,
    TwoWayMeasurement,
)
from ntptwist.intake import FASTEST, Intake
from ntptwist.sim.world import World
from ntptwist.timestamp import ClockReading
from tests.sim.daemon import NEAR, VirtualDaemon

NOW = ClockReading(Timestamp(1_800_000_000 * NANOSECONDS), Monotonic(100 * NANOSECONDS))
ONE_WAY = OneWayMeasurement(0.1, NOW.local, NOW.monotonic, 1e-3, period=1.0)
TWO_WAY = TwoWayMeasurement(
    *(NOW.local,) * 4, NOW.monotonic, Leap.NONE, 1, ReferenceId.of_text("GPS"), 0.01, 0.001, -20
)
IMPOSSIBLE = "a measurement with impossible values"
ABSURD = "a measurement that is off by more than two eras"
FUTURE = "a measurement of the future"
TWO_ERAS = 2 * (1 << 32) * NANOSECONDS


@pytest.mark.parametrize("measurement", [ONE_WAY, TWO_WAY, replace(ONE_WAY, period=None, offset=-5e9)])
def test_what_is_sound_passes(measurement: Measurement) -> None:
    """Nothing is wrong with a measurement of now, not even with one that is off by more than an era."""
    assert Intake().refuse(measurement, NOW) is None


@pytest.mark.parametrize(
    ("measurement", "change", "reason"),
    [
        (ONE_WAY, {"offset": math.nan}, IMPOSSIBLE),
        (ONE_WAY, {"offset": math.inf}, IMPOSSIBLE),
        (ONE_WAY, {"precision": 0.0}, IMPOSSIBLE),
        (ONE_WAY, {"precision": math.nan}, IMPOSSIBLE),
        (ONE_WAY, {"accuracy": -1e-9}, IMPOSSIBLE),
        (ONE_WAY, {"accuracy": math.inf}, IMPOSSIBLE),
        (ONE_WAY, {"period": 0.0}, IMPOSSIBLE),
        (ONE_WAY, {"period": math.nan}, IMPOSSIBLE),
        (ONE_WAY, {"offset": 8.7e9}, ABSURD),
        (ONE_WAY, {"offset": -8.7e9}, ABSURD),
        (ONE_WAY, {"local": NOW.local - TWO_ERAS - 1}, ABSURD),
        (ONE_WAY, {"monotonic": NOW.monotonic + NANOSECONDS // 100}, FUTURE),
        (ONE_WAY, {"monotonic": math.nan}, FUTURE),
        (TWO_WAY, {"root_delay": math.nan}, IMPOSSIBLE),
        (TWO_WAY, {"root_delay": -1.0}, IMPOSSIBLE),
        (TWO_WAY, {"root_dispersion": math.inf}, IMPOSSIBLE),
        (TWO_WAY, {"t2": math.nan}, IMPOSSIBLE),
        (TWO_WAY, {"t1": NOW.local + TWO_ERAS + 1}, IMPOSSIBLE),
        (TWO_WAY, {"t2": NOW.local + TWO_ERAS + 1, "t3": NOW.local + TWO_ERAS + 1}, ABSURD),
        (TWO_WAY, {"t1": 0, "t2": 0, "t3": 0, "t4": NOW.local + TWO_ERAS}, IMPOSSIBLE),
        (TWO_WAY, {"monotonic": NOW.monotonic + NANOSECONDS}, FUTURE),
    ],
)
def test_what_is_impossible_is_refused(measurement: Any, change: dict[str, Any], reason: str) -> None:
    """Each value that no clock can have is found, in both kinds of measurement."""
    assert reason == Intake().refuse(replace(measurement, **change), NOW)


def test_time_does_not_go_backwards() -> None:
    """A measurement older than one before it is refused, one of the same moment is not, and refused ones count not."""
    intake = Intake()
    older = replace(ONE_WAY, monotonic=Monotonic(NOW.monotonic - 1))
    oldest = replace(ONE_WAY, monotonic=Monotonic(NOW.monotonic - 2), offset=math.nan)

    assert [intake.refuse(each, NOW) for each in (oldest, older, ONE_WAY, ONE_WAY, older)] == [
        IMPOSSIBLE,
        None,
        None,
        None,
        "a measurement older than the one before",
    ]


def test_a_source_may_not_speak_too_often() -> None:
    """Twenty measurements pass in a second, sound or not; the next second begins anew."""
    intake = Intake()
    verdicts = [intake.refuse(ONE_WAY, NOW) for _ in range(FASTEST + 2)]
    later = NOW._replace(monotonic=Monotonic(NOW.monotonic + NANOSECONDS))

    assert verdicts == [None] * FASTEST + [f"more than {FASTEST} measurements in a second"] * 2
    assert intake.refuse(ONE_WAY, later) is None


class Liar(OneWaySource):
    """A driver that reports whatever the test says, without any check of its own."""

    def report(self, offset: float, late: float = 0.0) -> None:
        """Report an event of ``late`` seconds ago."""
        now = self._system.clock.read()
        age = round(late * NANOSECONDS)
        assert self._controller is not None
        self._controller.measured(
            OneWayMeasurement(offset, Timestamp(now.local - age), Monotonic(now.monotonic - age), 1e-3)
        )


@pytest.fixture
def daemon() -> Iterator[VirtualDaemon]:
    """A daemon that follows three good servers and has kept the clock for ten minutes."""
    world = World(1)
    hosts = [f"198.51.100.{number}" for number in (1, 2, 3)]
    for host in hosts:
        world.add_server(host, up=NEAR)
    text = "".join(f'[[source]]\nmode = "server"\naddress = "{host}"\n' for host in hosts)
    with VirtualDaemon(world, text) as made:
        yield made.run(600)


@pytest.fixture
def liar(daemon: VirtualDaemon) -> Iterator[Liar]:
    """A misbehaving source beside them."""
    settings = OneWaySettings(1e-3, 0.0, 0.0, ReferenceId.of_text("LIAR"))
    system = daemon.system
    source = Liar("a liar", "here", "liar", settings, system, system.new_spawner_id(), daemon.world.reactor)
    source.startService()
    yield source
    source.stopService()


@pytest.mark.parametrize(
    ("offset", "late", "reason"),
    [(math.nan, 0.0, IMPOSSIBLE), (-math.inf, 0.0, IMPOSSIBLE), (1e10, 0.0, ABSURD), (0.0, -1.0, FUTURE)],
)
def test_a_driver_that_lies_costs_nothing(
    daemon: VirtualDaemon, liar: Liar, offset: float, late: float, reason: str
) -> None:
    """Impossible reports are counted and shown as the source's trouble; algorithm and clock never hear of them."""
    for _ in range(100):
        liar.report(offset, late)
        daemon.run(1)
    row = next(row for row in daemon.rows() if row.id == liar.id)

    assert (row.observation.dropped, row.observation.trouble) == (100, f"dropped: {reason}")
    assert row.estimate.measurements == 0
    assert daemon.snapshot().synchronized
    assert abs(daemon.world.clock.true_offset()) < 1e-3


def test_a_driver_that_floods_is_throttled(daemon: VirtualDaemon, liar: Liar) -> None:
    """Of a hundred thousand reports in a second twenty pass, and one line is logged."""
    lines: list[LogEvent] = []
    observer: Any = lines.append
    globalLogPublisher.addObserver(observer)
    for _ in range(100_000):
        liar.report(0.0)
    globalLogPublisher.removeObserver(observer)
    row = next(row for row in daemon.rows() if row.id == liar.id)

    assert row.observation.dropped == 100_000 - FASTEST
    assert row.observation.trouble == f"dropped: more than {FASTEST} measurements in a second"
    assert len([line for line in lines if "trouble" in line]) == 1


def test_time_that_goes_backwards_and_comes_back(daemon: VirtualDaemon, liar: Liar) -> None:
    """An old report is dropped; once it has been sound for ten seconds nothing is shown any more but the count."""
    for late in (0.0, 5.0):
        liar.report(0.0, late)
        daemon.run(1)
    before = next(row for row in daemon.rows() if row.id == liar.id)
    for _ in range(12):
        liar.report(0.0)
        daemon.run(1)
    after = next(row for row in daemon.rows() if row.id == liar.id)

    assert before.observation.trouble == "dropped: a measurement older than the one before"
    assert (after.observation.dropped, after.estimate.measurements) == (1, 13)
    assert after.observation.trouble == "nothing was heard of it yet"
