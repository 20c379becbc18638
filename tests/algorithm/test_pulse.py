"""The filter of pulses and other one-way offsets."""

from __future__ import annotations

import math
from random import Random

import pytest

from ntptwist.algorithm.filter import Outcome
from ntptwist.algorithm.pulse import OneWayFilter


def _pulses(count: int, sigma: float = 1e-6, offset: float = 0.01, frequency: float = 2e-7) -> OneWayFilter:
    random = Random(1)
    pulses = OneWayFilter(offset, 1e-6, 1.0, 0.0, 0.0, 0.0, 1e-5)
    for k in range(1, count):
        pulses.update(offset + k * frequency + random.gauss(0.0, sigma), float(k), 0.0)
    return pulses


def test_offset_and_frequency_are_found() -> None:
    """Some hundred pulses give offset and frequency far better than one pulse."""
    pulses = _pulses(500)

    assert pulses.offset == pytest.approx(0.01 + 499 * 2e-7, abs=5e-7)
    assert pulses.frequency == pytest.approx(2e-7, abs=1e-8)


def test_noise_is_learnt() -> None:
    """Pulses that are five times worse than they claim are weighted by what they show."""
    pulses = _pulses(2000, sigma=5e-6)

    assert math.sqrt(pulses.offset_variance) == pytest.approx(5e-6, rel=0.2)


def test_pulses_are_numbered_by_the_prediction() -> None:
    """An offset that grows beyond half a period is followed, although each pulse only tells the fraction."""
    pulses = OneWayFilter(0.3, 1e-6, 1.0, 0.0, 0.0, 1e-3, 1e-5)
    for k in range(1, 400):
        whole = 0.3 + k * 1e-3
        pulses.update(whole - round(whole), float(k), 0.0)

    assert pulses.offset == pytest.approx(0.3 + 0.399, abs=1e-5)


def test_offset_without_a_period_is_taken_as_it_is() -> None:
    """A sample of gpsd may say that the clock is 7.25 s slow."""
    assert 7.25 == OneWayFilter(7.25, 1e-3, None, 0.0, 0.0, 0.0, 1e-4).offset


def test_outlier_is_held_back_but_not_for_ever() -> None:
    """Five pulses that are far off are dropped; then the world has changed and they are followed at once."""
    pulses = _pulses(200)
    base = pulses.offset
    outcomes = [pulses.update(base + 0.01, 200.0 + k, 0.0) for k in range(8)]

    assert [Outcome.HELD_BACK] * 5 + [Outcome.AFRESH, Outcome.ABSORBED, Outcome.ABSORBED] == outcomes
    assert pulses.offset == pytest.approx(base + 0.01, abs=1e-5)


@pytest.mark.parametrize(("offset", "elapsed"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, math.nan)])
def test_what_can_not_be_an_offset_is_refused(offset: float, elapsed: float) -> None:
    """NaN, infinity and events out of order change nothing."""
    pulses = _pulses(10)

    assert Outcome.REFUSED is pulses.update(offset, pulses.time + elapsed, 0.0)


def test_infinite_variance_starts_afresh() -> None:
    """A belief whose variance is no number any more is replaced by the next offset."""
    pulses = OneWayFilter(0.0, 1e-6, None, 0.0, 0.0, 0.0, 1e-5)
    pulses.doubt(1e200)
    outcome = pulses.update(0.25, 1.0, 0.0)

    assert (Outcome.AFRESH, 0.25) == (outcome, pulses.offset)
    assert pulses.p00 < 1.0


def test_prediction_out_of_reach_starts_afresh() -> None:
    """A pulse that can't be numbered, for the prediction is absurd, is believed as it is."""
    pulses = _pulses(10)
    outcome = pulses.update(0.25, pulses.time + 1.0, 1e12)

    assert (Outcome.AFRESH, 0.25) == (outcome, pulses.offset)


def test_integral_that_no_clock_has_is_refused() -> None:
    """A clock was not corrected by infinity."""
    pulses = _pulses(10)

    assert Outcome.REFUSED is pulses.update(0.25, pulses.time + 1.0, math.inf)


def test_step_and_doubt_move_the_whole_belief() -> None:
    """A step moves the offset, a suspend widens the variance."""
    pulses = _pulses(50)
    offset, variance = pulses.offset, pulses.p00
    pulses.shift(0.125)
    pulses.doubt(1.0)

    assert pulses.offset == pytest.approx(offset - 0.125)
    assert pulses.p00 == pytest.approx(variance + 1.0)
