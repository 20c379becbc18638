"""
The prototype with the two things that the algorithm has learnt since: finer noise, and an approach after the burst.

All else in it is the prototype as it was found, so whoever equals this has the prototype's algebra and nothing besides.
"""
# ruff: noqa: N803, N806 - the letters are those of the equations

from __future__ import annotations

import math

from bench.prototype.discipline import Discipline, Host, Source
from bench.prototype.filter import NtpFilter


class WidenedFilter(NtpFilter):
    """The prototype's filter of a server, whose noise may have a smaller Gaussian part."""

    RMIN = 0.01


class WidenedPrototype(Discipline):
    """
    The prototype around such filters, which approaches its polls.

    A correction takes as long as the polls are apart, also while they approach, and no less than in a burst.
    """

    STEP_BY, GROWTH, SHORTEST = math.sqrt(2.0), 2.0, 4.0

    def __init__(self, host: Host, n: int, *, pps: bool, pmin: int = 6, pmax: int | None = None) -> None:
        super().__init__(host, n, pps=pps, pmin=pmin, pmax=pmax)
        for s in self.src:
            s.est = WidenedFilter()
        self.paces = [min(2.0, 2.0**pmin)] * n
        self.in_burst = False

    def pace(self, i: int) -> float:
        """Give the present interval of a source."""
        return self.paces[i] if self.approaches(i) else 2.0 ** self.src[i].poll

    def approaches(self, i: int) -> bool:
        """Tell whether a source is asked more often than its smallest interval says; one that never answered isn't."""
        return bool(self.src[i].est.ms) and self.paces[i] < 2.0**self.pmin

    def sent(self, i: int) -> float:
        """Let the interval grow from request to request."""
        s = self.src[i]
        if (s.burst > 0 and s.tries > 0) or not self.approaches(i):
            return super().sent(i)
        super().sent(i)
        self.paces[i] *= self.STEP_BY
        return min(self.paces[i], 2.0**self.pmin)

    def set_poll(self, s: Source, p00: float, p01: float, p11: float, q: float) -> None:
        """End the approach when one whole interval would not make the clock much less certain."""
        i, T = self.src.index(s), 2.0**self.pmin
        if self.approaches(i):
            if p00 + T * (2 * p01 + T * (p11 + q * T / 3)) > self.GROWTH * p00:
                return
            self.paces[i] = T
        super().set_poll(s, p00, p01, p11, q)

    def sample(self, i: int, t1: float, t2: float, t3: float, t4: float, mono: float) -> None:
        """Note whether a burst wants more replies than this."""
        self.in_burst = self.src[i].burst > 1
        super().sample(i, t1, t2, t3, t4, mono)

    def pulse(self, z: float, local: float, mono: float) -> None:
        """Correct over the shortest time, as in a burst."""
        self.in_burst = True
        super().pulse(z, local, mono)

    def steer(self, D: float, W: float, T: float) -> None:
        """Correct over the present interval of those that are used; the time that was asked for is the prototype's."""
        used = [self.pace(i) for i, s in enumerate(self.src) if s.est in self.sel]
        super().steer(D, W, self.SHORTEST if self.in_burst else max(min(used), self.SHORTEST))
