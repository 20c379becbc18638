"""
The web page and the metrics over HTTP.

Only GET and HEAD, one request for each connection, and a limit to everything: connections, octets of a request, and the
time until the last octet of the answer has gone.  A long answer is made in pieces, ``TURN`` at a time, and only as fast
as the client reads.  Twisted's HTTP parser is used without ``twisted.web.server``: no sessions, no cookies, no access
log, no temporary files.

A page of another origin could make a browser ask a listener on this machine by a name of its own that resolves to
127.0.0.1 (DNS rebinding), so a listener on loopback answers only those who call it by a name of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory
from twisted.web.http import HTTPChannel, Request
from zope.interface import implementer

from ntptwist.config.value import HostPort
from ntptwist.log import Logger

CONNECTION_LIMIT = 32
TIME_LIMIT = 30.0
"""Seconds that a connection lasts at most."""
HEADER_LIMIT = 8192
"""Octets of a request line and its headers."""
TURN = 0.001
"""Seconds for which a long answer is made at a time."""
LARGEST_PART = 65_536
"""Characters that are written at a time."""
RETRY_INTERVAL = 30.0

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_HOST = re.compile(r"(?P<bracketed>\[[0-9a-f:.]+\])?(?P<plain>[^:\[\]]*)(:[0-9]{1,5})?", re.IGNORECASE)


class Page(NamedTuple):
    """What is at a path: its type, and what makes it of the query; the whole of it, or an iterator of pieces."""

    content_type: str
    make: Callable[[dict[bytes, list[bytes]]], bytes | Iterator[str]]


Pages = Callable[[str], Page | None]
"""Gives what is at a path, None where nothing is."""


def is_this_machine(host: str) -> bool:
    """Tell whether the value of a Host header names this machine and nothing else: localhost, or a loopback address."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found["bracketed"] or "").strip("[]") or found["plain"].removesuffix(".")
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class _Request(Request):
    """One request; a body is never taken."""

    channel: Any

    def gotLength(self, length: int | None) -> None:  # noqa: N802, ARG002 - the channel has refused any but 0
        """Make room for nothing."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Drop what follows on a connection that has been aborted."""

    def process(self) -> None:
        """Answer."""
        server: WebServer = self.channel.server
        for name, value in HEADERS.items():
            self.setHeader(name, value)
        host = self.getHeader("host")
        if server.loopback and host is not None and not is_this_machine(host):
            self._refuse(421, "ask for localhost: this is answered by no other name")
        elif self.method not in (b"GET", b"HEAD"):
            self.setHeader("Allow", "GET, HEAD")
            self._refuse(405, "only GET and HEAD")
        elif (page := server.pages(self.path.decode("ascii", "replace"))) is None:
            self._refuse(404, "there is nothing here")
        else:
            self.setHeader("Content-Type", page.content_type)
            self._answer(page)

    def _answer(self, page: Page) -> None:
        if self.method == b"HEAD":
            self.finish()
            return
        made = page.make(self.args)
        if isinstance(made, bytes):
            self._whole(made)
            return
        pieces = _Pieces(self, made, self.channel.server.reactor)
        self.registerProducer(pieces, True)  # noqa: FBT003 - Twisted's own signature
        pieces.resumeProducing()

    def _refuse(self, code: int, reason: str) -> None:
        self.setResponseCode(code)
        self.setHeader("Content-Type", "text/plain; charset=utf-8")
        self._whole(f"{reason}\n".encode())

    def _whole(self, content: bytes) -> None:
        self.setHeader("Content-Length", str(len(content)))
        self.write(content)
        self.finish()


@implementer(IPushProducer)
class _Pieces:
    """Writes an answer piece by piece, with a turn of the reactor between them, while its client reads."""

    def __init__(self, request: _Request, pieces: Iterator[str], reactor: Any) -> None:
        self._request = request
        self._pieces = pieces
        self._reactor = reactor
        self._turn: Any = None

    def resumeProducing(self) -> None:  # noqa: N802  IPushProducer's
        """Go on."""
        if self._turn is None:
            self._turn = self._reactor.callLater(0, self._write)

    def pauseProducing(self) -> None:  # noqa: N802
        """Wait for the client."""
        turn, self._turn = self._turn, None
        if turn is not None and turn.active():
            turn.cancel()

    stopProducing = pauseProducing  # noqa: N815

    def _write(self) -> None:
        self._turn = None
        end = self._reactor.seconds() + TURN
        room = LARGEST_PART
        part = []
        for piece in self._pieces:
            part.append(piece)
            room -= len(piece)
            if room <= 0 or self._reactor.seconds() >= end:
                self.resumeProducing()  # before the write: that may pause us
                self._request.write("".join(part).encode())
                return
        self._request.write("".join(part).encode())
        self._request.unregisterProducer()
        self._request.finish()


class _Channel(HTTPChannel):
    """One connection: one request, and a limit of time."""

    transport: Any  # what listenTCP gives: it can be aborted, which ITransport does not say
    requestFactory = _Request  # noqa: N815
    totalHeadersSize = HEADER_LIMIT  # noqa: N815
    MAX_LENGTH = HEADER_LIMIT
    timeOut = None  # noqa: N815 - our own limit holds for the whole connection

    def __init__(self, server: WebServer) -> None:
        super().__init__()
        self.server = server
        self._limit: Any = None

    def connectionMade(self) -> None:
        self.server.clients.add(self)
        self._limit = self.server.reactor.callLater(TIME_LIMIT, self._abort)
        super().connectionMade()

    def connectionLost(self, reason: Any = None) -> None:
        self.server.clients.discard(self)
        if self._limit.active():
            self._limit.cancel()
        super().connectionLost(reason)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - too long, whatever it says
        self._abort()

    def checkPersistence(self, request: Request, version: bytes) -> bool:  # noqa: N802, ARG002  Twisted's
        """Take no second request: many that came at once would be answered in one turn of the reactor."""
        request.setHeader("Connection", "close")
        return False

    def allHeadersReceived(self) -> None:  # noqa: N802  Twisted's
        if self.length != 0:
            self._abort()
        super().allHeadersReceived()

    def _abort(self) -> None:
        self.transport.abortConnection()


class _Clients(Factory[_Channel]):
    noisy = False

    def __init__(self, server: WebServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> _Channel | None:  # noqa: ARG002 - they are all alike
        if len(self._server.clients) >= CONNECTION_LIMIT:
            return None  # Twisted closes the connection
        return _Channel(self._server)


class WebServer(Service):
    """
    One listening socket; ``purpose`` is what is missing without it, for the log.

    The daemon goes on without it when the address can't be had, and tries again now and then.  ``port`` is the port in
    use, None while there is none.
    """

    log = Logger()

    def __init__(self, listen: HostPort, pages: Pages, purpose: str, reactor: Any) -> None:
        self.listen = listen
        self.pages = pages
        self.purpose = purpose
        self.reactor = reactor
        self.loopback = ip_address(listen.host.partition("%")[0]).is_loopback
        self.clients: set[_Channel] = set()
        self._listening: Any = None
        self._retry: Any = None
        self._trouble: str | None = None

    @property
    def port(self) -> int | None:
        """The port in use."""
        if self._listening is None:
            return None
        host: IPv4Address | IPv6Address = self._listening.getHost()
        return host.port

    def privilegedStartService(self) -> None:
        """Listen while privileges last."""
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """Listen, where that has not been done yet."""
        super().startService()
        if self._listening is None and self._retry is None:
            self._open()

    def stopService(self) -> Any:
        """Close the socket and hang up on everybody."""
        super().stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        listening, self._listening = self._listening, None
        for client in list(self.clients):
            client.transport.abortConnection()
        return None if listening is None else listening.stopListening()

    def _open(self) -> None:
        self._retry = None
        try:
            self._listening = self.reactor.listenTCP(self.listen.port, _Clients(self), interface=self.listen.host)
        except CannotListenError as error:
            reason = str(error.socketError)
            if reason != self._trouble:
                self.log.error(
                    "can't listen on {listen} ({reason}): {purpose}",
                    listen=str(self.listen),
                    reason=reason,
                    purpose=self.purpose,
                )
            self._trouble = reason
            self._retry = self.reactor.callLater(RETRY_INTERVAL, self._open)
        else:
            self._trouble = None
            self.log.info("HTTP on {listen}", listen=str(self.listen))


def any_path(page: Page) -> Pages:
    """Give one page whatever the path, as ntpd-rs' exporter does."""
    return lambda _: page
