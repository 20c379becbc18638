"""A server on loopback, on each of the ways in which requests can come to it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.net import port as net_port
from ntptwist.protocol.server import Responder
from ntptwist.server.ntp import NTPServer
from ntptwist.snapshot import TimeSnapshot

PATHS = ("batch", "recvmsg", "stock")
LIMIT = 3.0


class _NoDescriptors:
    """A reactor that can do nothing but open UDP ports."""

    def __init__(self, reactor: Any) -> None:
        self.listenUDP = reactor.listenUDP


class Serving:
    """A server, and the reactor that turns it."""

    def __init__(
        self, path: str, host: str = "127.0.0.1", responder: Responder | None = None, clock: IClock | None = None
    ) -> None:
        self.reactor: Any = EPollReactor()
        self._clients: list[Client] = []
        self.clock: IClock = clock or ObservingClock(RealSystem())
        now = self.clock.read()
        self.time = TimeSnapshot(
            leap=Leap.NONE,
            stratum=2,
            reference_id=ReferenceId.of_text("TEST"),
            reference_time=now.local,
            monotonic=now.monotonic,
            root_delay=0.25,
            dispersion=0.5,
        )
        self.responder = responder or Responder()
        reactor: Any = self.reactor
        if path == "recvmsg":
            net_port._of_reactor[reactor] = net_port.TimestampedUDP(reactor, batches=False)
        elif path == "stock":
            reactor = _NoDescriptors(reactor)
        self.server = NTPServer(host, 0, self.clock, lambda: self.time, reactor, self.responder)
        self.server.startService()
        time.sleep(0.002)  # the kernel takes a while to begin with stamps

    def client(self, host: str = "127.0.0.1") -> Client:
        """Give a client that asks the server at one of its addresses."""
        self._clients.append(Client(self, host))
        return self._clients[-1]

    def turn(self, condition: Callable[[], object]) -> None:
        """Turn the reactor until something holds."""
        give_up = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < give_up, "it did not happen"
            self.reactor.iterate(0.01)

    def close(self) -> None:
        """Stop the server, close its clients, and take the reactor down."""
        for client in self._clients:
            client.close()
        self.server.stopService()
        self.reactor.iterate(0)
        self.reactor.disconnectAll()
        net_port._of_reactor.pop(self.reactor, None)
        self.reactor.removeReader(self.reactor.waker)
        self.reactor.waker.connectionLost(Failure(ConnectionError()))
        self.reactor._poller.close()


class Client:
    """A socket that takes replies from where it asked only."""

    def __init__(self, serving: Serving, host: str) -> None:
        self._serving = serving
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect((host, serving.server.port))

    def ask(self, *requests: bytes, replies: int | None = None) -> list[bytes]:
        """Send requests; give the replies, of which as many are expected unless said otherwise."""
        counters = self._serving.responder.counters
        expected = counters.received + len(requests)
        for request in requests:
            self.socket.send(request)
        got: list[bytes] = []
        if replies is None:
            self._serving.turn(lambda: self._received(got) >= len(requests))
        else:
            self._serving.turn(lambda: counters.received >= expected)
            self._received(got)
            assert len(got) == replies
        return got

    def _received(self, got: list[bytes]) -> int:
        """Add what has come in; give how much there is."""
        with suppress(BlockingIOError):
            got.append(self.socket.recv(4096))
        return len(got)

    def close(self) -> None:
        """Close it."""
        self.socket.close()
