"""
Changes of the route to a server, seen in the delay alone.

The sum of both one-way times does not depend on the clock's offset.  A new route shows in it as a floor that moved;
congestion moves everything but the floor.  When the floor has moved, each path gets its own share of the change as
measured against the predicted offset, so that a change on one path only does not move the clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ntptwist.algorithm.belief import Belief
from ntptwist.algorithm.config import (
    LONGER_NOISE,
    LONGER_SAMPLES,
    LONGER_SIGMAS,
    ONE_SIDED_NOISE,
    ONE_SIDED_SIGMAS,
    SHORTER_NOISE,
    SHORTER_SAMPLES,
    SHORTER_SIGMAS,
    SUSPICION_NOISE,
    SUSPICION_SPREAD,
)


class _Exchange(NamedTuple):
    """Delay and both residuals of one exchange, seconds."""

    delay: float
    outward: float
    homeward: float


class RouteChange(NamedTuple):
    """The new floor of the delay, and by how much the asymmetry grew, seconds."""

    delay: float
    asymmetry: float


class Route:
    """
    The last delays over one route.

    ``held_back`` says that the latest sample is to be kept from the belief; ``suspected`` that the route may be another
    one, and a few quick samples would show it.
    """

    __slots__ = ("_long", "_recent", "_shorter", "held_back", "suspected")

    def __init__(self) -> None:
        self._recent: list[_Exchange] = []
        self._shorter: list[_Exchange] | None = None
        self._long: list[float] = []
        self.held_back = False
        self.suspected = False

    def follow(self, delay: float, outward: float, homeward: float, belief: Belief, noise: float) -> RouteChange | None:
        """
        Take delay and one-way times of an exchange against the predicted ``belief``; tell a change of route.

        ``noise`` is the sum of both standard deviations.
        """
        floor = 2.0 * belief.base
        exchange = _Exchange(delay, outward - belief.offset - belief.base, homeward + belief.offset - belief.base)
        spread = belief.shape * noise
        lowest = -SHORTER_SIGMAS * math.sqrt(4.0 * belief.p22 + spread * spread) - SHORTER_NOISE * noise
        self.held_back = False
        if self._shorter is None and delay - floor < lowest:
            self._shorter = []
        if self._shorter is not None:
            self._shorter.append(exchange)
            self.held_back = self.suspected = len(self._shorter) < SHORTER_SAMPLES
            if self.held_back:
                return None
            collected, self._shorter = self._shorter, None
            if sorted(e.delay for e in collected)[1] - floor > lowest:  # a single freak
                return None
            return self._changed(collected, belief, noise)
        recent = self._recent
        recent.append(exchange)
        if len(recent) > LONGER_SAMPLES:
            del recent[0]
        # few exchanges get beyond this line, so the delays are rarely sorted
        longer = LONGER_NOISE * noise + LONGER_SIGMAS * math.sqrt(belief.p22)
        self._suspect(delay - floor, longer, noise)
        if len(recent) < LONGER_SAMPLES or delay - floor <= longer:
            return None
        delays = sorted(e.delay for e in recent)
        if delays[0] - floor > longer and delays[LONGER_SAMPLES // 2] - delays[0] < noise:
            return self._changed(recent, belief, noise)
        return None

    def _suspect(self, excess: float, longer: float, noise: float) -> None:
        """Collect the long delays since one that was hardly congestion, until they differ as only congestion does."""
        if excess <= longer:
            self._long = []
        elif self._long or excess > longer + SUSPICION_NOISE * noise:
            self._long.append(excess)
        count = len(self._long)
        self.suspected = 0 < count < LONGER_SAMPLES and max(self._long) - min(self._long) < SUSPICION_SPREAD * noise

    def _changed(self, exchanges: list[_Exchange], belief: Belief, noise: float) -> RouteChange:
        least = [min(values) for values in zip(*exchanges, strict=True)]
        difference = least[1] - least[2]
        known = abs(difference) > ONE_SIDED_SIGMAS * math.sqrt(belief.p00) + ONE_SIDED_NOISE * noise
        self._recent = []
        self._long = []
        self.suspected = False
        return RouteChange(least[0], difference / 2.0 if known else 0.0)
