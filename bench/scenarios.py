"""
The scenarios in which the clock discipline is judged.

Delays are (base, jitter) each way in seconds; jitter is the mean of an exponential unless ``shape`` says otherwise.
Wander is a random walk of frequency: every second a normal step of that size.

The simulator of bench/ and the virtual world of the whole daemon (``daemon``) both take their parameters from here: the
crystal and the paths are the same objects, and with one seed they do the same to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from ntptwist.sim import network
from ntptwist.sim.oscillator import OscillatorModel, Sine

Path = tuple[float, float]
ADDRESSES = tuple(f"198.51.100.{host}" for host in range(1, 6))
"""Of the servers."""
QUANTUM = 5e-5
BURSTS = (7200, 5400, 10.0)
"""Seconds from one to the next, seconds of each that are quiet, and how many times longer queues are in the rest."""


def quanta(random: Random, scale: float) -> float:
    """Draw with mean ``scale`` in whole quanta."""
    return round(network.exponential(random, scale) / QUANTUM) * QUANTUM


def both(random: Random, scale: float, sigma: float, queue: float) -> float:
    """Draw many small causes of deviation ``sigma`` and a queue of mean ``queue``, ``scale`` times as large."""
    return scale * (network.gaussian(random, sigma) + network.exponential(random, queue))


SHAPES: dict[str, network.Shape] = {
    "exponential": network.exponential,
    "bursty": network.exponential,
    "gamma": network.gamma,
    "uniform": network.uniform,
    "pareto": network.pareto,
    "quanta": quanta,
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    One clock, its oscillator and its servers; times in seconds, frequencies as fractions.

    ``offset`` is local minus true time at the start, positive like a clock that runs ahead.
    ``sine`` is (amplitude, period); ``step``, ``frequency_jump`` and ``wander_jump`` are (when, how much);
    ``routes`` are (when, outward, homeward) changes of the base delay; ``pulse`` is the noise of a pulse per second.
    """

    outward: Sequence[Path]
    homeward: Sequence[Path]
    frequency: float = 20e-6
    wander: float = 1e-9
    sine: tuple[float, float] | None = None
    offset: float = 0.01
    loss: float = 0.0
    limit: int = 40000
    settle: int = 10000
    server_offsets: Sequence[float] = ()
    server_frequencies: Sequence[float] = ()
    step: tuple[int, float] | None = None
    pulse: float | None = None
    gaussian: float | None = None
    routes: Sequence[tuple[int, float, float]] = ()
    shape: str = "exponential"
    frequency_jump: tuple[int, float] | None = None
    wander_jump: tuple[int, float] | None = None

    def crystal(self) -> OscillatorModel:
        """Give the oscillator under the clock."""
        return OscillatorModel(
            self.frequency,
            self.wander,
            () if self.sine is None else (Sine(*self.sine),),
            () if self.frequency_jump is None else (self.frequency_jump,),
            () if self.wander_jump is None else (self.wander_jump,),
        )

    def path(self, source: int, *, home: bool) -> network.Path:
        """Give the path to a server, or from it."""
        base, jitter = (self.homeward if home else self.outward)[source]
        shape = SHAPES[self.shape]
        if self.gaussian is not None:
            # a path without jitter draws nothing, so the scale of both is one, and this holds them
            shape, jitter = partial(both, sigma=self.gaussian, queue=jitter), 1.0
        period, quiet, factor = BURSTS
        bursts = range(0, self.limit, period) if self.shape == "bursty" else ()
        return network.Path(
            base,
            jitter,
            shape,
            loss=self.loss,
            routes=tuple((start, back if home else there) for start, there, back in self.routes),
            congestions=tuple((start + quiet, start + period, factor) for start in bursts),
        )


def _one(path: Path, homeward: Path | None = None, **more: object) -> Scenario:
    return Scenario([path], [homeward or path], **more)  # type: ignore[arg-type]  # named as the fields are


_A = (1e-4, 1e-4)
_CU, _CD = (15e-3, 1e-3), (15e-3, 3e-3)
_FOUR = (5e-3, 12e-3, 25e-3, 40e-3)

SCENARIOS: dict[str, Scenario] = {
    # those of the goals
    "a": _one(_A, frequency=1e-4, offset=0.1),
    "b": _one((5e-5, 2e-5)),
    "c": _one(_CU, _CD, offset=0.05),
    "c4": Scenario([(base, 1e-3) for base in _FOUR], [(base, 3e-3) for base in _FOUR], offset=0.05),
    "e": Scenario([(1e-3, 1e-4)] * 4, [(1e-3, 1e-4)] * 4, server_offsets=(0.1, 0.0, 0.0, 0.0)),
    "g": _one(_A, sine=(1e-6, 3600.0), wander=1e-10),
    "l": _one(_A, frequency=1e-4, offset=0.1, loss=0.3),
    "s": _one(_A, step=(20000, 0.5), settle=30000),
    "p": _one(_A, pulse=1e-6, limit=10000, settle=2000),
    # the same families with other numbers
    "d": _one(_A, frequency=1e-4, offset=10.0),
    "e2": Scenario([(1e-3, 1e-4)] * 4, [(1e-3, 1e-4)] * 4, server_frequencies=(5e-6, 0.0, 0.0, 0.0)),
    "gi": _one(_CU, _CD, sine=(1e-6, 3600.0), wander=1e-10, offset=0.05),
    "gd": _one(_A, sine=(2e-6, 86400.0), wander=1e-10, limit=172800, settle=20000),
    "h": _one((1e-4, 1e-1), frequency=1e-4, offset=1.0),
    "w": _one(_A, frequency=1e-4, wander=1e-7, offset=0.1),
    "x1": _one((2e-3, 5e-4), (2e-3, 1e-4), wander=3e-9),
    "x3": _one((5e-3, 2e-3), sine=(5e-7, 7200.0), wander=3e-10),
    # other noise
    "n1": _one((1e-3, 0.0), gaussian=1e-4),
    "n2": _one((1e-3, 5e-5), gaussian=5e-5),
    "t1": _one((1e-3, 2e-4), shape="gamma"),
    "t2": _one((1e-3, 2e-4), shape="uniform"),
    "t3": _one((1e-3, 1e-4), shape="pareto"),
    "t4": _one((1e-3, 2e-4), shape="bursty"),
    "t6": _one((1e-3, 1e-4), shape="quanta"),
    # accidents
    "r1": _one(_A, routes=((20000, 5e-4, 5e-4), (30000, -5e-4, -5e-4))),
    "r2": _one(_A, routes=((20000, 1e-3, 0.0),)),
    "r3": _one(_A, routes=((20000, 0.0, 1e-3),)),
    "r4": _one(_A, routes=((20000, 2e-3, 0.0),)),
    "r5": _one(_A, routes=((20000, 1e-3, 0.0), (30000, -1e-3, 0.0))),
    "j1": _one(_A, frequency_jump=(20000, 1e-6)),
    "j3": _one(_A, wander_jump=(20000, 1e-8), wander=1e-10),
    "p3": _one(_A, pulse=1e-6, limit=10000, settle=2000, sine=(1e-6, 3600.0)),
    "m5": Scenario([(1e-3, 1e-4)] * 5, [(1e-3, 1e-4)] * 5, server_offsets=(0.05, 0.05, 0.0, 0.0, 0.0), loss=0.2),
}
