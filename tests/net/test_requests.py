"""Requests and answers as lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from ntptwist.errors import DeviceError
from ntptwist.net.local import LocalServer, peer_of
from ntptwist.net.requests import WAITING_LIMIT, RequestProtocol, Stream
from tests.conftest import Failures


class Answers(LocalServer):
    """A server with one command of each kind."""

    purpose = "nobody is answered"

    def __init__(self, path: Path) -> None:
        super().__init__(path, 0o600, reactor)
        self.later: Deferred[Any] = Deferred(lambda _: self.cancelled.callback(None))
        self.cancelled: Deferred[None] = Deferred()
        self.tell: Callable[[Any], None] | None = None
        self.ended: Deferred[None] = Deferred()

    def make_protocol(self) -> RequestProtocol:
        """Begin a conversation."""
        return RequestProtocol(
            self,
            {
                "echo": lambda request: request,
                "later": lambda _: self.later,
                "refuse": self.refuse,
                "fail": lambda _: 1 / 0,
                "stream": lambda _: Stream("first", self.begin),
                "who": self.who,
            },
        )

    def refuse(self, _: dict[str, Any]) -> None:
        """Say why not."""
        raise DeviceError("there is none")

    def who(self, _: dict[str, Any]) -> list[int]:
        """Tell who is asking."""
        (client,) = self.clients
        return list(peer_of(client.transport))

    def begin(self, tell: Callable[[Any], None]) -> Callable[[], None]:
        """Begin a stream."""
        self.tell = tell
        return lambda: self.ended.callback(None)


class Client(Protocol):
    """Waits for as many lines as are wanted."""

    def __init__(self) -> None:
        self.received = b""
        self.wanted = 0
        self.come: Deferred[None] | None = None
        self.closed: Deferred[None] = Deferred()

    async def lines(self, count: int) -> list[Any]:
        """Give the first lines, when there are so many."""
        if self.received.count(b"\n") < count:
            self.wanted, self.come = count, Deferred()
            await self.come
        return [json.loads(line) for line in self.received.splitlines()[:count]]

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self.received += data
        if self.come is not None and self.received.count(b"\n") >= self.wanted:
            come, self.come = self.come, None
            come.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.closed.callback(None)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def server(tmp_path: Path) -> AsyncIterator[Answers]:
    """A running server."""
    service = Answers(tmp_path / "any.sock")
    service.startService()
    yield service
    await service.stopService()


async def connect(server: Answers, *requests: bytes) -> Any:
    """Connect a client and send its requests."""
    client: Any = await connectProtocol(UNIXClientEndpoint(reactor, str(server.path)), Client())
    client.transport.write(b"".join(requests))
    return client


async def leave(client: Any) -> None:
    """Hang up."""
    client.transport.loseConnection()
    await client.closed


async def test_answers_come_in_the_order_of_the_requests(server: Answers) -> None:
    """What takes time holds up what was asked after it, and nothing is lost."""
    client = await connect(server, b'{"command": "later"}\n', b'{"command": "echo", "n": 1}\n')
    reactor.callLater(0.01, server.later.callback, [2])
    answers = await client.lines(2)
    await leave(client)

    assert answers == [{"ok": True, "data": [2]}, {"ok": True, "data": {"command": "echo", "n": 1}}]


async def test_refusals_are_told_in_words(server: Answers, logged_failures: Failures) -> None:
    """An error that is meant for people reaches them, one that is a bug is logged and called so."""
    client = await connect(server, b'{"command": "refuse"}\n', b'{"command": "fail"}\n', b'{"command": 7}\n')
    refused, failed, unknown = await client.lines(3)
    await leave(client)
    (logged,) = logged_failures.flush(ZeroDivisionError)

    assert refused == {"ok": False, "error": "there is none"}
    assert failed == {"ok": False, "error": "this is a bug: the daemon's log says more"}
    assert unknown["error"].startswith("unknown command '7'; known: echo, fail")
    assert logged is not None


async def test_nobody_waits_for_an_answer(server: Answers) -> None:
    """What is under way is cancelled when its client hangs up."""
    client = await connect(server, b'{"command": "later"}\n', b'{"command": "echo"}\n')
    reactor.callLater(0.01, client.transport.loseConnection)
    await server.cancelled
    await client.closed

    assert client.received == b""


async def test_a_stream_goes_on_until_its_client_leaves(server: Answers) -> None:
    """The first answer is followed by objects, one a line, and the end is told to whoever makes them."""
    client = await connect(server, b'{"command": "stream"}\n')
    await client.lines(1)
    assert server.tell is not None
    server.tell({"n": 1})
    server.tell({"n": 2})
    lines = await client.lines(3)
    await leave(client)
    await server.ended

    assert lines == [{"ok": True, "data": "first"}, {"n": 1}, {"n": 2}]


async def test_a_slow_reader_is_kept_waiting_and_then_served(server: Answers) -> None:
    """What a slow reader has not read yet is not lost."""
    client = await connect(server, b'{"command": "stream"}\n')
    await client.lines(1)
    client.transport.pauseProducing()
    assert server.tell is not None
    for number in range(30):
        server.tell({"n": number, "filler": "x" * 8192})
    client.transport.resumeProducing()
    lines = await client.lines(31)
    await leave(client)
    await server.ended

    assert [line["n"] for line in lines[1:]] == list(range(30))


async def test_a_reader_that_does_not_read_is_hung_up_on(server: Answers) -> None:
    """A client that reads nothing costs a bounded amount of memory, and then its connection."""
    client = await connect(server, b'{"command": "stream"}\n')
    await client.lines(1)
    client.transport.pauseProducing()
    assert server.tell is not None
    for _ in range(4 * WAITING_LIMIT // 8192):
        server.tell({"filler": "x" * 8192})
    await server.ended
    client.transport.resumeProducing()
    await client.closed

    assert len(client.received) < 4 * WAITING_LIMIT


async def test_the_kernel_tells_who_asks(server: Answers) -> None:
    """The peer's process, user and group are known."""
    client = await connect(server, b'{"command": "who"}\n')
    (answer,) = await client.lines(1)
    await leave(client)

    assert answer["data"] == [os.getpid(), os.getuid(), os.getgid()]
