"""
The delayed calls of a virtual machine, and what stands for its threads.

A delayed call is queued for the true moment at which the machine's clock will show its time at the present rate.  When
that moment comes and the clock is behind (it was slowed down, it wandered, the machine slept) the call is queued again,
so it is never early; it is late by at most 1e-3 of its delay if the clock was sped up meanwhile.

Threads are run in the caller's turn.  A function that would block in a real thread returns a Deferred here, and its
thread is busy until that fires.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from ntptwist.sim.clock import SimulatedClock
from ntptwist.sim.timeline import Call, Timeline
from ntptwist.timestamp import NANOSECONDS

_log = Logger()
_timed_call = _log.failureHandler("while handling timed call")


class DelayedCalls:
    """The delayed calls of one machine; ``pending`` are those still to be made, in the order in which they were set."""

    __slots__ = ("_clock", "_timeline", "pending")

    def __init__(self, timeline: Timeline, clock: SimulatedClock) -> None:
        self.pending: dict[VirtualDelayedCall, None] = {}
        self._timeline = timeline
        self._clock = clock

    def monotonic(self) -> int:
        """Give the machine's monotonic time, nanoseconds."""
        return self._clock.read()[1]

    def add(self, call: VirtualDelayedCall) -> Call:
        """Queue a call for its time."""
        self.pending[call] = None
        return self._timeline.at(self._clock.when(call.due), call.come)

    def remove(self, call: VirtualDelayedCall, queued: Call) -> None:
        """Take a call off the queue."""
        del self.pending[call]
        self._timeline.cancel(queued)


@implementer(IDelayedCall)
class VirtualDelayedCall:
    """A call that is made when the machine's monotonic clock shows ``due`` nanoseconds."""

    __slots__ = ("_arguments", "_calls", "_function", "_keywords", "_over", "_queued", "due")

    def __init__(
        self,
        calls: DelayedCalls,
        delay: float,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        keywords: dict[str, object],
    ) -> None:
        self.due = calls.monotonic() + _nanoseconds(delay)
        self._calls = calls
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self._over: type[AlreadyCalled | AlreadyCancelled] | None = None
        self._queued = calls.add(self)

    def getTime(self) -> float:  # noqa: N802 - Twisted's name
        """Give the time of the call on the reactor's axis, seconds."""
        return self.due / NANOSECONDS

    def active(self) -> bool:
        """Tell whether the call is still to be made."""
        return self._over is None

    def cancel(self) -> None:
        """Never make the call; AlreadyCalled or AlreadyCancelled if it is too late."""
        self._leave(AlreadyCancelled)

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 - Twisted's name
        """Make the call so many seconds from now; errors as of ``cancel``."""
        self._move(self._calls.monotonic() + _nanoseconds(secondsFromNow))

    def delay(self, secondsLater: float) -> None:  # noqa: N803 - Twisted's name
        """Make the call so many seconds later than it was due; errors as of ``cancel``."""
        self._move(self.due + _nanoseconds(secondsLater))

    def come(self) -> None:
        """Make the call if its time has come, or else wait for the rest."""
        if self._calls.monotonic() < self.due:
            self._queued = self._calls.add(self)
            return
        function, arguments, keywords = self._function, self._arguments, self._keywords
        self._leave(AlreadyCalled)
        with _timed_call:
            function(*arguments, **keywords)

    def _leave(self, why: type[AlreadyCalled | AlreadyCancelled]) -> None:
        if self._over is not None:
            raise self._over
        self._over = why
        self._calls.remove(self, self._queued)
        self._arguments, self._keywords = (), {}  # what they hold may be large, and who made the call may keep it

    def _move(self, due: int) -> None:
        if self._over is not None:
            raise self._over
        self._calls.remove(self, self._queued)
        self.due = due
        self._queued = self._calls.add(self)


def _nanoseconds(delay: float) -> int:
    """Give a delay in whole nanoseconds; time goes on in any that is not 0, so who waits for a moment sees it come."""
    return round(delay * NANOSECONDS) or (1 if delay > 0 else 0)


class InlineThreadPool:
    """The methods of a ThreadPool, without threads."""

    def callInThread(self, func: Callable[..., Any], *args: object, **kw: object) -> None:
        """Run a function."""
        self.callInThreadWithCallback(None, func, *args, **kw)

    def callInThreadWithCallback(  # noqa: N802 - Twisted's name
        self,
        onResult: Callable[[bool, Any], object] | None,  # noqa: N803 - Twisted's name
        func: Callable[..., Any],
        *args: object,
        **kw: object,
    ) -> None:
        """Run a function; hand on whether it succeeded and its result, or Failure, when it is done."""
        done = maybeDeferred(func, *args, **kw)
        if onResult is not None:
            done.addCallbacks(partial(onResult, True), partial(onResult, False))  # noqa: FBT003 - a ThreadPool's way
        done.addErrback(lambda failure: _log.failure("while running in a thread", failure))
