"""When the clock is left alone: without answers, and after a correction that was refused."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.config import PanicThreshold, PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.update import DecisionKind
from ntptwist.identifiers import Leap, SourceId
from ntptwist.timestamp import NANOSECONDS
from tests.algorithm.world import HandClock, World


def test_startup_step_beyond_its_threshold_is_a_panic() -> None:
    """A first step of two days back is refused, and nothing touches the clock from then on."""
    world = World(HandClock(error=2 * 86400 * NANOSECONDS))
    world.ask_all(3)

    assert ([], []) == (world.clock.steps, world.clock.settings)
    assert DecisionKind.PANIC == world.kinds()[0]
    assert 1 == world.kinds().count(DecisionKind.PANIC)
    assert "panic: a correction was refused" == world.controller.status().state
    assert not world.controller.status().synchronized
    assert not world.update.time.synchronized


def test_panicked_controller_undoes_nothing() -> None:
    """After a panic even a foreign step stays: the clock is not in our hands any more."""
    world = World(HandClock(error=2 * 86400 * NANOSECONDS))
    world.ask()
    world.clock.meddle(NANOSECONDS)
    world.pass_time(8.0)

    assert [] == world.clock.steps


def test_source_that_jumps_beyond_the_threshold_is_a_panic_later_on() -> None:
    """When the only server moves by 2000 s after an hour, the clock is neither stepped nor slewed after it."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.ask_all(60, pause=64.0)
    settings = len(world.clock.settings)
    for _ in range(4):
        world.ask(SourceId(0), 2000.0)
        world.clock.advance(2.0)

    assert DecisionKind.PANIC == world.kinds()[-1]
    assert DecisionKind.RESET in world.kinds()
    assert [] == world.clock.steps
    assert all(abs(ppm) < 1.0 for ppm in world.clock.settings[settings:])


def test_silent_source_is_held_over_and_at_last_given_up() -> None:
    """Without answers the frequency stays, the dispersion grows, and past 1.5 s the clock is not served any more."""
    world = World(HandClock(drift=30.0), limits=PollLimits(6, 6))
    world.ask_all(6)
    world.ask_all(10, pause=64.0)
    world.pass_time(1000.0)
    silent, held = world.controller.estimate(SourceId(0)), world.controller.status()
    dispersion = world.update.time.root_dispersion(world.update.time.monotonic)
    frequency = world.clock.frequency()
    world.clock.advance(1e9)
    world.take(world.controller.timer())
    lost = world.controller.status()

    assert "no answer for 8 polls" == silent.reason
    assert held.synchronized
    assert held.state.startswith("holding over for 10")
    assert frequency == pytest.approx(-30.0, abs=0.1)
    assert dispersion < 1e-3
    assert not lost.synchronized
    assert lost.since is None
    assert lost.state.startswith("unsynchronized: nobody has confirmed the clock for")
    assert (Leap.UNSYNCHRONIZED, 16) == (world.update.time.leap, world.update.time.stratum)
    assert DecisionKind.UNSYNCHRONIZED == world.kinds()[-1]


def test_clock_that_was_given_up_may_be_stepped_again() -> None:
    """After years of silence the first answers set the clock as at the start."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.clock.drift = 0.001
    world.clock.advance(9e8)  # short of what is no gap any more, whichever way the clock is adjusted
    world.take(world.controller.timer())
    for _ in range(3):
        world.ask()
        world.pass_time(2.0)

    assert world.controller.status().synchronized
    assert world.clock.error == pytest.approx(0.0, abs=1e-3)
    assert [] != world.clock.steps


def test_removing_the_used_source_starts_to_hold_over() -> None:
    """When the only source is removed the clock goes on as it is."""
    world = World()
    world.ask_all(3)
    world.take(world.controller.remove_source(SourceId(0)))
    world.clock.advance(5.5)

    assert () == world.controller.status().used
    assert "holding over for 7 s" == world.controller.status().state


def test_accumulated_steps_are_bounded() -> None:
    """Steps after the first correction add up, and what goes beyond the threshold is refused."""
    policy = SynchronizationPolicy(
        step_policy=StepPolicy.ALWAYS,
        accumulated_step_panic_threshold=0.5,
        single_step_panic_threshold=PanicThreshold(10.0, 10.0),
    )
    world = World(HandClock(error=NANOSECONDS), policy=policy)
    world.ask()
    for error in (0.4, 0.8):
        for _ in range(4):
            world.ask(SourceId(0), error)
            world.clock.advance(2.0)

    assert 2 == world.controller.status().steps
    assert world.controller.status().accumulated_steps == pytest.approx(0.4, abs=1e-3)
    assert DecisionKind.PANIC == world.kinds()[-1]
