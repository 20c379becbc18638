"""
The filter of one-way offsets: pulses, whose time is known modulo their period, and samples of gpsd.

A bank of three two-state Kalman filters (wander, 8 times, an eighth) over (offset, frequency) with Gaussian noise whose
variance is learnt from the residuals.  A pulse is numbered by the nearest period to the prediction, so it refines a
clock that others have already brought within a fraction of the period.
"""

from __future__ import annotations

import math

from ntptwist.algorithm.belief import Belief, Estimate, level, recentre
from ntptwist.algorithm.config import (
    FARTHEST_OFFSET,
    FIRST_FREQUENCY_SIGMA,
    GATE_REFUSALS,
    GATE_SIGMAS,
    GATE_STARTS,
    INITIAL_WANDER,
    LARGEST_PRECISION,
    LONGEST_GAP,
    MAXIMUM_WANDER,
    PULSE_MEMORY,
    PULSE_MINIMUM_WANDER,
    PULSE_PRIOR,
    SCORE_LAG,
    SCORE_LEAD,
    SCORE_MEMORY,
    SMALLEST_PRECISION,
    WANDER_STEP,
)
from ntptwist.algorithm.filter import Outcome

_KEEP = 1.0 - 1.0 / SCORE_MEMORY
_GATE = GATE_SIGMAS * GATE_SIGMAS


class OneWayFilter(Estimate):
    """
    What is believed of a source of one-way offsets, from its first one on.

    ``period`` is that of a pulse, seconds; None where the offset is known outright.
    """

    __slots__ = ("_bank", "_count", "_precision", "_refused", "_variance", "base", "period")

    def __init__(
        self,
        offset: float,
        precision: float,
        period: float | None,
        time: float,
        integral: float,
        frequency: float,
        frequency_sigma: float,
        near: float = 0.0,
    ) -> None:
        """
        Start from the first offset (true minus local, seconds), whose standard deviation is ``precision``.

        ``frequency`` is the correction that the oscillator is so far thought to need, and how well that is known.  Of
        all offsets that a pulse can mean it is the one nearest to ``near``.
        """
        super().__init__(time, integral)
        self.period = period
        self.base = 0.0
        self._bank: list[Belief]
        self._variance: float
        self._count: int
        self._refused: int
        self._precision = min(max(precision, SMALLEST_PRECISION), LARGEST_PRECISION)
        self._afresh(self._numbered(offset, near), frequency, frequency_sigma)

    @property
    def offset_variance(self) -> float:
        """The variance of one offset."""
        return self._variance

    def update(self, offset: float, time: float, integral: float) -> Outcome:
        """Take the offset of an event at ``time``."""
        elapsed = time - self.time
        if not (abs(offset) < FARTHEST_OFFSET and 0.0 < elapsed < LONGEST_GAP and math.isfinite(integral)):
            return Outcome.REFUSED
        for belief in self._bank:
            belief.predict(elapsed, integral - self.integral)
        self.time, self.integral = time, integral
        centre = self._bank[0]
        if not abs(centre.offset) < FARTHEST_OFFSET:  # nothing can be numbered by that
            return self._afresh(self._numbered(offset, 0.0), self.frequency, FIRST_FREQUENCY_SIGMA)
        self._count += 1
        offset = self._numbered(offset, centre.offset)
        residual, variance = offset - centre.offset, centre.p00 + self._variance
        squared = residual * residual
        if squared > _GATE * variance and self._count > GATE_STARTS:
            self._refused += 1
            if self._refused > GATE_REFUSALS:  # to learn it as noise would take hours
                return self._afresh(offset, self.frequency, math.sqrt(self.p11))
            return self._mixed(offset, Outcome.HELD_BACK)
        self._refused = 0
        noise = self._variance
        self._variance += (squared * noise / variance - noise) / min(self._count + PULSE_PRIOR, PULSE_MEMORY)
        self._variance = max(self._variance, SMALLEST_PRECISION * SMALLEST_PRECISION)
        for belief in self._bank:
            belief.score = belief.score * _KEEP + _absorb(belief, offset, noise)
        better = recentre(self._bank, SCORE_LEAD, SCORE_LAG)
        if better is not None:
            self._bank = _spread(better)
            level(self._bank, better.score)
        return self._mixed(offset, Outcome.ABSORBED)

    def shift(self, seconds: float) -> None:
        """The local clock was moved by ``seconds``."""
        for belief in self._bank:
            belief.offset -= seconds
        self.offset -= seconds

    def doubt(self, sigma: float) -> None:
        """The local clock may have moved by something of standard deviation ``sigma``."""
        for belief in self._bank:
            belief.p00 += sigma * sigma
        self.p00 += sigma * sigma

    def _numbered(self, offset: float, near: float) -> float:
        """Give the offset, among all that a pulse can mean, that is nearest to ``near``."""
        if self.period is None:
            return offset
        return offset - self.period * round((offset - near) / self.period)

    def _afresh(self, offset: float, frequency: float, frequency_sigma: float) -> Outcome:
        self._variance = self._precision * self._precision
        self._count = self._refused = 0
        first = Belief(
            (offset, frequency, 0.0),
            (self._variance, frequency_sigma * frequency_sigma, 1.0),
            INITIAL_WANDER,
            0.0,
        )
        self._bank = _spread(first)
        self.mix(self._bank)
        return Outcome.AFRESH

    def _mixed(self, offset: float, outcome: Outcome) -> Outcome:
        """Mix the bank, or start afresh from this offset when a belief in it is no longer one."""
        if not all(belief.sound() for belief in self._bank):
            return self._afresh(offset, self.frequency, FIRST_FREQUENCY_SIGMA)
        self.mix(self._bank)
        return outcome


def _absorb(belief: Belief, offset: float, noise: float) -> float:
    """Take an offset with Gaussian noise of a variance: a Kalman step; return its log likelihood."""
    residual, variance = offset - belief.offset, belief.p00 + noise
    gain0, gain1 = belief.p00 / variance, belief.p01 / variance
    belief.offset += gain0 * residual
    belief.frequency += gain1 * residual
    belief.p11 -= gain1 * belief.p01
    belief.p01 -= gain0 * belief.p01
    belief.p00 *= noise / variance
    return -0.5 * (residual * residual / variance + math.log(variance))


def _spread(centre: Belief) -> list[Belief]:
    """Make the bank around a centre: more wander, less wander."""
    more = min(max(centre.wander * WANDER_STEP, PULSE_MINIMUM_WANDER), MAXIMUM_WANDER)
    less = min(max(centre.wander / WANDER_STEP, PULSE_MINIMUM_WANDER), MAXIMUM_WANDER)
    return [centre, centre.under(more, 0.0), centre.under(less, 0.0)]
