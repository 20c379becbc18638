"""
Which sources tell the time: the largest group whose intervals have a point in common (RFC 5905, section 11.2.1).

A source's interval is its offset plus and minus its root distance, so truth is inside unless the source is false.  The
clock is touched only while more than half of all sources that can vote, and at least as many as the operator asks for,
overlap.  A group of sources has one vote, for whatever more than half of its members hold: so it never votes twice.
Pulses don't vote: they refine what the others agree on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from enum import Enum
from statistics import median
from typing import NamedTuple

from ntptwist.algorithm.config import DRIFT_FLOOR, DRIFT_SIGMAS
from ntptwist.algorithm.words import duration
from ntptwist.snapshot import MajoritySnapshot


class Standing(Enum):
    """What is thought of a source; the values are the reasons as people read them."""

    NEW = "no measurement yet"
    IMPLAUSIBLE = "its measurements are implausible"
    SILENT = "no answer for {number} polls"
    QUIET = "no sample for {amount}"
    UNSYNCHRONIZED = "server is not synchronized"
    STRATUM = "stratum {number} is not below {needed}"
    LOOP = "server is synchronized to us (loop)"
    NOSELECT = "only measured (noselect)"
    DISTANCE = "root distance {amount} is too large"
    WAITING = "waiting for a majority of the sources to answer"
    NO_MAJORITY = "no majority: {number} of {of} agree, {needed} needed"
    FALSETICKER = "falseticker: {amount} from the majority"
    DRIFTING = "falseticker: drifts by {parts:.3g} ppm from the majority"
    REQUIRED = "waiting for a required source to agree"
    NOT_PREFERRED = "agrees, but others are preferred"
    UNNUMBERED = "waiting for other sources to number its pulses"
    AGREES = "agrees with the pulses that are used"
    USED = "used"
    BEST = "used, best of {of}"


class Verdict(NamedTuple):
    """A standing with its numbers; ``amount`` is in seconds, or a fraction where it is a frequency."""

    standing: Standing
    amount: float = 0.0
    number: int = 0
    of: int = 0
    needed: int = 0

    @property
    def used(self) -> bool:
        """Whether the source is used."""
        return self.standing in (Standing.USED, Standing.BEST)

    @property
    def rejected(self) -> bool:
        """Whether the source is of no use: it contradicts the majority, or gives no measurement that counts."""
        return self.standing in _REJECTED

    def words(self) -> str:
        """Give the reason in words."""
        return self.fill(self.standing.value)

    def fill(self, sentence: str) -> str:
        """Put the numbers into a sentence about this verdict."""
        if "{" not in sentence:  # as most are: this is asked for each source that is shown
            return sentence
        return sentence.format(
            amount=duration(self.amount), parts=self.amount * 1e6, number=self.number, of=self.of, needed=self.needed
        )


_REJECTED = frozenset(
    {
        Standing.NEW,
        Standing.IMPLAUSIBLE,
        Standing.SILENT,
        Standing.UNSYNCHRONIZED,
        Standing.STRATUM,
        Standing.LOOP,
        Standing.DISTANCE,
        Standing.FALSETICKER,
        Standing.DRIFTING,
    }
)


class Interval(NamedTuple):
    """Where truth is, if a source is right: seconds, remote minus local."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The offset that is as likely too small as too large."""
        return (self.low + self.high) / 2.0

    def touches(self, other: Interval) -> bool:
        """Tell whether both have a point in common."""
        return self.low <= other.high and self.high >= other.low


class Majority(NamedTuple):
    """The largest overlap of ``of`` votes: ``agree`` of them hold ``common``; ``needed`` must."""

    common: Interval
    agree: int
    of: int
    needed: int

    @property
    def holds(self) -> bool:
        """Whether that is enough to touch the clock."""
        return self.agree >= self.needed

    def snapshot(self) -> MajoritySnapshot | None:
        """Give the form that is shown; None while nobody has a vote."""
        return MajoritySnapshot(*self.common, self.agree, self.of, self.needed) if self.of else None


NO_MAJORITY = Majority(Interval(0.0, 0.0), 0, 0, 1)
"""What there is before anybody has answered."""


def find_majority(intervals: Sequence[Interval], agreeing: int, groups: Sequence[Hashable] | None = None) -> Majority:
    """
    Find the point that most votes hold, and the common interval around it; the lowest of several.

    ``groups`` tells for each interval which vote it is a part of; without it every one is its own.
    """
    count = len(intervals) if groups is None else len(set(groups))
    needed = max(agreeing, count // 2 + 1)
    if not intervals:
        return Majority(Interval(0.0, 0.0), 0, 0, needed)
    if groups is None:
        shared = Interval(max([low for low, _ in intervals]), min([high for _, high in intervals]))
        if shared.low <= shared.high:  # as usual: there is a point that all hold
            return Majority(shared, count, count, needed)
    # a low end sorts before a high end at the same place: intervals that only touch do overlap
    ends = sorted(
        [(low, 0, i) for i, (low, _) in enumerate(intervals)] + [(high, 1, i) for i, (_, high) in enumerate(intervals)]
    )
    common, agree = _common(ends) if groups is None else _common_of_groups(ends, groups)
    return Majority(common, agree, count, needed)


def _common(ends: Sequence[tuple[float, int, int]]) -> tuple[Interval, int]:
    """Give what most intervals share, and how many do; ``ends`` are sorted (place, whether it is high, which)."""
    count = agree = 0
    low = 0.0
    for place, is_high, _ in ends:
        count += -1 if is_high else 1
        if count > agree:
            agree, low = count, place
    return Interval(low, min(place for place, is_high, _ in ends if is_high and place >= low)), agree


def _common_of_groups(ends: Sequence[tuple[float, int, int]], groups: Sequence[Hashable]) -> tuple[Interval, int]:
    """Give what most groups hold; a group holds what more than half of its members do."""
    sizes = Counter(groups)
    holding: Counter[Hashable] = Counter()
    votes = agree = 0
    low = high = 0.0
    for place, is_high, i in ends:
        group = groups[i]
        before = 2 * holding[group] > sizes[group]
        holding[group] += -1 if is_high else 1
        change = (2 * holding[group] > sizes[group]) - before
        if change < 0 and votes == agree:
            high = min(high, place)
        votes += change
        if votes > agree:
            agree, low, high = votes, place, math.inf
    return Interval(low, high), agree


def find_drifting(frequencies: Sequence[tuple[float, float]]) -> list[float] | None:
    """
    Tell how far each frequency, given with its variance, is from the median of all if it contradicts that, 0 if not.

    All measure the same oscillator against clocks that are said to be right.  None when there is no contradiction.
    """
    values = sorted(frequency for frequency, _ in frequencies)
    if values[-1] - values[0] <= DRIFT_FLOOR:
        return None
    middle, doubt = median(values), median(variance for _, variance in frequencies)
    away = [
        abs(frequency - middle)
        if abs(frequency - middle) > DRIFT_SIGMAS * math.sqrt(variance + doubt) + DRIFT_FLOOR
        else 0.0
        for frequency, variance in frequencies
    ]
    return away if any(away) else None
