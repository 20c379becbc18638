"""
What a source may report: the one check that every measurement passes on its way to the algorithm.

Drivers come from outside, and a filter that has once taken a NaN is lost.  What is refused here is impossible, whatever
the clocks involved; what is merely wrong is for the algorithm to find out.  Refusals are values, in words for people.

It is the hot path of the lab: comparisons are written so that a NaN fails them, and nothing is made of what is sound.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ntptwist.measurement import Measurement, OneWayMeasurement
from ntptwist.snapshot import SourceObservation
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic

FASTEST = 20
"""Measurements of one source in a second: twice what the fastest receivers make."""
ABSURD = 2.0 * (1 << 32)
"""Seconds: two eras of RFC 5905, section 6.  Two clocks that differ by more can't both tell a time."""
_ABSURD_NS = round(ABSURD) * NANOSECONDS
EARLIEST = NANOSECONDS // 1000
"""Nanoseconds by which two readings of one clock may differ, when its axes were not read together."""


NEWS_INTERVAL = 60 * NANOSECONDS
"""Two refusals of one source that are told to people lie so far apart."""
SHOWN = 10 * NANOSECONDS
"""So long is a refusal shown although sound measurements come in between."""


class Intake:
    """
    The measurements of one source, in the order in which they are reported.

    ``refused`` counts those that are of no use, ``trouble`` says why the latest was not, and ``is_news`` whether people
    are to be told of it.
    """

    __slots__ = ("_count", "_last", "_refused_at", "_second", "_told_at", "is_news", "refused", "trouble")

    def __init__(self) -> None:
        self.refused = 0
        self.trouble: str | None = None
        self.is_news = False
        self._refused_at = self._told_at = -math.inf
        self._last: Monotonic | None = None
        self._second = Monotonic(-NANOSECONDS)
        self._count = 0

    def passes(self, measurement: Measurement, now: ClockReading) -> bool:
        """Tell whether a measurement that is reported now is sound; one that is not is counted."""
        reason = self.refuse(measurement, now)
        if reason is None:
            if self.trouble is not None and now.monotonic - self._refused_at > SHOWN:
                self.trouble = None
            return True
        self.refused += 1
        self.trouble = f"dropped: {reason}"
        self._refused_at = now.monotonic
        self.is_news = now.monotonic - self._told_at >= NEWS_INTERVAL
        if self.is_news:
            self._told_at = now.monotonic
        return False

    def shown(self, observation: SourceObservation) -> SourceObservation:
        """Give what a source says of itself together with what was refused of it."""
        if not self.refused:
            return observation
        dropped = observation.dropped + self.refused
        return replace(observation, dropped=dropped, trouble=self.trouble or observation.trouble)

    def refuse(self, measurement: Measurement, now: ClockReading) -> str | None:
        """Say why a measurement that is reported now is of no use to anybody; None when it is sound."""
        if now.monotonic - self._second >= NANOSECONDS:
            self._second = now.monotonic
            self._count = 0
        self._count += 1
        if self._count > FASTEST:
            return f"more than {FASTEST} measurements in a second"
        monotonic = measurement.monotonic
        if not monotonic <= now.monotonic + EARLIEST:
            return "a measurement of the future"
        if self._last is not None and monotonic < self._last:
            return "a measurement older than the one before"
        if isinstance(measurement, OneWayMeasurement):
            local = measurement.local
            sound = (
                0.0 < measurement.precision < ABSURD
                and 0.0 <= measurement.accuracy < ABSURD
                and (measurement.period is None or 0.0 < measurement.period < ABSURD)
            )
        else:
            local = measurement.t4
            sound = (
                -ABSURD < measurement.delay < ABSURD
                and 0.0 <= measurement.root_delay < ABSURD
                and 0.0 <= measurement.root_dispersion < ABSURD
            )
        offset = measurement.offset
        if not (sound and math.isfinite(offset)):
            return "a measurement with impossible values"
        if not (-ABSURD < offset < ABSURD and -_ABSURD_NS < local - now.local < _ABSURD_NS):
            return "a measurement that is off by more than two eras"
        self._last = monotonic
        return None
