"""
The filter of one source as ntpd-rs 1.9 has it, restated: the baseline, and the calibration of the simulator.

Every source has a Kalman filter of its own with two states, offset and frequency, that sees only offsets; its noise is
a quarter of the variance of the last eight delays.  The first eight samples are averaged.  Restated from its behaviour,
oddities included: a delay is used as a variance while the first samples come in, the wander is a variance here and its
root there, and one outlier is rejected in the life of a source.  ``ntpd_rs_clock`` steers by what it says.

Signs: an offset is remote minus local time, a frequency is positive when the local clock runs slow.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ntptwist.algorithm.config import PollLimits

SAMPLES = 8
SMALLEST_DELAY = 2.0**-18
FIRST_WANDER = 1e-8
"""A variance during the first samples, a standard deviation afterwards."""
FIRST_FREQUENCY_VARIANCE = 100.0
FREQUENCY_SIGMA = 100e-6
OUTLIER = 5.0
MEDDLING = 5.0
"""Seconds by which local and monotonic time may come apart between two samples."""
HYSTERESIS = 16
INITIAL_POLL = 4


def chance(square: float) -> float:
    """Give the probability that a normal variable exceeds the root of this; Abramowitz and Stegun, 7.1.26."""
    x = math.sqrt(square / 2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return series * math.exp(-x * x)


def variance(values: Iterable[float]) -> float:
    """Give the sample variance."""
    known = list(values)
    mean = math.fsum(known) / len(known)
    return math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Offset (s), frequency, their covariance, the local ``time`` for which they hold, and the wander (s^2/s^3)."""

    offset: float
    frequency: float
    p00: float
    p01: float
    p11: float
    time: float
    wander: float

    def at(self, time: float) -> Estimate:
        """Predict; what lies in the past changes nothing."""
        d = time - self.time
        if d <= 0.0:
            return self
        return replace(
            self,
            offset=self.offset + d * self.frequency,
            p00=self.p00 + d * (2.0 * self.p01 + d * (self.p11 + self.wander * d / 3.0)),
            p01=self.p01 + d * (self.p11 + self.wander * d / 2.0),
            p11=self.p11 + self.wander * d,
            time=time,
        )

    def absorbing(self, offset: float, noise: float) -> tuple[Estimate, float, float]:
        """Measure an offset with this variance; give also the residual's probability and the measurement's weight."""
        residual, total = offset - self.offset, self.p00 + noise
        k0, k1 = self.p00 / total, self.p01 / total
        # the upper right and the lower left element differ by rounding only
        updated = replace(
            self,
            offset=self.offset + k0 * residual,
            frequency=self.frequency + k1 * residual,
            p00=(1.0 - k0) * self.p00,
            p01=((1.0 - k0) * self.p01 + (self.p01 - k1 * self.p00)) / 2.0,
            p11=self.p11 - k1 * self.p01,
        )
        return updated, chance(residual * residual / total), 1.0 - noise / total

    def stepped(self, delta: float) -> Estimate:
        """Follow a step of the local clock."""
        return replace(self, offset=self.offset - delta, time=self.time + delta)

    def steered(self, change: float, time: float) -> Estimate:
        """Follow a change of the local clock's frequency at a time."""
        predicted = self.at(time)
        return replace(predicted, frequency=predicted.frequency - change)


@dataclass(frozen=True, slots=True)
class Sample:
    """One exchange: offset and delay, the local time of its middle, and the monotonic time of its end; seconds."""

    offset: float
    delay: float
    local: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a source tells the clock after a sample: its estimate, its delay, and the local time of the sample."""

    estimate: Estimate
    delay: float
    updated: float


@dataclass(slots=True)
class SourceFilter:
    """The filter of one source; ``desired`` is the poll exponent that it wants."""

    limits: PollLimits
    desired: int = field(init=False)
    estimate: Estimate | None = field(init=False, default=None)
    """None while the first samples come in."""
    _offsets: list[float] = field(init=False, default_factory=list)
    _delays: deque[float] = field(init=False)
    _longest: float = field(init=False, default=0.0)
    _last_local: float = field(init=False, default=-math.inf)
    _last_monotonic: float = field(init=False, default=-math.inf)
    _had_outlier: bool = field(init=False, default=False)
    _wander_score: int = field(init=False, default=0)
    _poll_score: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self.estimate, self.desired, self._longest = None, self.limits.minimum, 0.0
        self._offsets, self._delays = [], deque([0.0] * SAMPLES, SAMPLES)
        self._had_outlier, self._wander_score, self._poll_score = False, 0, 0
        self._last_local = self._last_monotonic = -math.inf

    def measured(self, sample: Sample) -> Snapshot | None:
        """Take a sample; None if it changed nothing."""
        sample = replace(sample, delay=max(sample.delay, SMALLEST_DELAY))
        if self.estimate is None:
            return self._first(sample)
        gone = sample.local - self._last_local
        if abs(gone - (sample.monotonic - self._last_monotonic)) > MEDDLING:
            self._restart()
            return None
        if sample.local < self.estimate.time or self._is_outlier(sample.delay):
            return None
        self._delays.append(sample.delay)
        predicted = self.estimate.at(sample.local)
        updated, probability, weight = predicted.absorbing(sample.offset, variance(self._delays) / 4.0)
        self.estimate = replace(updated, wander=updated.wander * self._wander_factor(probability, weight))
        self._adapt_poll(probability, weight, gone / 2.0**self.desired)
        self._last_local, self._last_monotonic = sample.local, sample.monotonic
        return Snapshot(self.estimate, self._mean_delay, sample.local)

    def stepped(self, delta: float) -> None:
        """Follow a step of the local clock."""
        self._last_local += delta
        if self.estimate is None:
            self._offsets = [offset - delta for offset in self._offsets]
        else:
            self.estimate = self.estimate.stepped(delta)

    def steered(self, change: float, time: float) -> None:
        """Follow a change of the local clock's frequency; the mean of the first samples does not."""
        if self.estimate is not None:
            self.estimate = self.estimate.steered(change, time)

    @property
    def _mean_delay(self) -> float:
        return math.fsum(self._delays) / SAMPLES

    def _first(self, sample: Sample) -> Snapshot:
        self._offsets.append(sample.offset)
        self._delays.append(sample.delay)
        self._longest = max(self._longest, sample.delay)
        self._last_local, self._last_monotonic = sample.local, sample.monotonic
        mean, frequency = math.fsum(self._offsets) / len(self._offsets), 0.0
        if len(self._offsets) < SAMPLES:
            estimate = Estimate(
                mean, frequency, self._longest, 0.0, FIRST_FREQUENCY_VARIANCE, sample.local, FIRST_WANDER
            )
            return Snapshot(estimate, self._longest, sample.local)
        self.desired = min(max(INITIAL_POLL, self.limits.minimum), self.limits.maximum)
        spread = variance(self._offsets)
        self.estimate = Estimate(mean, frequency, spread, 0.0, FREQUENCY_SIGMA**2, sample.local, FIRST_WANDER**2)
        return Snapshot(self.estimate, self._mean_delay, sample.local)

    def _is_outlier(self, delay: float) -> bool:
        found = not self._had_outlier and delay - self._mean_delay > OUTLIER * math.sqrt(variance(self._delays))
        self._had_outlier = self._had_outlier or found  # and it is never forgotten
        return found

    def _wander_factor(self, probability: float, weight: float) -> float:
        """Count how surprising the residuals are; sixteen in a row change the wander by a factor of four."""
        if 1.0 - probability < 1.0 / 3.0 and weight > 0.1:
            self._wander_score -= 1
        elif 1.0 - probability > 2.0 / 3.0:
            self._wander_score += 1
        else:
            self._wander_score = toward_zero(self._wander_score)
        if abs(self._wander_score) < HYSTERESIS:
            return 1.0
        factor = 4.0 if self._wander_score > 0 else 0.25
        self._wander_score = 0
        return factor

    def _adapt_poll(self, probability: float, weight: float, waited: float) -> None:
        """Ask more rarely when samples weigh little; ``waited`` is the time since the last in poll intervals."""
        if weight < 0.4 and waited > 0.75:
            self._poll_score -= 1
        elif weight > 0.6 and waited < 1.4:
            self._poll_score += 1
        else:
            self._poll_score = toward_zero(self._poll_score)
        if probability <= 1e-6:
            self.desired, self._poll_score = self.limits.minimum, 0
        elif self._poll_score <= -HYSTERESIS:
            self.desired, self._poll_score = min(self.desired + 1, self.limits.maximum), 0
        elif self._poll_score >= HYSTERESIS:
            self.desired, self._poll_score = max(self.desired - 1, self.limits.minimum), 0


def toward_zero(score: int) -> int:
    """Move a score one step towards zero."""
    return score - (score > 0) + (score < 0)
