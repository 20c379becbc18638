"""Steps, slews and what is refused."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.config import PanicThreshold, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.steer import Steering
from ntptwist.algorithm.update import DecisionKind
from ntptwist.timestamp import NANOSECONDS
from tests.algorithm.world import HandClock


class Wheel:
    """A steering around a HandClock."""

    def __init__(self, policy: SynchronizationPolicy | None = None, clock: HandClock | None = None) -> None:
        self.clock = clock or HandClock()
        self.policy = policy or SynchronizationPolicy()
        self.book = ClockBook(self.clock)
        self.steering = Steering(self.book)

    def correct(self, offset: float, frequency: float = 0.0, interval: float = 16.0) -> DecisionKind | None:
        """Correct an offset now; give the kind of the decision."""
        now = self.clock.read().monotonic
        _, decision = self.steering.correct(offset, frequency, interval, now, self.policy)
        return decision.kind if decision is not None else None


def test_ten_milliseconds_are_slewed_and_a_little_more_is_stepped() -> None:
    """The step threshold itself is still slewed."""
    wheel = Wheel()

    assert wheel.correct(0.01) is None
    assert DecisionKind.STEP is wheel.correct(0.010001)
    assert [10_001_000] == wheel.clock.steps


def test_slew_never_spends_more_than_400_ppm() -> None:
    """Five milliseconds over a quarter of a second would take 2 %: it takes 12.5 s instead."""
    wheel = Wheel()
    wheel.correct(0.005, interval=0.25)

    assert wheel.clock.settings == pytest.approx([400.0])
    assert wheel.steering.slew_end == wheel.clock.read().monotonic + 12_500_000_000


def test_total_stays_within_the_clock() -> None:
    """An oscillator at 300 ppm and a slew at 400 together get what the clock can give, less a margin."""
    wheel = Wheel()
    wheel.correct(0.005, frequency=300e-6, interval=0.25)
    wheel.correct(-0.005, frequency=-300e-6, interval=0.25)

    assert wheel.clock.settings == pytest.approx([499.0, -499.0])


def test_end_of_a_slew_leaves_the_frequency() -> None:
    """When the offset is worked off only the oscillator's own error stays corrected."""
    wheel = Wheel()
    wheel.correct(0.001, frequency=7e-6)
    wheel.steering.end_slew()

    assert wheel.clock.settings == pytest.approx([69.5, 7.0])
    assert wheel.steering.slew_end is None


def test_frequency_in_force_is_where_steering_begins() -> None:
    """After a restart the kernel's frequency is the first guess."""
    clock = HandClock()
    clock.tune(12.5)

    assert Wheel(clock=clock).steering.frequency == pytest.approx(12.5e-6)


def test_startup_policy_steps_for_five_minutes() -> None:
    """Within 300 s of the first correction steps are allowed, later on an offset is slewed, however long it takes."""
    wheel = Wheel()
    wheel.correct(0.0)
    wheel.clock.advance(299.0)
    early = wheel.correct(0.5)
    wheel.clock.advance(2.0)

    assert DecisionKind.STEP is early
    assert wheel.correct(0.5) is None
    assert wheel.clock.settings[-1] == pytest.approx(400.0)


def test_steps_are_allowed_again_when_something_happened() -> None:
    """A resume allows steps for another 300 s; a lost synchronization until the next correction."""
    wheel = Wheel()
    wheel.correct(0.0)
    wheel.clock.advance(1000.0)
    wheel.steering.allow_steps(1000.0)
    resumed = wheel.correct(0.5)
    wheel.clock.advance(1000.0)
    late = wheel.correct(0.5)
    wheel.steering.allow_steps(None)
    lost = wheel.correct(0.5)
    wheel.clock.advance(301.0)

    assert [DecisionKind.STEP, None, DecisionKind.STEP, None] == [resumed, late, lost, wheel.correct(0.5)]


def test_policy_never_never_steps() -> None:
    """Even the first second is slewed, and no threshold is asked."""
    wheel = Wheel(SynchronizationPolicy(step_policy=StepPolicy.NEVER))

    assert wheel.correct(5000.0) is None
    assert wheel.correct(-1e6) is None
    assert [] == wheel.clock.steps


def test_policy_always_always_steps() -> None:
    """Days later a step is still a step."""
    wheel = Wheel(SynchronizationPolicy(step_policy=StepPolicy.ALWAYS))
    wheel.correct(0.0)
    wheel.clock.advance(1e6)

    assert DecisionKind.STEP is wheel.correct(0.5)


@pytest.mark.parametrize(("offset", "panics"), [(99.0, False), (100.0, True), (-49.0, False), (-50.0, True)])
def test_startup_threshold_is_strict(offset: float, panics: bool) -> None:
    """A first step exactly as large as the threshold is refused, one below it is not."""
    wheel = Wheel(SynchronizationPolicy(startup_step_panic_threshold=PanicThreshold(100.0, 50.0)))

    assert (DecisionKind.PANIC if panics else DecisionKind.STEP) is wheel.correct(offset)
    assert panics == (not wheel.clock.steps)


@pytest.mark.parametrize(("offset", "panics"), [(999.0, False), (1000.0, True), (-1000.0, True)])
def test_single_threshold_counts_after_the_first_correction(offset: float, panics: bool) -> None:
    """Later steps are measured by their own threshold, 1000 s unless said otherwise."""
    wheel = Wheel()
    wheel.correct(0.0)

    assert (DecisionKind.PANIC if panics else DecisionKind.STEP) is wheel.correct(offset)


def test_accumulated_steps_leave_out_the_first_and_may_reach_their_threshold() -> None:
    """Steps of 5 s and 5 s may add up to 10; a millisecond more is a panic.  The first step does not count."""
    wheel = Wheel(SynchronizationPolicy(accumulated_step_panic_threshold=10.0))
    kinds = [wheel.correct(offset) for offset in (100.0, 5.0, -5.0)]
    total = wheel.steering.accumulated
    kinds.append(wheel.correct(0.02))

    assert [DecisionKind.STEP] * 3 + [DecisionKind.PANIC] == kinds
    assert (10.0, 3) == (total, wheel.steering.steps)


def test_nothing_is_corrected_after_a_panic() -> None:
    """Once a correction was refused, neither steps nor slews nor the end of a slew touch the clock."""
    wheel = Wheel()
    wheel.correct(-1e6)
    settings = list(wheel.clock.settings)
    wheel.correct(0.001)
    wheel.steering.end_slew()

    assert wheel.steering.panicked
    assert (settings, []) == (wheel.clock.settings, wheel.clock.steps)


def test_large_times_stay_exact() -> None:
    """A step of a century moves the clock by exactly that many nanoseconds."""
    wheel = Wheel()
    wheel.correct(float(1 << 31))

    assert [(1 << 31) * NANOSECONDS] == wheel.clock.steps
