"""
A worker: a process that answers the requests of one socket, in its daemon's name.

It is ``python -m ntptwist.server.worker`` with a bound socket as descriptor 3.  Its standard input is what the daemon
tells it, its standard output what it reports (``server.feed``), and each line on standard error goes to the daemon's
log.  It has no configuration, opens no file and sets no clock.

Where nothing is heard any more it says for a while what it heard last, whose dispersion grows by itself, and then that
it is not synchronised.  Where the input has ended, so has the daemon, or it wants this worker to end: what is in
the socket is answered, and that was it.  Signals that are meant for all of the daemon's processes are the daemon's.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock, VirtualClock
from ntptwist.kernel.confine import confine
from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.kernel.timex import RealSystem
from ntptwist.protocol.server import Responder
from ntptwist.server.feed import (
    LONGEST_FEED,
    REPORTED_CLIENTS,
    SOCKET,
    Frames,
    Report,
    frame,
    unpack_policy,
    unpack_time,
)
from ntptwist.server.ntp import NTPServer
from ntptwist.snapshot import TimeSnapshot

REPORT_INTERVAL: Final = 1.0
SILENCE: Final = 64.0
"""Seconds after which what was heard last is not true enough to be said; the daemon speaks every second."""

LOOK_INTERVAL: Final = 0.02
"""At the end: seconds in which nothing was read from the socket, so that it is empty."""

LONGEST_END: Final = 1.0
"""At the end: seconds after which a socket that is never empty is left as it is."""


class FedTime:
    """The time that the daemon tells, or that there is none because it tells nothing any more."""

    __slots__ = ("_heard", "_nothing", "_seconds", "_time")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._nothing = self._time = TimeSnapshot()
        self._heard = seconds()

    def hear(self, time: TimeSnapshot) -> None:
        """Take what was told just now."""
        self._time = time
        self._heard = self._seconds()

    def __call__(self) -> TimeSnapshot:
        """Give the snapshot to serve."""
        return self._time if self._seconds() - self._heard < SILENCE else self._nothing


@implementer(IHalfCloseableProtocol)
class Worker(Protocol):
    """
    The worker's end of the conversation, and the server that it keeps.

    ``sock`` is the socket to answer on; ``ended`` is called when there is nothing left to do.
    """

    transport: Any

    def __init__(
        self,
        sock: KernelSocket,
        reactor: Any,
        ended: Callable[[], object],
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.server: NTPServer | None = None
        self._socket = sock
        self._reactor = reactor
        self._ended = ended
        self._randbytes = randbytes
        self._frames = Frames(LONGEST_FEED)
        self._time = FedTime(reactor.seconds)
        self._clock: IClock
        self._keys: Any = None
        self._reports = True
        self._timer: Any = None
        self._ending: float | None = None
        self._finished = False

    def dataReceived(self, data: bytes) -> None:
        """Hear what the daemon says."""
        for message in self._frames.receive(data):
            self._hear(message)

    def readConnectionLost(self) -> None:
        """The daemon has said all."""
        self._end()

    def writeConnectionLost(self) -> None:
        """The daemon does not listen any more."""
        self._reports = False
        self._end()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002 - whatever it was
        """There is no daemon any more."""
        self._reports = False
        if self._finished:
            self._ended()
        else:
            self._end()

    def _hear(self, message: dict[str, Any]) -> None:
        first = self.server is None
        if first:
            state = message["clock"]
            self._clock = ObservingClock(RealSystem()) if state is None else VirtualClock(RealSystem())
        if isinstance(self._clock, VirtualClock):
            self._clock.follow(message["clock"])
        self._time.hear(unpack_time(message["time"]))
        if "keys" in message:
            self._use_keys(bytes.fromhex(message["keys"]))
        if first:
            self._start(message)

    def _use_keys(self, data: bytes) -> None:
        from ntptwist.nts.keyset import KeySet, MasterKeys

        masters = MasterKeys.parse(data)
        if self._keys is None:
            self._keys = KeySet(masters, self._randbytes)
        else:
            self._keys.use(masters)

    def _start(self, message: dict[str, Any]) -> None:
        """Begin to answer."""
        nts = None
        if self._keys is not None:
            from ntptwist.nts.responder import ServerProtection

            nts = ServerProtection(self._keys, self._randbytes)
        responder = Responder(unpack_policy(message["policy"]), nts)
        self.server = NTPServer("", 0, self._clock, self._time, self._reactor, responder, self._socket)
        self.server.startService()
        self._timer = self._reactor.callLater(0.0, self._report)

    def _report(self) -> None:
        self._timer = self._reactor.callLater(REPORT_INTERVAL, self._report)
        self._tell()

    def _tell(self) -> None:
        if self._reports and self.server is not None:
            clients = tuple(self.server.clients(REPORTED_CLIENTS))
            self.transport.write(frame(Report(self.server.counters(), clients).pack()))

    def _end(self) -> None:
        """Begin to end, once: the reactor reads on until there is nothing left to read."""
        if self._ending is None:
            self._ending = self._reactor.seconds() + LONGEST_END
            if self._timer is not None:
                self._timer.cancel()
            self._look(-1)

    def _look(self, received: int) -> None:
        """Go on as long as something is received."""
        now = -1 if self.server is None else self.server.responder.counters.received
        if now != received and self._reactor.seconds() < (self._ending or 0.0):
            self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look, now)
            return
        self._timer = None
        self._finished = True
        if self.server is not None:
            self.server.stopService()
        self._socket.close()
        if self._reports:
            self._tell()
            self.transport.loseConnection()  # once all is written, ``connectionLost`` follows
        else:
            self._ended()


def main() -> None:
    """Be a worker."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    confine()

    from twisted.internet import epollreactor

    epollreactor.install()

    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO
    from twisted.logger import (
        FileLogObserver,
        FilteringLogObserver,
        LogLevel,
        LogLevelFilterPredicate,
        eventAsText,
        globalLogBeginner,
    )

    from ntptwist.net.monotonic import schedule_on_monotonic_time

    running: Any = reactor
    schedule_on_monotonic_time(running)
    observer = FileLogObserver(
        sys.stderr, lambda event: eventAsText(event, includeTimestamp=False, includeSystem=False) + "\n"
    )
    complaints = FilteringLogObserver(observer, [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([complaints], redirectStandardIO=False)
    worker = Worker(KernelSocket(fileno=SOCKET), running, lambda: running.callLater(0, running.stop))
    StandardIO(worker, reactor=running)
    running.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
