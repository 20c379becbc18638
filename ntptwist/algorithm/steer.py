"""
How a combined estimate becomes a step, or a frequency for a while.

A large offset is stepped where the policy allows it.  Otherwise the clock runs at ``frequency + offset / interval``
until ``slew_end`` and at ``frequency`` from then on.  A step beyond a panic threshold is refused, and so is every
correction after it: the clock is no longer safe in our hands.
"""

from __future__ import annotations

import math

from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.config import (
    SLEW_LIMIT,
    STEP_THRESHOLD,
    STEP_WINDOW,
    PanicThreshold,
    StepPolicy,
    SynchronizationPolicy,
)
from ntptwist.algorithm.update import Decision, DecisionKind
from ntptwist.algorithm.words import duration
from ntptwist.timestamp import NANOSECONDS, Monotonic


class Steering:
    """
    The steering of one clock.

    ``frequency`` is the correction that the oscillator is thought to need.  ``steps`` and ``accumulated`` count the
    steps that corrected the clock, the first correction of all included in the former only, as ntpd-rs does; undoing
    somebody else's step counts in neither.
    """

    __slots__ = ("_book", "_steps_until", "accumulated", "frequency", "panicked", "slew_end", "started", "steps")

    def __init__(self, book: ClockBook) -> None:
        self._book = book
        self._steps_until = math.inf
        self.frequency = book.rate
        self.slew_end: Monotonic | None = None
        self.started = False
        self.panicked = False
        self.steps = 0
        self.accumulated = 0.0

    def allow_steps(self, now: float | None) -> None:
        """Allow steps for a while from ``now``, seconds on the book's axis; None until the next correction."""
        self._steps_until = math.inf if now is None else max(self._steps_until, now + STEP_WINDOW)

    def correct(
        self, offset: float, frequency: float, interval: float, now: Monotonic, policy: SynchronizationPolicy
    ) -> tuple[int, Decision | None]:
        """
        Correct an offset over ``interval`` seconds; return the nanoseconds that were stepped, and what was decided.

        After a panic nothing is done any more.
        """
        if self.panicked:
            return 0, None
        time = self._book.seconds(now)
        stepped, decision = 0, None
        if abs(offset) > STEP_THRESHOLD:
            decision = self._refusal(offset, time, policy)
            if decision is not None:
                self.panicked = True
                return 0, decision
            if self._may_step(time, policy):
                stepped, decision = self.step(offset)
                offset = 0.0
        self.started = True
        if self._steps_until == math.inf:
            self._steps_until = time + STEP_WINDOW
        self.frequency = frequency
        interval = max(interval, abs(offset) / SLEW_LIMIT)
        reading = self._book.steer(frequency + offset / interval)
        self.slew_end = Monotonic(reading.monotonic + round(interval * NANOSECONDS))
        return stepped, decision

    def step(self, offset: float) -> tuple[int, Decision]:
        """Step by an offset; return the nanoseconds, and what was decided."""
        delta = round(offset * NANOSECONDS)
        self._book.step(delta)
        self.steps += 1
        if self.started:
            self.accumulated += abs(offset)
        how = "slow: stepped forward" if delta > 0 else "fast: stepped back"
        return delta, Decision(DecisionKind.STEP, f"the clock was {duration(abs(offset))} {how}", offset)

    def resume(self, frequency: float, now: Monotonic) -> None:
        """Take up a frequency that was remembered: where it may be applied it is when the slew ends, which is now."""
        self.frequency = frequency
        self.slew_end = now if self._book.clock.steerable else None

    def end_slew(self) -> None:
        """The offset has been worked off: only the oscillator's own error is corrected from now on."""
        self.slew_end = None
        if not self.panicked:
            self._book.steer(self.frequency)

    def _may_step(self, time: float, policy: SynchronizationPolicy) -> bool:
        if policy.step_policy is StepPolicy.STARTUP:
            return time < self._steps_until
        return policy.step_policy is StepPolicy.ALWAYS

    def _refusal(self, offset: float, time: float, policy: SynchronizationPolicy) -> Decision | None:
        """Say why an offset must not be corrected; None if it may."""
        if policy.step_policy is StepPolicy.NEVER:
            return None
        which = "single" if self.started else "startup"
        threshold = policy.single_step_panic_threshold if self.started else policy.startup_step_panic_threshold
        if not _within(offset, threshold):
            reason = f"a correction of {duration(offset)} is beyond the {which} step panic threshold"
            return Decision(DecisionKind.PANIC, reason, offset)
        most = policy.accumulated_step_panic_threshold
        total = self.accumulated + abs(offset)
        if self.started and most is not None and total > most and self._may_step(time, policy):
            reason = f"steps would add up to {duration(total)}, beyond the accumulated step panic threshold"
            return Decision(DecisionKind.PANIC, reason, offset)
        return None


def _within(offset: float, threshold: PanicThreshold) -> bool:
    return -threshold.backward < offset < threshold.forward
