"""
One estimate from the selected sources, and what a server may say of the time that it leads to.

Offsets are weighted by 1 / (variance + server's root dispersion^2 + (2 % of the base delay)^2 + (100 ns)^2): the second
and third term are errors that no covariance shows.  Frequencies are weighted by their variance alone.

How large such errors can be at most is known for each source: half of all round trips, for they may be asymmetric to
any degree, and the root dispersion.  A weighted mean is wrong by no more than the mean of these bounds under the same
weights; that of the best source alone would not cover it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ntptwist.algorithm.belief import Estimate
from ntptwist.algorithm.config import ASYMMETRY, FLOOR, INTERVAL_SIGMAS
from ntptwist.identifiers import Leap

_LEAST_VARIANCE = 1e-24
_KNOWN_LEAPS = (Leap.NONE, Leap.INSERT, Leap.DELETE)


class Contribution(NamedTuple):
    """
    What a selected source brings: its estimate, base delay and its server's root dispersion, seconds.

    ``path`` is the most by which the paths up to the root may be asymmetric: half of their round trips.
    """

    estimate: Estimate
    base: float
    root_dispersion: float
    path: float = 0.0

    def weight(self, variance: float, asymmetry: float) -> float:
        """Give its weight at a moment when its estimate has this variance."""
        skew = asymmetry * self.base
        return 1.0 / (variance + self.root_dispersion * self.root_dispersion + skew * skew + FLOOR * FLOOR)


class Combination(NamedTuple):
    """
    The combined estimate at ``time`` on the book's axis, where the integral of the correction was ``integral``.

    ``hidden`` is the largest error, seconds, that the variance can't show.
    """

    time: float
    integral: float
    offset: float
    frequency: float
    p00: float
    p01: float
    p11: float
    wander: float
    hidden: float = 0.0

    @property
    def bound(self) -> float:
        """The largest error of the offset, seconds: what is hidden, and three standard deviations."""
        return self.hidden + INTERVAL_SIGMAS * math.sqrt(self.p00)

    def at(self, time: float, integral: float) -> Combination:
        """Predict the estimate at a later time."""
        if time == self.time and integral == self.integral:
            return self
        d = time - self.time
        noise = self.wander * d
        return Combination(
            time,
            integral,
            self.offset + d * self.frequency - (integral - self.integral),
            self.frequency,
            max(self.p00 + d * (2.0 * self.p01 + d * (self.p11 + noise / 3.0)), 0.0),
            self.p01 + d * (self.p11 + noise / 2.0),
            self.p11 + noise,
            self.wander,
            self.hidden,
        )

    def shifted(self, seconds: float) -> Combination:
        """Give the estimate after the local clock was moved."""
        return self._replace(offset=self.offset - seconds)

    def doubted(self, sigma: float) -> Combination:
        """Give the estimate after the local clock may have moved by something of standard deviation ``sigma``."""
        return self._replace(p00=self.p00 + sigma * sigma)


def combine(
    contributions: Sequence[Contribution], time: float, integral: float, asymmetry: float = ASYMMETRY
) -> Combination:
    """Combine at least one source at ``time``; ``asymmetry`` is the share of a base delay that counts as an error."""
    offset = weight = frequency = frequency_weight = certainty = p01 = wander = hidden = 0.0
    for contribution in contributions:
        estimate = contribution.estimate
        here, variance = estimate.at(time, integral)
        variance = max(variance, _LEAST_VARIANCE)
        elapsed = max(time - estimate.time, 0.0)  # going back in time would make nothing more certain
        p11 = estimate.p11 + estimate.wander * elapsed
        w = contribution.weight(variance, asymmetry)
        offset += w * here
        hidden += w * (contribution.path + contribution.root_dispersion)
        weight += w
        frequency += estimate.frequency / p11
        frequency_weight += 1.0 / p11
        certainty += 1.0 / variance
        p01 += estimate.p01 + elapsed * (estimate.p11 + estimate.wander * elapsed / 2.0)
        wander = max(wander, estimate.wander)
    return Combination(
        time,
        integral,
        offset / weight,
        frequency / frequency_weight,
        1.0 / certainty,
        p01 / (len(contributions) * len(contributions)),
        1.0 / frequency_weight,
        wander,
        hidden / weight,
    )


def disagreement(
    one: Contribution, others: Iterable[Contribution], time: float, integral: float
) -> tuple[float, float]:
    """Give by how much one source is ahead of what others (at least one) say together, and the variance of that."""
    here, variance = one.estimate.at(time, integral)
    offset = weight = 0.0
    for other in others:
        there, spread = other.estimate.at(time, integral)
        w = other.weight(max(spread, _LEAST_VARIANCE), ASYMMETRY)
        offset += w * there
        weight += w
    return here - offset / weight, 1.0 / one.weight(max(variance, _LEAST_VARIANCE), ASYMMETRY) + 1.0 / weight


def vote_leap(leaps: Iterable[Leap], listed: Leap | None = None) -> Leap | None:
    """
    Give what a strict majority of those who know says of the leap second; None without one.

    What is ``listed`` has a vote too, and breaks a tie.
    """
    votes: list[Leap] = [leap for leap in leaps if leap is not Leap.UNSYNCHRONIZED]
    if listed is not None:
        votes.append(listed)
        if 2 * votes.count(listed) == len(votes):
            return listed
    for leap in _KNOWN_LEAPS:
        if 2 * votes.count(leap) > len(votes):
            return leap
    return None
