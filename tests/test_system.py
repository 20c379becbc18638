"""The system between sources and algorithm: what it tells the log, the sources, the kernel and observers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import EPERM
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
from ntptwist.algorithm.leap import LeapSecond, LeapTable
from ntptwist.algorithm.memory import ClockMemory
from ntptwist.algorithm.update import ControllerStatus, ControlUpdate, Decision, DecisionKind
from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap, ReferenceId, SourceEnd, SourceId, SpawnerId
from ntptwist.interfaces import IClockController, ISource, ISourceController, ISpawnerService, ISystem
from ntptwist.measurement import Measurement, TwoWayMeasurement
from ntptwist.sim.server import Behaviour
from ntptwist.sim.world import World
from ntptwist.snapshot import SourceEstimate, SourceObservation, TimeSnapshot
from ntptwist.system import ADDRESS_INTERVAL, JOURNAL_LENGTH, System
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp
from tests.sim.daemon import NEAR, VirtualDaemon

OWN = frozenset({ReferenceId.of_address("192.0.2.1")})
THERE = ReferenceId.of_address("198.51.100.1")
LIMITS = PollLimits()
MEASUREMENT: Measurement = TwoWayMeasurement(
    *(Timestamp(0),) * 4, Monotonic(0), Leap.NONE, 1, ReferenceId.of_text("GPS"), 0.0, 0.0, -20
)
LAST_OF_JUNE = Timestamp(1_782_820_800 * 10**9)
"""Noon of 30 June 2026."""
IDLE = ControlUpdate(TimeSnapshot(), 100.0)


class StubClock:
    """A clock that notes what it is told; ``refusal`` is raised by everything that would change it."""

    control = "system"
    steerable = True

    def __init__(self) -> None:
        self.statuses: list[tuple[Leap, float, float]] = []
        self.tai_offsets: list[int] = []
        self.local = Timestamp(1_000)
        self.refusal: ClockError | None = None

    def read(self) -> ClockReading:
        """Give a time."""
        return ClockReading(self.local, Monotonic(10))

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Note a status."""
        if self.refusal is not None:
            raise self.refusal
        self.statuses.append((leap, estimated_error, maximum_error))

    def set_tai_offset(self, seconds: int) -> None:
        """Note TAI - UTC."""
        self.tai_offsets.append(seconds)


@implementer(IClockController)
class StubController:
    """An algorithm that decides what the test says; ``calls`` are what it was asked."""

    def __init__(self) -> None:
        self.own_addresses: frozenset[ReferenceId] = frozenset()
        self.leap_table: LeapTable | None = None
        self.policy = SynchronizationPolicy()
        self.calls: list[tuple[Any, ...]] = []
        self.update = IDLE
        self.state = ControllerStatus(synchronized=False, state="waiting")
        self.refusal: ClockError | None = None

    def restore(self, memory: ClockMemory) -> None:
        """Note what is restored."""
        self.calls.append(("restore", memory))

    def memory(self) -> ClockMemory | None:
        """Know nothing."""
        return None

    def release(self) -> None:
        """Note it, or refuse as the clock would."""
        self.calls.append(("release",))
        if self.refusal is not None:
            raise self.refusal

    def add_source(
        self, source: SourceId, limits: PollLimits, address: ReferenceId, options: SelectionOptions | None = None
    ) -> None:
        """Note a source."""
        self.calls.append(("add", source, limits, address))

    def remove_source(self, source: SourceId) -> ControlUpdate:
        """Note the end of a source."""
        self.calls.append(("remove", source))
        return self.update

    def measured(self, source: SourceId, measurement: Measurement) -> ControlUpdate:
        """Note a measurement."""
        self.calls.append(("measured", source))
        return self.update

    def next_poll(self, source: SourceId) -> float:
        """Give a time that tells the source."""
        return 64.0 + source

    def desired_poll(self, source: SourceId) -> int:
        """Give an exponent that tells the source."""
        return 6 + source

    def verify(self, source: SourceId) -> None:
        """Note which source is asked."""
        self.calls.append(("verify", source))

    def correct_now(self) -> ControlUpdate:
        """Note it."""
        self.calls.append(("correct now",))
        return self.update

    def timer(self) -> ControlUpdate:
        """Note the time."""
        self.calls.append(("timer",))
        return self.update

    def estimate(self, source: SourceId) -> SourceEstimate:
        """Give an estimate that tells the source."""
        return SourceEstimate(reason=f"source {source}")

    def rejected(self) -> dict[SourceId, str]:
        """Nobody is."""
        return {}

    def status(self) -> ControllerStatus:
        """Give the state."""
        return self.state


@implementer(ISource)
class StubSource(Service):
    """A source that notes the steps it is told of."""

    def __init__(self, number: int) -> None:
        self.id = SourceId(number)
        self.steps: list[int] = []

    def when_ended(self) -> Deferred[SourceEnd]:
        """Never ends."""
        return Deferred()

    def clock_stepped(self, delta: int) -> None:
        """Note a step."""
        self.steps.append(delta)

    def observe(self) -> SourceObservation:
        """Say who this is."""
        return SourceObservation(f"ntp{self.id}.example", f"198.51.100.{self.id}:123", "server")


class Bench:
    """A system with a stub on each side."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.clock = clock = StubClock()
        self.controller = StubController()
        self.own = OWN
        self.failures: list[str] = []
        self.system = System(
            self.reactor,
            clock,  # type: ignore[arg-type]  # it has what the system asks of one
            self.controller,
            bytes,
            lambda: self.own,
            self.failures.append,
        )

    def source(self, number: int) -> tuple[StubSource, ISourceController]:
        """Register a source."""
        source = StubSource(number)
        address = ReferenceId.of_address(f"198.51.100.{number}")
        return source, self.system.register(source, SpawnerId(1), LIMITS, address)

    def decide(self, *decisions: Decision, **others: Any) -> None:
        """Let the algorithm decide something, at its own time."""
        self.controller.update = ControlUpdate(TimeSnapshot(), 1.0, decisions=decisions, **others)
        self.reactor.advance(100.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A running system with stubs."""
    bench = Bench()
    bench.system.startService()
    yield bench
    bench.system.stopService()


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What the system logs."""
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == System.log.namespace:
            events.append(event)

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield events
    publisher.removeObserver(observe)


def test_provides_the_interfaces(bench: Bench) -> None:
    """The system, and what it hands to a source, are what their users expect."""
    _, controller = bench.source(1)

    assert verifyObject(ISystem, bench.system)
    assert verifyObject(ISourceController, controller)
    assert verifyObject(IClockController, bench.controller)


def test_ids_are_never_used_twice(bench: Bench) -> None:
    """Every source and every spawner has an id of its own."""
    sources = [bench.system.new_source_id() for _ in range(100)]
    spawners = [bench.system.new_spawner_id() for _ in range(100)]

    assert len(set(sources)) == 100
    assert len(set(spawners)) == 100


# Sources


def test_a_source_has_its_own_end_of_the_algorithm(bench: Bench, logged: list[LogEvent]) -> None:
    """What a source hands in and asks for is told apart from the others', and it is announced in the log."""
    _, first = bench.source(1)
    _, second = bench.source(2)
    second.measured(MEASUREMENT)

    assert bench.controller.calls[-1] == ("measured", SourceId(2))
    assert (first.next_poll(), second.next_poll()) == (65.0, 66.0)
    assert (first.desired_poll(), second.desired_poll()) == (7, 8)
    assert formatEvent(logged[0]) == "new source 1: ntp1.example (198.51.100.1:123)"


def test_measurements_of_ended_sources_are_dropped(bench: Bench) -> None:
    """What comes from a source after its end does not reach the algorithm."""
    _, controller = bench.source(1)
    bench.system.forget(SourceId(1))
    bench.system.forget(SourceId(1))
    controller.measured(MEASUREMENT)

    assert bench.controller.calls[-2:] == [("add", 1, LIMITS, THERE), ("remove", SourceId(1))]


def test_taken_addresses(bench: Bench) -> None:
    """This host's addresses, as they are now, and those of all running sources are taken."""
    bench.source(1)
    before = bench.system.taken()
    bench.own = OWN | {ReferenceId.of_address("192.0.2.2")}
    bench.reactor.advance(ADDRESS_INTERVAL)
    later = bench.system.taken()
    bench.system.forget(SourceId(1))

    assert before == OWN | {THERE}
    assert later == bench.own | {THERE}
    assert bench.system.taken() == bench.own


def test_nothing_is_decided_while_stopped() -> None:
    """Sources that end as the daemon stops lead to no decision; the algorithm forgets them at the next start."""
    bench = Bench()
    bench.system.startService()
    _, controller = bench.source(1)
    bench.system.stopService()
    controller.measured(MEASUREMENT)
    bench.system.forget(SourceId(1))
    while_stopped = [call for call in bench.controller.calls if call[0] in {"measured", "remove"}]
    left = bench.reactor.getDelayedCalls()
    bench.system.startService()
    bench.system.stopService()

    assert while_stopped == []
    assert left == []
    assert ("remove", SourceId(1)) in bench.controller.calls


def test_the_clock_is_released_at_the_stop(bench: Bench, logged: list[LogEvent]) -> None:
    """No slew goes on when nobody watches it any more; a clock that refuses does not keep the daemon from stopping."""
    bench.controller.refusal = ClockError("set the frequency", EPERM, "Operation not permitted")
    bench.system.stopService()
    bench.system.stopService()

    assert bench.controller.calls.count(("release",)) == 1
    assert logged[-1]["log_level"] is LogLevel.error
    assert "can't be released" in str(formatEvent(logged[-1]))


# Decisions


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (DecisionKind.SYNCHRONIZED, LogLevel.info),
        (DecisionKind.UNSYNCHRONIZED, LogLevel.warn),
        (DecisionKind.SELECTION, LogLevel.info),
        (DecisionKind.STEP, LogLevel.warn),
        (DecisionKind.FOREIGN_STEP, LogLevel.warn),
        (DecisionKind.SUSPENDED, LogLevel.warn),
        (DecisionKind.LEAP, LogLevel.info),
        (DecisionKind.RESET, LogLevel.info),
        (DecisionKind.PANIC, LogLevel.critical),
    ],
)
def test_decisions_reach_log_and_journal(bench: Bench, logged: list[LogEvent], kind: DecisionKind, level: Any) -> None:
    """Each decision is logged by its weight and kept with the time at which it was made."""
    decision = Decision(kind, "because")
    bench.decide(decision)

    assert list(bench.system.journal) == [(1_000, decision)]
    assert (logged[-1]["log_level"], formatEvent(logged[-1])) == (level, "because")


def test_a_decision_about_a_source_names_it(bench: Bench, logged: list[LogEvent]) -> None:
    """The log names the source; one that has ended has no name any more."""
    bench.source(2)
    bench.decide(
        Decision(DecisionKind.SELECTION, "used", source=SourceId(2)),
        Decision(DecisionKind.SELECTION, "used", source=SourceId(9)),
    )

    assert [formatEvent(event) for event in logged[-2:]] == ["ntp2.example: used", "used"]


def test_the_journal_is_bounded(bench: Bench) -> None:
    """Old decisions make room for new ones."""
    for number in range(JOURNAL_LENGTH + 10):
        bench.decide(Decision(DecisionKind.SELECTION, str(number)))

    assert len(bench.system.journal) == JOURNAL_LENGTH
    assert bench.system.journal[0][1].reason == "10"


def test_every_source_is_told_of_a_step(bench: Bench) -> None:
    """A step reaches all sources, whichever of them has led to it; no step reaches none."""
    first, controller = bench.source(1)
    second, _ = bench.source(2)
    controller.measured(MEASUREMENT)
    bench.controller.update = replace(IDLE, stepped=-5_000)
    controller.measured(MEASUREMENT)

    assert first.steps == second.steps == [-5_000]


def test_wakes_the_algorithm_when_it_wants(bench: Bench) -> None:
    """The algorithm's wish replaces its earlier one, be it later or sooner."""
    bench.controller.update = replace(IDLE, next_update=5.0)
    _, controller = bench.source(1)
    controller.measured(MEASUREMENT)
    bench.controller.calls.clear()
    bench.reactor.advance(4.9)
    early = list(bench.controller.calls)
    bench.controller.update = replace(IDLE, next_update=50.0)
    bench.reactor.pump([0.2, 49.0])
    once = list(bench.controller.calls)

    assert early == []
    assert once == [("timer",)]


# The kernel


def test_the_kernel_hears_of_a_leap_second_on_the_last_day(bench: Bench) -> None:
    """A kernel makes an announced leap second at the next midnight, so it is told on the last day of the month only."""
    _, controller = bench.source(1)
    told = []
    for days in (1, 0):
        bench.controller.update = replace(IDLE, time=TimeSnapshot(leap=Leap.DELETE, stratum=2))
        bench.clock.local = Timestamp(LAST_OF_JUNE - days * 86400 * 10**9)
        controller.measured(MEASUREMENT)
        told.append(bench.clock.statuses[-1][0])

    assert told == [Leap.NONE, Leap.DELETE]


def test_the_kernel_is_told_after_every_change(bench: Bench) -> None:
    """Leap indicator and both errors are the ones that hold; the largest is the error bound, 16 s without one."""
    _, controller = bench.source(1)
    time = TimeSnapshot(leap=Leap.INSERT, stratum=2, root_delay=0.25, dispersion=0.5, base=2.0**-20)
    bench.controller.update = replace(IDLE, time=time)
    bench.controller.state = ControllerStatus(synchronized=True, state="synchronized", error_bound=0.75)
    bench.clock.local = LAST_OF_JUNE
    controller.measured(MEASUREMENT)

    assert bench.clock.statuses[0] == (Leap.UNSYNCHRONIZED, 0.0, 16.0)
    assert bench.clock.statuses[-1] == (Leap.INSERT, 2.0**-10, 0.75)


def test_the_kernel_hears_of_tai_once_the_clock_is_right(bench: Bench) -> None:
    """TAI - UTC comes from the list of leap seconds, is told when it changes, and not while it is not known."""
    _, controller = bench.source(1)
    told = []
    leap = LAST_OF_JUNE // 10**9 + 86400
    for table, known, days in (
        (None, True, 0),
        (LeapTable((LeapSecond(0, 10), LeapSecond(leap, 11)), leap + 10 * 86400), False, 0),
        (LeapTable((LeapSecond(0, 10), LeapSecond(leap, 11)), leap + 10 * 86400), True, 0),
        (LeapTable((LeapSecond(0, 10), LeapSecond(leap, 11)), leap + 10 * 86400), True, 0),
        (LeapTable((LeapSecond(0, 10), LeapSecond(leap, 11)), leap + 10 * 86400), True, 1),
        (LeapTable((LeapSecond(0, 10), LeapSecond(leap, 11)), leap + 10 * 86400), True, 20),
    ):
        bench.controller.leap_table = table
        bench.controller.update = replace(IDLE, time=TimeSnapshot(leap=Leap.NONE if known else Leap.UNSYNCHRONIZED))
        bench.clock.local = Timestamp(LAST_OF_JUNE + days * 86400 * 10**9)
        controller.measured(MEASUREMENT)
        told.append(bench.clock.tai_offsets[-1:])

    assert told == [[], [], [10], [10], [11], [11]]
    assert bench.clock.tai_offsets == [10, 11]


def test_the_kernel_is_not_told_what_it_knows(bench: Bench) -> None:
    """A look at the clock that found nothing is no news: the kernel lets its maximum error grow by itself."""
    told = []
    for _ in range(3):
        bench.reactor.advance(IDLE.next_update)
        told.append(len(bench.clock.statuses))

    assert told[0] == told[-1]


def test_an_observed_clock_is_told_nothing() -> None:
    """Who only observes leaves the kernel's status alone."""
    bench = Bench()
    bench.clock.steerable = False
    bench.system.startService()
    bench.system.stopService()

    assert bench.clock.statuses == []


def test_a_refusal_ends_the_daemon(bench: Bench, logged: list[LogEvent]) -> None:
    """A kernel that refuses is said once to the operator, critically, and ends the daemon; no traceback."""
    bench.clock.refusal = ClockError("adjtimex", EPERM, "Operation not permitted")
    bench.decide()

    assert bench.failures == ["the clock can't be steered: adjtimex: Operation not permitted"]
    assert logged[-1]["log_level"] is LogLevel.critical


def test_panic_ends_the_daemon(bench: Bench) -> None:
    """A step that the operator forbids ends the daemon, with the reason."""
    bench.decide(Decision(DecisionKind.PANIC, "a step of 2000 s was refused"))

    assert bench.failures == ["a step of 2000 s was refused"]


# What observers see


@implementer(ISpawnerService)
class StubSpawnerService:
    """The face of a spawner service: its sources, and what it has to say."""

    offline = False

    def __init__(self, sources: list[StubSource], waiting: SourceObservation | None) -> None:
        self._sources = sources
        self._waiting = waiting

    def __iter__(self) -> Iterator[StubSource]:
        return iter(self._sources)

    def waiting(self) -> SourceObservation | None:
        """Say it."""
        return self._waiting

    def startService(self) -> None:
        """Nothing to start."""

    def stopService(self) -> None:
        """Nothing to stop."""


def test_rows_in_the_order_of_the_configuration(bench: Bench) -> None:
    """Sources stand in the order of the configuration, what a spawner says after its sources, strangers at the end."""
    stranger, second, first = (bench.source(number)[0] for number in (3, 2, 1))
    ended = StubSource(4)
    looking = SourceObservation("pool.example", "", "pool", trouble="1 of 4 members")
    silent = SourceObservation("ntp.example", "", "server")
    services: list[Any] = bench.system.services
    services += [
        Service(),
        StubSpawnerService([first, ended], looking),
        StubSpawnerService([second], None),
        StubSpawnerService([], silent),
    ]
    rows = bench.system.snapshot().sources
    services.clear()

    assert [row.id for row in rows] == [1, None, 2, None, stranger.id]
    assert [row.estimate.reason for row in rows] == [
        "source 1",
        "1 of 4 members",
        "source 2",
        "no source yet",
        "source 3",
    ]


def test_the_snapshot_is_the_algorithms_state(bench: Bench) -> None:
    """What the algorithm says of the clock is what everybody reads, and so is the time."""
    time = TimeSnapshot(leap=Leap.NONE, stratum=2)
    bench.controller.state = ControllerStatus(
        synchronized=True, state="synchronized", offset=1e-3, error_bound=2e-3, frequency=3.0, steps=4
    )
    bench.decide()
    bench.controller.update = replace(IDLE, time=time)
    bench.reactor.advance(1.0)
    state = bench.system.snapshot()

    assert bench.system.time() is time
    assert state.time is time
    assert (state.now, state.monotonic, state.control) == (1_000, 10, "system")
    assert (state.offset, state.error_bound, state.frequency, state.steps) == (1e-3, 2e-3, 3.0, 4)


# With the real algorithm, in a virtual world

SERVERS = "".join(f'[[source]]\nmode = "server"\naddress = "198.51.100.{n}"\n' for n in range(1, 5))


def world(offset: float, behaviour: Callable[[int], Behaviour] = lambda number: Behaviour()) -> World:
    """Make a world of four servers and a clock that is off."""
    world = World(1, offset=offset)
    for number in range(1, 5):
        world.add_server(f"198.51.100.{number}", behaviour(number), up=NEAR)
    return world


def test_a_wrong_clock_is_stepped_once_and_told() -> None:
    """A clock that starts 3 s off is stepped, the journal says why, and the kernel knows that it is right."""
    there = world(3.0)
    with VirtualDaemon(there, SERVERS) as daemon:
        daemon.run(60)
        kinds = [decision.kind for _, decision in daemon.system.journal]
        status = there.clock.status

        assert kinds.count(DecisionKind.STEP) == 1
        assert kinds.count(DecisionKind.SYNCHRONIZED) == 1
        assert abs(there.clock.true_offset()) < 1e-3
        assert status is not None
        assert status.leap is Leap.NONE
        assert status.maximum_error >= abs(there.clock.true_offset())


def test_a_forbidden_step_ends_the_daemon_with_70() -> None:
    """When all servers say that the clock is two days ahead, the daemon ends and leaves the clock alone."""
    there = world(0.0, lambda number: Behaviour(offset=-172_800.0))
    with VirtualDaemon(there, SERVERS) as daemon:
        daemon.run(60)

        assert daemon.service.exit_status == 70
        assert not there.reactor.running
        assert there.clock.steps == 0
        assert daemon.system.journal[-1][1].kind is DecisionKind.PANIC


def test_rejected_sources() -> None:
    """A source that contradicts the majority is known as such; without a majority none is."""
    there = world(0.0, lambda number: Behaviour(offset=1.0 if number == 4 else 0.0))
    with VirtualDaemon(there, SERVERS) as daemon:
        early = daemon.run(0.001).system.rejected()
        rejected = daemon.run(60).system.rejected()
        (liar,) = [row.id for row in daemon.rows() if row.observation.address.startswith("198.51.100.4")]

        assert early == {}
        assert list(rejected) == [liar]
        assert rejected[SourceId(liar or 0)].startswith("falseticker")
