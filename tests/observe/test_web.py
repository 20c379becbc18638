"""The listener of the page and of the metrics: what it answers, and what it puts up with."""

from __future__ import annotations

import http.client
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ntptwist.config.value import HostPort
from ntptwist.observe.web import (
    CONNECTION_LIMIT,
    HEADER_LIMIT,
    HEADERS,
    Page,
    WebServer,
    any_path,
    is_this_machine,
)

_reactor: Any = reactor
PIECES = 300
PIECE = "0123456789abcdef" * 1024


def long_answer() -> Iterator[str]:
    """Give more than any socket holds."""
    for _ in range(PIECES):
        yield PIECE


PAGES = {
    "/": Page("text/html; charset=utf-8", lambda query: repr(sorted(query.items())).encode()),
    "/long": Page("application/json", lambda _: long_answer()),
    "/short": Page("application/json", lambda _: iter(["a", "b"])),
}


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def server() -> AsyncIterator[WebServer]:
    """A running listener on loopback."""
    service = WebServer(HostPort("127.0.0.1", 0), PAGES.get, "nobody sees anything", reactor)
    service.privilegedStartService()
    service.startService()
    yield service
    await service.stopService()
    while service.clients:
        await deferLater(_reactor, 0.01)


class Conversation(Protocol):
    """Collects what is said until the other end hangs up; it may stop to read after so many octets."""

    def __init__(self, pause_after: int | None = None) -> None:
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()
        self._pause_after = pause_after

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self.received += data
        if self._pause_after is not None and len(self.received) > self._pause_after:
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.closed.callback(self.received)


async def connect(server: WebServer, conversation: Conversation | None = None) -> Conversation:
    """Connect to a listener."""
    conversation = conversation or Conversation()
    assert server.port is not None
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", server.port), conversation)
    return conversation


async def say(server: WebServer, request: bytes) -> bytes:
    """Send octets and give all that comes back."""
    conversation = await connect(server)
    conversation.transport.write(request)  # type: ignore[union-attr]
    return await conversation.closed


async def ask(
    server: WebServer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask as a browser does."""

    def run() -> tuple[http.client.HTTPResponse, bytes]:
        """Wait for the answer in a thread."""
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()

    answer: tuple[http.client.HTTPResponse, bytes] = await deferToThread(run)
    return answer


async def test_a_page(server: WebServer) -> None:
    """A page comes whole, with its type, its length and the headers that keep browsers safe."""
    response, content = await ask(server, "/?after=3")

    assert (response.status, content) == (200, b"[(b'after', [b'3'])]")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(content))
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert "Set-Cookie" not in response.headers
    assert "Server" not in response.headers


async def test_pieces_are_put_together(server: WebServer) -> None:
    """A long answer that was made in pieces arrives as one, by HTTP 1.1 and 1.0."""
    _, content = await ask(server, "/long")
    old = await say(server, b"GET /short HTTP/1.0\r\n\r\n")

    assert content == PIECE.encode() * PIECES
    assert old.endswith(b"\r\n\r\nab")


async def test_head(server: WebServer) -> None:
    """HEAD gives the headers only."""
    response, content = await ask(server, "/long", "HEAD")

    assert (response.status, content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/../etc/passwd", 404), ("DELETE", "/", 405)]
)
async def test_what_there_is_not(server: WebServer, method: str, path: str, status: int) -> None:
    """Other paths and other methods are refused in words."""
    response, content = await ask(server, path, method)

    assert response.status == status
    assert content


async def test_one_request_a_connection(server: WebServer) -> None:
    """A hundred requests at once on one connection are one request: the others can't keep the daemon busy."""
    answer = await say(server, b"GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)

    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /" + b"x" * HEADER_LIMIT,
        b"GET / HTTP/1.1\r\nX: " + b"y" * HEADER_LIMIT + b"\r\n\r\n",
    ],
)
async def test_what_is_too_long_is_hung_up_on(server: WebServer, request_: bytes) -> None:
    """A request with a body, or with a line or headers that are too long, gets no page."""
    assert b"200" not in await say(server, request_)


async def test_headers_that_never_end(server: WebServer) -> None:
    """Many short headers are too long in all."""
    answer = await say(server, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * HEADER_LIMIT)

    assert b"200" not in answer


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("localhost", True),
        ("localhost:9976", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.1:80", True),
        ("[::1]:9976", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:9976", False),
        ("192.0.2.1", False),
        ("[2001:db8::1]", False),
        ("", False),
        ("localhost:x", False),
        ("a@localhost", False),
    ],
)
def test_names_of_this_machine(host: str, mine: bool) -> None:
    """Only localhost and loopback addresses name this machine and no other."""
    assert mine == is_this_machine(host)


async def test_a_page_of_another_origin_gets_nothing(server: WebServer) -> None:
    """A browser that was led here by another name, whose address is now loopback (DNS rebinding), is refused."""
    rebound, _ = await ask(server, "/", Host="evil.example:9976")
    tunnelled, _ = await ask(server, "/", Host="localhost:8080")

    assert (rebound.status, tunnelled.status) == (421, 200)


async def test_other_addresses_may_have_any_name() -> None:
    """A listener that was put on another address than loopback may be called by any name."""
    service = WebServer(HostPort("0.0.0.0", 0), PAGES.get, "nobody sees anything", reactor)
    service.startService()
    response, _ = await ask(service, "/", Host="clock.example.net")
    await service.stopService()

    assert response.status == 200


async def test_metrics_at_any_path() -> None:
    """The exporter answers every path alike, as ntpd-rs' does."""
    service = WebServer(HostPort("127.0.0.1", 0), any_path(PAGES["/short"]), "no metrics", reactor)
    service.startService()
    answers = [(await ask(service, path))[1] for path in ("/", "/metrics", "/x/y")]
    await service.stopService()

    assert answers == [b"ab"] * 3


async def test_too_many_clients(server: WebServer) -> None:
    """One client more than the limit is hung up on; a place is free again when one leaves."""
    clients = [await connect(server) for _ in range(CONNECTION_LIMIT)]
    while len(server.clients) < CONNECTION_LIMIT:
        await deferLater(_reactor, 0.01)
    refused = await say(server, b"")
    for client in clients:
        client.transport.abortConnection()  # type: ignore[union-attr]
        await client.closed
    while server.clients:
        await deferLater(_reactor, 0.01)
    response, _ = await ask(server, "/short")

    assert refused == b""
    assert response.status == 200


async def test_clients_that_vanish(server: WebServer) -> None:
    """Clients that leave in the middle of a long answer leave nothing behind."""
    for _ in range(10):
        client = await connect(server, Conversation(pause_after=1))
        client.transport.write(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")  # type: ignore[union-attr]
        while not client.received:
            await deferLater(_reactor, 0.01)
        client.transport.abortConnection()  # type: ignore[union-attr]
        await client.closed
    while server.clients:
        await deferLater(_reactor, 0.01)
    response, _ = await ask(server, "/short")

    assert response.status == 200


async def test_slow_readers_take_no_memory() -> None:
    """For clients that do not read, no more is made than sockets hold; the others are served meanwhile."""
    made = []

    def endless() -> Iterator[str]:
        """Give more than anybody can read."""
        for number in range(10_000):
            made.append(number)
            yield PIECE

    pages = {**PAGES, "/endless": Page("text/plain", lambda _: endless())}
    service = WebServer(HostPort("127.0.0.1", 0), pages.get, "nobody sees anything", reactor)
    service.startService()
    slow = []
    for _ in range(CONNECTION_LIMIT - 1):
        client = await connect(service, Conversation(pause_after=1))
        client.transport.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")  # type: ignore[union-attr]
        slow.append(client)
    before = -1
    while len(made) != before:
        before = len(made)
        await deferLater(_reactor, 0.1)
    response, _ = await ask(service, "/short")
    for client in slow:
        client.transport.abortConnection()  # type: ignore[union-attr]
        await client.closed
    await service.stopService()

    assert response.status == 200
    assert len(made) < CONNECTION_LIMIT * 1000


async def test_a_real_address_that_is_taken() -> None:
    """The kernel's refusal is one line in the log, and no failure."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        service = WebServer(HostPort("127.0.0.1", other.getsockname()[1]), PAGES.get, "nobody sees anything", reactor)
        service.startService()
        port = service.port
        await maybeDeferred(service.stopService)

    assert port is None
