"""Accidents of a clock: steps by somebody else, suspends, leap seconds, and what is under way meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.algorithm.config import PollLimits
from ntptwist.algorithm.update import DecisionKind
from ntptwist.identifiers import Leap, SourceId
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.algorithm.world import HandClock, World

NEW_YEAR = Timestamp(1_798_761_600 * NANOSECONDS)  # 2027-01-01 00:00 UTC


def test_foreign_step_is_undone_exactly_and_verified() -> None:
    """Somebody steps the clock by half a second: it is undone to the nanosecond, and four quick polls follow."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(20)  # until the polls are approached
    before = world.clock.error
    world.clock.meddle(500_000_000)
    world.pass_time(8.0)
    polls = [world.controller.next_poll(SourceId(0)) for _ in range(7)]

    assert [-500_000_000] == world.clock.steps
    assert world.clock.error == pytest.approx(before, abs=1e-6)
    assert DecisionKind.FOREIGN_STEP == world.kinds()[-1]
    assert [2.0] * 6 + [64.0] == polls
    assert (0, 0.0) == (world.controller.status().steps, world.controller.status().accumulated_steps)


def test_foreign_step_is_reported_so_that_sources_drop_what_is_under_way() -> None:
    """The update that undoes a foreign step says by how much the clock was stepped."""
    world = World()
    world.ask()
    world.clock.meddle(2_000_000)

    assert -2_000_000 == world.controller.timer().stepped


def test_small_difference_between_the_axes_is_no_foreign_step() -> None:
    """Half a millisecond between two readings of the clock is not undone."""
    world = World()
    world.ask()
    world.clock.meddle(500_000)
    world.pass_time(8.0)

    assert [] == world.clock.steps


def test_foreign_step_before_the_first_correction_is_taken_into_account() -> None:
    """Before the clock is ours a foreign step is left alone, and the first correction knows of it."""
    world = World(count=3)
    world.ask(SourceId(0))
    world.clock.meddle(100_000_000)
    world.ask(SourceId(1))
    world.ask(SourceId(2))

    assert 1 == len(world.clock.steps)
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)
    assert [DecisionKind.FOREIGN_STEP, DecisionKind.STEP, DecisionKind.SYNCHRONIZED] == world.kinds()


def test_suspend_is_not_undone_and_what_it_did_is_measured() -> None:
    """After an hour of sleep the clock is 0.3 s off by its battery clock: nothing is undone, the next answer tells."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.pass_time(1000.0)
    world.clock.sleep(3600, error=0.3)
    world.pass_time(8.0)
    steps, dispersion = list(world.clock.steps), world.update.time.root_dispersion(world.update.time.monotonic)
    quick = world.controller.next_poll(SourceId(0))
    world.ask()

    assert [] == steps
    assert DecisionKind.SUSPENDED in world.kinds()
    assert dispersion > 0.9
    assert 2.0 == quick
    assert world.clock.error == pytest.approx(0.0, abs=1e-3)


def test_foreign_step_during_a_suspend_is_still_undone() -> None:
    """Of a jump that sleep explains in part, the rest is undone."""
    world = World()
    world.ask_all(6)
    world.clock.sleep(100)
    world.clock.meddle(5 * NANOSECONDS)
    world.pass_time(8.0)

    assert [-5 * NANOSECONDS] == world.clock.steps
    assert [DecisionKind.SUSPENDED, DecisionKind.FOREIGN_STEP] == world.kinds()[-2:]


@pytest.mark.parametrize(("leap", "moved"), [(Leap.INSERT, -NANOSECONDS), (Leap.DELETE, NANOSECONDS)])
def test_announced_leap_second_is_not_undone(leap: Leap, moved: int) -> None:
    """At the end of a month one second is the leap second that the kernel made; it is not announced any longer."""
    world = World(HandClock(start=Timestamp(NEW_YEAR - 20 * NANOSECONDS)))
    world.ask(leap=leap)
    world.pass_time(22.0)
    world.clock.meddle(moved)
    world.pass_time(8.0)
    world.ask(SourceId(0), moved / NANOSECONDS, leap=leap)

    assert [] == world.clock.steps
    assert Leap.NONE is world.update.time.leap
    assert [DecisionKind.SYNCHRONIZED, DecisionKind.LEAP, DecisionKind.LEAP] == sorted(
        world.kinds(), key=lambda kind: kind is DecisionKind.LEAP
    )


@pytest.mark.parametrize(
    ("leap", "before"), [(Leap.NONE, 20), (Leap.DELETE, 20), (Leap.INSERT, 10 * 86400), (Leap.INSERT, 86420)]
)
def test_second_that_was_not_announced_for_now_is_undone(leap: Leap, before: int) -> None:
    """One second back is somebody's step unless an inserted second was announced and the month just ended."""
    world = World(HandClock(start=Timestamp(NEW_YEAR - before * NANOSECONDS)))
    world.ask(leap=leap)
    world.pass_time(22.0)
    world.clock.meddle(-NANOSECONDS)
    world.pass_time(8.0)

    assert [NANOSECONDS] == world.clock.steps


def test_observed_clock_is_never_touched() -> None:
    """In observe mode the clock is only read, yet offset, status and selection are told as they are."""
    world = World(HandClock(error=40_000_000, steerable=False))
    world.ask_all(6)
    world.clock.meddle(7_000_000)
    world.pass_time(8.0)
    world.ask_all(2)
    status = world.controller.status()

    assert ([], []) == (world.clock.steps, world.clock.settings)
    assert status.synchronized
    assert status.offset == pytest.approx(-0.047, abs=1e-4)
    assert world.controller.estimate(SourceId(0)).offset == pytest.approx(-0.047, abs=1e-4)
    assert world.update.time.root_dispersion(world.update.time.monotonic) > 0.046
    assert DecisionKind.FOREIGN_STEP in world.kinds()


def test_observed_clock_that_somebody_else_tunes_is_followed() -> None:
    """In observe mode another daemon's change of frequency is no change of the oscillator."""
    world = World(HandClock(drift=20.0, steerable=False), limits=PollLimits(4, 4))
    world.ask_all(40, pause=16.0)
    world.clock.tune(-20.0)
    world.ask_all(20, pause=16.0)

    assert world.controller.estimate(SourceId(0)).frequency == pytest.approx(-20.0, abs=0.2)
    assert -20.0 == world.controller.status().frequency


def test_answer_that_crosses_our_own_step_is_dropped() -> None:
    """A request that was sent before the clock was stepped gives no measurement, also not a late event."""
    world = World(HandClock(error=100_000_000), count=3)
    late = world.exchange(SourceId(2))
    for source in world.sources[:2]:
        world.ask(source)
    count = world.controller.estimate(SourceId(2)).measurements
    world.take(world.controller.measured(SourceId(2), late))

    assert 1 == len(world.clock.steps)
    assert 0 == count
    assert 0 == world.controller.estimate(SourceId(2)).measurements


def test_answer_to_an_unknown_request_is_judged_by_its_stamps() -> None:
    """Where no request was noted, the time between both stamps tells whether a step lies between them."""
    world = World(HandClock(error=100_000_000), count=3)
    late = world.exchange(SourceId(2), poll=False)
    for source in world.sources[:2]:
        world.ask(source)
    world.take(world.controller.measured(SourceId(2), late))
    good = world.exchange(SourceId(2), poll=False)
    world.take(world.controller.measured(SourceId(2), good))

    assert 1 == world.controller.estimate(SourceId(2)).measurements


def test_interleaved_measurement_counts_for_its_own_time() -> None:
    """A measurement that comes one poll late, when the clock was slewed meanwhile, is as good as one in time."""
    world = World(HandClock(error=4_000_000, drift=20.0), limits=PollLimits(4, 4))
    world.ask_all(6)
    late = replace(world.exchange(), interleaved=True)
    world.pass_time(16.0)
    world.controller.next_poll(SourceId(0))
    world.take(world.controller.measured(SourceId(0), late))
    estimate = world.controller.estimate(SourceId(0))

    assert estimate.offset == pytest.approx(-world.clock.error, abs=5e-6)
    assert late.monotonic == estimate.last_measurement


def test_interleaved_measurement_from_before_a_step_is_dropped() -> None:
    """After a step the next interleaved answer still belongs to the request before it."""
    world = World(limits=PollLimits(4, 4))
    world.ask_all(6)
    late = replace(world.exchange(), interleaved=True)
    world.clock.meddle(NANOSECONDS)
    world.pass_time(16.0)
    world.controller.next_poll(SourceId(0))
    count = world.controller.estimate(SourceId(0)).measurements
    world.take(world.controller.measured(SourceId(0), late))

    assert count == world.controller.estimate(SourceId(0)).measurements


def test_suspend_and_foreign_step_before_any_answer_do_no_harm() -> None:
    """Sources that have not answered yet have nothing to be doubted or moved."""
    world = World()
    world.clock.sleep(100)
    world.clock.meddle(NANOSECONDS)
    world.pass_time(8.0)
    world.ask()

    assert [DecisionKind.SUSPENDED, DecisionKind.FOREIGN_STEP] == world.kinds()[:2]
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)
