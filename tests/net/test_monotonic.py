"""
A reactor's timers do not move when the clock is stepped.

The trap, and the cure, on each kind of reactor: the wall clock is one that the test can step, and stands where Twisted
has ``time.time``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from ntptwist.net.monotonic import schedule_on_monotonic_time

HOUR = 3600.0


class WallClock:
    """A wall clock that can be stepped."""

    def __init__(self) -> None:
        self.step = 0.0

    def seconds(self) -> float:
        """Read it."""
        return time.monotonic() + 1.7e9 + self.step


def turn_for(reactor: Any, seconds: float) -> None:
    """Turn a reactor for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reactor.iterate(0.01)


@pytest.fixture
def fired() -> list[str]:
    """Give a list for what has fired."""
    return []


def test_trap_timers_stop_after_a_step_back(reactor_factory: Callable[..., Any], fired: list[str]) -> None:
    """Without the cure a timer waits for as long as the clock was stepped back: the reason for this module."""
    wall = WallClock()
    reactor = reactor_factory(wall.seconds)
    late = reactor.callLater(0.02, fired.append, "late")
    wall.step = -HOUR
    turn_for(reactor, 0.1)

    assert fired == []

    late.cancel()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_timers_keep_their_time_across_a_step(
    reactor_factory: Callable[..., Any], fired: list[str], step: float
) -> None:
    """After a step of an hour, back or forward, a timer that is due fires and one that is not does not."""
    wall = WallClock()
    reactor = reactor_factory(wall.seconds)
    schedule_on_monotonic_time(reactor)
    reactor.callLater(0.02, fired.append, "soon")
    later = reactor.callLater(60.0, fired.append, "later")
    wall.step = step
    turn_for(reactor, 0.1)

    assert fired == ["soon"]

    later.cancel()


def test_timer_set_again_keeps_its_time_across_a_step(reactor_factory: Callable[..., Any], fired: list[str]) -> None:
    """A timer that is reset counts on the monotonic clock too."""
    wall = WallClock()
    reactor = reactor_factory(wall.seconds)
    schedule_on_monotonic_time(reactor)
    call = reactor.callLater(60.0, fired.append, "soon")
    wall.step = -HOUR
    call.reset(0.02)
    turn_for(reactor, 0.1)

    assert fired == ["soon"]


def test_it_may_be_applied_twice(reactor: Any) -> None:
    """A second time changes nothing, even when there are delayed calls by then."""
    schedule_on_monotonic_time(reactor)
    call = reactor.callLater(60.0, lambda: None)
    schedule_on_monotonic_time(reactor)
    seconds = reactor.seconds()

    assert abs(seconds - time.monotonic()) < 10.0

    call.cancel()


def test_delayed_calls_on_the_wall_clock_are_refused(reactor: Any) -> None:
    """Timers that exist already would fire decades late: the reactor is left as it is, and the caller told."""
    call = reactor.callLater(60.0, lambda: None)
    with pytest.raises(RuntimeError, match="delayed calls on the wall clock"):
        schedule_on_monotonic_time(reactor)
    seconds = reactor.seconds()

    assert abs(seconds - time.time()) < 10.0

    call.cancel()


def test_a_reactor_with_a_time_of_its_own_keeps_it(fired: list[str]) -> None:
    """A virtual reactor is left alone."""
    clock = Clock()
    schedule_on_monotonic_time(clock)
    clock.callLater(5.0, fired.append, "due")
    clock.advance(5.0)

    assert fired == ["due"]
