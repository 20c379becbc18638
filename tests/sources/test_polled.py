"""A source whose value is read at an interval: at once, later, or in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, get_ident
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ntptwist.errors import DeviceError
from ntptwist.identifiers import EndReason, Leap, ReferenceId
from ntptwist.sim.world import World
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.sources.polled import PolledSource, Reading
from ntptwist.timestamp import Timestamp
from tests.conftest import Failures
from tests.sources.gps import GPSMachine

SETTINGS = OneWaySettings(1e-3, 0.0, 0.0, ReferenceId.of_text("REG"))


class Register(PolledSource):
    """A register that gives what the test says, on a virtual machine or on the real reactor."""

    def __init__(self, machine: GPSMachine, act: Callable[[], Any], reactor: Any, interval: float = 2.0) -> None:
        spawner = machine.system.new_spawner_id()
        super().__init__("a register", "/dev/reg", "reg", SETTINGS, machine.system, spawner, reactor, interval)
        self.act = act
        self.reads = 0
        self.closed = 0

    def read(self) -> Any:
        """Read it."""
        self.reads += 1
        return self.act()

    def close(self) -> None:
        """Note it."""
        self.closed += 1


class SlowRegister(Register):
    """The same, read in a thread."""

    blocking = True


@pytest.fixture
def machine() -> Iterator[GPSMachine]:
    """A machine whose clock is 0.25 s slow, with a daemon that has no sources."""
    with GPSMachine("", pps=None, world=World(1, offset=0.25)) as made:
        made.run(10)
        yield made


def truth(machine: GPSMachine) -> Reading:
    """Read the true time."""
    return Reading(machine.world.clock.read().local, machine.world.timeline.utc)


def virtual(machine: GPSMachine, act: Callable[[], Any]) -> Register:
    """Give a register of a virtual machine that has just been started."""
    source = Register(machine, act, machine.world.reactor)
    source.startService()
    return source


def raises(error: Exception) -> Any:
    """Fail."""
    raise error


def test_a_register_sets_the_clock(machine: GPSMachine) -> None:
    """What is read every two seconds brings the clock to the truth, and the register of reach fills."""
    source = virtual(machine, lambda: truth(machine))
    machine.run(100)
    seen = source.observe()
    source.stopService()

    assert 50 <= source.reads <= 51
    assert (seen.trouble, seen.reach, seen.poll) == (None, 0xFF, 1)
    assert seen.received > 40
    assert abs(machine.error) < 1e-3


def test_a_value_that_comes_later(machine: GPSMachine) -> None:
    """A Deferred is waited for, its value is taken, and there is one at a time."""
    answers: list[Deferred[Any]] = []

    def ask() -> Deferred[Any]:
        answers.append(Deferred())
        return answers[-1]

    source = virtual(machine, ask)
    machine.run(1)
    answers[0].callback(truth(machine))
    machine.run(1.5)
    taken = source.observe()
    machine.run(5)
    late = source.observe()
    waiting = len(answers)
    answers[1].callback(truth(machine))
    machine.run(2)
    back = source.observe()
    source.stopService()

    assert (taken.received, taken.trouble) == (1, None)
    assert waiting == 2
    assert late.dropped == 2
    assert late.trouble == "late: a read takes longer than the 2 s from one to the next"
    assert back.received == 2
    assert len(answers) == 3
    assert source.closed == 1


@pytest.mark.parametrize(
    ("error", "shown", "faults"),
    [
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error", 0),
        (ZeroDivisionError("odd"), "ZeroDivisionError: odd", 1),
    ],
)
def test_reads_that_fail(
    machine: GPSMachine, error: Exception, shown: str, faults: int, logged_failures: Failures
) -> None:
    """A read that fails is counted and shown, a fault of the driver logged once, and the next one is made."""
    source = virtual(machine, lambda: raises(error))
    machine.run(9)
    seen = source.observe()
    source.act = lambda: truth(machine)
    machine.run(2)

    assert (seen.dropped, seen.trouble) == (5, shown)
    assert faults == len(logged_failures.flush(type(error)))
    assert source.observe().trouble is None

    source.stopService()


def test_a_device_that_is_gone(machine: GPSMachine) -> None:
    """DeviceError ends the source, which is closed and reads nothing more."""
    ends: list[Any] = []
    source = virtual(machine, lambda: truth(machine))
    source.when_ended().addCallback(ends.append)
    source.act = lambda: raises(DeviceError("/dev/reg: it is gone"))
    machine.run(20)

    assert [(end.reason, end.explanation) for end in ends] == [(EndReason.UNREACHABLE, "/dev/reg: it is gone")]
    assert (source.reads, source.closed) == (2, 1)
    assert source.stopService() is None


def test_nothing_new(machine: GPSMachine) -> None:
    """A register that never changes is no failure, but it is told for how long."""
    source = virtual(machine, lambda: None)
    machine.run(21)
    seen = source.observe()
    source.stopService()

    assert (seen.received, seen.dropped, seen.trouble) == (0, 0, "nothing new for 20 s")


def test_a_pulse_is_read_with_its_leap_second(machine: GPSMachine) -> None:
    """A reading without a time of its own is a pulse: the second that is nearest is its true time."""
    source = virtual(machine, lambda: Reading(machine.world.clock.read().local, None, Leap.INSERT))
    machine.run(1)

    assert machine.snapshot().sources[0].estimate.leap is Leap.INSERT

    source.stopService()


def test_a_stop_cancels_what_is_under_way(machine: GPSMachine) -> None:
    """A stop waits for no answer: the question is cancelled, the device closed and no timer left."""
    cancelled: list[object] = []
    source = virtual(machine, lambda: Deferred(cancelled.append))
    machine.run(1)
    before = len(machine.world.reactor.getDelayedCalls())
    stopped = source.stopService()
    machine.run(10)

    assert stopped is None
    assert (len(cancelled), source.reads, source.closed, source.observe().dropped) == (1, 1, 1, 0)
    assert len(machine.world.reactor.getDelayedCalls()) == before - 1


def test_a_source_that_never_started_can_be_stopped(machine: GPSMachine) -> None:
    """Nothing was opened, and nothing is closed."""
    source = Register(machine, lambda: None, machine.world.reactor)

    assert source.stopService() is None
    assert source.closed == 0


def test_a_kind_has_to_say_how_it_reads(machine: GPSMachine) -> None:
    """What a driver author forgot is an error of its own."""
    source = PolledSource(
        "a", "b", "c", SETTINGS, machine.system, machine.system.new_spawner_id(), machine.world.reactor
    )
    source.close()

    with pytest.raises(NotImplementedError):
        source.read()


class StuckRegister(Register):
    """A register that can't be closed."""

    def close(self) -> None:
        """Fail."""
        raise DeviceError("stuck")


def test_a_register_that_can_not_be_closed(machine: GPSMachine, logged_failures: Failures) -> None:
    """What fails at the end is logged, and the end it is."""
    source = StuckRegister(machine, lambda: None, machine.world.reactor)
    source.startService()
    source.stopService()

    assert len(logged_failures.flush(DeviceError)) == 1
    assert source.ended


async def later(seconds: float) -> None:
    """Let real time pass."""
    waited: Deferred[None] = Deferred()
    timers: Any = reactor
    timers.callLater(seconds, waited.callback, None)
    await waited


async def test_a_read_that_blocks_has_a_thread_of_its_own() -> None:
    """While a read blocks the reactor runs on; late reads are counted, and a stop waits until the thread is idle."""
    threads: set[int] = set()

    def block() -> Reading:
        """Take longer than the interval."""
        threads.add(get_ident())
        now = Timestamp(time.time_ns())
        time.sleep(0.25)
        return Reading(now, now)

    source = SlowRegister(GPSMachine("", pps=None), block, reactor, 0.1)
    source.startService()
    await later(0.4)
    seen = source.observe()
    stopped = source.stopService()
    again = source.stopService()
    assert stopped is not None
    await stopped

    assert again is stopped
    assert len(threads) == 1
    assert get_ident() not in threads
    assert seen.dropped >= 2
    assert source.closed == 1


async def test_a_read_that_hangs_does_not_hold_up_a_stop() -> None:
    """A stop takes less than two seconds although the device never answers; it is closed when it does."""
    release = Event()
    source = SlowRegister(GPSMachine("", pps=None), lambda: release.wait(10) and None, reactor)
    source.startService()
    await later(0.05)
    start = time.monotonic()
    stopped = source.stopService()
    assert stopped is not None
    await stopped
    took = time.monotonic() - start
    closed = source.closed
    release.set()
    await later(0.2)

    assert 1.0 < took < 2.0
    assert (closed, source.closed) == (0, 1)
