"""The transport of servers: whole batches, on epoll, poll, select and asyncio reactors alike."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from errno import ECONNREFUSED
from select import EPOLLIN
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.interfaces import IBatchReceiver
from ntptwist.kernel.mmsg import CAPACITY, Batch, supported
from ntptwist.kernel.timestamping import IP_RECVERR
from ntptwist.net.batch import BUSY, REQUESTS, BatchTransport
from ntptwist.net.port import TimestampedUDP
from ntptwist.timestamp import Timestamp
from tests.conftest import Failures

pytestmark = pytest.mark.skipif(not supported(), reason="no batches on this machine")

Turn = Callable[[Any, Callable[[], object]], None]
REQUEST = bytes([0x23]).ljust(48, b"\0")


@implementer(IBatchReceiver)
class Server(DatagramProtocol):
    """Answers each request with 48 octets, and notes what it is told."""

    noisy = False
    wants_control = True
    stamped = False

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.departed: list[int] = []
        self.errors: list[int] = []
        self.stopped = 0
        self.then: Callable[[], object] = lambda: None

    def stopProtocol(self) -> None:
        """Note the end."""
        self.stopped += 1

    def batch_received(self, batch: Batch, count: int) -> None:
        """Answer."""
        self.batches.append(count)
        batch.prepare(range(count), stamped=self.stamped)
        batch.send()
        self.then()

    def batch_departed(self, key: int, stamp: Timestamp) -> None:
        """Note a stamp."""
        self.departed.append(key)

    def network_error(self, errno: int) -> None:
        """Note an error."""
        self.errors.append(errno)

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:
        """Never called."""

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Never called."""


class Asked:
    """A server that is listening, and a socket to ask it from."""

    def __init__(self, reactor: Any, host: str = "127.0.0.1") -> None:
        self.server = Server()
        self.udp = TimestampedUDP(reactor)
        self.transport: BatchTransport = self.udp.listen_udp(host, 0, self.server)
        self.client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect((host, self.transport.getHost().port))
        self.client.setblocking(False)
        time.sleep(0.002)  # the kernel takes a while to begin with stamps

    def ask(self, count: int = 1) -> None:
        """Send requests."""
        for _ in range(count):
            self.client.send(REQUEST)


@pytest.fixture
def asked(reactor: Any) -> Iterator[Asked]:
    """Give a server on loopback."""
    made = Asked(reactor)
    yield made
    made.transport.stopListening()
    made.client.close()


def test_a_server_gets_batches(asked: Asked, reactor: Any, turn: Turn) -> None:
    """What came in together is answered together."""
    assert verifyObject(IBatchReceiver, asked.server)
    asked.ask(3)
    turn(reactor, lambda: asked.server.batches)

    assert asked.server.batches == [3]
    assert asked.client.recv(100) == bytes(48)


def test_stamps_do_not_close_the_server(asked: Asked, reactor: Any, turn: Turn) -> None:
    """Transmit stamps, which epoll and poll reactors take for an error of the descriptor, arrive and do no harm."""
    asked.server.stamped = True
    for expected in (2, 4):
        asked.ask(2)
        while len(asked.server.departed) < expected:
            reactor.iterate(0.01)

    assert asked.server.departed == [0, 1, 2, 3]


def test_one_turn_does_not_take_for_ever(asked: Asked, reactor: Any, turn: Turn) -> None:
    """A server that is asked faster than it answers leaves time for others: a turn has its limit."""
    handled = []

    def more() -> None:
        asked.ask(CAPACITY)

    asked.server.then = more
    asked.ask(CAPACITY)
    reactor.callLater(0, lambda: handled.append(sum(asked.server.batches)))
    turn(reactor, lambda: handled)
    asked.server.then = lambda: None

    assert handled[0] <= 2 * (REQUESTS + CAPACITY)


def test_a_busy_server_looks_for_more(reactor_factory: Callable[..., Any]) -> None:
    """What comes in while a busy server still looks is answered in the same turn; one that was idle looks once."""
    now = 0.0
    asked = Asked(reactor_factory(lambda: now))
    server, followers = asked.server, 0

    def follow() -> None:
        nonlocal followers
        if followers:
            followers -= 1
            asked.ask()

    server.then = follow
    turns = []
    for pause in (10 * BUSY, BUSY / 2):
        now += pause
        followers = 3
        server.batches.clear()
        asked.ask()
        asked.transport.ready(EPOLLIN)
        turns.append(len(server.batches))
        while followers:
            asked.transport.ready(EPOLLIN)
    asked.transport.stopListening()
    asked.client.close()

    assert turns == [1, 4]


def test_what_a_server_raises_is_logged(asked: Asked, reactor: Any, turn: Turn, logged_failures: Failures) -> None:
    """An exception costs the batch and not the socket."""

    def fail() -> None:
        raise ValueError

    asked.server.then = fail
    asked.ask()
    turn(reactor, lambda: asked.server.batches)
    asked.server.then = lambda: None
    asked.ask()
    turn(reactor, lambda: len(asked.server.batches) == 2)

    assert len(logged_failures.flush(ValueError)) == 1


def test_errors_are_told(asked: Asked, reactor: Any, turn: Turn) -> None:
    """An ICMP error, where the socket is told of them, reaches the server, and the next request is answered."""
    sock = asked.transport._socket
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    asked.ask()
    asked.client.close()
    turn(reactor, lambda: asked.server.errors)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(REQUEST, sock.getsockname())
        turn(reactor, lambda: len(asked.server.batches) == 2)

    assert set(asked.server.errors) == {ECONNREFUSED}


def test_stopping_in_the_middle(asked: Asked, reactor: Any, turn: Turn) -> None:
    """A server that stops while it answers is told so once, and nothing more."""
    asked.server.then = asked.transport.stopListening
    asked.server.stamped = True
    asked.ask(CAPACITY + 1)
    turn(reactor, lambda: asked.server.stopped)
    asked.transport.stopListening()
    reactor.iterate(0)

    assert (asked.server.batches, asked.server.departed, asked.server.stopped) == ([CAPACITY], [], 1)
    with pytest.raises(OSError, match="descriptor"):
        asked.transport.getHost()


def test_addresses(reactor: Any) -> None:
    """The transport knows its address in either family."""
    hosts = []
    for host in ("127.0.0.1", "::1"):
        asked = Asked(reactor, host)
        hosts.append((asked.transport.getHost().host, asked.transport.getHost().type))
        asked.transport.stopListening()
        asked.client.close()

    assert hosts == [("127.0.0.1", "UDP"), ("::1", "UDP")]


def test_the_reactor_shuts_down(reactor: Any) -> None:
    """When the reactor closes everything the server is stopped."""
    asked = Asked(reactor)
    reactor.disconnectAll()
    asked.client.close()

    assert asked.server.stopped == 1
