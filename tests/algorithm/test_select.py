"""The largest overlap, and the reasons in words."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.select import Interval, Standing, Verdict, find_drifting, find_majority


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
        (Verdict(Standing.DRIFTING, amount=5e-6), "falseticker: drifts by 5 ppm from the majority"),
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


def test_a_group_has_one_vote() -> None:
    """Three sources of one group that agree don't outvote two others."""
    there, here = Interval(5.0, 6.0), Interval(0.0, 1.0)
    majority = find_majority([there, there, there, here, here], 1, ["g", "g", "g", 1, 2])

    assert (Interval(0.0, 1.0), 2, 3, True) == (*majority[:3], majority.holds)


def test_a_group_that_is_of_two_minds_does_not_vote() -> None:
    """What half of a group holds has not its vote; what more than half of it hold has."""
    there, here = Interval(5.0, 6.0), Interval(0.0, 1.0)
    split = find_majority([there, here, there, here], 1, ["g", "g", 1, 2])
    settled = find_majority([there, here, here, there, here], 1, ["g", "g", "g", 1, 2])

    assert (1, 3, False) == (split.agree, split.of, split.holds)
    assert (Interval(0.0, 1.0), 2, 3) == settled[:3]


def test_a_group_ends_the_common_interval_when_its_majority_does() -> None:
    """A member that is alone in leaving does not end what the group holds, nor does one that joins late."""
    intervals = [Interval(0.0, 3.0), Interval(1.0, 9.0), Interval(2.0, 5.0), Interval(0.0, 8.0)]
    majority = find_majority(intervals, 1, ["g", "g", "g", 1])

    assert (Interval(1.0, 5.0), 2, 2) == majority[:3]


def test_drifting_is_seen_against_the_median() -> None:
    """One of four whose frequency is 5 ppm from the others' contradicts them, once that is known well enough."""
    frequencies = [1e-6, 1.1e-6, 6e-6, 0.9e-6]
    known = find_drifting([(frequency, 1e-14) for frequency in frequencies])
    unknown = find_drifting([(frequency, 1e-12) for frequency in frequencies])

    assert known == pytest.approx([0.0, 0.0, 4.95e-6, 0.0])
    assert unknown is None
