"""
A server whose requests are answered by several processes: the daemon's end.

The daemon binds a socket for each worker to the same address (SO_REUSEPORT) while it has its privileges, and never
reads from them.  They stay its own: where a worker dies, the address stays served by the others, what comes to the
dead one's socket waits there, and the next worker begins with that.

Nobody subscribes to anything here either: ten times a second the daemon looks whether there is news for its workers,
and speaks to them once a second in any case.  ``server.feed`` has what is said, ``server.worker`` is the other end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList

from ntptwist.config.model import ServerSettings
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.log import Logger
from ntptwist.net.port import shared_sockets
from ntptwist.server.feed import SOCKET, Report, frame, pack_policy, pack_time, together, total
from ntptwist.server.process import WorkerProcess
from ntptwist.snapshot import ClientSnapshot, TimeSnapshot

if TYPE_CHECKING:
    from ntptwist.nts.responder import ServerProtection

LOOK_INTERVAL: Final = 0.1
SPEAK_AFTER: Final = 10
"""Looks without news after which the same is said again."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
"""Seconds between the end of a worker and the next; each time twice as many."""

PROVEN: Final = 60.0
"""Seconds after which a worker has proven that it can live, and its end is the first again."""

STOP_LIMIT: Final = 2.0
"""Seconds after which a worker that is to end is killed."""

_COMMAND: Final = ("-P", "-m", "ntptwist.server.worker")


class _Place:
    """A socket and the workers that answer on it, one after the other."""

    __slots__ = ("counters", "name", "pause", "process", "since", "socket", "timer")

    def __init__(self, sock: KernelSocket, name: str) -> None:
        self.socket = sock
        self.name = name
        self.process: WorkerProcess | None = None
        self.counters = Report().counters  # of those that have ended
        self.pause = FIRST_PAUSE
        self.since = 0.0
        self.timer: Any = None


class WorkerServer(Service):
    """
    The server of one ``[[server]]`` with workers; it has what ``serving`` wants of an ``NTPServer``.

    ``startService`` binds the sockets, raising OSError when the address can't be had, and starts the workers as soon as
    the reactor runs: by then the daemon has given its privileges up.
    """

    log = Logger()

    def __init__(
        self,
        settings: ServerSettings,
        clock: IClock,
        time: Callable[[], TimeSnapshot],
        reactor: Any,
        nts: ServerProtection | None = None,
    ) -> None:
        self.port = settings.listen.port
        self._settings = settings
        self._clock = clock
        self._time = time
        self._reactor = reactor
        self._nts = nts
        self._places: list[_Place] = []
        self._past = Report().counters  # before the latest start
        self._news: tuple[object, ...] = ()
        self._quiet = 0
        self._timer: Any = None

    # service

    def startService(self) -> None:
        """Bind the sockets."""
        listen = self._settings.listen
        sockets = shared_sockets(listen.host, listen.port, self._settings.workers)
        self.port = sockets[0].getsockname()[1]
        self._past = self.counters()
        self._places = [_Place(sock, f"worker {index} of {listen}") for index, sock in enumerate(sockets, 1)]
        super().startService()
        self._reactor.callWhenRunning(self._begin, self._places)

    def stopService(self) -> Deferred[None]:
        """Let every worker answer what it has, for two seconds at most, and close the sockets."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        places = self._places
        for place in places:
            if place.timer is not None:
                place.timer.cancel()
                place.timer = None
        processes = [place.process for place in places if place.process is not None]
        ended = DeferredList([process.when_ended for process in processes])
        limits = [self._reactor.callLater(STOP_LIMIT, process.kill) for process in processes]
        for process in processes:
            process.stop()

        def close(_: object) -> None:
            for limit in limits:
                if limit.active():
                    limit.cancel()
            for place in places:
                place.socket.close()

        return ended.addCallback(close)

    def _begin(self, places: list[_Place]) -> None:
        if not self.running or places is not self._places:
            return
        for place in places:
            self._start(place)
        self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look)

    # what serving asks of a server

    def counters(self) -> dict[str, int]:
        """Give what all workers did."""
        here = (counters for place in self._places for counters in (place.counters, _report(place).counters))
        return total([self._past, *here])

    def clients(self, number: int) -> list[ClientSnapshot]:
        """Give the clients that ask most, as far as a worker knows them."""
        return together([client for place in self._places for client in _report(place).clients], number)

    # the workers

    def _start(self, place: _Place) -> None:
        place.timer = None
        place.since = self._reactor.seconds()
        process = WorkerProcess(place.name)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        descriptors = {0: "w", 1: "r", 2: "r", SOCKET: place.socket.fileno()}
        try:
            self._reactor.spawnProcess(
                process, sys.executable, [sys.executable, *_COMMAND], env=environment, childFDs=descriptors
            )
        except OSError as error:
            self._lost(f"can't be started: {error.strerror or error}", place)
            return
        place.process = process
        process.when_ended.addCallback(self._ended, place, process)
        process.tell(frame({"policy": pack_policy(self._settings), **self._message(keys=True)}))

    def _ended(self, reason: str, place: _Place, process: WorkerProcess) -> None:
        place.process = None
        place.counters = total([place.counters, process.report.counters])
        if self.running:
            self._lost(f"has ended ({reason})", place)

    def _lost(self, what: str, place: _Place) -> None:
        """Start another one after a while."""
        if self._reactor.seconds() - place.since >= PROVEN:
            place.pause = FIRST_PAUSE
        self.log.error(
            "{name} {what}; the next is started in {pause:g} s",
            name=place.name,
            what=what,
            pause=place.pause,
        )
        place.timer = self._reactor.callLater(place.pause, self._start, place)
        place.pause = min(2 * place.pause, LONGEST_PAUSE)

    # what they are told

    def _look(self) -> None:
        """Tell the workers what is new, and end those that hang."""
        self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look)
        news = self._time(), self._clock_state(), self._nts and self._nts.masters
        self._quiet += 1
        message = b""
        if news != self._news or self._quiet >= SPEAK_AFTER:
            message = frame(self._message(keys=news[2:] != self._news[2:]))
            self._quiet = 0
        self._news = news
        for process in [place.process for place in self._places if place.process is not None]:
            process.look()
            if message:
                process.tell(message)

    def _message(self, *, keys: bool) -> dict[str, Any]:
        message: dict[str, Any] = {"time": pack_time(self._time()), "clock": self._clock_state()}
        if keys and self._nts is not None:
            message["keys"] = self._nts.masters.serialize().hex()
        return message

    def _clock_state(self) -> tuple[int, ...] | None:
        """Give where a clock is that the kernel does not know of."""
        return self._clock.state() if isinstance(self._clock, VirtualClock) else None


def _report(place: _Place) -> Report:
    return Report() if place.process is None else place.process.report
