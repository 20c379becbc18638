"""
The oscillator under a virtual clock: how far it runs from true time.

Its fractional frequency error is the sum of a constant, a random walk (a normal step at each whole second), sines and
jumps.  The walk is constant within a second, the rest is integrated in closed form, so the time error at any nanosecond
is exact and does not depend on when else it was asked for: the same seed gives the same crystal to every algorithm.

The walk is drawn in blocks and a block is dropped when time has passed it, so time may only go forward (within a
block, of ``end`` nanoseconds, also back) and a month needs no more memory than a minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from random import Random

from ntptwist.timestamp import NANOSECONDS

_BLOCK = 256
"""Seconds; long enough that drawing costs nothing but the draws."""


@dataclass(frozen=True, slots=True)
class Sine:
    """A periodic frequency error, as temperature makes it: fractional amplitude, period in seconds."""

    amplitude: float
    period: float


@dataclass(frozen=True, slots=True)
class OscillatorModel:
    """
    What an oscillator is like.

    Frequencies are fractional (1e-6 is 1 ppm), positive runs fast.  ``wander`` is the standard deviation of the step
    that the frequency takes each second.  The jumps are pairs of the seconds since the start and what happens then: so
    much is added to the frequency, or the wander has that value from there on (in the order of time).
    """

    frequency: float = 20e-6
    wander: float = 1e-9
    sines: tuple[Sine, ...] = ()
    frequency_jumps: tuple[tuple[float, float], ...] = ()
    wander_jumps: tuple[tuple[float, float], ...] = ()


class Oscillator:
    """
    One crystal: a model and a seed.

    ``end`` is the first nanosecond since the start that is not drawn yet; asking for it drops what lies before.
    """

    __slots__ = (
        "_error",
        "_errors",
        "_first",
        "_frequencies",
        "_frequency",
        "_model",
        "_random",
        "_regular",
        "_swings",
        "_whole_errors",
        "_whole_frequencies",
        "end",
    )

    def __init__(self, model: OscillatorModel, seed: int | str) -> None:
        self._model = model
        self._random = Random(f"{seed}/oscillator")  # noqa: S311 - a crystal, not a key
        self._regular = bool(model.sines or model.frequency_jumps)
        self._swings = [(sine.amplitude, 2 * math.pi / sine.period) for sine in model.sines]
        self._frequency = model.frequency
        self._error = 0.0
        self._first = -_BLOCK
        self.end = 0
        self._draw()

    def error(self, elapsed: int) -> float:
        """Give the seconds that the oscillator has gained in so many nanoseconds of true time."""
        second, rest = divmod(elapsed, NANOSECONDS)
        index = second - self._first
        if not 0 <= index < _BLOCK:
            index = self._index(second)
        error = self._errors[index] + self._frequencies[index] * (rest / NANOSECONDS)
        return error + self._regular_error(elapsed / NANOSECONDS) if self._regular else error

    def frequency(self, elapsed: int) -> float:
        """Give the fractional frequency error at so many nanoseconds of true time."""
        second = elapsed // NANOSECONDS
        index = second - self._first
        if not 0 <= index < _BLOCK:
            index = self._index(second)  # first: it may replace the block
        frequency = self._frequencies[index]
        return frequency + self._regular_frequency(elapsed / NANOSECONDS) if self._regular else frequency

    def record(self, first: int, last: int) -> tuple[list[float], list[float]]:
        """Give ``error`` and ``frequency`` at the whole seconds from ``first`` up to, not including, ``last``."""
        errors: list[float] = []
        frequencies: list[float] = []
        second = first
        while second < last:
            index = self._index(second)
            stop = min(index + last - second, _BLOCK)
            errors += self._whole_errors[index:stop]
            frequencies += self._whole_frequencies[index:stop]
            second += stop - index
        return errors, frequencies

    def _index(self, second: int) -> int:
        while second >= self._first + _BLOCK:
            self._draw()
        if second < self._first:
            raise ValueError(f"second {second} of an oscillator is gone: it is at {self._first}")
        return second - self._first

    def _draw(self) -> None:
        """Go on to the next block."""
        self._first += _BLOCK
        self.end += _BLOCK * NANOSECONDS
        walk = list(accumulate(chain((self._frequency,), self._steps())))
        self._frequency = walk.pop()
        self._frequencies = walk
        self._errors = list(accumulate(chain((self._error,), walk)))
        self._error = self._errors.pop()
        errors, frequencies = self._errors, self._frequencies
        if self._regular:
            errors = [error + self._regular_error(k) for k, error in enumerate(errors, self._first)]
            frequencies = [each + self._regular_frequency(k) for k, each in enumerate(frequencies, self._first)]
        self._whole_errors, self._whole_frequencies = errors, frequencies

    def _steps(self) -> Iterable[float]:
        model = self._model
        if model.wander_jumps:
            return map(self._random.gauss, repeat(0.0), map(self._wander, range(self._first, self._first + _BLOCK)))
        if model.wander:
            return map(self._random.gauss, repeat(0.0), repeat(model.wander, _BLOCK))
        return repeat(0.0, _BLOCK)

    def _wander(self, second: int) -> float:
        wander = self._model.wander
        for when, value in self._model.wander_jumps:
            if second >= when:
                wander = value
        return wander

    def _regular_error(self, seconds: float) -> float:
        error = 0.0
        for amplitude, turn in self._swings:
            error += amplitude / turn * (1 - math.cos(turn * seconds))
        for when, frequency in self._model.frequency_jumps:
            error += frequency * max(seconds - when, 0.0)
        return error

    def _regular_frequency(self, seconds: float) -> float:
        frequency = 0.0
        for amplitude, turn in self._swings:
            frequency += amplitude * math.sin(turn * seconds)
        for when, jump in self._model.frequency_jumps:
            if seconds >= when:
                frequency += jump
        return frequency
