"""The Gaussian belief: its closed-form update is Bayes' theorem, and its covariance stays one."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.belief import Belief, Estimate, inverse_mills, level, recentre


def _normal(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _delayed(e: float, scale: float, sigma: float) -> float:
    """Give the density of Exp(scale) + N(0, sigma^2) at e, by the textbook formula."""
    below = 0.5 * math.erfc(-(e / sigma - sigma / scale) / math.sqrt(2.0))
    return below * math.exp(-e / scale + sigma * sigma / (2.0 * scale * scale)) / scale


@pytest.mark.parametrize("a", [-24.0, -10.0, -1.0, 0.0, 3.0, 30.0])
def test_inverse_mills_is_density_over_distribution(a: float) -> None:
    """Where both can be computed, the ratio is phi over Phi, with the logarithm of Phi beside it."""
    below = 0.5 * math.erfc(-a / math.sqrt(2.0))
    r, excess, log_below = inverse_mills(a)

    assert r == pytest.approx(_normal(a) / below, rel=1e-12)
    assert excess == pytest.approx(a + r, rel=1e-9)
    assert log_below == pytest.approx(math.log(below), abs=1e-300)


def test_inverse_mills_has_no_seam_far_out() -> None:
    """Where the continued fraction takes over, all three values go on smoothly."""
    near, far = inverse_mills(-25.0), inverse_mills(-25.0 - 1e-12)

    assert far == pytest.approx(near, rel=2e-7)


@pytest.mark.parametrize("a", [-1e3, -1e8, -1e12])
def test_inverse_mills_has_no_cancellation_far_out(a: float) -> None:
    """However far out, a + r tends to 1/|a| instead of to rounding noise."""
    assert inverse_mills(a)[1] == pytest.approx(-1.0 / a, rel=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("measured", [-0.5, 1.0, 4.0])
def test_update_is_the_exact_posterior(sign: float, measured: float) -> None:
    """Mean, covariance and likelihood are those that numerical integration of Bayes' theorem gives."""
    belief = Belief((0.3, 0.0, 1.0), (0.5, 1.0, 0.2), 0.0, 0.0)
    belief.p02 = 0.1
    scale, sigma = 0.7, 0.3
    # the likelihood depends on u = sign offset + base alone: integrate over u, regress the offset on it
    mean, variance = sign * belief.offset + belief.base, belief.p00 + 2.0 * sign * belief.p02 + belief.p22
    share = (sign * belief.p00 + belief.p02) / variance
    grid = [mean + math.sqrt(variance) * (k / 500.0 - 10.0) for k in range(10001)]
    step = grid[1] - grid[0]
    weights = [_normal((u - mean) / math.sqrt(variance)) * _delayed(measured - u, scale, sigma) for u in grid]
    total = math.fsum(weights)
    first = math.fsum(w * u for w, u in zip(weights, grid, strict=True)) / total
    second = math.fsum(w * (u - first) ** 2 for w, u in zip(weights, grid, strict=True)) / total
    offset = belief.offset + share * (first - mean)
    p00 = belief.p00 + share * share * (second - variance)
    likelihood = math.log(total * step / math.sqrt(variance))

    found = belief.absorb(measured, sign, scale, sigma)

    assert belief.offset == pytest.approx(offset, abs=1e-6)
    assert belief.p00 == pytest.approx(p00, abs=1e-6)
    assert found == pytest.approx(likelihood, abs=1e-6)


def test_update_tends_to_a_kalman_step_when_nothing_is_exponential() -> None:
    """With a vanishing exponential part the update is the linear one."""
    belief = Belief((0.0, 0.0, 1.0), (4.0, 1.0, 1.0), 0.0, 0.0)
    belief.absorb(3.0, 1.0, 1e-6, 2.0)

    assert belief.offset == pytest.approx(4.0 / 9.0 * 2.0, abs=1e-5)
    assert belief.p00 == pytest.approx(4.0 - 16.0 / 9.0, abs=1e-5)


def test_prediction_carries_the_covariance_with_the_wander() -> None:
    """After d seconds the offset has the variance P00 + 2 P01 d + P11 d^2 + wander d^3 / 3."""
    belief = Belief((1.0, 0.5, 0.0), (1.0, 2.0, 1.0), 6.0, 0.1)
    belief.p01, belief.p12 = 0.5, 0.25
    belief.predict(2.0, 0.25)

    assert (1.75, 1.0 + 2.0 + 8.0 + 16.0, 0.5 + 4.0 + 12.0) == (belief.offset, belief.p00, belief.p01)
    assert (14.0, 0.5) == (belief.p11, belief.p02)


def test_belief_with_a_broken_covariance_loses_its_correlations() -> None:
    """Rounding that makes a covariance indefinite costs the correlations, not the variances."""
    belief = Belief((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 0.0)
    belief.p01, belief.p12 = 0.9, -0.9
    belief.p02 = 0.9

    assert belief.sound()
    assert (0.0, 0.0, 0.0, 1.0) == (belief.p01, belief.p02, belief.p12, belief.p11)


@pytest.mark.parametrize(("name", "value"), [("p00", 0.0), ("p11", -1.0), ("offset", math.nan), ("score", -math.inf)])
def test_belief_that_is_none_says_so(name: str, value: float) -> None:
    """A variance that is not positive or anything that is not finite is no belief."""
    belief = Belief((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 0.0)
    setattr(belief, name, value)

    assert not belief.sound()


def test_mixture_includes_the_spread_of_its_means() -> None:
    """Two equal hypotheses that are 2 apart have the variance of each plus one."""
    bank = [Belief((mean, 0.0, 0.0), (0.5, 1.0, 1.0), 1e-3, 0.0) for mean in (-1.0, 1.0)]
    estimate = Estimate(0.0, 0.0)
    estimate.mix(bank)

    assert (0.0, 1.5, 1e-3) == (estimate.offset, estimate.p00, estimate.wander)


def test_bank_moves_to_a_clear_winner_and_keeps_losers_near() -> None:
    """A lead of more than two makes a neighbour the centre, and nobody falls back by more than six."""
    bank = [Belief((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0, 0.0).under(10.0**k, 0.1) for k in range(3)]
    bank[1].score, bank[2].score = 2.5, -50.0
    winner = recentre(bank, 2.0, 6.0)
    level(bank, 7.0)

    assert winner is bank[1]
    assert [7.0, 7.0, 7.0] == [belief.score for belief in bank]


def test_bank_stays_where_nobody_leads_clearly() -> None:
    """A lead of two is not enough, and the last score is lifted."""
    bank = [Belief((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0, 0.0) for _ in range(3)]
    bank[1].score, bank[2].score = 2.0, -50.0

    assert recentre(bank, 2.0, 6.0) is None
    assert -4.0 == bank[2].score
