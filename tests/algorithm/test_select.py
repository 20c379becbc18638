"""The largest overlap, and the reasons in words."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.select import Interval, Standing, Verdict, find_majority


def test_nobody_has_no_majority() -> None:
    """Without sources nothing holds, whatever the minimum is."""
    majority = find_majority([], 0)

    assert (0, 0, 1, False) == (majority.agree, majority.of, majority.needed, majority.holds)


def test_one_source_is_its_own_majority() -> None:
    """One source is enough where one is asked for."""
    assert find_majority([Interval(-1.0, 1.0)], 1).holds


def test_common_interval_is_what_most_share() -> None:
    """Of four intervals three overlap in [1, 2]."""
    majority = find_majority([Interval(0.0, 2.0), Interval(1.0, 3.0), Interval(-4.0, 5.0), Interval(9.0, 10.0)], 1)

    assert (Interval(1.0, 2.0), 3, 4, 3) == majority[:4]
    assert majority.holds


def test_half_is_no_majority() -> None:
    """Two against two don't hold."""
    pairs = [Interval(0.0, 1.0), Interval(0.0, 1.0), Interval(5.0, 6.0), Interval(5.0, 6.0)]

    assert not find_majority(pairs, 1).holds


def test_intervals_that_only_touch_overlap() -> None:
    """An interval that begins where another ends has a point in common with it."""
    assert 2 == find_majority([Interval(0.0, 1.0), Interval(1.0, 2.0)], 1).agree
    assert Interval(0.0, 1.0).touches(Interval(1.0, 2.0))
    assert not Interval(0.0, 1.0).touches(Interval(1.5, 2.0))


def test_minimum_is_asked_for_beyond_the_majority() -> None:
    """Two that agree are not enough where three are asked for."""
    majority = find_majority([Interval(0.0, 1.0), Interval(0.0, 1.0)], 3)

    assert (2, 3, False) == (majority.agree, majority.needed, majority.holds)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict(Standing.FALSETICKER, amount=0.1001), "falseticker: 100.1 ms from the majority"),
        (Verdict(Standing.NO_MAJORITY, number=2, of=4, needed=3), "no majority: 2 of 4 agree, 3 needed"),
        (Verdict(Standing.SILENT, number=8), "no answer for 8 polls"),
        (Verdict(Standing.BEST, of=3), "used, best of 3"),
        (Verdict(Standing.USED), "used"),
    ],
)
def test_reasons_are_words_with_units(verdict: Verdict, words: str) -> None:
    """What an operator reads has numbers with units."""
    assert words == verdict.words()
    assert verdict.used == words.startswith("used")
    assert verdict.rejected == words.startswith(("falseticker", "no answer"))
