"""
The read-only socket: ``observe.sock`` in the control directory.

One JSON object a line, both ways: ``{"command": "status"}`` is answered by ``{"ok": true, "data": {...}}``, anything
else by ``{"ok": false, "error": "..."}``.  Everybody may ask (mode 0666 in a directory of mode 0755): nothing here can
change anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from ntptwist.interfaces import ISystem
from ntptwist.log import Logger
from ntptwist.observe.state import status_data
from ntptwist.snapshot import ServerSnapshot

SOCKET_NAME = "observe.sock"
CONNECTION_LIMIT = 32
IDLE_LIMIT = 60.0
"""Seconds after which a silent client is hung up on."""


class ObserverProtocol(LineOnlyReceiver):
    """One client."""

    transport: Any  # what listenUNIX gives: it can be aborted, which ITransport does not say
    delimiter = b"\n"
    MAX_LENGTH = 4096
    _idle: Any = None

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def connectionMade(self) -> None:
        """Take one client more, or hang up on it when there are too many."""
        if len(self._observer.clients) >= CONNECTION_LIMIT:
            self.transport.abortConnection()
            return
        self._observer.clients.add(self)
        self._idle = self._observer.reactor.callLater(IDLE_LIMIT, self.transport.abortConnection)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002 - whatever it was
        """Forget the client."""
        self._observer.clients.discard(self)
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

    def lineReceived(self, line: bytes) -> None:
        """Answer one request."""
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_LIMIT)
        self.sendLine(json.dumps(self._answer(line), allow_nan=False).encode())

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "error": "not JSON"}
        command = request.get("command") if isinstance(request, dict) else None
        if command != "status":
            return {"ok": False, "error": f"unknown command {str(command)[:40]!r}; known: status"}
        return {"ok": True, "data": status_data(self._observer.system.snapshot(), self._observer.servers())}

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - too long, whatever it says
        """Hang up."""
        self.transport.abortConnection()


class ObserverFactory(Factory):
    """Makes a conversation of every connection."""

    noisy = False

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def buildProtocol(self, addr: object) -> ObserverProtocol:  # noqa: ARG002 - they are all alike
        """Begin a conversation."""
        return ObserverProtocol(self._observer)


class Observer(Service):
    """
    Listens on ``observe.sock``; the daemon goes on without it when the directory can't be used.

    A socket that a dead daemon left behind is replaced (its lock file tells).  ``servers`` gives what there is to show
    of the servers of time.
    """

    log = Logger()

    def __init__(
        self,
        directory: str,
        system: ISystem,
        reactor: Any,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
    ) -> None:
        self.path = Path(directory) / SOCKET_NAME
        self.system = system
        self.servers = servers
        self.reactor = reactor
        self.clients: set[ObserverProtocol] = set()
        self._port: Any = None

    def privilegedStartService(self) -> None:
        """Listen; the directory is made when its parent exists."""
        super().privilegedStartService()
        try:
            self.path.parent.mkdir(mode=0o755, exist_ok=True)
            self._port = self.reactor.listenUNIX(str(self.path), ObserverFactory(self), mode=0o666, wantPID=True)
        except (OSError, CannotListenError) as error:
            reason = getattr(error, "socketError", error)
            self.log.error(
                "{path}: can't listen ({reason}): ntptwist-ctl gets no answer", path=str(self.path), reason=reason
            )

    def startService(self) -> None:
        """Listen, where that has not been done yet."""
        super().startService()
        if self._port is None:
            self.privilegedStartService()

    def stopService(self) -> Any:
        """Close the socket and hang up on everybody."""
        super().stopService()
        port, self._port = self._port, None
        for client in list(self.clients):
            client.transport.abortConnection()
        return None if port is None else port.stopListening()
