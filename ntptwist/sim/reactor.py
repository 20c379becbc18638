"""
The reactor of one virtual machine.

It has what the daemon uses of Twisted's: delayed calls, start and stop, threads, names, UDP with timestamps and UNIX
datagrams.  Its time is the machine's own CLOCK_MONOTONIC, steered by whatever frequency the daemon has set, as it is on
a real machine; true time stays in the timeline, on which everything is queued.
"""

# ruff: noqa: A002, N803 - the arguments have Twisted's names

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import (
    IDelayedCall,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorThreads,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from ntptwist.interfaces import IReactorTimestampedUDP
from ntptwist.sim.clock import SimulatedClock
from ntptwist.sim.delayed import DelayedCalls, InlineThreadPool, VirtualDelayedCall
from ntptwist.sim.network import Network
from ntptwist.sim.port import Sockets, VirtualFeed, VirtualPort
from ntptwist.sim.timeline import Timeline
from ntptwist.timestamp import NANOSECONDS

_log = Logger()
_thread_call = _log.failureHandler("while calling from thread")
_event_trigger = _log.failureHandler("while calling system event trigger handler")


@implementer(IReactorTime, IReactorThreads, IReactorPluggableNameResolver, IReactorTimestampedUDP)
class VirtualReactor:
    """
    The reactor of a machine with a clock, a resolver, and ``addresses`` (at most one of each family) in a network.

    It starts in the timeline's next turn.  ``stop`` closes the sockets and cancels what is pending, as the end of a
    process would; another reactor may then be made for the same machine.
    """

    def __init__(
        self,
        timeline: Timeline,
        clock: SimulatedClock,
        network: Network,
        addresses: Sequence[str],
        resolver: IHostnameResolver,
    ) -> None:
        self.running = False
        self._stopping = False
        self.nameResolver = resolver
        self._timeline = timeline
        self._clock = clock
        self._sockets = Sockets(clock, network, addresses)
        self._delayed = DelayedCalls(timeline, clock)
        self._pool = InlineThreadPool()
        self._triggers: dict[int, tuple[str, str, Callable[[], Any]]] = {}
        self._trigger_ids = count()
        timeline.at(timeline.now, self._start)

    # IReactorTime

    def seconds(self) -> float:
        """Give the machine's monotonic time."""
        return self._clock.read().monotonic / NANOSECONDS

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """Call a function after so many seconds of the machine's time; ValueError if that is before now."""
        if not delay >= 0:
            raise ValueError(f"{delay} is not greater than or equal to 0 seconds")
        return VirtualDelayedCall(self._delayed, delay, callable, args, kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Give the calls that are still to be made."""
        return list(self._delayed.pending)

    # start and stop

    def callWhenRunning(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> int | None:
        """Call a function when the reactor has started: now, if it has."""
        if not self.running:
            return self.addSystemEventTrigger("after", "startup", callable, *args, **kwargs)
        callable(*args, **kwargs)
        return None

    def addSystemEventTrigger(
        self,
        phase: str,
        eventType: str,
        callable: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> int:
        """Call a function "before", "during" or "after" "startup" or "shutdown"; give its id."""
        identity = next(self._trigger_ids)
        self._triggers[identity] = (phase, eventType, lambda: callable(*args, **kwargs))
        return identity

    def removeSystemEventTrigger(self, triggerID: int) -> None:
        """Forget a trigger; KeyError if there is none."""
        del self._triggers[triggerID]

    def stop(self) -> None:
        """Stop when the Deferreds of all triggers before the shutdown have fired; ReactorNotRunning if it has."""
        if not self.running or self._stopping:
            raise ReactorNotRunning("the virtual reactor is not running")
        self._stopping = True
        waiting = DeferredList(self._trigger("before", "shutdown"), consumeErrors=True)
        waiting.addCallback(lambda _: self._stop())

    def _start(self) -> None:
        self._trigger("before", "startup")
        self._trigger("during", "startup")
        self.running = True
        self._trigger("after", "startup")

    def _stop(self) -> None:
        self._trigger("during", "shutdown")
        self._trigger("after", "shutdown")
        self.running = False
        self._sockets.close()
        for call in self.getDelayedCalls():
            call.cancel()

    def _trigger(self, phase: str, event: str) -> list[Deferred[Any]]:
        """Make the calls of a phase; give what has to be waited for."""
        waiting = []
        for identity in [key for key, (*which, _) in self._triggers.items() if which == [phase, event]]:
            *_, call = self._triggers.pop(identity)
            with _event_trigger:
                result = call()
                if isinstance(result, Deferred):
                    waiting.append(result)
        return waiting

    # IReactorThreads

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call a function in the next turn."""
        self._timeline.at(self._timeline.now, self._called_from_thread, callable, args, kwargs)

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call a function where a thread would."""
        self._pool.callInThread(callable, *args, **kwargs)

    def getThreadPool(self) -> Any:
        """Give the pool; Any, since a real one has a dozen attributes more."""
        return self._pool

    def suggestThreadPoolSize(self, size: int) -> None:
        """Take no notice: there are as many as are needed."""

    def _called_from_thread(
        self, function: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        with _thread_call:
            function(*args, **kwargs)

    # IReactorPluggableNameResolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Replace the resolver; give the old one."""
        old, self.nameResolver = self.nameResolver, resolver
        return old

    # sockets

    def connect_udp(self, host: str, port: int, protocol: Any) -> VirtualPort:
        """Open a connected UDP socket on a fresh port; OSError without a route."""
        return self._sockets.connect(host, port, protocol)

    def listen_udp(self, host: str, port: int, protocol: Any) -> VirtualPort:
        """Open a UDP socket for a server; port 0 stands for any.  OSError if the address is taken or not ours."""
        return self._sockets.listen(host, port, protocol)

    def listen_unix_datagram(self, path: str, protocol: Any) -> VirtualFeed:
        """Bind a UNIX datagram socket; OSError if the path is taken."""
        return self._sockets.listen_unix(path, protocol)

    def feed(self, path: str, data: bytes) -> None:
        """Send a datagram to a path, as another program on this machine would; OSError if nobody is there."""
        self._sockets.feed(path, data)
