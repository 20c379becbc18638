"""
A Gaussian belief about one source, and its exact update by a one-way time.

The state is x = (offset, frequency, base): remote minus local time in seconds; the frequency correction that the local
oscillator needs (whatever correction is in force); and the base one-way delay.  A one-way time is, up to sign,

    outward   t2 - t1 = +offset + base + noise
    homeward  t4 - t3 = -offset + base + noise        noise = Exp(scale) + N(0, sigma^2)

so that h = (+1, 0, 1) or (-1, 0, 1).  An exponential only ever delays: such a sample says "the offset is certainly not
beyond this line", hard on one side and soft on the other.  Gaussian prior times this likelihood has its mean and
covariance in closed form (docs/algorithm.rst derives them): with s^2 = h'Ph + sigma^2, residual e and

    a = e/s - s/scale,   r = phi(a)/Phi(a)
    slope = 1/scale - r/s,   curvature = r (a + r) / s^2

the posterior is x + P h slope, P - P h h' P curvature.  0 < curvature < 1/s^2, so P stays positive in exact
arithmetic; ``sound`` sees to it in floating point.  For scale -> 0 this is a Kalman step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ntptwist.algorithm.config import FARTHEST_OFFSET

_SQRT_2 = math.sqrt(2.0)
_SQRT_2PI = math.sqrt(2.0 * math.pi)
_FAR_LEFT = -25.0


def inverse_mills(a: float) -> tuple[float, float, float]:
    """
    Give r = phi(a)/Phi(a) of the normal law, a + r, and log Phi(a).

    Far out on the left erfc underflows: there a continued fraction gives ``a + r`` at once, free of cancellation.
    """
    if a < _FAR_LEFT:
        excess = 1.0 / (-a + 2.0 / (-a - 3.0 / a))
        r = -a + excess
        return r, excess, -0.5 * a * a - math.log(r * _SQRT_2PI)
    below = 0.5 * math.erfc(-a / _SQRT_2)
    r = math.exp(-0.5 * a * a) / (_SQRT_2PI * below)
    return r, a + r, math.log(below)


class Belief:
    """
    Mean and covariance of (offset, frequency, base) under one hypothesis about the noise.

    ``wander`` is the power of the oscillator's random walk, ``shape`` the ratio of Gaussian to exponential noise,
    ``score`` the log likelihood that the hypothesis has earned.
    """

    __slots__ = (
        "base",
        "frequency",
        "offset",
        "p00",
        "p01",
        "p02",
        "p11",
        "p12",
        "p22",
        "score",
        "shape",
        "wander",
    )

    def __init__(
        self, mean: tuple[float, float, float], variance: tuple[float, float, float], wander: float, shape: float
    ) -> None:
        self.offset, self.frequency, self.base = mean
        self.p00, self.p11, self.p22 = variance
        self.p01 = self.p02 = self.p12 = 0.0
        self.wander = wander
        self.shape = shape
        self.score = 0.0

    def under(self, wander: float, shape: float) -> Belief:
        """Give the same belief under another hypothesis."""
        other = Belief((self.offset, self.frequency, self.base), (self.p00, self.p11, self.p22), wander, shape)
        other.p01, other.p02, other.p12 = self.p01, self.p02, self.p12
        other.score = self.score
        return other

    def predict(self, elapsed: float, corrected: float) -> None:
        """
        Carry the belief ``elapsed`` seconds on, in which ``corrected`` seconds of correction were applied.

        Covariance: F P F' + wander [[d^3/3, d^2/2], [d^2/2, d]]; the base delay has no noise of its own.
        """
        p01, p11 = self.p01, self.p11
        noise = self.wander * elapsed
        self.offset += elapsed * self.frequency - corrected
        self.p00 += elapsed * (2.0 * p01 + elapsed * (p11 + noise / 3.0))
        self.p01 = p01 + elapsed * (p11 + noise / 2.0)
        self.p02 += elapsed * self.p12
        self.p11 = p11 + noise

    def absorb(self, measured: float, sign: float, scale: float, sigma: float) -> float:
        """Take a one-way time with noise Exp(scale) + N(0, sigma^2); return its log likelihood."""
        g0 = sign * self.p00 + self.p02
        g1 = sign * self.p01 + self.p12
        g2 = sign * self.p02 + self.p22
        s2 = max(sign * g0 + g2, 0.0) + sigma * sigma
        s = math.sqrt(s2)
        residual = measured - sign * self.offset - self.base
        r, excess, log_below = inverse_mills(residual / s - s / scale)
        slope = 1.0 / scale - r / s
        curvature = r * excess / s2
        self.offset += g0 * slope
        self.frequency += g1 * slope
        self.base += g2 * slope
        self.p00 -= g0 * g0 * curvature
        self.p01 -= g0 * g1 * curvature
        self.p02 -= g0 * g2 * curvature
        self.p11 -= g1 * g1 * curvature
        self.p12 -= g1 * g2 * curvature
        self.p22 -= g2 * g2 * curvature
        return log_below - residual / scale + s2 / (2.0 * scale * scale) - math.log(scale)

    def sound(self) -> bool:
        """
        Tell whether this is still a belief: everything finite and within reach, every variance positive.

        A covariance that rounding has made indefinite loses its correlations, which keeps every variance as it is.
        """
        p00, p11, p22 = self.p00, self.p11, self.p22
        if not (p00 > 0.0 and p11 > 0.0 and p22 > 0.0 and abs(self.offset) < FARTHEST_OFFSET):
            return False
        if not math.isfinite(self.frequency + self.base + p00 + p11 + p22 + self.score):
            return False
        # what is left of the others once the offset is known: positive exactly if the matrix is
        ratio1, ratio2 = self.p01 / p00, self.p02 / p00
        rest1, rest2 = p11 - ratio1 * self.p01, p22 - ratio2 * self.p02
        between = self.p12 - ratio1 * self.p02
        if not (rest1 > 0.0 and rest2 > 0.0 and between * between < rest1 * rest2):
            self.p01 = self.p02 = self.p12 = 0.0
        return True


class Estimate:
    """
    What is believed of a source at ``time``: the mixture of a bank of beliefs, each weighted by its likelihood.

    ``time`` is seconds on the book's axis and ``integral`` the integral of the applied correction there.  The variance
    includes the spread of the means.  ``wander`` is that of the centre, the first of the bank.
    """

    __slots__ = ("frequency", "integral", "offset", "p00", "p01", "p11", "time", "wander")

    def __init__(self, time: float, integral: float) -> None:
        self.time = time
        self.integral = integral
        self.offset = self.frequency = self.p00 = self.p01 = self.p11 = self.wander = 0.0

    @classmethod
    def of(
        cls,
        time: float,
        integral: float,
        mean: tuple[float, float],
        covariance: tuple[float, float, float],
        wander: float,
    ) -> Estimate:
        """Give an estimate of offset and frequency whose covariance (p00, p01, p11) is known already."""
        estimate = cls(time, integral)
        estimate.offset, estimate.frequency = mean
        estimate.p00, estimate.p01, estimate.p11 = covariance
        estimate.wander = wander
        return estimate

    def mix(self, bank: Sequence[Belief]) -> None:
        """Take mean and covariance of the mixture of a bank."""
        best = max([belief.score for belief in bank])
        weights = [math.exp(belief.score - best) for belief in bank]
        total = offset = frequency = p00 = p01 = p11 = 0.0
        for weight, belief in zip(weights, bank, strict=True):
            total += weight
            offset += weight * belief.offset
            frequency += weight * belief.frequency
        self.offset = offset = offset / total
        self.frequency = frequency = frequency / total
        for weight, belief in zip(weights, bank, strict=True):
            away, faster = belief.offset - offset, belief.frequency - frequency
            p00 += weight * (belief.p00 + away * away)
            p01 += weight * (belief.p01 + away * faster)
            p11 += weight * (belief.p11 + faster * faster)
        self.p00, self.p01, self.p11 = p00 / total, p01 / total, p11 / total
        self.wander = bank[0].wander

    def at(self, time: float, integral: float) -> tuple[float, float]:
        """Give offset and variance at a later time."""
        elapsed = time - self.time
        offset = self.offset + elapsed * self.frequency - (integral - self.integral)
        return offset, self.p00 + elapsed * (2 * self.p01 + elapsed * (self.p11 + self.wander * elapsed / 3))


def recentre(bank: Sequence[Belief], lead: float, lag: float) -> Belief | None:
    """
    Give the belief that should be the centre of the bank from now on; None if the present one (the first) stays.

    No score is left more than ``lag`` behind the best: a hypothesis that was bad yesterday may be right today.
    """
    best = max(bank, key=_score)
    least = best.score - lag
    for belief in bank:
        if belief.score < least:
            belief.score = least
    return best if best.score > bank[0].score + lead else None


def level(bank: Iterable[Belief], score: float) -> None:
    """Let all hypotheses of a new bank start from the same score."""
    for belief in bank:
        belief.score = score


def _score(belief: Belief) -> float:
    return belief.score
