"""
The book of the clock: how far it was steered, and what its two axes should differ by.

The axis of the filters is the clock's monotonic time, as seconds since the book was opened: no step moves it.  The
book knows the integral A(t) of the correction that was applied, so a filter predicts an offset by
``frequency * elapsed - (A(t) - A(t0))`` and need not be told of changes.  What counts is what the clock says is in
force, from the moment it says that it took effect.

``local`` may part from ``monotonic`` by our own steps only.  Whatever else comes between them is a suspend, a leap
second, or somebody else; ``check`` tells which, once, and corrects the book.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from typing import NamedTuple

from ntptwist.algorithm.config import BOOK_LENGTH, FOREIGN_THRESHOLD, FREQUENCY_MARGIN, LEAP_WINDOW
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()


class Displacement(NamedTuple):
    """What came between both axes since the last look, by cause, in nanoseconds; positive moved ``local`` forward."""

    slept: int = 0
    leapt: int = 0
    foreign: int = 0

    @property
    def total(self) -> int:
        """By how much ``local`` moved."""
        return self.slept + self.leapt + self.foreign


_NOTHING = Displacement()


class _Rate(NamedTuple):
    """A correction, in force from ``since``, where the integral was ``total``."""

    since: float
    total: float
    rate: float


class ClockBook:
    """The book of one clock; ``stepped`` is when ``local`` last jumped, None if it never did."""

    __slots__ = ("_ahead", "_asleep", "_now", "_past", "_start", "clock", "limit", "stepped")

    def __init__(self, clock: IClock) -> None:
        self.clock = clock
        self.limit = (clock.maximum_frequency - FREQUENCY_MARGIN) * 1e-6
        reading = clock.read()
        self._start = reading.monotonic
        self._ahead = reading.local - reading.monotonic
        self._asleep = reading.asleep
        self._now = _Rate(0.0, 0.0, clock.frequency() * 1e-6)
        self._past: list[_Rate] = []
        self.stepped: Monotonic | None = None

    def seconds(self, monotonic: Monotonic) -> float:
        """Put a monotonic time on the axis of the filters."""
        return (monotonic - self._start) / NANOSECONDS

    @property
    def rate(self) -> float:
        """The correction in force, as a fraction."""
        return self._now.rate

    def rate_at(self, time: float) -> float:
        """Give the correction that was in force at ``time``."""
        return self._at(time).rate

    def integral(self, time: float) -> float:
        """Give A(time); before the first change that is remembered as if its correction had always been in force."""
        since, total, rate = self._at(time)
        return total + rate * (time - since)

    def steer(self, frequency: float) -> ClockReading:
        """Let the clock run ``frequency`` faster than its oscillator, within its limits; give when that took effect."""
        reading: ClockReading = self.clock.set_frequency(max(-self.limit, min(self.limit, frequency)) * 1e6)
        self._enter(reading.monotonic)
        return reading

    def observe(self, monotonic: Monotonic) -> None:
        """Look up the correction that somebody else has set; it counts from now on."""
        if self.clock.frequency() * 1e-6 != self._now.rate:
            self._enter(monotonic)

    def step(self, delta: int) -> ClockReading:
        """Move ``local`` by ``delta`` nanoseconds; give the clock right after it."""
        reading: ClockReading = self.clock.step(delta)
        self._ahead += delta
        self.stepped = reading.monotonic
        return reading

    def check(self, reading: ClockReading, leap: Leap) -> Displacement:
        """
        Tell what came between both axes, and enter it: the next check finds nothing.

        ``leap`` is the leap second that was announced.  What is foreign is entered too: whoever undoes it steps.
        """
        local, monotonic, asleep = reading
        moved = local - monotonic - self._ahead
        slept, self._asleep = asleep - self._asleep, asleep
        if -FOREIGN_THRESHOLD <= moved <= FOREIGN_THRESHOLD:
            return _NOTHING
        if slept <= FOREIGN_THRESHOLD:
            slept = 0
        rest = moved - slept
        leapt = _leap_second(leap, local)
        if abs(rest) <= FOREIGN_THRESHOLD:
            found = Displacement(slept=moved)
        elif leapt and abs(rest - leapt) <= FOREIGN_THRESHOLD:
            found = Displacement(slept=slept, leapt=rest)
        else:
            found = Displacement(slept=slept, foreign=rest)
        self._ahead += moved
        self.stepped = monotonic
        return found

    def _at(self, time: float) -> _Rate:
        if time >= self._now.since or not self._past:
            return self._now
        return self._past[max(bisect_right(self._past, (time,)) - 1, 0)]

    def _enter(self, monotonic: Monotonic) -> None:
        time = self.seconds(monotonic)
        self._past.append(self._now)
        if len(self._past) > BOOK_LENGTH:
            del self._past[: BOOK_LENGTH // 2]
        self._now = _Rate(time, self.integral(time), self.clock.frequency() * 1e-6)


def ends_month(local: Timestamp) -> bool:
    """Tell whether a UTC month ends within this UTC day: the only day on which a kernel may be told of a leap."""
    return _starts_month(local // NANOSECONDS // _DAY + 1)


def _leap_second(leap: Leap, local: Timestamp) -> int:
    """Give by how much a leap second may just have moved ``local``, nanoseconds; 0 when none can have."""
    if leap not in (Leap.INSERT, Leap.DELETE):
        return 0
    seconds = local // NANOSECONDS
    day = (seconds + _DAY // 2) // _DAY
    if abs(seconds - day * _DAY) > LEAP_WINDOW or not _starts_month(day):
        return 0
    return -NANOSECONDS if leap is Leap.INSERT else NANOSECONDS


def _starts_month(day: int) -> bool:
    """Tell whether a day, counted from 1970, is the first of a month."""
    ordinal = _EPOCH + day
    return date.min.toordinal() <= ordinal <= date.max.toordinal() and date.fromordinal(ordinal).day == 1
