"""
A trial: one scenario with one seed, from the start of the world to its end.

The daemon is built by ``make_service`` from its ordinary configuration.  A few hundred times the trial looks at what
the daemon claims and at the truth; looking changes nothing, so the figures are those of a run that nobody watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from twisted.application.service import IService
from zope.interface import implementer

from ntptwist.algorithm.update import DecisionKind
from ntptwist.config.table import Table
from ntptwist.interfaces import ISourceDriver, ISpawner, ISystem
from ntptwist.registry import find_driver
from ntptwist.service import Daemon, make_service
from ntptwist.sim.receiver import NOTHING, ON_TIME, Receiver
from ntptwist.sim.scenario import (
    Disconnect,
    ForeignStep,
    LeapSecond,
    ReceiverPlan,
    Refuse,
    Restart,
    Scenario,
    Suspend,
)
from ntptwist.sim.trace import Statistics
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.snapshot import SystemSnapshot
from ntptwist.spawners.pps import PPSConfiguration, PPSSpawner
from ntptwist.timestamp import NANOSECONDS

_DECISIONS = frozenset(kind.value for kind in DecisionKind)

LOOKS = 600
"""So often the trial looks at the daemon; as many columns a plot has."""


_OWN = tuple(map(ip_address, ADDRESSES))


class Look(NamedTuple):
    """
    What was seen at second ``at``: the error, and what the daemon claimed, all in seconds.

    ``low`` and ``high`` are the extremes of the error since the look before, NaN where nobody could read the clock.
    ``uncertainty`` is one standard deviation; None while nothing was claimed.
    """

    at: float
    low: float
    high: float
    error: float
    uncertainty: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """
    What came of a trial.

    ``statistics`` are those after the settling time, ``windows`` those of the limits' windows (RMS and maximum).
    ``beyond_bound`` and ``beyond_3_sigma`` are the shares of looks at which the error was greater than claimed.
    ``recovered`` are, for each foreign step, the seconds until the error was below 1 ms for good; None if it never was.
    ``told`` are the daemon's decisions, with the seconds since the start of the world on its own clock.
    """

    seed: int
    statistics: Statistics
    windows: tuple[tuple[float, float], ...]
    beyond_bound: float
    beyond_3_sigma: float
    synchronized: bool
    exit_status: int
    used: frozenset[str]
    recovered: tuple[int | None, ...]
    told: tuple[tuple[float, str], ...]
    looks: tuple[Look, ...]


def run(scenario: Scenario, seed: int, progress: Callable[[float], object] = lambda _: None) -> Report:
    """Let a scenario happen; ``progress`` is called now and then with the seconds that have passed since."""
    with ExitStack() as cleanup:
        return Trial(scenario, seed, cleanup).run(progress)


class Trial:
    """One world and the daemon in it; ``cleanup`` ends what is left of both."""

    def __init__(self, scenario: Scenario, seed: int, cleanup: ExitStack) -> None:
        self._scenario = scenario
        self._world = _world(scenario, seed)
        self._seed = seed
        self._restarts = [event for event in scenario.events if isinstance(event, Restart)]
        state = None
        if self._restarts:
            state = cleanup.enter_context(TemporaryDirectory(prefix="ntptwist-lab-"))
        self._config = replace(scenario.config, control_directory=None, state_directory=state)
        receiver = scenario.receiver
        self._find_driver = find_driver if receiver is None else _with_pulses(self._world, receiver, seed)
        self._exit_status = 0
        self._looks: list[Look] = []
        self._seen = 0
        self._used: set[str] = set()
        self._told: list[tuple[float, str]] = []
        self._daemon = self._start()

    def run(self, progress: Callable[[float], object]) -> Report:
        """Run to the end."""
        scenario, world = self._scenario, self._world
        for event in scenario.events:
            _prepare(world, event)
        interval = scenario.duration / LOOKS
        moments = sorted(
            [(interval * k, None) for k in range(1, LOOKS + 1)] + [(r.at, r) for r in self._restarts], key=_when
        )
        passed = 0.0
        for moment, restart in moments:
            world.run(moment - world.timeline.elapsed / NANOSECONDS)
            if restart is not None:
                self._end()
                world.run(restart.seconds)
                self._daemon = self._start()
            elif world.timeline.elapsed / NANOSECONDS <= moment + interval / 2:
                self._look(moment)
                progress(moment - passed)
                passed = moment
        last = self._snapshot()
        synchronized = last is not None and last.synchronized
        self._end()
        return self._report(synchronized=synchronized)

    def _start(self) -> Daemon:
        world = self._world
        daemon = make_service(
            self._config,
            world.reactor,
            clock=world.clock,
            randbytes=world.randbytes,
            own_addresses=lambda: _OWN,
            find_driver=self._find_driver,
        )
        service: IService = daemon
        world.start(service)
        return daemon

    def _end(self) -> None:
        """Stop the daemon, if it has not ended by itself, and keep what it told."""
        self._world.stop()
        self._exit_status = self._daemon.exit_status
        system = self._daemon.system
        if system is not None:
            start = self._world.timeline.start
            decided = [entry for entry in system.journal if entry.kind in _DECISIONS]
            self._told += [((entry.time - start) / NANOSECONDS, entry.reason) for entry in decided]

    def _snapshot(self) -> SystemSnapshot | None:
        system = self._daemon.system
        return system.snapshot() if system is not None and system.running else None

    def _look(self, at: float) -> None:
        world = self._world
        seconds = [error for error in world.clock.trace.offsets[self._seen :] if error == error]
        self._seen = len(world.clock.trace)
        low, high = (min(seconds), max(seconds)) if seconds else (math.nan, math.nan)
        if world.clock.sleeping:
            self._looks.append(Look(at, low, high, math.nan))
            return
        snapshot, error = self._snapshot(), world.clock.true_offset()
        if snapshot is None:
            self._looks.append(Look(at, low, high, error))
            return
        for source in snapshot.sources:
            if source.estimate.selected:
                self._used.add(_host(source.observation.address))
        if not snapshot.synchronized or snapshot.offset is None:
            self._looks.append(Look(at, low, high, error))
            return
        uncertainty = (
            snapshot.time.root_dispersion(snapshot.monotonic) - snapshot.time.dispersion + abs(snapshot.offset)
        )
        self._looks.append(Look(at, low, high, error, uncertainty, snapshot.error_bound))

    def _report(self, *, synchronized: bool) -> Report:
        scenario, world = self._scenario, self._world
        windows = [world.statistics(window.first, window.last) for window in scenario.limits.windows]
        settled = [look for look in self._looks if look.at > scenario.settle and look.uncertainty is not None]
        return Report(
            seed=self._seed,
            statistics=world.statistics(scenario.settle, scenario.duration),
            windows=tuple((window.rms, window.maximum) for window in windows),
            beyond_bound=_share([abs(look.error) > (look.bound or 0.0) for look in settled]),
            beyond_3_sigma=_share([abs(look.error) > 3.0 * (look.uncertainty or 0.0) for look in settled]),
            synchronized=synchronized,
            exit_status=self._exit_status,
            used=frozenset(self._used),
            recovered=tuple(
                world.clock.trace.recovery(event.at) for event in scenario.events if isinstance(event, ForeignStep)
            ),
            told=tuple(self._told),
            looks=tuple(self._looks),
        )


def _when(moment: tuple[float, Restart | None]) -> float:
    return moment[0]


def _share(held: list[bool]) -> float:
    return sum(held) / len(held) if held else 0.0


def _host(address: str) -> str:
    """Give the literal address of ``address:port``; the path of a clock of this machine."""
    return address if address.startswith("/") else address.rpartition(":")[0].strip("[]")


def _world(scenario: Scenario, seed: int) -> World:
    """Build what is around the daemon."""
    world = World(seed, oscillator=scenario.oscillator, offset=scenario.offset, start=scenario.start)
    for plan in scenario.servers:
        server = world.add_server(plan.address, plan.behaviour, plan.up, plan.down)
        for at, behaviour in plan.changes:
            world.at(at, server.behave, behaviour)
    for name in scenario.names:
        world.names.add(name.name, *name.addresses, delay=name.delay)
    return world


def _with_pulses(world: World, plan: ReceiverPlan, seed: int) -> Callable[[str], ISourceDriver]:
    """Set up a receiver; give what finds drivers, among them one for its pulses instead of a device's."""
    receiver = Receiver(world, plan.path, plan.sample_jitter, plan.pulse_jitter, seed)
    receiver.feeds = lambda second: _on_time(second, plan.sample_outages)
    receiver.pulses = lambda second: _on_time(second, plan.pulse_outages)

    def find(mode: str) -> ISourceDriver:
        return PulseDriver(receiver) if mode == PulseDriver.name else find_driver(mode)

    return find


def _on_time(second: int, outages: Iterable[tuple[float, float]]) -> Sequence[float]:
    return NOTHING if any(since <= second < until for since, until in outages) else ON_TIME


@implementer(ISourceDriver)
class PulseDriver:
    """The driver of a receiver's pulses, in the place of that of a device of this machine."""

    name = "pps"
    description = "the pulses of a virtual receiver"

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def configure(self, table: Table) -> PPSConfiguration:
        """Read one table, as the real driver does."""
        return PPSSpawner.configure(table)

    def spawner(self, configuration: PPSConfiguration, system: ISystem, reactor: Any) -> ISpawner:
        """Make the real spawner with the receiver's device."""
        return PPSSpawner(configuration, system, reactor, self._receiver.open_device, self._receiver.threads)


def _prepare(world: World, event: object) -> None:
    """Let an event happen when its time comes; a restart is no matter of the world."""
    match event:
        case ForeignStep(at, seconds):
            world.at(at, world.clock.foreign_step, round(seconds * NANOSECONDS))
        case Suspend(at, seconds, error):
            world.at(at, world.clock.suspend, seconds, error)
        case LeapSecond(at, leap):
            world.leap_second(at, leap)
        case Disconnect(at, seconds):
            world.at(at, setattr, world.network, "connected", False)  # noqa: FBT003 - as it is
            world.at(at + seconds, setattr, world.network, "connected", True)  # noqa: FBT003
        case Refuse(at):
            world.at(at, setattr, world.clock, "refuses", True)  # noqa: FBT003
