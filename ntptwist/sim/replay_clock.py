"""
The clock of a replay: what was read from the recorded one, moved by what another steering would have done to it.

While it is steered as it was recorded it answers what was recorded.  From the first difference on the clock gains,
while the correction is f' instead of f,

    (1 + f') / (1 + f) - 1

a second on the recorded one, and its steps are its own: the oscillator and the rest of the world stay what they were.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from zope.interface import implementer

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.measurement import Measurement, OneWayMeasurement
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

_HISTORY = 1024
"""Changes of the difference between both clocks that are remembered: a measurement is one poll old at most."""

_STEERING = ("s", "f")
"""The acts that change the clock: a step and a frequency; the others are reading, asking the frequency, a refusal."""


class Difference(NamedTuple):
    """How far the replayed clock is from the recorded one, from recorded monotonic time ``since`` on, nanoseconds."""

    since: int
    gained: float
    pace: float
    stepped: int

    def gain(self, monotonic: int) -> int:
        """Give by how much the monotonic axis is ahead."""
        return round(self.gained + (monotonic - self.since) * self.pace)


@implementer(IClock)
class ReplayClock:
    """
    The recorded clock, as another steering would have left it.

    ``acts`` are what the recorded one was asked in the present call and is not passed yet.  ``same`` tells whether it
    was steered in this call exactly as the recorded one was.
    """

    control = "replay"

    def __init__(self, acts: Sequence[list[Any]], maximum: float, *, steerable: bool) -> None:
        self.steerable = steerable
        self.maximum_frequency = maximum
        self.acts = deque(acts)
        self.same = True
        self._recorded = ClockReading(Timestamp(0), Monotonic(0))
        self._recorded_ppm = self._ppm = 0.0
        self._stepped = 0  # our own steps minus the recorded ones
        self._differences = [Difference(0, 0.0, 0.0, 0)]

    def begin(self, acts: Sequence[list[Any]]) -> None:
        """Begin a call."""
        self.acts = deque(acts)
        self.same = True

    def finish(self) -> None:
        """End a call: whatever the recorded one did beyond ours has happened to it all the same."""
        while self.acts:
            act = self.acts.popleft()
            self.same = self.same and act[0] not in _STEERING
            self._pass(act)

    def wait(self, monotonic: int) -> None:
        """Let time pass until the recorded monotonic axis shows this."""
        local, before, asleep = self._recorded
        self._recorded = ClockReading(Timestamp(local + monotonic - before), Monotonic(monotonic), asleep)

    @property
    def recorded(self) -> int:
        """The recorded monotonic time."""
        return self._recorded.monotonic

    def recorded_at(self, monotonic: int) -> int:
        """Give what the recorded monotonic axis shows when ours shows a value to come."""
        last = self._differences[-1]
        ours = self._recorded.monotonic + last.gain(self._recorded.monotonic)
        return self._recorded.monotonic + math.ceil((monotonic - ours) / (1.0 + last.pace))

    # IClock

    def read(self) -> ClockReading:
        """Read all axes."""
        self._until("r")
        return self._now()

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """Give the stamp: it has been mapped before it was recorded."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """Move ``local`` at once."""
        act = self._until("s")
        self.same = self.same and act is not None and act[1] == delta
        self._stepped += delta
        self._differ()
        return self._now()

    def set_frequency(self, ppm: float) -> ClockReading:
        """Make the clock run faster; it takes what the recorded one took for the same wish."""
        act = self._until("f")
        if act is not None and act[1] == ppm:
            self._ppm = self._recorded_ppm
        else:
            self.same = False
            self._ppm = min(max(ppm, -self.maximum_frequency), self.maximum_frequency)
        self._differ()
        return self._now()

    def frequency(self) -> float:
        """Give the correction in force."""
        follows = self._ppm == self._recorded_ppm
        self._until("q")
        if follows:
            self._ppm = self._recorded_ppm
        return self._ppm

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """There is no kernel to be told."""

    def set_tai_offset(self, seconds: int) -> None:
        """There is no kernel to be told."""

    # what was measured

    def moved(self, measurement: Measurement) -> Measurement:
        """Give what would have been measured with this clock."""
        end = measurement.monotonic
        if isinstance(measurement, OneWayMeasurement):
            ahead = self._at(end)
            shift = ahead.gain(end) + ahead.stepped
            if not shift:
                return measurement
            return replace(
                measurement,
                offset=measurement.offset - shift / NANOSECONDS,
                local=Timestamp(measurement.local + shift),
                monotonic=Monotonic(end + ahead.gain(end)),
            )
        start = end - (measurement.t4 - measurement.t1)
        first, last = self._at(start), self._at(end)
        before, after = first.gain(start) + first.stepped, last.gain(end) + last.stepped
        if not (before or after):
            return measurement
        return replace(
            measurement,
            t1=Timestamp(measurement.t1 + before),
            t4=Timestamp(measurement.t4 + after),
            monotonic=Monotonic(end + last.gain(end)),
        )

    def _at(self, monotonic: int) -> Difference:
        return self._differences[max(bisect_right(self._differences, (monotonic, math.inf)) - 1, 0)]

    def _now(self) -> ClockReading:
        local, monotonic, asleep = self._recorded
        gain = self._differences[-1].gain(monotonic)
        return ClockReading(Timestamp(local + gain + self._stepped), Monotonic(monotonic + gain), asleep)

    def _until(self, kind: str) -> list[Any] | None:
        """Pass what the recorded clock did up to the next act of a kind; nothing if there is none."""
        if not any(act[0] in (kind, "x") for act in self.acts):
            return None
        while True:
            act = self.acts.popleft()
            self._pass(act)
            self.same = self.same and (act[0] == kind or act[0] not in _STEERING)
            if act[0] == "x":
                _, operation, errno, reason = act
                raise ClockError(operation, errno, reason)
            if act[0] == kind:
                return act

    def _pass(self, act: list[Any]) -> None:
        """Let happen to the recorded clock what happened to it."""
        kind, *rest = act
        if kind == "r":
            self._recorded = ClockReading(*rest)
        elif kind == "s":
            self._recorded = ClockReading(*rest[1:])
            self._stepped -= rest[0]
            self._differ()
        elif kind == "f":
            self._recorded = ClockReading(*rest[2:])
            self._recorded_ppm = rest[1]
            self._differ()
        elif kind == "q":
            self._recorded_ppm = rest[0]
            self._differ()

    def _differ(self) -> None:
        """From now on both clocks differ otherwise."""
        last, now = self._differences[-1], self._recorded.monotonic
        pace = 0.0
        if self._ppm != self._recorded_ppm:
            pace = (self._ppm - self._recorded_ppm) * 1e-6 / (1.0 + self._recorded_ppm * 1e-6)
        if (pace, self._stepped) != (last.pace, last.stepped):
            gained = last.gained + (now - last.since) * last.pace
            self._differences.append(Difference(now, gained, pace, self._stepped))
            del self._differences[:-_HISTORY]
