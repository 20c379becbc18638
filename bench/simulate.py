"""
An event-driven simulation of one disciplined clock: oscillator, paths, servers, pulses.

Two disciplines can be put into the same world with the same seeds and the same order of events: the prototype
(``bench.prototype``) and the daemon's own controller.  True time is a float in seconds from 0; the controller's clock
is exact in whole nanoseconds, and its axes never part but by steps.  Same seed, same bytes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Protocol

from bench.ntpd_rs_clock import NTPDRSClock
from bench.scenarios import SCENARIOS, Scenario
from bench.sides import ControllerSide, PrototypeSide
from ntptwist.algorithm.config import PollLimits, StepPolicy, SynchronizationPolicy


class Oscillator:
    """The frequency error of a crystal, constant within each second, and its integral."""

    def __init__(self, scenario: Scenario, seed: int, limit: int) -> None:
        random = Random(f"oscillator {seed}")
        frequency = list(accumulate((random.gauss(0.0, scenario.wander) for _ in range(limit + 1)), initial=0.0))
        frequency = [scenario.frequency + error for error in frequency]
        if scenario.wander_jump is not None:
            start, wander = scenario.wander_jump
            walk = accumulate(random.gauss(0.0, wander) for _ in frequency[start:])
            frequency[start:] = [f + error for f, error in zip(frequency[start:], walk, strict=True)]
        if scenario.frequency_jump is not None:
            start, jump = scenario.frequency_jump
            frequency[start:] = [f + jump for f in frequency[start:]]
        if scenario.sine is not None:
            amplitude, period = scenario.sine
            frequency = [f + amplitude * math.sin(k / period * 2.0 * math.pi) for k, f in enumerate(frequency)]
        self.frequency = frequency
        self.phase = list(accumulate(frequency, initial=0.0))

    def at(self, time: float) -> float:
        """Give the seconds that the free-running oscillator has gained by ``time``."""
        second = int(time)
        return self.phase[second] + self.frequency[second] * (time - second)


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

    ``below`` gives the second from which the error stayed below 1 ms for 1000 s, ``recovered`` the seconds until that
    was true after a foreign step; None where it never was.
    """

    rms: float
    largest: float
    frequency: float
    packets: int
    steps: int
    below: int | None
    recovered: int | None


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
        self.errors: list[float] = []
        self.frequency_errors: list[float] = []
        self.packets = self.steps = 0
        self._random = [Random(seed * 1000 + i) for i in range(len(scenario.outward))]
        self._pulses = Random(seed + 77)
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
            assert self.scenario.pulse is not None
            self.side.pulse(self.time - self.now() + self._pulses.gauss(0.0, self.scenario.pulse))
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
        scenario, random, time = self.scenario, self._random[source], self.time
        self.packets += 1
        t1 = self.now()
        outward, homeward = (
            self._delay(scenario.outward[source], random),
            self._delay(scenario.homeward[source], random),
        )
        lost = min(random.random(), random.random()) < scenario.loss
        for start, there, back in scenario.routes:
            if time >= start:
                outward += there
                homeward += back
        interval = self.side.sent(source)
        self._push(time + interval * (1.0 + 0.02 * (random.random() - 0.5)), "poll", source)
        if not lost:
            t2 = time + outward
            if scenario.server_offsets:
                t2 += scenario.server_offsets[source]
            if scenario.server_frequencies:
                t2 += scenario.server_frequencies[source] * time
            self._push(time + outward + homeward, "reply", (source, t1, t2))

    def _delay(self, path: tuple[float, float], random: Random) -> float:
        base, jitter = path
        shape = self.scenario.shape
        if self.scenario.gaussian is not None:
            base += abs(random.gauss(0.0, 1.0) + 5.0) * self.scenario.gaussian
        if shape == "gamma":
            return base + random.gammavariate(3.0, jitter / 3.0)
        if shape == "uniform":
            return base + random.random() * 2.0 * jitter
        if shape == "pareto":
            return base + jitter * (random.paretovariate(1.5) - 1.0)
        if shape == "quanta":
            return base + round(random.expovariate(1.0) * jitter / 5e-5) * 5e-5
        if shape == "bursty":
            jitter *= 10.0 if int(self.time / 1800.0) % 4 == 3 else 1.0
        return base + random.expovariate(1.0) * jitter

    def _push(self, time: float, kind: str, argument: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, argument))

    def _advance(self, time: float) -> None:
        correction, start = self.correction, self.oscillator.at(self.time)
        pace = 1.0 + correction
        first, last = len(self.errors), min(int(time), self.limit)
        if last >= first:
            here = self.offset - pace * start - correction * self.time
            phase, frequency = self.oscillator.phase, self.oscillator.frequency
            self.errors.extend([here + pace * phase[k] + correction * k for k in range(first, last + 1)])
            self.frequency_errors.extend([f * pace + correction for f in frequency[first : last + 1]])
        elapsed = time - self.time
        gained = pace * (self.oscillator.at(time) - start) + correction * elapsed
        self.offset += gained
        self.mono += elapsed + gained
        self.time = time

    def _result(self) -> Result:
        errors, frequencies = self.errors[self.settle :], self.frequency_errors[self.settle :]
        recovered = None
        if self.scenario.step is not None:
            after = self.errors[self.scenario.step[0] + 1 :]
            late = [k for k, error in enumerate(after) if abs(error) >= 1e-3]
            recovered = late[-1] + 2 if late else 0
        return Result(
            rms=_rms(errors),
            largest=max(map(abs, errors)),
            frequency=_rms(frequencies),
            packets=self.packets,
            steps=self.steps,
            below=_settled(self.errors, 1e-3),
            recovered=recovered,
        )


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


def _settled(errors: Sequence[float], threshold: float) -> int | None:
    """Give the second after which the error first stayed below the threshold for 1000 s."""
    start = 0
    for second, error in enumerate(errors):
        if abs(error) >= threshold:
            if second - start > 1000:
                break
            start = second + 1
    return start if start < len(errors) else None


def simulate_prototype(
    name: str, limits: PollLimits, seed: int = 1, limit: int | None = None, settle: int | None = None
) -> Result:
    """Run the prototype in a scenario."""
    return Simulation(SCENARIOS[name], lambda world: PrototypeSide(world, limits), seed, limit, settle).run()


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
    return Simulation(
        scenario, lambda world: NTPDRSClock(world, servers, limits, agreeing), seed, limit, settle
    ).run()


def medians(results: Sequence[Result]) -> Iterator[tuple[str, float]]:
    """Give the median of each figure over several seeds; what never happened counts as infinite."""
    for field in Result.__dataclass_fields__:
        values = sorted(math.inf if (value := getattr(r, field)) is None else float(value) for r in results)
        yield field, values[len(values) // 2]
