"""
An event-driven simulation of one disciplined clock: oscillator, paths, servers, pulses.

Three disciplines can be put into the same world: the prototype (``bench.prototype``), ntpd-rs' restated
(``ntpd_rs_clock``) and the daemon's own controller.  True time is a float in seconds from 0; the controller's clock is
exact in whole nanoseconds, and its axes never part but by steps.  Same seed, same bytes - and the same crystal, delays,
losses and pulses, each drawn from the same generator, as in the virtual world of the whole daemon (``daemon``).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from bench.ntpd_rs_clock import NTPDRSClock
from bench.prototype.discipline import Discipline
from bench.scenarios import ADDRESSES, SCENARIOS, Scenario
from bench.sides import ControllerSide, PrototypeSide
from ntptwist.algorithm.config import PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.sim.network import Path, path_name
from ntptwist.sim.oscillator import Oscillator as Crystal
from ntptwist.sim.receiver import noise
from ntptwist.sim.trace import Statistics, Trace
from ntptwist.sim.world import ADDRESSES as OWN_ADDRESSES


class Oscillator:
    """The crystal of a run: what it has gained (s) and its frequency error at every whole second, known beforehand."""

    def __init__(self, scenario: Scenario, seed: int, limit: int) -> None:
        self.phase, self.frequency = Crystal(scenario.crystal(), seed).record(0, limit + 2)

    def at(self, time: float) -> float:
        """Give the seconds that the free-running oscillator has gained by ``time``."""
        second = int(time)
        before, after = self.phase[second : second + 2]
        return before + (after - before) * (time - second)


class Way:
    """A one-way path and its random generator."""

    def __init__(self, path: Path, seed: str) -> None:
        self._path, self._random = path, Random(seed)

    def delays(self, time: float) -> tuple[float, ...]:
        """Draw the delay of a packet; none if it is lost."""
        return self._path.copies(self._random, time)


class Side(Protocol):
    """A discipline in the simulated world."""

    watch: float | None

    def sent(self, source: int) -> float:
        """A request is sent; give the seconds until the next."""

    def sample(self, source: int, t1: float, t2: float, t3: float, t4: float) -> None:
        """A reply has come."""

    def pulse(self, offset: float) -> None:
        """A pulse has come, which is true minus local time."""

    def on_timer(self) -> None:
        """The timer has run out."""

    def on_watch(self) -> None:
        """It is time to look for foreign steps."""


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of a run: RMS and largest error (s), RMS frequency error, packets, own steps above 0.1 s.

    ``below`` gives the second from which the error stayed below 1 ms for 1001 s, ``recovered`` the seconds until that
    was true after a foreign step; None where it never was.
    """

    rms: float
    largest: float
    frequency: float
    packets: int
    steps: int
    below: int | None
    recovered: int | None

    @classmethod
    def of(cls, figures: Statistics, recovered: int | None) -> Result:
        """Pick from the figures of a trace."""
        return cls(
            rms=figures.rms,
            largest=figures.maximum,
            frequency=figures.frequency_rms,
            packets=figures.packets,
            steps=figures.steps,
            below=figures.below_1ms,
            recovered=recovered,
        )


class Simulation:
    """The world around one clock; it is also the prototype's host."""

    def __init__(
        self,
        scenario: Scenario,
        make_side: Callable[[Simulation], Side],
        seed: int = 1,
        limit: int | None = None,
        settle: int | None = None,
    ) -> None:
        self.scenario = scenario
        self.limit = limit or scenario.limit
        self.settle = scenario.settle if settle is None else settle
        self.oscillator = Oscillator(scenario, seed, self.limit)
        self.time, self.offset, self.mono, self.correction = 0.0, scenario.offset, 0.0, 0.0
        self.trace = Trace()
        self.packets = self.steps = 0
        self._paths = [
            (
                Way(scenario.path(i, home=False), path_name(seed, OWN_ADDRESSES[0], there)),
                Way(scenario.path(i, home=True), path_name(seed, there, OWN_ADDRESSES[0])),
            )
            for i, there in enumerate(ADDRESSES[: len(scenario.outward)])
        ]
        self._random = Random(f"{seed}/polls")
        self._pulses = noise(seed, 0.0, scenario.pulse or 0.0)
        self._events: list[tuple[float, int, str, object]] = []
        self._count = self._timer = 0
        self.side = make_side(self)

    def now(self) -> float:
        """Read the local clock."""
        return self.time + self.offset

    def step(self, x: float) -> None:
        """Step the local clock."""
        self.offset += x
        self.steps += abs(x) > 0.1

    def set_freq(self, f: float) -> None:
        """Set the correction, within the kernel's limits."""
        self.correction = max(-500e-6, min(500e-6, f))

    def timer(self, dt: float) -> None:
        """Wake the side after ``dt`` seconds of its clock; replaces any earlier wish."""
        self._timer += 1
        rate = 1.0 + self.oscillator.frequency[int(self.time)] + self.correction
        self._push(self.time + dt / rate, "timer", self._timer)

    def run(self) -> Result:
        """Run to the limit."""
        scenario = self.scenario
        for i in range(len(scenario.outward)):
            self._push(0.5 + 0.01 * i, "poll", i)
        if scenario.pulse is not None:
            self._push(1.0, "pulse", None)
        if scenario.step is not None:
            self._push(float(scenario.step[0]), "step", scenario.step[1])
        if self.side.watch is not None:
            self._push(self.side.watch, "watch", None)
        while self._events:
            time, _, kind, argument = heapq.heappop(self._events)
            if time >= self.limit:
                break
            if kind == "timer" and argument != self._timer:
                continue
            self._advance(time)
            self._happen(kind, argument)
        self._advance(float(self.limit))
        return self._result()

    def _happen(self, kind: str, argument: object) -> None:
        if kind == "poll":
            assert isinstance(argument, int)
            self._poll(argument)
        elif kind == "reply":
            assert isinstance(argument, tuple)
            source, t1, t2 = argument
            self.side.sample(source, t1, t2, t2, self.now())
        elif kind == "pulse":
            _, late = next(self._pulses)
            self.side.pulse(self.time - self.now() - late)
            self._push(self.time + 1.0, "pulse", None)
        elif kind == "timer":
            self.side.on_timer()
        elif kind == "step":
            assert isinstance(argument, float)
            self.offset += argument
        else:
            self.side.on_watch()
            assert self.side.watch is not None
            self._push(self.time + self.side.watch, "watch", None)

    def _poll(self, source: int) -> None:
        scenario, time = self.scenario, self.time
        self.packets += 1
        t1 = self.now()
        interval = self.side.sent(source)
        self._push(time + interval * (1.0 + 0.02 * (self._random.random() - 0.5)), "poll", source)
        outward, homeward = self._paths[source]
        for there in outward.delays(time):
            arrival = time + there
            t2 = arrival
            if scenario.server_offsets:
                t2 += scenario.server_offsets[source]
            if scenario.server_frequencies:
                t2 += scenario.server_frequencies[source] * arrival
            for back in homeward.delays(arrival):
                self._push(arrival + back, "reply", (source, t1, t2))

    def _push(self, time: float, kind: str, argument: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, argument))

    def _advance(self, time: float) -> None:
        correction, start = self.correction, self.oscillator.at(self.time)
        pace = 1.0 + correction
        first, last = len(self.trace), min(int(time), self.limit)
        if last >= first:
            here = self.offset - pace * start - correction * self.time
            phase, frequency = self.oscillator.phase, self.oscillator.frequency
            self.trace.extend(
                [-(here + pace * phase[k] + correction * k) for k in range(first, last + 1)],
                [f * pace + correction for f in frequency[first : last + 1]],
            )
        elapsed = time - self.time
        gained = pace * (self.oscillator.at(time) - start) + correction * elapsed
        self.offset += gained
        self.mono += elapsed + gained
        self.time = time

    def _result(self) -> Result:
        figures = self.trace.statistics(self.settle, None, self.packets, self.steps)
        step = self.scenario.step
        return Result.of(figures, None if step is None else self.trace.recovery(step[0]))


def simulate_prototype(
    name: str,
    limits: PollLimits,
    seed: int = 1,
    limit: int | None = None,
    settle: int | None = None,
    kind: type[Discipline] = Discipline,
) -> Result:
    """Run the prototype in a scenario, or another ``kind`` of it."""
    return Simulation(SCENARIOS[name], lambda world: PrototypeSide(world, limits, kind), seed, limit, settle).run()


def simulate_controller(
    name: str, limits: PollLimits, seed: int = 1, limit: int | None = None, settle: int | None = None
) -> Result:
    """Run the controller in a scenario; it may step whenever the prototype would."""
    scenario = SCENARIOS[name]
    policy = SynchronizationPolicy(voting_sources=len(scenario.outward), step_policy=StepPolicy.ALWAYS)
    return Simulation(scenario, lambda world: ControllerSide(world, limits, policy), seed, limit, settle).run()


def simulate_ntpd_rs(
    name: str, limits: PollLimits, seed: int = 1, limit: int | None = None, settle: int | None = None
) -> Result:
    """Run ntpd-rs' discipline, restated, in a scenario."""
    scenario = SCENARIOS[name]
    servers = len(scenario.outward)
    agreeing = min(3, servers)
    return Simulation(scenario, lambda world: NTPDRSClock(world, servers, limits, agreeing), seed, limit, settle).run()


def medians(results: Sequence[Result]) -> Iterator[tuple[str, float]]:
    """Give the median of each figure over several seeds; what never happened counts as infinite."""
    for field in Result.__dataclass_fields__:
        values = sorted(math.inf if (value := getattr(r, field)) is None else float(value) for r in results)
        yield field, values[len(values) // 2]
