"""The reactor of a virtual machine."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ReactorNotRunning
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorPluggableNameResolver,
    IReactorThreads,
    IReactorTime,
)
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from zope.interface.verify import verifyObject

from ntptwist.interfaces import IReactorTimestampedUDP
from ntptwist.sim.names import NameTable
from ntptwist.timestamp import NANOSECONDS
from tests.sim.machine import PEER, Machine, Stamped


@pytest.fixture
def machine() -> Machine:
    """Give a machine with a perfect clock."""
    return Machine()


@pytest.mark.parametrize(
    "interface", [IReactorTime, IReactorThreads, IReactorPluggableNameResolver, IReactorTimestampedUDP]
)
def test_provides_the_interfaces(machine: Machine, interface: Any) -> None:
    """Twisted's own code, and ours, can use it as any reactor."""
    assert verifyObject(interface, machine.reactor)


# delayed calls


def test_time_is_the_machines_monotonic_time() -> None:
    """The reactor counts on the clock that the daemon steers, from 0 at boot, and no step moves it."""
    machine = Machine(frequency=100e-6)

    assert machine.reactor.seconds() == 0.0

    machine.clock.set_frequency(-100.0)
    machine.timeline.run_for(1000.0)
    machine.clock.step(3600 * NANOSECONDS)

    assert machine.reactor.seconds() == machine.clock.read().monotonic / NANOSECONDS
    assert machine.reactor.seconds() == pytest.approx(1000.0 - 1e-5, abs=1e-8)


def test_calls_later(machine: Machine) -> None:
    """A call is made once, at its time, with its arguments."""
    made: list[object] = []
    call = machine.reactor.callLater(1.5, lambda *args, **kwargs: made.append((args, kwargs)), 1, two=2)
    states = [call.active()]
    machine.timeline.run_for(1.499)
    states.append(call.active())

    assert made == []

    machine.timeline.run_for(100.0)
    states.append(call.active())

    assert verifyObject(IDelayedCall, call)
    assert call.getTime() == 1.5
    assert made == [((1,), {"two": 2})]
    assert states == [True, True, False]


def test_time_goes_on_in_the_shortest_wait(machine: Machine) -> None:
    """Who waits for the rest of a moment, however short, sees the moment come: 1e-12 s are not no time."""
    made: list[float] = []
    machine.reactor.callLater(1e-12, lambda: made.append(machine.reactor.seconds()))
    machine.timeline.run_for(1.0)

    assert made == [1e-9]


@pytest.mark.parametrize("delay", [-1.0, -1e-9, float("nan")])
def test_refuses_what_is_past(machine: Machine, delay: float) -> None:
    """A delay below zero is an error of the program, as in a real reactor."""
    with pytest.raises(ValueError, match="not greater than or equal to 0"):
        machine.reactor.callLater(delay, print)


def test_cancelled_calls_are_not_made(machine: Machine) -> None:
    """A call can be cancelled until it is made, once."""
    made: list[int] = []
    call = machine.reactor.callLater(1.0, made.append, 1)
    call.cancel()
    machine.timeline.run_for(2.0)

    assert made == []
    assert not call.active()
    with pytest.raises(AlreadyCancelled):
        call.cancel()
    with pytest.raises(AlreadyCancelled):
        call.reset(1.0)
    with pytest.raises(AlreadyCancelled):
        call.delay(1.0)


def test_made_calls_stay_made(machine: Machine) -> None:
    """A call that was made can't be moved or cancelled, not even by itself."""
    refused: list[type] = []

    def act() -> None:
        """Try to change the call that is being made."""
        for change in (call.cancel, lambda: call.reset(1.0), lambda: call.delay(1.0)):
            with pytest.raises(AlreadyCalled) as error:
                change()
            refused.append(error.type)

    call = machine.reactor.callLater(1.0, act)
    machine.timeline.run_for(2.0)

    assert refused == [AlreadyCalled] * 3


@pytest.mark.parametrize(
    ("change", "argument", "due"), [("reset", 5.0, 6.0), ("reset", 0.5, 1.5), ("delay", 5.0, 8.0), ("delay", -1.0, 2.0)]
)
def test_calls_can_be_moved(machine: Machine, change: str, argument: float, due: float) -> None:
    """``reset`` counts from now, ``delay`` from the time that was set; either may make it sooner or later."""
    moments: list[float] = []
    call = machine.reactor.callLater(3.0, lambda: moments.append(machine.reactor.seconds()))
    machine.timeline.run_for(1.0)
    getattr(call, change)(argument)

    assert call.getTime() == due

    machine.timeline.run_for(20.0)

    assert moments == [due]


def test_tells_the_calls_that_are_left(machine: Machine) -> None:
    """The calls that are still to be made, and no others, can be listed."""
    kept = machine.reactor.callLater(5.0, print)
    machine.reactor.callLater(1.0, int)
    machine.reactor.callLater(5.0, print).cancel()
    machine.timeline.run_for(2.0)

    assert list(machine.reactor.getDelayedCalls()) == [kept]


def test_a_timer_that_is_moved_for_a_month_takes_no_memory(machine: Machine) -> None:
    """A timer that each packet moves leaves nothing behind."""
    call = machine.reactor.callLater(1024.0, print)
    longest = 0
    for _ in range(20_000):
        machine.timeline.run_for(1.0)
        call.reset(1024.0)
        longest = max(longest, len(machine.timeline))

    assert longest < 200


@pytest.mark.parametrize("later", [500.0, -500.0])
def test_calls_are_never_early_and_hardly_late(later: float) -> None:
    """When the clock is sped up or slowed down meanwhile, a call comes at its time or up to 0.1 % later."""
    machine = Machine(frequency=20e-6)
    moments: list[float] = []
    machine.reactor.callLater(1024.0, lambda: moments.append(machine.reactor.seconds()))
    machine.timeline.run_for(100.0)
    machine.clock.set_frequency(later)
    machine.timeline.run_for(1200.0)

    assert len(moments) == 1
    assert 1024.0 <= moments[0] <= 1024.0 * 1.001


def test_calls_wait_while_the_machine_sleeps(machine: Machine) -> None:
    """A timer stands still in suspend: 5 s that were left before are left after it."""
    moments: list[tuple[float, int]] = []
    machine.reactor.callLater(10.0, lambda: moments.append((machine.reactor.seconds(), machine.timeline.elapsed)))
    machine.timeline.run_for(5.0)
    machine.clock.suspend(3600.0)
    machine.timeline.run_for(4000.0)

    assert moments == [(10.0, 3610 * NANOSECONDS)]


def test_looping_calls_and_deferred_delays_work(machine: Machine) -> None:
    """Twisted's own timing tools run on it, second by second."""
    moments: list[float] = []
    loop = LoopingCall(lambda: moments.append(machine.reactor.seconds()))
    loop.clock = machine.reactor
    loop.start(1.0)
    done = deferLater(machine.reactor, 2.5, moments.append, -1.0)
    machine.timeline.run_for(3.5)
    loop.stop()

    assert done.called
    assert moments == [0.0, 1.0, 2.0, -1.0, 3.0]


def test_a_call_that_fails_is_logged_and_harms_no_other(machine: Machine, logged_failures: Any) -> None:
    """An exception in a timed call ends there, as in a real reactor."""
    made: list[int] = []
    machine.reactor.callLater(1.0, lambda: 1 // 0)
    machine.reactor.callLater(1.0, made.append, 1)
    machine.timeline.run_for(2.0)

    assert made == [1]
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


# start and stop


def test_starts_in_its_first_turn(machine: Machine) -> None:
    """What waits for the start is called in the first turn; later it is called at once."""
    made: list[str] = []
    machine.reactor.callWhenRunning(made.append, "after")
    machine.reactor.addSystemEventTrigger("before", "startup", made.append, "before")
    machine.reactor.addSystemEventTrigger("during", "startup", made.append, "during")
    dropped = machine.reactor.addSystemEventTrigger("during", "startup", made.append, "dropped")
    machine.reactor.removeSystemEventTrigger(dropped)
    states = [machine.reactor.running]
    machine.timeline.run_for(0.0)
    states.append(machine.reactor.running)

    assert states == [False, True]
    assert made == ["before", "during", "after"]

    machine.reactor.callWhenRunning(made.append, "now")

    assert made[-1] == "now"


def test_stops_when_everybody_is_ready(machine: Machine) -> None:
    """A shutdown waits for the Deferreds of what has to come before it, and ends everything."""
    made: list[str] = []
    ready: Deferred[None] = Deferred()
    machine.reactor.addSystemEventTrigger("before", "shutdown", lambda: ready)
    machine.reactor.addSystemEventTrigger("during", "shutdown", made.append, "during")
    machine.reactor.addSystemEventTrigger("after", "shutdown", made.append, "after")
    machine.timeline.run_for(0.0)
    protocol = Stamped()
    machine.reactor.connect_udp(*PEER, protocol)
    machine.reactor.callLater(10.0, made.append, "never")
    machine.reactor.stop()
    with pytest.raises(ReactorNotRunning):
        machine.reactor.stop()
    states = [(machine.reactor.running, list(made))]
    ready.callback(None)
    states.append((machine.reactor.running, list(made)))

    assert states == [(True, []), (False, ["during", "after"])]
    assert protocol.life == ["started", "stopped"]
    assert machine.reactor.getDelayedCalls() == []

    machine.timeline.run_for(20.0)

    assert made == ["during", "after"]


def test_a_trigger_that_fails_does_not_hold_the_stop(machine: Machine, logged_failures: Any) -> None:
    """A failing service does not keep the reactor from stopping."""
    machine.reactor.addSystemEventTrigger("before", "shutdown", lambda: 1 // 0)
    machine.timeline.run_for(0.0)
    machine.reactor.stop()

    assert not machine.reactor.running
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_can_not_be_stopped_before_it_runs(machine: Machine) -> None:
    """Only what runs can be stopped."""
    with pytest.raises(ReactorNotRunning):
        machine.reactor.stop()


# threads


def test_threads_run_at_once(machine: Machine) -> None:
    """What a thread would do is done in the caller's turn, and what it hands back comes in the next."""
    made: list[str] = []
    machine.reactor.suggestThreadPoolSize(20)
    machine.reactor.callInThread(made.append, "thread")
    machine.reactor.callFromThread(made.append, "reactor")

    assert made == ["thread"]

    machine.timeline.run_for(0.0)

    assert made == ["thread", "reactor"]


def test_results_come_back_from_threads(machine: Machine) -> None:
    """deferToThreadPool gives results, and failures as failures."""
    pool = machine.reactor.getThreadPool()
    results: list[Any] = []
    deferToThreadPool(machine.reactor, pool, divmod, 7, 2).addBoth(results.append)
    deferToThreadPool(machine.reactor, pool, divmod, 7, 0).addBoth(results.append)
    early = len(results)
    machine.timeline.run_for(0.0)

    assert early == 0
    assert results[0] == (3, 1)
    assert results[1].check(ZeroDivisionError)


def test_a_thread_that_blocks_takes_virtual_time(machine: Machine) -> None:
    """A function that would block gives a Deferred, and its thread is done when that fires."""
    results: list[tuple[float, str]] = []
    fetch: Any = lambda: deferLater(machine.reactor, 0.7, lambda: "pulse")  # noqa: E731 - a real one gives no Deferred
    done = deferToThreadPool(machine.reactor, machine.reactor.getThreadPool(), fetch)
    done.addCallback(lambda result: results.append((machine.reactor.seconds(), result)))
    machine.timeline.run_for(2.0)

    assert results == [(0.7, "pulse")]


def test_failures_in_threads_are_logged(machine: Machine, logged_failures: Any) -> None:
    """A thread whose result nobody wants, or a call out of one, fails into the log."""
    machine.reactor.callInThread(divmod, 1, 0)
    machine.reactor.callFromThread(divmod, 1, 0)
    machine.timeline.run_for(0.0)

    assert len(logged_failures.flush(ZeroDivisionError)) == 2


# names


def test_another_resolver_can_be_installed(machine: Machine) -> None:
    """A reactor has one resolver, which may be replaced."""
    other = NameTable(machine.timeline)
    replaced = [machine.reactor.installNameResolver(other), machine.reactor.installNameResolver(machine.names)]

    assert replaced == [machine.names, other]
