"""The crystal under a virtual clock: its error is the exact integral of its frequency, for everybody the same."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from ntptwist.sim.oscillator import Oscillator, OscillatorModel, Sine
from ntptwist.timestamp import NANOSECONDS

STEADY = OscillatorModel(frequency=50e-6, wander=0.0)


def at(seconds: float) -> int:
    """Give nanoseconds."""
    return round(seconds * NANOSECONDS)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 255.999999999, 256.0, 1000.25])
def test_a_steady_oscillator_gains_in_proportion(seconds: float) -> None:
    """A crystal that is 50 ppm fast gains 50 microseconds a second."""
    oscillator = Oscillator(STEADY, 1)

    assert oscillator.error(at(seconds)) == pytest.approx(50e-6 * seconds, abs=1e-15)
    assert oscillator.frequency(at(seconds)) == 50e-6


def test_the_walk_does_not_depend_on_who_looks() -> None:
    """Asking often, at odd times, changes nothing: the same seed is the same crystal to every algorithm."""
    model = OscillatorModel(frequency=10e-6, wander=1e-8)
    often, once = Oscillator(model, 7), Oscillator(model, 7)
    random = Random(1)
    elapsed = 0
    while elapsed < at(2000):
        often.error(elapsed)
        often.frequency(elapsed)
        elapsed += random.randrange(at(3))

    assert often.error(at(2003.7)) == once.error(at(2003.7))
    assert often.frequency(at(2003.7)) == once.frequency(at(2003.7))


def test_another_seed_is_another_crystal() -> None:
    """Worlds of different seeds do not share their weather."""
    model = OscillatorModel(wander=1e-9)

    assert Oscillator(model, 1).error(at(1000)) != Oscillator(model, 2).error(at(1000))


def test_the_walk_takes_a_normal_step_each_second() -> None:
    """The steps of the frequency have the standard deviation that was asked for, and no mean."""
    oscillator = Oscillator(OscillatorModel(frequency=0.0, wander=1e-9), 3)
    _, frequencies = oscillator.record(0, 20_000)
    steps = [after - before for before, after in pairwise(frequencies)]
    deviation = math.sqrt(sum(step * step for step in steps) / len(steps))

    assert frequencies[0] == 0.0
    assert deviation == pytest.approx(1e-9, rel=0.02)
    assert sum(steps) / len(steps) == pytest.approx(0.0, abs=3e-11)


def test_the_error_is_the_integral_of_the_frequency() -> None:
    """What a wandering crystal has gained is the sum of its frequencies, second by second and within a second."""
    oscillator = Oscillator(OscillatorModel(frequency=1e-6, wander=1e-8), 5)
    errors, frequencies = oscillator.record(0, 1001)
    summed = [math.fsum(frequencies[:second]) for second in range(1001)]

    assert errors == pytest.approx(summed, abs=1e-18)
    assert oscillator.error(at(1000.5)) == pytest.approx(errors[1000] + frequencies[1000] / 2, abs=1e-18)


def test_a_sine_is_integrated_in_closed_form() -> None:
    """A frequency that swings by 1 ppm within an hour is back after an hour, and the time is too."""
    oscillator = Oscillator(OscillatorModel(0.0, 0.0, sines=(Sine(1e-6, 3600.0),)), 1)
    quarter = 1e-6 * 3600 / (2 * math.pi)

    assert oscillator.frequency(at(900)) == pytest.approx(1e-6, abs=1e-18)
    assert oscillator.error(at(900)) == pytest.approx(quarter, abs=1e-18)
    assert oscillator.error(at(1800)) == pytest.approx(2 * quarter, abs=1e-18)
    assert oscillator.frequency(at(2700)) == pytest.approx(-1e-6, abs=1e-18)
    assert oscillator.error(at(3600)) == pytest.approx(0.0, abs=1e-18)


def test_frequency_jumps_happen_at_their_moment() -> None:
    """A crystal that jumps by 1 ppm in the middle of a second runs faster from that moment."""
    oscillator = Oscillator(OscillatorModel(0.0, 0.0, frequency_jumps=((10.5, 1e-6), (20.0, -3e-6))), 1)

    assert oscillator.frequency(at(10.4)) == 0.0
    assert oscillator.frequency(at(10.5)) == 1e-6
    assert oscillator.error(at(10.75)) == pytest.approx(0.25e-6, abs=1e-18)
    assert oscillator.frequency(at(20)) == pytest.approx(-2e-6, abs=1e-18)
    assert oscillator.error(at(30)) == pytest.approx(9.5e-6 + 10 * -2e-6, abs=1e-18)


def test_wander_jumps_change_the_steps_from_there_on() -> None:
    """A crystal that is quiet until second 300 stands still until then and wanders afterwards."""
    oscillator = Oscillator(OscillatorModel(5e-6, 0.0, wander_jumps=((300.0, 1e-8), (600.0, 0.0))), 1)
    _, frequencies = oscillator.record(0, 1000)

    assert frequencies[:301] == [5e-6] * 301
    assert len(set(frequencies[301:601])) == 300
    assert len(set(frequencies[601:])) == 1


def test_records_whole_seconds_as_they_are_read_one_by_one() -> None:
    """The record that a trace is made of tells what single readings tell, with sines and jumps too."""
    model = OscillatorModel(1e-6, 1e-9, sines=(Sine(1e-6, 600.0),), frequency_jumps=((250.0, 1e-6),))
    recorded, read = Oscillator(model, 2), Oscillator(model, 2)
    first = recorded.record(0, 100)
    second = recorded.record(100, 700)

    assert first[0] + second[0] == [read.error(at(k)) for k in range(700)]

    read = Oscillator(model, 2)

    assert first[1] + second[1] == [read.frequency(at(k)) for k in range(700)]


def test_the_past_is_gone() -> None:
    """A crystal keeps no more than some minutes: whoever asks for what is older is told so."""
    oscillator = Oscillator(STEADY, 1)
    oscillator.error(at(10_000))

    assert oscillator.error(at(9_990)) == pytest.approx(9_990 * 50e-6)
    with pytest.raises(ValueError, match="second 100 of an oscillator is gone"):
        oscillator.error(at(100))
