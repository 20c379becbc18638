"""
The noise of both paths to a server, learnt from the residuals.

Each path has a total standard deviation tau; under a hypothesis of shape rho its exponential part has the scale
tau / sqrt(1 + rho^2) and its Gaussian part rho times that.  Each sample is one step of expectation and maximisation:
the expected exponential part of the residual is averaged.  The *sum* of both paths shows in the delay, which does not
depend on the offset, so it is always learnt.  The *split* between them is only seen as well as the offset was known,
so each sample's weight in it falls where the offset is uncertain, and a prior pulls it to one half.
"""

from __future__ import annotations

import math
from typing import Self

from ntptwist.algorithm.belief import inverse_mills
from ntptwist.algorithm.config import (
    NOISE_MEMORY,
    RESIDUAL_CAP,
    SMALLEST_NOISE,
    SMALLEST_SAMPLE,
    SPLIT_DOUBT,
    SPLIT_PRIOR,
    STAMP_NOISE,
    TAIL_START,
)
from ntptwist.algorithm.memory import NoiseMemory

_KEEP = 1.0 - 1.0 / NOISE_MEMORY
_SMALLEST_VARIANCE = SMALLEST_SAMPLE * SMALLEST_SAMPLE


class PathNoise:
    """The two scales: ``outward`` and ``homeward`` are standard deviations in seconds, always positive."""

    __slots__ = ("_homeward_share", "_outward_share", "_sum", "_weight", "homeward", "outward")

    def __init__(self, delay: float) -> None:
        """Guess from the first delay, in seconds: two fifths of it are noise, the same on both paths."""
        self.outward = self.homeward = delay / 5.0
        self._sum = 0.4 * delay
        self._weight = 1.0
        self._outward_share = self._homeward_share = 0.0

    @classmethod
    def resume(cls, known: NoiseMemory) -> Self:
        """Go on from what was remembered."""
        noise = cls(0.0)
        noise._sum, noise._weight, noise._outward_share, noise._homeward_share = known
        noise._divide()
        return noise

    def remember(self) -> NoiseMemory:
        """Give what there is to remember."""
        return NoiseMemory(self._sum, self._weight, self._outward_share, self._homeward_share)

    @property
    def total(self) -> float:
        """The sum of both standard deviations."""
        return self.outward + self.homeward

    @property
    def offset_variance(self) -> float:
        """The variance of one offset sample."""
        return max((self.outward * self.outward + self.homeward * self.homeward) / 4.0, _SMALLEST_VARIANCE)

    def widening(self, excess: float) -> float:
        """Give the factor on both scales for a sample whose delay exceeds the base by ``excess``: tails are heavy."""
        return max(1.0, excess / (TAIL_START * self.total))

    def learn(self, outward: float, homeward: float, shape: float, variance: float) -> None:
        """
        Learn from the residuals of one exchange under the hypothesis ``shape``.

        ``variance`` is that of offset plus base before the exchange.
        """
        narrow = 1.0 / math.sqrt(1.0 + shape * shape)
        up = _expected(outward, self.outward * narrow, shape) / narrow
        down = _expected(homeward, self.homeward * narrow, shape) / narrow
        self._weight = self._weight * _KEEP + 1.0
        self._sum = self._sum * _KEEP + up + down
        total = max(self._sum / self._weight, SMALLEST_NOISE)
        doubt = SPLIT_DOUBT * variance / (total * total)
        trust = 1.0 / (1.0 + doubt * doubt)
        self._outward_share = self._outward_share * _KEEP + trust * up
        self._homeward_share = self._homeward_share * _KEEP + trust * down
        self._divide()

    def _divide(self) -> None:
        """Divide the sum between both paths."""
        total = max(self._sum / self._weight, SMALLEST_NOISE)
        prior = SPLIT_PRIOR * total / 2.0
        split = (self._outward_share + prior) / (self._outward_share + self._homeward_share + 2.0 * prior)
        self.outward, self.homeward = total * split, total * (1.0 - split)


def _expected(residual: float, scale: float, shape: float) -> float:
    """Give the expected exponential part of a residual, capped: one freak must not teach much."""
    sigma = shape * scale + STAMP_NOISE
    mean = residual - sigma * sigma / scale
    return max(min(mean + sigma * inverse_mills(mean / sigma)[0], RESIDUAL_CAP * scale), 0.0)
