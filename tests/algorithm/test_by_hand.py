"""What an operator asks of the algorithm: a step now, and quick polls."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.config import PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.update import DecisionKind
from ntptwist.identifiers import SourceId
from ntptwist.timestamp import NANOSECONDS
from tests.algorithm.world import HandClock, World

SLEW_ONLY = SynchronizationPolicy(step_policy=StepPolicy.NEVER)


def test_a_step_now() -> None:
    """What is left of an offset that the policy only slews is stepped, and then nothing is left to slew."""
    world = World(HandClock(error=-NANOSECONDS // 2), policy=SLEW_ONLY)
    world.ask_all(6)
    left = world.clock.error
    update = world.take(world.controller.correct_now())
    frequency = world.clock.frequency()
    world.pass_time(10.0)

    assert left < -0.4
    assert world.clock.steps == [update.stepped]
    assert update.stepped == pytest.approx(-left * NANOSECONDS, abs=1e5)
    assert [decision.kind for decision in update.decisions] == [DecisionKind.STEP]
    assert update.decisions[0].reason.endswith("slow: stepped forward")
    assert abs(world.clock.error) < 1e-3
    assert abs(frequency) < 1.0
    assert world.controller.status().steps == 1
    assert world.controller.estimate(SourceId(0)).measurements == 6
    assert abs(world.controller.estimate(SourceId(0)).offset or 1.0) < 1e-3


def test_the_filters_go_on_after_it() -> None:
    """The next measurements agree with what was known before: nothing starts afresh."""
    world = World(HandClock(error=-NANOSECONDS // 2), policy=SLEW_ONLY, limits=PollLimits(4, 4))
    world.ask_all(6)
    world.take(world.controller.correct_now())
    world.ask_all(10, pause=16.0)

    assert DecisionKind.RESET not in world.kinds()
    assert world.controller.status().state == "synchronized"


def test_nothing_is_known_yet() -> None:
    """Before anybody has told the time nothing is stepped."""
    world = World(HandClock(error=NANOSECONDS))
    update = world.controller.correct_now()

    assert (world.clock.steps, update.stepped) == ([], 0)


def test_nobody_tells_the_time_any_more() -> None:
    """While the clock is only held over what is left to correct is not known well enough to step by it."""
    world = World(HandClock(error=-NANOSECONDS // 2), policy=SLEW_ONLY)
    world.ask_all(6)
    world.take(world.controller.remove_source(SourceId(0)))
    world.take(world.controller.correct_now())

    assert world.clock.steps == []


def test_a_clock_that_is_only_observed() -> None:
    """It is never touched."""
    world = World(HandClock(error=-NANOSECONDS // 2, steerable=False))
    world.ask_all(6)
    update = world.controller.correct_now()

    assert (world.clock.steps, update.stepped) == ([], 0)


def test_after_a_panic() -> None:
    """A clock that is not safe in our hands is not stepped by hand either."""
    world = World(HandClock(error=2 * 86400 * NANOSECONDS))
    world.ask_all(3)
    world.take(world.controller.correct_now())

    assert world.clock.steps == []


def test_quick_polls() -> None:
    """A source is asked a few times quickly, then at its own pace again."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(20)  # until the polls are approached
    before = world.controller.next_poll(SourceId(0))
    world.controller.verify(SourceId(0))
    quick = [world.controller.next_poll(SourceId(0)) for _ in range(7)]

    assert before >= 32.0
    assert quick[:6] == [2.0] * 6
    assert quick[6] >= 32.0
