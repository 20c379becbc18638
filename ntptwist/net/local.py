"""
UNIX stream sockets on which the daemon answers its own machine.

All of them are alike: a path in the control directory, a mode that says who may ask, a limit of clients, and a daemon
that goes on without the socket when it can't be had.
"""

from __future__ import annotations

import socket
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from ntptwist.log import Logger

_CREDENTIALS = Struct("@iII")


class Peer(NamedTuple):
    """Who connected: the kernel's word (SO_PEERCRED, unix(7)), as it was at that moment."""

    pid: int
    uid: int
    gid: int


def peer_of(transport: Any) -> Peer:
    """Tell who is at the other end of a UNIX stream transport."""
    return Peer(*_CREDENTIALS.unpack(transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


class _Clients(Factory):
    noisy = False

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # noqa: ARG002 - they are all alike
        if len(self._server.clients) >= self._server.limit:
            return None  # Twisted closes the connection
        return self._server.make_protocol()


class LocalServer(Service):
    """
    One listening socket; each kind says what a connection is.

    Protocols add themselves to ``clients`` and take themselves out; more than ``limit`` at a time are hung up on.  A
    socket that a dead daemon left behind is replaced (its lock file tells).  ``purpose`` is what is missing without it,
    for the log.
    """

    log = Logger()
    limit = 32
    purpose: str

    def __init__(self, path: Path, mode: int, reactor: Any) -> None:
        self.path = path
        self.reactor = reactor
        self.clients: set[Any] = set()
        self._mode = mode
        self._port: Any = None

    def make_protocol(self) -> Protocol:
        """Make the protocol of one connection."""
        raise NotImplementedError

    def privilegedStartService(self) -> None:
        """Listen; the directory is made when its parent exists."""
        super().privilegedStartService()
        try:
            self.path.parent.mkdir(mode=0o755, exist_ok=True)
            self._port = self.reactor.listenUNIX(str(self.path), _Clients(self), mode=self._mode, wantPID=True)
        except (OSError, CannotListenError) as error:
            reason = getattr(error, "socketError", error)
            self.log.error(
                "{path}: can't listen ({reason}): {purpose}", path=str(self.path), reason=reason, purpose=self.purpose
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
