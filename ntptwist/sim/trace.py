"""
What a virtual clock showed at each whole second of true time, and the figures drawn from it.

Two arrays of doubles: a month at 1 Hz takes 42 MB.  While the machine sleeps nobody can read its clock: those seconds
are NaN and count for nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

STEADY = 1001
"""Seconds that an error must stay below a bound until it counts as below it for good."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """
    How well a clock kept time over a number of ``seconds``.

    Offsets are in seconds (truth minus local), frequencies fractional.  ``below_...`` are the seconds from the start of
    the trace until the error was below that bound for good, None if it never was.
    """

    seconds: int
    rms: float
    maximum: float
    mean: float
    frequency_rms: float
    frequency_maximum: float
    below_10ms: int | None
    below_1ms: int | None
    below_100us: int | None
    packets: int
    steps: int


class Trace:
    """Offsets (truth minus local, seconds) and fractional frequency errors (positive: fast), one each second."""

    __slots__ = ("frequencies", "offsets")

    def __init__(self) -> None:
        self.offsets = array("d")
        self.frequencies = array("d")

    def __len__(self) -> int:
        return len(self.offsets)

    def extend(self, offsets: Iterable[float], frequencies: Iterable[float]) -> None:
        """Add what the next seconds have shown."""
        self.offsets.extend(offsets)
        self.frequencies.extend(frequencies)

    def below(self, bound: float, first: int = 0, last: int | None = None) -> int | None:
        """
        Give the seconds from second ``first`` until the error is below a bound for good, at least for 1,001 s.

        None if that does not come before second ``last``.
        """
        since = quiet = 0
        for index, offset in enumerate(memoryview(self.offsets)[first:last]):
            if abs(offset) >= bound:
                since, quiet = index + 1, 0
            elif not math.isnan(offset):
                quiet += 1
                if quiet == STEADY:
                    return since
        return None

    def recovery(self, step: float) -> int | None:
        """Give the seconds from a step of the clock until the error is below 1 ms for good; None if it never is."""
        after = math.floor(step) + 1
        since = self.below(1e-3, after)
        return since and math.ceil(after + since - step)

    def statistics(self, first: int = 0, last: int | None = None, packets: int = 0, steps: int = 0) -> Statistics:
        """Give the figures of the seconds ``first`` up to, not including, ``last``; ValueError if there are none."""
        offsets = _Figures(memoryview(self.offsets)[first:last])
        frequencies = _Figures(memoryview(self.frequencies)[first:last])
        if not offsets.count:
            raise ValueError(f"no second between {first} and {last} was recorded")
        return Statistics(
            seconds=offsets.count,
            rms=offsets.rms,
            maximum=offsets.maximum,
            mean=offsets.mean,
            frequency_rms=frequencies.rms,
            frequency_maximum=frequencies.maximum,
            below_10ms=self.below(1e-2),
            below_1ms=self.below(1e-3),
            below_100us=self.below(1e-4),
            packets=packets,
            steps=steps,
        )


class _Figures:
    """Figures of a long row of numbers, of which NaN is none; nothing is copied."""

    def __init__(self, values: memoryview) -> None:
        self.count = sum(1 for value in values if value == value)
        self.maximum = max((abs(value) for value in values if value == value), default=0.0)
        self.mean = math.fsum(value for value in values if value == value) / max(self.count, 1)
        self.rms = math.sqrt(math.fsum(value * value for value in values if value == value) / max(self.count, 1))
