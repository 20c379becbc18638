"""
The filter of one server: a bank of beliefs, the noise of both paths, and the route.

One exchange goes through these stages: predict every belief to its time; put both one-way times on the time of t4;
see whether the route changed; absorb both times into every belief; learn the noise; move the bank towards the
hypothesis that explains best; mix.  Times are seconds on the book's axis (book.py); only the integral of the applied
correction is subtracted, so nobody has to tell a filter that the frequency was changed.

No input makes a filter raise: what can't be a measurement is refused, and a belief that is no longer one, or that
the server contradicts persistently, starts afresh.
"""

from __future__ import annotations

import math
from enum import Enum

from ntptwist.algorithm.belief import Belief, Estimate, level, recentre
from ntptwist.algorithm.config import (
    CONTRADICTION,
    CONTRADICTION_SIGMAS,
    CONTRADICTIONS,
    EARLIEST_DELAY,
    FADING,
    FARTHEST_OFFSET,
    FIRST_DELAY,
    FIRST_FREQUENCY_SIGMA,
    INITIAL_SHAPE,
    INITIAL_WANDER,
    LONGEST_DELAY,
    LONGEST_GAP,
    MAXIMUM_SHAPE,
    MAXIMUM_WANDER,
    MINIMUM_SHAPE,
    MINIMUM_WANDER,
    RESUMED_NOISE,
    SCORE_LAG,
    SCORE_LEAD,
    SCORE_MEMORY,
    SHAPE_STEP,
    SHORTER_NOISE,
    SHORTER_SIGMAS,
    STAMP_NOISE,
    WANDER_STEP,
    WANDER_SURPRISE,
)
from ntptwist.algorithm.memory import KnownOffset, PathMemory
from ntptwist.algorithm.noise import PathNoise
from ntptwist.algorithm.route import Route

_KEEP = 1.0 - 1.0 / SCORE_MEMORY


class Outcome(Enum):
    """What became of a measurement."""

    ABSORBED = "absorbed"
    HELD_BACK = "held back"
    CONTRADICTED = "held back, for it contradicts the belief"
    NEW_ROUTE = "absorbed over a new route"
    AFRESH = "started afresh"
    REFUSED = "refused"


class TwoWayFilter(Estimate):
    """
    What is believed of a server, from its first exchange on.

    ``base`` is the base one-way delay, ``asymmetry`` half the difference of both paths that changes of route showed.
    """

    __slots__ = ("_bank", "_contradictions", "_route", "asymmetry", "base", "noise")

    def __init__(
        self,
        outward: float,
        homeward: float,
        delay: float,
        time: float,
        integral: float,
        frequency: float,
        frequency_sigma: float = FIRST_FREQUENCY_SIGMA,
        known: PathMemory | None = None,
    ) -> None:
        """
        Start from one exchange: ``outward`` is t2 - t1, ``homeward`` t4 - t3, ``delay`` the round trip, seconds.

        ``frequency`` is the correction that the oscillator is so far thought to need, and how well that is known.
        ``known`` is what is remembered of the path at that time.
        """
        super().__init__(time, integral)
        self.asymmetry = 0.0
        self.base: float
        self.noise: PathNoise
        self._bank: list[Belief]
        self._route: Route
        self._contradictions: int
        if known is None or not self._resume(known, outward, homeward, delay):
            self._afresh(outward, homeward, delay, frequency, frequency_sigma)

    def update(
        self, outward: float, homeward: float, delay: float, time: float, integral: float, correction: float
    ) -> Outcome:
        """
        Take an exchange that ended at ``time``, while the clock ran ``correction`` faster than its oscillator.

        Other arguments as for the first exchange.
        """
        elapsed = time - self.time
        if not (plausible(outward, homeward, delay) and 0.0 < elapsed < LONGEST_GAP):
            return Outcome.REFUSED
        if not (abs(correction) < 1.0 and math.isfinite(integral)):
            return Outcome.REFUSED
        for belief in self._bank:
            belief.predict(elapsed, integral - self.integral)
        self.time, self.integral = time, integral
        centre = self._bank[0]
        outward += (centre.frequency - correction) * delay - self.asymmetry  # t1 was that much earlier than t4
        homeward += self.asymmetry
        away = abs((outward - homeward) / 2.0 - centre.offset)
        if away > delay / 2.0 + CONTRADICTION_SIGMAS * math.sqrt(max(centre.p00, 0.0)) + CONTRADICTION:
            self._contradictions += 1
            if self._contradictions >= CONTRADICTIONS:
                return self._afresh(outward, homeward, delay, centre.frequency)
            return self._mixed(outward, homeward, delay, Outcome.CONTRADICTED)
        self._contradictions = 0
        noise = self.noise.total
        excess = delay - 2.0 * centre.base
        outcome = Outcome.ABSORBED
        change = self._route.follow(delay, outward, homeward, centre, noise)
        if self._route.held_back:
            return self._mixed(outward, homeward, delay, Outcome.HELD_BACK)
        if change is not None:
            outcome = Outcome.NEW_ROUTE
            self.asymmetry += change.asymmetry
            outward -= change.asymmetry
            homeward += change.asymmetry
            excess = delay - change.delay
            for belief in self._bank:
                belief.base, belief.p22, belief.p02, belief.p12 = change.delay / 2.0, noise * noise / 8.0, 0.0, 0.0
        self._absorb(outward, homeward, excess)
        return self._mixed(outward, homeward, delay, outcome)

    @property
    def suspects_route(self) -> bool:
        """Whether a few quick exchanges would show that the route has become longer."""
        return self._route.suspected

    def shift(self, seconds: float) -> None:
        """The local clock was moved by ``seconds``."""
        for belief in self._bank:
            belief.offset -= seconds
        self.offset -= seconds

    def fade(self, ahead: float) -> None:
        """
        Take back a share of the asymmetry that was learnt: the offset is ``ahead`` of what others say, seconds.

        It only ever becomes smaller, down to none: an asymmetry that nothing has shown can't be told from an offset.
        """
        learnt = self.asymmetry
        back = min(max(-FADING * ahead, min(learnt, 0.0)), max(learnt, 0.0))
        self.asymmetry -= back
        self.shift(-back)

    def doubt(self, sigma: float) -> None:
        """The local clock may have moved by something of standard deviation ``sigma``."""
        for belief in self._bank:
            belief.p00 += sigma * sigma
        self.p00 += sigma * sigma

    def remember(self) -> PathMemory:
        """Give what there is to remember of this path."""
        centre = self._bank[0]
        return PathMemory(
            frequency=self.frequency,
            frequency_variance=self.p11,
            wander=centre.wander,
            shape=centre.shape,
            base=centre.base,
            base_variance=centre.p22,
            asymmetry=self.asymmetry,
            noise=self.noise.remember(),
            offset=KnownOffset(self.offset, self.p00, self.p01),
        )

    def _resume(self, known: PathMemory, outward: float, homeward: float, delay: float) -> bool:
        """Start from what is remembered of the path and one exchange; False if that did not go over this path."""
        noise = PathNoise.resume(known.noise)
        excess = delay - 2.0 * known.base
        spread = known.shape * noise.total
        slack = SHORTER_SIGMAS * math.sqrt(4.0 * known.base_variance + spread * spread) + SHORTER_NOISE * noise.total
        if not -slack <= excess <= slack + RESUMED_NOISE * noise.total:
            return False
        outward -= known.asymmetry
        homeward += known.asymmetry
        measured = (outward - homeward) / 2.0
        # next to nothing: what the exchange itself says of the offset must not count twice
        vague = 2.0 * max(delay, FIRST_DELAY)
        offset = KnownOffset(measured, vague * vague, 0.0)
        if known.offset is not None:
            reach = delay / 2.0 + CONTRADICTION_SIGMAS * math.sqrt(known.offset.variance) + CONTRADICTION
            if abs(measured - known.offset.offset) <= reach:
                offset = known.offset
        first = Belief(
            (offset.offset, known.frequency, known.base),
            (offset.variance, known.frequency_variance, known.base_variance),
            known.wander,
            known.shape,
        )
        first.p01 = offset.covariance
        self.asymmetry, self.noise, self._route, self._contradictions = known.asymmetry, noise, Route(), 0
        self._bank = _spread(first)
        self._absorb(outward, homeward, excess)
        self._mixed(outward, homeward, delay, Outcome.ABSORBED)
        return True

    def _afresh(
        self,
        outward: float,
        homeward: float,
        delay: float,
        frequency: float,
        frequency_sigma: float = FIRST_FREQUENCY_SIGMA,
    ) -> Outcome:
        delay = max(delay, FIRST_DELAY)
        variance = (delay / 4.0) * (delay / 4.0)
        mean = ((outward - homeward) / 2.0, frequency, 0.4 * delay)
        first = Belief(mean, (variance, frequency_sigma * frequency_sigma, variance), INITIAL_WANDER, INITIAL_SHAPE)
        self.noise = PathNoise(delay)
        self._route = Route()
        self._contradictions = 0
        self._bank = _spread(first)
        self.mix(self._bank)
        self.base = first.base
        return Outcome.AFRESH

    def _absorb(self, outward: float, homeward: float, excess: float) -> None:
        """Take both one-way times into every belief, learn the noise, and let the best hypothesis lead."""
        centre = self._bank[0]
        variance = centre.p00 + centre.p22
        up, down = self.noise.outward, self.noise.homeward
        wide = self.noise.widening(excess)
        for belief in self._bank:
            shape = belief.shape
            narrow = wide / math.sqrt(1.0 + shape * shape)
            there, back = up * narrow, down * narrow
            belief.score = (
                belief.score * _KEEP
                + belief.absorb(outward, 1.0, there, shape * there + STAMP_NOISE)
                + belief.absorb(homeward, -1.0, back, shape * back + STAMP_NOISE)
            )
        self.noise.learn(
            outward - centre.offset - centre.base, homeward + centre.offset - centre.base, centre.shape, variance
        )
        better = recentre(self._bank, SCORE_LEAD, SCORE_LAG)
        if better is not None:
            self._bank = _spread(better)
            level(self._bank, better.score)

    def _mixed(self, outward: float, homeward: float, delay: float, outcome: Outcome) -> Outcome:
        """Mix the bank, or start afresh from this exchange when a belief in it is no longer one."""
        if not all(belief.sound() for belief in self._bank):
            return self._afresh(outward, homeward, delay, self.frequency)
        self.mix(self._bank)
        if outcome not in (Outcome.HELD_BACK, Outcome.CONTRADICTED):
            self.base = self._bank[0].base
        return outcome


def plausible(outward: float, homeward: float, delay: float) -> bool:
    """Tell whether these can be the times of an exchange; NaN can't."""
    return (
        abs(outward) < FARTHEST_OFFSET and abs(homeward) < FARTHEST_OFFSET and EARLIEST_DELAY <= delay <= LONGEST_DELAY
    )


def _spread(centre: Belief) -> list[Belief]:
    """Make the bank around a centre: more wander, far more, less; a more Gaussian noise, a more exponential one."""
    wander, shape = centre.wander, centre.shape
    return [
        centre,
        centre.under(min(wander * WANDER_STEP, MAXIMUM_WANDER), shape),
        centre.under(min(wander * WANDER_SURPRISE, MAXIMUM_WANDER), shape),
        centre.under(max(wander / WANDER_STEP, MINIMUM_WANDER), shape),
        centre.under(wander, min(shape * SHAPE_STEP, MAXIMUM_SHAPE)),
        centre.under(wander, max(shape / SHAPE_STEP, MINIMUM_SHAPE)),
    ]
