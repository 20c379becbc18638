"""
Requests and answers as lines of JSON, one object each: what ``observe.sock`` and ``control.sock`` speak.

``{"command": "status"}`` is answered by ``{"ok": true, "data": ...}``, what can't be done by
``{"ok": false, "error": "..."}``.  A command is a function of the request; it may give a Deferred, or a ``Stream``
whose objects follow, one a line, until the client hangs up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.errors import NTPTwistError
from ntptwist.log import Logger
from ntptwist.net.local import LocalServer

IDLE_LIMIT = 60.0
"""Seconds after which a silent client is hung up on."""
LONGEST_REQUEST = 65_536
WAITING_LIMIT = 262_144
"""Octets that may wait for a slow reader of a stream; one that lets more come together is hung up on."""

Command = Callable[[dict[str, Any]], Any]
"""From a request to its data; NTPTwistError and ValueError are told to the client in their own words."""


class Stream:
    """
    What goes on after the first answer: ``data`` is that, ``begin(tell)`` starts it and returns what ends it.

    ``tell`` is called with each further object.
    """

    def __init__(self, data: Any, begin: Callable[[Callable[[Any], None]], Callable[[], None]]) -> None:
        self.data = data
        self.begin = begin


@implementer(IPushProducer)
class RequestProtocol(LineOnlyReceiver):
    """One client of a ``LocalServer``: it asks one thing after the other, and is answered in that order."""

    log = Logger()
    transport: Any  # what listenUNIX gives: it can be aborted, which ITransport does not say
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_REQUEST

    def __init__(self, server: LocalServer, commands: Mapping[str, Command]) -> None:
        self._server = server
        self._commands = commands
        self._idle: Any = None
        self._requests: list[bytes] = []
        self._busy: Deferred[Any] | None = None
        self._end: Callable[[], None] | None = None
        self._paused = False
        self._waiting: list[bytes] = []

    def connectionMade(self) -> None:
        """Take one client more."""
        self._server.clients.add(self)
        self._idle = self._server.reactor.callLater(IDLE_LIMIT, self.transport.abortConnection)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002 - whatever it was
        """Forget the client and what it still wanted."""
        self._server.clients.discard(self)
        self._requests.clear()
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        busy, self._busy = self._busy, None
        if busy is not None:
            busy.cancel()
        end, self._end = self._end, None
        if end is not None:
            end()

    def lineReceived(self, line: bytes) -> None:
        """Take one request; while one is being worked on the next waits."""
        if self._end is not None or len(self._requests) >= 16:
            self.transport.abortConnection()
            return
        self._requests.append(line)
        self._next()

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - too long, whatever it says
        """Hang up."""
        self.transport.abortConnection()

    def _next(self) -> None:
        if self._busy is not None or not self._requests or self._end is not None:
            return
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_LIMIT)
        self._busy = maybeDeferred(self._answer, self._requests.pop(0))
        self._busy.addCallbacks(self._done, self._failed)

    def _answer(self, line: bytes) -> Any:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError("not JSON") from error
        command = request.get("command") if isinstance(request, dict) else None
        answer = self._commands.get(command) if isinstance(command, str) else None
        if answer is None:
            raise ValueError(f"unknown command {str(command)[:40]!r}; known: {', '.join(sorted(self._commands))}")
        return answer(request)

    def _done(self, data: Any) -> None:
        self._busy = None
        if not isinstance(data, Stream):
            self._send({"ok": True, "data": data})
            self._next()
            return
        self._idle.cancel()
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's own signature
        self._send({"ok": True, "data": data.data})
        self._end = data.begin(self._send)

    def _failed(self, failure: Failure) -> None:
        self._busy = None
        if self not in self._server.clients:
            return  # it has left
        if failure.check(NTPTwistError, ValueError) is None:
            self.log.failure("a request failed", failure)
            self._send({"ok": False, "error": "this is a bug: the daemon's log says more"})
        else:
            self._send({"ok": False, "error": failure.getErrorMessage()})
        self._next()

    def _send(self, answer: Any) -> None:
        self._write(json.dumps(answer, allow_nan=False).encode())

    def _write(self, line: bytes) -> None:
        if not self._paused:
            self.sendLine(line)
            return
        self._waiting.append(line)
        if sum(map(len, self._waiting)) > WAITING_LIMIT:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:  # noqa: N802  IPushProducer's
        """The client reads slowly: keep what comes."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        """It has read what was sent."""
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for line in waiting:  # which may pause it again
            self._write(line)

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone; ``connectionLost`` does the rest."""
