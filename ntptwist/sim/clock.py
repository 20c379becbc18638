"""
A kernel's clock in a virtual world: IClock over an oscillator.

Its axes, in nanoseconds, are functions of true time::

    monotonic = elapsed true time + phase       phase' = (1 + oscillator) (1 + frequency set) - 1
    local     = start of the world + monotonic + shift

``shift`` holds the initial offset, all steps, leap seconds and the time slept; only ``phase`` is a float, a difference
of less than an hour that is good to a picosecond.  It is anchored anew whenever the rate changes, so both axes are
continuous to the nanosecond and monotonic never goes back.

As Linux does it: the frequency is clamped to 500 ppm and rounded to 2^-16 ppm; a leap second that was announced by
``set_status`` is made at the next UTC midnight of the local axis, once; in suspend both axes stand still and the local
one then jumps.  Kernel timestamps in this world are on the local axis.

The clock keeps a trace of itself: truth minus local at each whole second of true time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from errno import EPERM
from os import strerror

from zope.interface import implementer

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.sim.oscillator import Oscillator
from ntptwist.sim.timeline import Call, Timeline
from ntptwist.sim.trace import Trace
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

KERNEL_UNIT = 2.0**-16
"""ppm; timex.freq counts in it."""

DAY = 86_400 * NANOSECONDS
LEAPS = {Leap.INSERT: -NANOSECONDS, Leap.DELETE: NANOSECONDS}
"""What a leap second does to a clock, nanoseconds."""


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """What the daemon last told the kernel of the clock; errors in seconds."""

    leap: Leap
    estimated_error: float
    maximum_error: float


@implementer(IClock)
class SimulatedClock:
    """
    The clock of one virtual machine, booted at the start of the timeline.

    ``offset`` is truth minus local at the start, seconds.  Without ``rounded`` the frequency is not rounded to the
    kernel's unit.  ``steps`` counts the calls of ``step``.  While it ``refuses`` nobody may change it, as when a
    privilege was lost.
    """

    control = "system"
    steerable = True
    maximum_frequency = 500.0

    def __init__(
        self, timeline: Timeline, oscillator: Oscillator, offset: float = 0.0, *, rounded: bool = True
    ) -> None:
        self.trace = Trace()
        self.status: ClockStatus | None = None
        self.tai_offset: int | None = None
        self.steps = 0
        self.refuses = False
        self._timeline = timeline
        self._oscillator = oscillator
        self._rounded = rounded
        self._shift = -round(offset * NANOSECONDS)
        self._ppm = 0.0
        self._asleep = 0
        self._waking: int | None = None
        self._leap: Call | None = None
        self._leapt = False
        # elapsed nanoseconds, the oscillator's error and the phase, seconds: where the rate changed, and now
        self._anchor = self._latest = (0, 0.0, 0.0)
        self._reading = ClockReading(Timestamp(timeline.start + self._shift), Monotonic(0))
        self._read_at: int | None = timeline.start

    # IClock

    def read(self) -> ClockReading:
        """Read all axes."""
        now = self._timeline.now
        if now != self._read_at and self._waking is None:
            start = self._timeline.start
            elapsed = now - start
            monotonic = elapsed + round(self._phase(elapsed) * NANOSECONDS)
            local = Timestamp(start + monotonic + self._shift)
            self._reading = ClockReading(local, Monotonic(monotonic), self._asleep)
            self._read_at = now
        return self._reading

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """Give the stamp: the kernel's clock is this one."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """Move ``local`` at once; ClockError while it refuses."""
        self._may_change(f"step by {delta} ns")
        self.steps += 1
        return self.foreign_step(delta)

    def set_frequency(self, ppm: float) -> ClockReading:
        """Set the correction, within the kernel's limits and in its unit; ValueError for NaN, ClockError in refusal."""
        self._may_change(f"set the frequency to {ppm} ppm")
        if math.isnan(ppm):
            raise ValueError("the frequency is NaN")
        ppm = min(max(ppm, -self.maximum_frequency), self.maximum_frequency)
        if self._rounded:
            ppm = round(ppm / KERNEL_UNIT) * KERNEL_UNIT
        self.record()
        reading = self.read()
        self._anchor = self._latest
        self._ppm = ppm
        return reading

    def frequency(self) -> float:
        """Give the correction in force, ppm."""
        return self._ppm

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Note the status; an announced leap second will be made.  ClockError while it refuses."""
        self._may_change("set the status")
        self.status = ClockStatus(leap, estimated_error, maximum_error)
        if leap not in LEAPS:
            self._leapt = False
        self._prepare_leap()

    def set_tai_offset(self, seconds: int) -> None:
        """Note TAI - UTC; ClockError while it refuses."""
        self._may_change("set TAI - UTC")
        self.tai_offset = seconds

    # the machine around the clock

    def foreign_step(self, delta: int) -> ClockReading:
        """Move ``local`` by ``delta`` nanoseconds as somebody else would: the daemon is not told."""
        self._move(delta)
        self._prepare_leap()
        return self.read()

    def suspend(self, seconds: float, error: float = 0.0) -> None:
        """
        Let the machine sleep for so many seconds of true time.

        ``error`` seconds is what the kernel, which measures that by another clock, takes it for too long.
        """
        if self._waking is not None:
            raise ValueError("the machine is asleep")
        self.read()
        self.record()
        self._waking = self._timeline.elapsed + round(seconds * NANOSECONDS)
        self._timeline.at(self._timeline.start + self._waking, self._wake, round((seconds + error) * NANOSECONDS))

    @property
    def sleeping(self) -> bool:
        """Whether the machine is suspended: its timers stand still and it takes no packets."""
        return self._waking is not None

    def when(self, monotonic: int) -> int:
        """
        Give the true time at which ``monotonic`` will show a value, as far as the present rate tells.

        The wander of the oscillator and later corrections make it wrong by a share of 1e-3 of the time until then at
        most: whoever waits for it has to look again.
        """
        left = monotonic - self.read()[1]
        rate = 1 + self._ppm * 1e-6
        if self._waking is not None:
            return self._timeline.start + self._waking + math.ceil(left / rate)
        timeline = self._timeline
        rate *= 1 + self._oscillator.frequency(timeline.now - timeline.start)
        return timeline.now + math.ceil(left / rate)

    def true_offset(self) -> float:
        """Give truth minus local, seconds."""
        return (self._timeline.utc - self.read().local) / NANOSECONDS

    def record(self) -> None:
        """Bring the trace up to the last whole second; must precede any change of what it records."""
        first, last = len(self.trace), self._timeline.elapsed // NANOSECONDS + 1
        if first >= last:
            return
        errors, frequencies = self._oscillator.record(first, last)
        if self._waking is not None:
            self.trace.extend([math.nan] * (last - first), [math.nan] * (last - first))
            return
        anchor, error, phase = self._anchor
        set_to = self._ppm * 1e-6
        gain = 1 + set_to
        at_zero = (self._timeline.leap_shift - self._shift) / NANOSECONDS
        at_zero -= phase - gain * error - set_to * anchor / NANOSECONDS
        self.trace.extend(
            [at_zero - gain * error - set_to * second for second, error in enumerate(errors, first)],
            [gain * frequency + set_to for frequency in frequencies],
        )

    def _may_change(self, operation: str) -> None:
        if self.refuses:
            raise ClockError(operation, EPERM, strerror(EPERM))

    def _phase(self, elapsed: int) -> float:
        """Give monotonic minus elapsed true time, seconds, and note it; exactly the anchor's at the anchor."""
        oscillator = self._oscillator
        if elapsed >= oscillator.end:
            self.record()  # what the trace needs of the oscillator is dropped otherwise
        anchor, before, phase = self._anchor
        set_to = self._ppm * 1e-6
        error = oscillator.error(elapsed)
        phase += (1 + set_to) * (error - before) + set_to * ((elapsed - anchor) / NANOSECONDS)
        self._latest = (elapsed, error, phase)
        return phase

    def _move(self, delta: int) -> None:
        self.record()
        self.read()
        self._shift += delta
        self._reading = self._reading._replace(local=Timestamp(self._reading.local + delta))

    def _wake(self, slept: int) -> None:
        self.record()
        elapsed = self._timeline.elapsed
        self._waking = None
        monotonic = self._reading.monotonic
        self._anchor = (elapsed, self._oscillator.error(elapsed), (monotonic - elapsed) / NANOSECONDS)
        self._asleep += slept
        self._shift += slept
        self._read_at = None
        self._prepare_leap()

    def _prepare_leap(self) -> None:
        """Look forward to the local midnight of an announced leap second, or no longer."""
        if self._leap is not None:
            self._timeline.cancel(self._leap)
            self._leap = None
        if self.status is None or self.status.leap not in LEAPS or self._leapt:
            return
        early = NANOSECONDS if self.status.leap is Leap.DELETE else 0
        local, monotonic, _ = self.read()
        due = (local + early) // DAY * DAY + DAY - early
        self._leap = self._timeline.at(
            self.when(monotonic + due - local), self._make_leap, due, LEAPS[self.status.leap]
        )

    def _make_leap(self, due: int, delta: int) -> None:
        if self.read().local < due:
            self._prepare_leap()
            return
        self._leap = None
        self._leapt = True
        self._move(delta)
