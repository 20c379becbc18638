"""The combined estimate and the vote on the leap second."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.belief import Belief, Estimate
from ntptwist.algorithm.combine import Contribution, combine, disagreement, vote_leap
from ntptwist.identifiers import Leap


def _estimate(offset: float, sigma: float, frequency: float = 0.0, frequency_sigma: float = 1e-7) -> Estimate:
    estimate = Estimate(0.0, 0.0)
    estimate.mix([Belief((offset, frequency, 0.0), (sigma * sigma, frequency_sigma**2, 1.0), 1e-17, 0.1)])
    return estimate


def test_better_sources_weigh_more() -> None:
    """A source of half the standard deviation has four times the weight."""
    both = [Contribution(_estimate(0.0, 1e-4), 0.0, 0.0), Contribution(_estimate(5e-4, 2e-4), 0.0, 0.0)]
    combined = combine(both, 0.0, 0.0)

    assert combined.offset == pytest.approx(1e-4, rel=1e-4)
    assert combined.p00 == pytest.approx(8e-9, rel=1e-4)


def test_root_dispersion_and_base_delay_cost_weight() -> None:
    """A server that doubts itself by 1 ms, or is 50 ms away, has no more than the weight of that error."""
    near = Contribution(_estimate(0.0, 1e-3), 0.0, 0.0)
    for other in (Contribution(_estimate(2e-3, 1e-9), 0.0, 1e-3), Contribution(_estimate(2e-3, 1e-9), 0.05, 0.0)):
        assert combine([near, other], 0.0, 0.0).offset == pytest.approx(1e-3, rel=1e-3)


def test_error_bound_is_a_mean_of_what_the_sources_may_hide() -> None:
    """Half of all round trips and the root dispersion are as much in the bound as the source is in the offset."""
    near = Contribution(_estimate(0.0, 1e-3), 0.0, 0.0, 1e-3)
    far = Contribution(_estimate(10e-3, 1e-9), 0.0, 1e-3, 20e-3)
    combined = combine([near, far], 0.0, 0.0)

    assert combined.hidden == pytest.approx((1e-3 + 21e-3) / 2, rel=1e-3)
    assert combined.bound == pytest.approx(combined.hidden, rel=1e-3)


def test_disagreement_is_known_as_well_as_both_sides_are() -> None:
    """One source is compared with the weighted mean of the others, and the variances of both sides add up."""
    one = Contribution(_estimate(7e-4, 3e-4), 0.0, 0.0)
    others = [Contribution(_estimate(0.0, 1e-4), 0.0, 0.0), Contribution(_estimate(5e-4, 2e-4), 0.0, 0.0)]
    ahead, variance = disagreement(one, others, 0.0, 0.0)

    assert ahead == pytest.approx(6e-4, rel=1e-4)
    assert variance == pytest.approx(9e-8 + 8e-9, rel=1e-4)


def test_error_bound_has_three_standard_deviations() -> None:
    """What a single source with nothing to hide is wrong by is within three of them, now and later."""
    combined = combine([Contribution(_estimate(0.0, 1e-4), 0.0, 0.0)], 0.0, 0.0)
    later = combined.at(10_000.0, 0.0)

    assert combined.bound == pytest.approx(3e-4)
    assert later.bound == pytest.approx(3.0 * later.p00**0.5)
    assert later.bound > 3e-3


def test_frequencies_are_weighted_by_their_variance() -> None:
    """The frequency that is known ten times better is believed."""
    both = [
        Contribution(_estimate(0.0, 1e-4, 1e-6, 1e-7), 0.0, 0.0),
        Contribution(_estimate(0.0, 1e-4, 2e-6, 1e-8), 0.0, 0.0),
    ]

    assert combine(both, 0.0, 0.0).frequency == pytest.approx(2e-6, rel=0.01)


def test_an_estimate_that_is_ahead_of_time_is_not_more_certain() -> None:
    """Carried back, the frequency keeps its variance instead of losing what the wander would have added."""
    estimate = _estimate(0.0, 1e-4, 0.0, 1e-7)
    combined = combine([Contribution(estimate, 0.0, 0.0)], -1e9, 0.0)

    assert combined.p11 == pytest.approx(1e-14)


def test_prediction_is_the_polynomial_of_the_variance() -> None:
    """An estimate is carried on exactly: 2 P01 d and wander d^3 / 3 included, and never to a negative variance."""
    estimate = _estimate(1e-3, 1e-4, 1e-6, 1e-7)
    combined = combine([Contribution(estimate, 0.0, 0.0)], 100.0, 0.0)
    later = combined.at(200.0, 5e-5)

    assert later.offset == pytest.approx(1e-3 + 200.0 * 1e-6 - 5e-5)
    assert later.p00 == pytest.approx(estimate.at(200.0, 0.0)[1])
    assert combined is combined.at(100.0, 0.0)
    assert 0.0 == combined._replace(p01=-1.0).at(200.0, 0.0).p00


def test_step_and_doubt_reach_the_combined_estimate() -> None:
    """A step moves it, a suspend widens it."""
    combined = combine([Contribution(_estimate(1e-3, 1e-4), 0.0, 0.0)], 0.0, 0.0)

    assert combined.shifted(1e-3).offset == pytest.approx(0.0)
    assert combined.doubted(1.0).p00 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("leaps", "vote"),
    [
        ([], None),
        ([Leap.UNSYNCHRONIZED], None),
        ([Leap.INSERT, Leap.NONE], None),
        ([Leap.INSERT, Leap.NONE, Leap.INSERT], Leap.INSERT),
        ([Leap.DELETE, Leap.UNSYNCHRONIZED, Leap.UNSYNCHRONIZED], Leap.DELETE),
        ([Leap.NONE, Leap.NONE, Leap.INSERT], Leap.NONE),
    ],
)
def test_leap_needs_a_strict_majority_of_those_who_know(leaps: list[Leap], vote: Leap | None) -> None:
    """Half is not enough, and who is not synchronized has no vote."""
    assert vote is vote_leap(leaps)


def test_a_list_of_leap_seconds_has_one_vote_and_breaks_ties() -> None:
    """It is outvoted as any source, but where half say what it says it is right."""
    assert vote_leap([], Leap.INSERT) is Leap.INSERT
    assert vote_leap([Leap.NONE], Leap.INSERT) is Leap.INSERT
    assert vote_leap([Leap.NONE, Leap.NONE], Leap.INSERT) is Leap.NONE
    assert vote_leap([Leap.NONE, Leap.INSERT], Leap.NONE) is Leap.NONE
