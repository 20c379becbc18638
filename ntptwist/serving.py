"""
The servers of a configuration: how each gets its address, and what it says while nobody tells this machine the time.

They are children of the daemon after the system, so they are stopped before it: whoever asks is never told the time of
a clock that nobody looks after any more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorProcess

from ntptwist.config.model import Config, ServerSettings
from ntptwist.errors import DeviceError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import IClock, ISystem
from ntptwist.log import Logger
from ntptwist.protocol.server import Responder
from ntptwist.server.feed import policy_of
from ntptwist.server.ntp import NTPServer
from ntptwist.server.workers import WorkerServer
from ntptwist.snapshot import ServerSnapshot, TimeSnapshot

if TYPE_CHECKING:
    from ntptwist.nts.responder import ServerProtection

EX_UNAVAILABLE = 69
"""sysexits(3): another process has the port."""

RETRY_INTERVAL = 1.0
TOP_CLIENTS = 10
NO_LOCAL_STRATUM = 16

Control = Callable[[bytes], list[bytes]]
"""Answers a mode-6 request by datagrams."""


class LocalTime:
    """
    What is served: the system's time, or while there is none this machine's own clock as a reference of some stratum.

    Such a clock is right by decree, so it has no dispersion (as chronyd's ``local``).  The system itself goes on
    saying that it is not synchronised.
    """

    __slots__ = ("_clock", "_own", "_reference_id", "_stratum", "_time", "_unsynchronized")

    def __init__(
        self, time: Callable[[], TimeSnapshot], clock: IClock, stratum: int, reference_id: ReferenceId
    ) -> None:
        self._time = time
        self._clock = clock
        self._stratum = stratum
        self._reference_id = reference_id
        self._unsynchronized: TimeSnapshot | None = None
        self._own = TimeSnapshot()

    def __call__(self) -> TimeSnapshot:
        """Give the snapshot to serve: the same one until something has changed."""
        time = self._time()
        if time.synchronized:
            return time
        if time is not self._unsynchronized:
            now = self._clock.read()
            self._unsynchronized = time
            self._own = TimeSnapshot(
                leap=Leap.NONE,
                stratum=self._stratum,
                reference_id=self._reference_id,
                reference_time=now.local,
                monotonic=now.monotonic,
                precision=time.precision,
                dispersion=0.0,
            )
        return self._own


class PortService(Service):
    """
    Keeps one server on its address.

    A port that is taken costs one line on standard error and exit status 69 or, with ``retries``, one line in the log
    and another try each second.  ``trouble`` is why it is not served at the moment.  ``server`` is a service whose
    ``startService`` raises OSError, or ValueError where something else than the address keeps it from serving.
    """

    log = Logger()
    serves = "time"

    def __init__(self, server: Any, listen: str, reactor: Any, *, retries: bool) -> None:
        self.server = server
        self.listen = listen
        self.retries = retries
        self.trouble: str | None = None
        self._reactor = reactor
        self._retry: Any = None

    def claim(self) -> None:
        """
        Open the socket before the service starts, in a daemon that goes on without it; DeviceError says why not.

        A port that is to be tried again may be taken.
        """
        try:
            self._serve()
        except (OSError, ValueError) as error:
            if not self.retries:
                raise DeviceError(f"can't serve {self.serves} on {self.listen}: {_reason(error)}") from error

    def privilegedStartService(self) -> None:
        """Open the socket while privileges last: port 123 needs them."""
        super().privilegedStartService()
        if not self.server.running:
            self._open()

    def startService(self) -> None:
        """Open the socket, where that has not been done yet."""
        super().startService()
        if not self.server.running and self._retry is None:
            self._open()

    def stopService(self) -> Any:
        """Close the socket."""
        super().stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        return self.server.stopService() if self.server.running else None

    def _open(self) -> None:
        self._retry = None
        try:
            self._serve()
        except (OSError, ValueError) as error:
            self._fail(_reason(error))

    def _serve(self) -> None:
        self.server.startService()
        self.log.info("serving {what} on {listen}", what=self.serves, listen=self.listen)
        self.trouble = None

    def _fail(self, reason: str) -> None:
        if not self.retries:
            print(f"ntptwist: can't serve {self.serves} on {self.listen}: {reason}", file=sys.stderr)
            raise SystemExit(EX_UNAVAILABLE)
        if self.trouble != reason:
            self.log.error(
                "can't serve {what} on {listen}, tried again each second: {reason}",
                what=self.serves,
                listen=self.listen,
                reason=reason,
            )
        self.trouble = reason
        self._retry = self._reactor.callLater(RETRY_INTERVAL, self._open)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class ServerService(PortService):
    """Keeps a server of time on its address."""

    server: NTPServer | WorkerServer

    def observe(self) -> ServerSnapshot:
        """Give what there is to show."""
        return ServerSnapshot(
            address=self.listen,
            trouble=self.trouble,
            counters=self.server.counters(),
            clients=tuple(self.server.clients(TOP_CLIENTS)),
        )


def served_time(config: Config, system: ISystem) -> Callable[[], TimeSnapshot]:
    """Give what servers say of the time."""
    if config.policy.local_stratum < NO_LOCAL_STRATUM:
        return LocalTime(system.time, system.clock, config.policy.local_stratum, config.reference_id)
    time: Callable[[], TimeSnapshot] = system.time
    return time


def make_server(
    settings: ServerSettings,
    time: Callable[[], TimeSnapshot],
    clock: IClock,
    reactor: Any,
    nts: ServerProtection | None = None,
    control: Control | None = None,
) -> ServerService:
    """Make a server; ``nts`` has the keys that all of them use, ``control`` answers mode 6."""
    listen = settings.listen
    server: NTPServer | WorkerServer
    if settings.workers > 1 and IReactorProcess.providedBy(reactor):  # a virtual world has no processes
        server = WorkerServer(settings, clock, time, reactor, nts)
    else:
        responder = Responder(policy_of(settings), nts, control)
        server = NTPServer(listen.host, listen.port, clock, time, reactor, responder)
    return ServerService(server, str(listen), reactor, retries=settings.on_port_taken == "retry")
