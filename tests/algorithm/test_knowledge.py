"""What is known of the clock before anything is known."""

from __future__ import annotations

from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.knowledge import ClockKnowledge
from ntptwist.snapshot import MAXIMUM_DISPERSION
from tests.algorithm.world import HandClock


def test_unknown_clock_may_be_anywhere() -> None:
    """Before any source has agreed there is no estimate, the distance is the largest, and nothing is served."""
    clock = HandClock()
    knowledge = ClockKnowledge(ClockBook(clock))
    now = clock.read().monotonic
    knowledge.shift(10**9)
    knowledge.doubt(1.0)

    assert knowledge.at(now) is None
    assert MAXIMUM_DISPERSION == knowledge.distance(now)
    assert MAXIMUM_DISPERSION == knowledge.bound(now)
    assert "" == knowledge.silence(now, synchronized=False)
    assert not knowledge.snapshot(now, synchronized=True).synchronized
