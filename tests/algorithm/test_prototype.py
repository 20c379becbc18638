"""
The algorithm is the prototype's: filter by filter to rounding, and as a whole in every scenario.

The prototype is the one with what was learnt since (``widened``), and whether that is better than what was found is
tested beside it.  In the same world both send the same packets at the same times; what differs are nanoseconds, to
which the controller's clock rounds.
"""

from __future__ import annotations

from math import log, sqrt
from random import Random
from statistics import fmean, geometric_mean, stdev

import pytest

from bench.prototype.filter import PulseFilter
from bench.scenarios import SCENARIOS
from bench.simulate import Result, simulate_controller, simulate_prototype
from ntptwist.algorithm.config import PollLimits
from ntptwist.algorithm.filter import Outcome, TwoWayFilter
from ntptwist.algorithm.pulse import OneWayFilter
from tests.algorithm.widened import WidenedFilter, WidenedPrototype

RELATIVE = 1e-9
ROUNDING = {"p": (2e-2, 5e-2), "p3": (2e-2, 5e-2), "s": (2e-2, 2e-2)}
OTHERS = (6e-4, 2e-3)
"""
By how much, relatively, RMS errors of two runs may differ, in offset and in frequency.

A nanosecond is more in the microsecond of a pulse than in the jitter of a network.  In s the two look at the clock at
different moments, so one undoes the foreign step some seconds before the other.
"""
ASKING = {"r1", "r2", "r3", "r4", "r5", "t3", "t4", "h", "gd", "m5"}
"""Where at long intervals a delay may look like a longer route: the controller asks at once, the prototype waits."""


@pytest.mark.parametrize(
    ("base", "jitter", "route", "congestion", "wander"),
    [
        ((1e-4, 1e-4), (1e-4, 1e-4), 0.0, 1.0, 1e-9),
        ((15e-3, 15e-3), (1e-3, 3e-3), 0.0, 1.0, 1e-9),
        ((1e-4, 1e-4), (1e-4, 1e-4), 1e-3, 1.0, 1e-8),
        ((2e-3, 2e-3), (2e-4, 2e-4), -1e-3, 10.0, 1e-7),
        ((1e-4, 1e-4), (1e-1, 1e-1), 0.0, 1.0, 1e-9),
    ],
    ids=["lan", "asymmetric", "longer", "shorter, congested", "satellite"],
)
def test_filter_of_a_server_equals_the_prototype(
    base: tuple[float, float], jitter: tuple[float, float], route: float, congestion: float, wander: float
) -> None:
    """Over two thousand exchanges with steps, slews, congestion and changes of route both beliefs are one."""
    random = Random(7)
    old, new = WidenedFilter(), None
    time = integral = offset = 0.0
    frequency, correction = 2e-5, 0.0
    for k in range(2000):
        there, back = (
            b + random.expovariate(1.0 / j) * (congestion if k % 80 > 60 else 1.0)
            for b, j in zip(base, jitter, strict=True)
        )
        there += route if k > 1000 else 0.0
        delay = there + back
        # the same stamps for both, small enough that no rounding of large numbers comes in
        old.sample(0.0, there + offset, there + offset, delay, time, integral, correction, 1e-6)
        outward, homeward, whole = there + offset, delay - (there + offset), delay - 0.0
        if new is None:
            new = TwoWayFilter(outward, homeward, whole, time, integral, 1e-6)
        else:
            assert new.update(outward, homeward, whole, time, integral, correction) is not Outcome.REFUSED
        if k % 500 == 400:
            old.step(0.25)
            new.shift(0.25)
            offset -= 0.25

        assert new.offset == pytest.approx(old.D, rel=RELATIVE, abs=1e-15)
        assert [new.frequency, new.base] == pytest.approx([old.W, old.B], rel=RELATIVE, abs=1e-18)
        assert [new.p00, new.p11] == pytest.approx([old.p00, old.p11], rel=1e-7)
        assert new.noise.offset_variance == pytest.approx(old.jitter2(), rel=RELATIVE)
        assert (new.wander, new.asymmetry) == pytest.approx((old.q, old.asy))
        frequency += random.gauss(0.0, wander)
        correction = new.frequency if k % 2 else new.frequency + 1e-6
        time += 16.0
        integral += 16.0 * correction
        offset += 16.0 * (frequency - correction)


@pytest.mark.parametrize(("sigma", "spikes"), [(1e-6, False), (1e-5, True)])
def test_filter_of_pulses_equals_the_prototype(sigma: float, spikes: bool) -> None:
    """Over three thousand pulses, with and without outliers, both filters are one."""
    random = Random(3)
    old, new = PulseFilter(), OneWayFilter(1e-4, 1e-6, 1.0, 0.0, 0.0, 1e-6, 1e-5)
    old.sample(1e-4, 0.0, 0.0, 1e-6, 1e-10)
    offset, frequency = 1e-4, 1e-6
    for k in range(1, 3000):
        frequency += random.gauss(0.0, 1e-9)
        offset += frequency
        pulse = (offset + random.gauss(0.0, sigma) + (0.01 if spikes and k % 97 == 0 else 0.0)) % 1.0
        taken = old.sample(pulse, float(k), 0.0, 1e-6, 1e-10)

        assert taken == (new.update(pulse, float(k), 0.0) is Outcome.ABSORBED)
        assert [new.offset, new.frequency] == pytest.approx([old.D, old.W], rel=RELATIVE, abs=1e-18)
        assert [new.p00, new.p01, new.p11] == pytest.approx([old.p00, old.p01, old.p11], rel=1e-7, abs=1e-24)
        assert new.offset_variance == pytest.approx(old.R, rel=RELATIVE)


def assert_alike(name: str, expected: Result, result: Result) -> None:
    """Require that both sent the same packets, and that their errors are the same but for rounding."""
    offset, frequency = ROUNDING.get(name, OTHERS)

    assert result.rms == pytest.approx(expected.rms, rel=offset)
    assert result.frequency == pytest.approx(expected.frequency, rel=frequency)
    assert (expected.packets, expected.steps, expected.below) == (result.packets, result.steps, result.below)


@pytest.mark.lengthy
@pytest.mark.parametrize("limits", [PollLimits(6, 6), PollLimits(4, 4), PollLimits(1, 1), PollLimits(6, 10)], ids=str)
@pytest.mark.parametrize("name", ["a", "b", "c", "c4", "e", "g", "l", "s", "p"])
def test_whole_algorithm_is_the_prototype(name: str, limits: PollLimits) -> None:
    """In every scenario of the goals, shortened, the same packets are sent, and every figure is the prototype's."""
    begin = 20000 if name == "s" else 0
    settle, limit = {1: (300, 1500), 4: (1000, 4000), 6: (3000, 12000), 10: (5000, 20000)}[limits.maximum]
    run = name, limits, 2, begin + limit, begin + settle

    assert_alike(name, simulate_prototype(*run, kind=WidenedPrototype), simulate_controller(*run))


@pytest.mark.lengthy
@pytest.mark.parametrize("name", ["c", "c4"])
def test_finer_noise_is_worth_it(name: str) -> None:
    """Where the offset is known to a fiftieth of the jitter the clock is better by a tenth than the prototype's."""
    polls, runs = PollLimits(4, 4), [(seed, 12000, 3000) for seed in (1, 2, 3)]
    expected = geometric_mean(simulate_prototype(name, polls, *run).rms for run in runs)
    result = geometric_mean(simulate_controller(name, polls, *run).rms for run in runs)

    assert result < 0.9 * expected


def test_clock_is_right_from_the_first_second() -> None:
    """In scenario a the error is below 1 ms from the first second on, for good."""
    assert simulate_controller("a", PollLimits(6, 6), 1, 3000, 500).below == 1


def test_foreign_step_is_undone_within_eight_seconds() -> None:
    """In scenario s the clock is right again in the time between two looks at it."""
    recovered = simulate_controller("s", PollLimits(6, 10), 1, 22000, 500).recovered

    assert recovered is not None
    assert recovered <= 8


def test_same_seed_gives_the_same_bytes() -> None:
    """Two runs of one seed agree in every digit, two seeds don't."""
    first, again, other = (simulate_controller("e", PollLimits(4, 4), seed, 1000, 100) for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.nightly
@pytest.mark.parametrize("limits", [PollLimits(6, 6), PollLimits(4, 4)], ids=str)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_long_runs_are_the_prototypes(name: str, limits: PollLimits) -> None:
    """So it is in every scenario, at full length and at every fixed interval."""
    assert_alike(name, simulate_prototype(name, limits, kind=WidenedPrototype), simulate_controller(name, limits))


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted({*SCENARIOS} - ASKING))
def test_long_runs_at_adaptive_polls_are_the_prototypes(name: str) -> None:
    """So it is at adaptive polls, where no path seems to change."""
    limits = PollLimits(6, 10)

    assert_alike(name, simulate_prototype(name, limits, kind=WidenedPrototype), simulate_controller(name, limits))


@pytest.mark.nightly
@pytest.mark.parametrize("limits", [PollLimits(6, 6), PollLimits(6, 10)], ids=str)
@pytest.mark.parametrize("name", ["a", "b", "c", "c4", "e", "g", "h", "l", "n1", "n2", "p", "s"])
def test_nothing_is_worse_than_it_was_found(name: str, limits: PollLimits) -> None:
    """
    Twenty seeds are as good as those of the prototype as it was found: by no more than 5 % worse beyond doubt.

    The packets of the approach give all later ones other delays.  At adaptive polls the ratio of two runs is then
    anything from a half to two, and the mean of twenty is uncertain by 5 to 7 %.
    """
    ratios = [
        log(simulate_controller(name, limits, seed).rms / simulate_prototype(name, limits, seed).rms)
        for seed in range(1, 21)
    ]
    mean, doubt = fmean(ratios), stdev(ratios) / sqrt(len(ratios))

    assert mean < log(1.15)
    assert mean - 2.0 * doubt < log(1.05)
