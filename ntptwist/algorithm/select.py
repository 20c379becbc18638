"""
Which sources tell the time: the largest group whose intervals have a point in common (RFC 5905, section 11.2.1).

A source's interval is its offset plus and minus its root distance, so truth is inside unless the source is false.  The
clock is touched only while more than half of all sources that can vote, and at least as many as the operator asks for,
overlap.  Pulses don't vote: they refine what the others agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from ntptwist.algorithm.words import duration


class Standing(Enum):
    """What is thought of a source; the values are the reasons as people read them."""

    NEW = "no measurement yet"
    IMPLAUSIBLE = "its measurements are implausible"
    SILENT = "no answer for {number} polls"
    QUIET = "no sample for {amount}"
    UNSYNCHRONIZED = "server is not synchronized"
    STRATUM = "stratum {number} is not below {needed}"
    LOOP = "server is synchronized to us (loop)"
    DISTANCE = "root distance {amount} is too large"
    WAITING = "waiting for a majority of the sources to answer"
    NO_MAJORITY = "no majority: {number} of {of} agree, {needed} needed"
    FALSETICKER = "falseticker: {amount} from the majority"
    UNNUMBERED = "waiting for other sources to number its pulses"
    AGREES = "agrees with the pulses that are used"
    USED = "used"
    BEST = "used, best of {of}"


class Verdict(NamedTuple):
    """A standing with its numbers; ``amount`` is in seconds."""

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
        return self.standing.value.format(
            amount=duration(self.amount), number=self.number, of=self.of, needed=self.needed
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
    }
)


class Interval(NamedTuple):
    """Where truth is, if a source is right: seconds, remote minus local."""

    low: float
    high: float

    def touches(self, other: Interval) -> bool:
        """Tell whether both have a point in common."""
        return self.low <= other.high and self.high >= other.low


class Majority(NamedTuple):
    """The largest overlap of ``of`` intervals: ``agree`` of them hold ``common``; ``needed`` must."""

    common: Interval
    agree: int
    of: int
    needed: int

    @property
    def holds(self) -> bool:
        """Whether that is enough to touch the clock."""
        return self.agree >= self.needed


NO_MAJORITY = Majority(Interval(0.0, 0.0), 0, 0, 1)
"""What there is before anybody has answered."""


def find_majority(intervals: Sequence[Interval], agreeing: int) -> Majority:
    """Find the point that most intervals hold, and the common interval around it; the lowest of several."""
    needed = max(agreeing, len(intervals) // 2 + 1)
    if not intervals:
        return Majority(Interval(0.0, 0.0), 0, 0, needed)
    if len(intervals) == 1:
        return Majority(intervals[0], 1, 1, needed)
    # a low end sorts before a high end at the same place: intervals that only touch do overlap
    ends = sorted([(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    count = agree = 0
    low = 0.0
    for place, is_high in ends:
        count += -1 if is_high else 1
        if count > agree:
            agree, low = count, place
    high = min(place for place, is_high in ends if is_high and place >= low)
    return Majority(Interval(low, high), agree, len(intervals), needed)
