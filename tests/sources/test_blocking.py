"""A source that waits for a device in a thread of its own, whatever the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import get_ident
from typing import Any

import pytest
from twisted.internet import reactor, task

from ntptwist.errors import DeviceError
from ntptwist.identifiers import EndReason, ReferenceId
from ntptwist.interfaces import ISystem
from ntptwist.sources.blocking import BlockingSource
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.timestamp import Timestamp
from tests.conftest import Failures
from tests.sources.gps import GPSMachine

SETTINGS = OneWaySettings(1e-3, 0.0, 0.0, ReferenceId.of_text("TICK"))


class Ticker(BlockingSource):
    """A device that does what the test says, and notes in which thread it is asked."""

    def __init__(self, system: ISystem, act: Callable[[], Any]) -> None:
        super().__init__("a ticker", "/dev/ticker", "tick", SETTINGS, system, system.new_spawner_id(), reactor)
        self.act = act
        self.waited: set[int] = set()
        self.events: list[Any] = []
        self.closed: list[int] = []

    def wait(self, timeout: float) -> Any:
        """Block for a moment."""
        self.waited.add(get_ident())
        time.sleep(min(timeout, 0.02))
        return self.act()

    def came(self, event: Any) -> None:
        """Note an event, and in which thread it came."""
        self.events.append((get_ident(), event))
        self.happened(Timestamp(self._system.clock.read().local), Timestamp(event))

    def close(self) -> None:
        """Note the thread."""
        self.closed.append(get_ident())


def ticker(act: Callable[[], Any]) -> Ticker:
    """Give a ticker in the system of a machine that has no other source."""
    return Ticker(GPSMachine("", pps=None).system, act)


def refuse(error: Exception) -> Callable[[], Any]:
    """Give a device that fails."""

    def act() -> Any:
        raise error

    return act


async def ended(source: Ticker) -> Any:
    """Let a source run until it comes to its end by itself; give that."""
    end = source.when_ended()
    source.startService()
    return await end.addTimeout(5, reactor)


async def stopped(source: Ticker) -> None:
    """Stop a source, and wait until its thread is idle."""
    idle = source.stopService()
    assert idle is not None
    await idle


async def test_only_the_wait_runs_in_the_thread() -> None:
    """The device is asked in a thread of its own, and everything else happens in the reactor's."""
    source = ticker(time.time_ns)
    source.startService()
    while len(source.events) < 3:
        await task.deferLater(reactor, 0.02)
    await stopped(source)

    assert len(source.waited) == 1
    assert {thread for thread, _ in source.events} == {get_ident()}
    assert get_ident() not in source.waited
    assert source.closed == [get_ident()]
    assert source.observe().received > 0


async def test_a_device_that_is_gone_ends_the_source() -> None:
    """What the device says of its end is the source's, nothing is logged as a fault of ours, and it is closed."""
    source = ticker(refuse(DeviceError("/dev/ticker: No such device")))
    end = await ended(source)
    await task.deferLater(reactor, 0.05)

    assert (end.reason, end.explanation) == (EndReason.UNREACHABLE, "/dev/ticker: No such device")
    assert len(source.closed) == 1
    assert source.stopService() is None


async def test_an_event_that_nobody_can_take_is_logged(logged_failures: Failures) -> None:
    """A driver that fails with an event loses that event and goes on."""
    source = ticker(lambda: "not a number")
    source.startService()
    while len(source.events) < 3:
        await task.deferLater(reactor, 0.02)
    await stopped(source)

    assert logged_failures.flush(TypeError)
    assert source.end is not None
    assert source.end.reason is EndReason.STOPPED


async def test_what_comes_after_the_end_is_not_taken() -> None:
    """An event that comes while the source is being stopped is left out."""
    source = ticker(time.time_ns)
    source.startService()
    await stopped(source)

    assert source.events == []


class Stuck(Ticker):
    """A ticker whose device can't be closed."""

    def close(self) -> None:
        """Fail."""
        raise DeviceError("stuck")


async def test_a_device_that_can_not_be_closed_holds_nobody_up(logged_failures: Failures) -> None:
    """A stop comes to its end although the device refuses to be closed."""
    source = Stuck(GPSMachine("", pps=None).system, time.time_ns)
    source.startService()
    await stopped(source)

    assert source.end is not None
    assert len(logged_failures.flush(DeviceError)) == 1


def test_a_kind_has_to_say_how_it_waits() -> None:
    """What a driver author forgot is an error of its own."""
    system = GPSMachine("", pps=None).system
    source = BlockingSource("a", "b", "c", SETTINGS, system, system.new_spawner_id(), reactor)
    source.close()

    with pytest.raises(NotImplementedError):
        source.wait(1.0)
    with pytest.raises(NotImplementedError):
        source.came(None)
