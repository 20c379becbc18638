"""A small world for the controller: a clock that tests move by hand, and servers that answer as they are told."""

from __future__ import annotations

from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits, SynchronizationPolicy
from ntptwist.algorithm.controller import Controller
from ntptwist.algorithm.update import ControlUpdate, Decision, DecisionKind
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.interfaces import IClock
from ntptwist.measurement import OneWayMeasurement, TwoWayMeasurement
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

FIRST = SourceId(0)
GPS = ReferenceId.of_text("GPS")
START = Timestamp(1_800_000_000 * NANOSECONDS)


@implementer(IClock)
class HandClock:
    """
    A clock in whole nanoseconds that runs when it is told to.

    ``error`` is local minus true time in nanoseconds at the start, ``drift`` the error of its oscillator in ppm.
    """

    maximum_frequency = 500.0

    def __init__(self, error: int = 0, drift: float = 0.0, start: Timestamp = START, *, steerable: bool = True) -> None:
        self.steerable = steerable
        self.control = "virtual" if steerable else "observe"
        self.true = int(start)
        self.steps: list[int] = []
        self.settings: list[float] = []
        self.reads = 0
        self.drift = drift
        self._ppm = 0.0
        self._local = start + error
        self._monotonic = 5 * NANOSECONDS
        self._asleep = 0

    @property
    def error(self) -> float:
        """Local minus true time, seconds."""
        return (self._local - self.true) / NANOSECONDS

    def advance(self, seconds: float) -> None:
        """Let true time pass."""
        true = round(seconds * NANOSECONDS)
        passed = true + round(true * (self.drift + self._ppm) * 1e-6)
        self.true += true
        self._local += passed
        self._monotonic += passed

    def meddle(self, delta: int) -> None:
        """Somebody else steps the clock by ``delta`` nanoseconds."""
        self._local += delta

    def sleep(self, seconds: int, error: float = 0.0) -> None:
        """The machine is suspended, and its battery clock errs by ``error`` seconds."""
        slept = seconds * NANOSECONDS
        seen = slept + round(error * NANOSECONDS)
        self.true += slept
        self._local += seen
        self._asleep += seen

    def tune(self, ppm: float) -> None:
        """Somebody else sets the frequency."""
        self._ppm = ppm

    def read(self) -> ClockReading:
        """Read all axes."""
        self.reads += 1
        return ClockReading(Timestamp(self._local), Monotonic(self._monotonic), self._asleep)

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """This clock is the kernel's."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """Step, and remember it."""
        assert self.steerable
        self.steps.append(delta)
        self._local += delta
        return self.read()

    def set_frequency(self, ppm: float) -> ClockReading:
        """Set the frequency in the kernel's unit, and remember what was asked for."""
        assert self.steerable
        self.settings.append(ppm)
        self._ppm = round(max(-500.0, min(500.0, ppm)) * 65536) / 65536
        return self.read()

    def frequency(self) -> float:
        """Give what is in force."""
        return self._ppm

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Nobody listens."""

    def set_tai_offset(self, seconds: int) -> None:
        """Nobody listens."""


class World:
    """A controller around a HandClock, with ``count`` servers that are asked in turn."""

    def __init__(
        self,
        clock: HandClock | None = None,
        count: int = 1,
        policy: SynchronizationPolicy | None = None,
        limits: PollLimits | None = None,
    ) -> None:
        self.clock = clock or HandClock()
        self.controller = Controller(policy or SynchronizationPolicy(voting_sources=count), self.clock)
        self.decisions: list[Decision] = []
        self.sources = [SourceId(number) for number in range(count)]
        for source in self.sources:
            self.controller.add_source(source, limits or PollLimits(), server_id(source))
        self.update = self.take(self.controller.timer())

    def take(self, update: ControlUpdate) -> ControlUpdate:
        """Remember what an update says."""
        self.update = update
        self.decisions.extend(update.decisions)
        return update

    def kinds(self) -> list[DecisionKind]:
        """Give the kinds of all decisions so far, without those about the selection."""
        return [decision.kind for decision in self.decisions if decision.kind is not DecisionKind.SELECTION]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a call of ``timer`` whenever the controller wished for one."""
        left = seconds
        while left > self.update.next_update:
            wait = self.update.next_update
            self.clock.advance(wait)
            left -= wait
            self.take(self.controller.timer())
        self.clock.advance(left)

    def exchange(
        self,
        source: SourceId = FIRST,
        server_error: float = 0.0,
        outward: float = 100e-6,
        homeward: float = 100e-6,
        leap: Leap = Leap.NONE,
        stratum: int = 1,
        reference_id: ReferenceId = GPS,
        root_delay: float = 0.0,
        root_dispersion: float = 0.0,
        poll: bool = True,
    ) -> TwoWayMeasurement:
        """Ask a server whose clock errs, and give what comes back."""
        self.clock.advance(1e-3)  # nothing happens at the same moment as the last thing
        if poll:
            self.controller.next_poll(source)
        t1 = self.clock.read().local
        self.clock.advance(outward)
        t2 = Timestamp(self.clock.true + round(server_error * NANOSECONDS))
        self.clock.advance(homeward)
        reading = self.clock.read()
        return TwoWayMeasurement(
            t1,
            t2,
            t2,
            reading.local,
            reading.monotonic,
            leap,
            stratum,
            reference_id,
            root_delay,
            root_dispersion,
            -20,
        )

    def ask(self, source: SourceId = FIRST, server_error: float = 0.0, **more: object) -> ControlUpdate:
        """Ask a server and hand the answer in."""
        return self.take(self.controller.measured(source, self.exchange(source, server_error, **more)))  # type: ignore[arg-type]  # named as exchange's are

    def ask_all(self, rounds: int = 1, pause: float = 2.0, **more: object) -> None:
        """Ask every server in turn, several times."""
        for _ in range(rounds):
            for source in self.sources:
                self.ask(source, **more)  # type: ignore[arg-type]  # named as exchange's are
            self.pass_time(pause)

    def pulse(self, source: SourceId, late: float = 0.0, period: float | None = 1.0) -> ControlUpdate:
        """Let true time pass to the next whole second and hand in the pulse that comes then, ``late`` seconds late."""
        self.pass_time((NANOSECONDS - self.clock.true % NANOSECONDS) / NANOSECONDS)
        reading = self.clock.read()
        offset = (self.clock.true - reading.local) / NANOSECONDS - late
        if period is not None:
            offset -= period * round(offset / period)
        return self.take(
            self.controller.measured(
                source, OneWayMeasurement(offset, reading.local, reading.monotonic, 1e-6, period=period)
            )
        )


def server_id(source: SourceId) -> ReferenceId:
    """Give the reference id of a server's address."""
    return ReferenceId(bytes([192, 0, 2, source + 1]))
