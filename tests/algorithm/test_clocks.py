"""Clocks of this machine beside servers: how far they are believed, who numbers a pulse, and what is left of one."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.config import PollLimits, SelectionOptions, StepPolicy, SynchronizationPolicy
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.measurement import OneWayMeasurement
from ntptwist.timestamp import NANOSECONDS
from tests.algorithm.world import FIRST, HandClock, World

GPS, PPS = SourceId(8), SourceId(9)
GPS_ID = ReferenceId.of_text("GPS")
UNEVEN = {"outward": 2e-3, "homeward": 1e-3}
"""A path by which a server seems to be half a millisecond wrong."""


def local_world(servers: int = 1, *, step_policy: StepPolicy = StepPolicy.STARTUP, error: int = 0) -> World:
    """Give a world with servers that are polled each 16 s, a GPS and a PPS."""
    policy = SynchronizationPolicy(voting_sources=max(servers, 1), step_policy=step_policy)
    world = World(HandClock(error=error), count=servers, policy=policy, limits=PollLimits(4, 4))
    world.controller.add_source(GPS, PollLimits(0, 0), GPS_ID)
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    return world


def event(
    world: World,
    source: SourceId,
    *,
    late: float = 0.0,
    precision: float = 1e-6,
    accuracy: float = 0.0,
    lock: ReferenceId | None = None,
    leap: Leap = Leap.NONE,
) -> None:
    """Let true time pass to the next whole second and hand in a pulse of PPS or a sample of another source."""
    world.pass_time((NANOSECONDS - world.clock.true % NANOSECONDS) / NANOSECONDS)
    reading = world.clock.read()
    offset = (world.clock.true - reading.local) / NANOSECONDS - late
    period = 1.0 if source == PPS else None
    if period is not None:
        offset -= round(offset)
    world.take(
        world.controller.measured(
            source,
            OneWayMeasurement(
                offset, reading.local, reading.monotonic, precision, leap, period, accuracy=accuracy, lock=lock
            ),
        )
    )
    world.clock.advance(0.01)


@pytest.mark.parametrize("accuracy", [-1.0, math.nan, math.inf, 1e9])
def test_an_accuracy_that_is_none(accuracy: float) -> None:
    """A sample whose accuracy is no length of time is refused."""
    world = local_world(0)
    event(world, GPS, accuracy=accuracy)

    assert "its measurements are implausible" == world.controller.estimate(GPS).reason


def test_accuracy_is_told_to_clients() -> None:
    """What all samples may be wrong by is part of what a client is told of this clock."""
    world = local_world(0)
    event(world, GPS, accuracy=0.05)

    assert 0.05 == world.controller.estimate(GPS).root_dispersion
    assert world.update.time.dispersion == pytest.approx(0.05, abs=1e-4)


def test_an_inaccurate_pulse_is_one_among_others() -> None:
    """A pulse that may be wrong by more than a server does not steer alone, and moves the clock by a trifle."""
    world = local_world()
    world.ask_all(6)
    for _ in range(60):
        event(world, PPS, late=0.004, accuracy=0.01)
    world.ask()
    status = world.controller.status()

    assert (FIRST, PPS) == status.used
    assert abs(world.clock.error) < 1e-5


def test_accurate_pulses_steer_alone() -> None:
    """A pulse that is closer to the truth than any server can be is followed alone."""
    world = local_world()
    world.ask_all(6, **UNEVEN)
    for _ in range(60):
        event(world, PPS)
    world.ask(**UNEVEN)  # type: ignore[arg-type]  # named as exchange's are

    assert (PPS,) == world.controller.status().used
    assert abs(world.clock.error) < 1e-7


def after_pulses() -> World:
    """Give a world whose pulses have ended, with a server that is wrong by half a millisecond."""
    world = local_world()
    world.ask_all(6, **UNEVEN)
    for _ in range(300):
        event(world, PPS)
    for _ in range(8):
        world.pass_time(16.0)
        world.ask(**UNEVEN)  # type: ignore[arg-type]  # named as exchange's are
    return world


def test_when_pulses_end_the_clock_does_not_jump() -> None:
    """What the pulses told outlives them: a server that disagrees by what its delay can hide moves nothing at once."""
    world = after_pulses()

    assert (FIRST,) == world.controller.status().used
    assert world.controller.estimate(PPS).reason.startswith("no sample for")
    assert abs(world.clock.error) < 50e-6


def test_what_pulses_told_is_given_up_when_it_can_not_be_true() -> None:
    """When the servers rule out what the pulses last told, the servers are followed."""
    world = after_pulses()
    for _ in range(40):
        world.pass_time(16.0)
        world.ask(FIRST, 0.2)

    assert world.clock.error == pytest.approx(0.2, abs=0.01)


def test_what_pulses_told_moves_with_the_clock() -> None:
    """A foreign step and a suspend, after the pulses have ended, are no news from the pulses."""
    world = after_pulses()
    world.clock.meddle(3_000_000)
    world.pass_time(20.0)
    world.ask(**UNEVEN)  # type: ignore[arg-type]  # named as exchange's are
    stepped = abs(world.clock.error)
    world.clock.sleep(60, error=0.3)
    world.pass_time(20.0)
    for _ in range(4):
        world.ask(**UNEVEN)  # type: ignore[arg-type]  # named as exchange's are
        world.pass_time(10.0)

    assert stepped < 1e-3
    assert abs(world.clock.error) < 2e-3


def test_a_locked_pulse_is_numbered_by_its_source_alone() -> None:
    """While a clock that must not be stepped is 0.4 s off, a locked pulse is numbered, and a free one is not."""
    reasons = []
    for lock in (GPS_ID, None):
        world = local_world(0, step_policy=StepPolicy.NEVER, error=400_000_000)
        for _ in range(6):
            event(world, GPS, precision=1e-3)
            event(world, PPS, lock=lock)
        reasons.append(world.controller.estimate(PPS).reason)
        if lock is not None:
            assert world.controller.estimate(PPS).offset == pytest.approx(-world.clock.error, abs=1e-5)

    assert ["used", "waiting for other sources to number its pulses"] == reasons


@pytest.mark.parametrize("accuracy", [0.0, 0.5])
def test_a_lock_without_its_source(accuracy: float) -> None:
    """A locked pulse waits while its source is not there, or too uncertain to number it."""
    world = local_world()
    world.ask_all(6)
    if accuracy:
        event(world, GPS, accuracy=accuracy)
    event(world, PPS, lock=GPS_ID)
    event(world, PPS, lock=GPS_ID)

    assert "waiting for other sources to number its pulses" == world.controller.estimate(PPS).reason


def test_a_locked_pulse_goes_on_without_its_source() -> None:
    """Once it is numbered, a locked pulse needs its source no more, be it silent or uncertain."""
    world = local_world()
    world.ask_all(6)
    event(world, GPS, precision=1e-3)
    for _ in range(100):
        event(world, PPS, lock=GPS_ID)
    silent = world.controller.estimate(PPS).reason
    event(world, GPS, accuracy=0.9)
    event(world, PPS, lock=GPS_ID)

    assert "used" == silent
    assert "used" == world.controller.estimate(PPS).reason


def test_a_lock_follows_its_source_to_another_second() -> None:
    """When its source is found to be a second away, the pulse is numbered anew."""
    world = local_world(0, step_policy=StepPolicy.ALWAYS)
    for _ in range(20):
        event(world, GPS, precision=1e-3)
        event(world, PPS, lock=GPS_ID)
    for _ in range(20):
        event(world, GPS, late=1.0, precision=1e-3)
        event(world, PPS, lock=GPS_ID)

    assert world.clock.error == pytest.approx(-1.0, abs=1e-3)
    assert "used" == world.controller.estimate(PPS).reason


def test_a_source_that_jumps_is_followed_after_a_few_samples() -> None:
    """A receiver that has moved by 50 ms is believed after six samples, not after hours."""
    world = local_world(0)
    for _ in range(50):
        event(world, GPS, precision=1e-4)
    for _ in range(6):
        event(world, GPS, late=0.05, precision=1e-4)

    assert world.controller.estimate(GPS).offset == pytest.approx(-0.05 - world.clock.error, abs=1e-3)
    assert any("its filter starts afresh" in decision.reason for decision in world.decisions)


def test_a_receiver_announces_a_leap_second() -> None:
    """What gpsd says of a leap second counts as what a server says."""
    world = local_world(0)
    event(world, GPS, leap=Leap.DELETE)

    assert Leap.DELETE is world.update.time.leap


def test_a_lock_obeys_its_source_against_all_others() -> None:
    """A pulse that is locked to a source which is merely watched goes with it, and is then a falseticker with it."""
    world = local_world()
    world.controller.remove_source(GPS)
    world.controller.add_source(GPS, PollLimits(0, 0), GPS_ID, SelectionOptions(noselect=True))
    world.ask_all(6)
    for _ in range(20):
        event(world, GPS, precision=1e-3)
        event(world, PPS, lock=GPS_ID)
    before = world.controller.estimate(PPS).reason
    for _ in range(8):
        event(world, GPS, late=1.0, precision=1e-3)
        event(world, PPS, lock=GPS_ID)

    assert "used" == before
    assert world.controller.estimate(PPS).reason.startswith("falseticker: 1 s from the majority")
