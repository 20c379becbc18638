"""
Both disciplines as the simulated world sees them: the prototype, and the daemon's controller on a simulated clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from bench.prototype.discipline import Discipline
from ntptwist.algorithm.config import PollLimits, SynchronizationPolicy
from ntptwist.algorithm.controller import Controller
from ntptwist.algorithm.update import ControlUpdate, Decision
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.interfaces import IClock
from ntptwist.measurement import OneWayMeasurement, TwoWayMeasurement
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

if TYPE_CHECKING:
    from bench.simulate import Simulation

EPOCH = 1_800_000_000 * NANOSECONDS
"""The true time at which simulations begin."""


class PrototypeSide:
    """The prototype in the simulated world."""

    watch: float | None = Discipline.watch

    def __init__(self, world: Simulation, limits: PollLimits, kind: type[Discipline] = Discipline) -> None:
        scenario = world.scenario
        self._world = world
        self.discipline = kind(
            world, len(scenario.outward), pps=scenario.pulse is not None, pmin=limits.minimum, pmax=limits.maximum
        )

    def sent(self, source: int) -> float:
        """Hand on a request."""
        return self.discipline.sent(source)

    def sample(self, source: int, t1: float, t2: float, t3: float, t4: float) -> None:
        """Hand on a reply."""
        self.discipline.sample(source, t1, t2, t3, t4, self._world.mono)

    def pulse(self, offset: float) -> None:
        """Hand on a pulse."""
        self.discipline.pulse(offset, self._world.now(), self._world.mono)

    def on_timer(self) -> None:
        """Hand on the timer."""
        self.discipline.on_timer()

    def on_watch(self) -> None:
        """Hand on the watch."""
        self.discipline.on_watch(self._world.now(), self._world.mono)


@implementer(IClock)
class SimulatedClock:
    """The clock of a simulated world, in whole nanoseconds."""

    control = "virtual"
    steerable = True
    maximum_frequency = 500.0

    def __init__(self, world: Simulation) -> None:
        self._world = world

    def read(self) -> ClockReading:
        """Read both axes."""
        world = self._world
        monotonic = round(world.mono * NANOSECONDS)
        # local follows monotonic at a distance that only steps change
        ahead = round((world.time + world.offset - world.mono) * NANOSECONDS)
        return ClockReading(Timestamp(EPOCH + monotonic + ahead), Monotonic(monotonic))

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """There is no kernel."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """Step the local clock."""
        self._world.step(delta / NANOSECONDS)
        return self.read()

    def set_frequency(self, ppm: float) -> ClockReading:
        """Set the correction."""
        self._world.set_freq(ppm * 1e-6)
        return self.read()

    def frequency(self) -> float:
        """Give the correction, ppm."""
        return self._world.correction * 1e6

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """There is no kernel to be told."""

    def set_tai_offset(self, seconds: int) -> None:
        """There is no kernel to be told."""


class ControllerSide:
    """The daemon's controller in the simulated world."""

    watch: float | None = None

    def __init__(self, world: Simulation, limits: PollLimits, policy: SynchronizationPolicy) -> None:
        self._world = world
        self.clock = SimulatedClock(world)
        self.controller = Controller(policy, self.clock)
        self.decisions: list[tuple[float, Decision]] = []
        count = len(world.scenario.outward)
        for i in range(count):
            self.controller.add_source(SourceId(i), limits, ReferenceId(bytes([10, 0, 0, i + 1])))
        self._pulse = SourceId(count)
        if world.scenario.pulse is not None:
            self.controller.add_source(self._pulse, PollLimits(0, 0), ReferenceId.of_text("PPS"))
        self.on_timer()

    def sent(self, source: int) -> float:
        """Hand on a request."""
        return self.controller.next_poll(SourceId(source))

    def sample(self, source: int, t1: float, t2: float, t3: float, t4: float) -> None:
        """Hand on a reply, stamped by the clock in whole nanoseconds."""
        del t4
        reading = self.clock.read()
        measurement = TwoWayMeasurement(
            t1=_stamp(t1),
            t2=_stamp(t2),
            t3=_stamp(t3),
            t4=reading.local,
            monotonic=reading.monotonic,
            leap=Leap.NONE,
            stratum=1,
            reference_id=ReferenceId.of_text("GPS"),
            root_delay=0.0,
            root_dispersion=0.0,
            precision=-30,
        )
        self._apply(self.controller.measured(SourceId(source), measurement))

    def pulse(self, offset: float) -> None:
        """Hand on a pulse."""
        reading = self.clock.read()
        measurement = OneWayMeasurement(offset, reading.local, reading.monotonic, precision=1e-6, period=1.0)
        self._apply(self.controller.measured(self._pulse, measurement))

    def on_timer(self) -> None:
        """Hand on the timer."""
        self._apply(self.controller.timer())

    def on_watch(self) -> None:
        """The controller asks for its own looks at the clock."""

    def _apply(self, update: ControlUpdate) -> None:
        self.decisions.extend((self._world.time, decision) for decision in update.decisions)
        self._world.timer(update.next_update)


def _stamp(seconds: float) -> Timestamp:
    return Timestamp(EPOCH + round(seconds * NANOSECONDS))
