"""
Answers NTP clients: a socket around a ``protocol.server.Responder``.

Requests come in one of three ways, of which each is a fallback of the one before:

* in batches, from a transport of ``net.batch``: see ``server.batch``,
* one by one with the kernel's stamps, from ``net.transport``, or in a virtual world,
* one by one without, from Twisted's own port, on a reactor that can't watch descriptors.  The stamps are then our own
  readings of the clock, and replies from a wildcard leave from whatever address the kernel chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.interfaces import IBatchReceiver, IClock, IReactorTimestampedUDP
from ntptwist.kernel.mmsg import Batch
from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.net.port import timestamped_udp
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.lag import Lag
from ntptwist.protocol.server import Responder
from ntptwist.server.batch import BatchAnswers
from ntptwist.snapshot import ClientSnapshot, TimeSnapshot
from ntptwist.timestamp import Timestamp
from ntptwist.wire.header import Mode


@implementer(IBatchReceiver)
class NTPServer(Service, DatagramProtocol):
    """
    One listening socket.

    ``clock`` stamps, ``time`` gives what is to be said of it.  ``startService`` raises OSError when the address can't
    be had; ``port`` is the port in use from then on.  ``read_at`` is the reading of the clock that went into
    the latest reply.  ``responder`` decides whom it answers, and counts.  ``sock`` is a socket that has been bound for
    it already.
    """

    noisy = False
    transport: Any  # of IReactorTimestampedUDP

    def __init__(
        self,
        host: str,
        port: int,
        clock: IClock,
        time: Callable[[], TimeSnapshot],
        reactor: Any,
        responder: Responder | None = None,
        sock: KernelSocket | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.responder = responder or Responder()
        self.read_at = Timestamp(0)
        self.wants_control = self.responder.wants_control
        self._lag = Lag()
        self._clock = clock
        self._time = time
        self._asking: bytes | None = None  # the reply whose departure its client will ask for
        self._batches = BatchAnswers(clock, time, self.responder)
        self._reactor = reactor
        self._socket = sock

    def startService(self) -> None:
        """Open the socket."""
        reactor = self._reactor
        if self._socket is not None:
            transport = timestamped_udp(reactor).adopt_udp(self._socket, self)
        elif IReactorTimestampedUDP.providedBy(reactor) or IReactorFDSet.providedBy(reactor):
            transport = timestamped_udp(reactor).listen_udp(self.host, self.port, self)
        else:
            transport = reactor.listenUDP(self.port, self, interface=self.host)
        self.port = transport.getHost().port
        super().startService()

    def stopService(self) -> Any:
        """Close the socket."""
        super().stopService()
        if self.transport is not None:
            return self.transport.stopListening()
        return None

    def counters(self) -> dict[str, int]:
        """Give what it did since its start, by the names of ``protocol.server.ServerCounters``."""
        counters = self.responder.counters
        return {name: getattr(counters, name) for name in counters.__slots__}

    def clients(self, number: int) -> list[ClientSnapshot]:
        """Give the clients that ask most, the first first."""
        return [
            ClientSnapshot(
                address=str(ip_address(address)),
                packets=client.packets,
                error=client.error,
                last_seen=client.last_seen,
                version=client.version,
                interleaved=client.interleaved,
                nts=client.nts,
            )
            for address, client in self.responder.clients.top(number)
        ]

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:
        """Answer a request."""
        self._answer(data, address, self._clock.from_kernel(stamp))

    def datagramReceived(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer a request without a stamp."""
        self._answer(data, address, self._clock.read().local)

    def _answer(self, data: bytes, address: tuple[str, int], received: Timestamp) -> None:
        responder = self.responder
        client = ip_address(address[0].partition("%")[0]).packed
        if data and data[0] & 7 == Mode.CONTROL:
            for part in responder.answer_control(data, client):
                self._write(part, address)
            return
        now = self._clock.read()
        transmit = Timestamp(now.local + self._lag.value)
        action = responder.judge(client, now.monotonic)
        reply = responder.answer(data, action, received, transmit, self._time(), now.monotonic, client)
        if not isinstance(reply, Dropped):
            self.read_at = now.local
            self._asking = reply if responder.asks_interleaved(data) else None
            self._write(reply, address)

    def _write(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            self.transport.write(data, address)
        except OSError:  # from Twisted's own port; ours calls network_error
            self.responder.counters.response_send_errors += 1

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Learn how long after our reading of the clock a reply really leaves."""
        left = self._clock.from_kernel(stamp)
        if self._asking is not None:
            self.responder.departed(self._asking, left)
        self._lag.learn(left - self.read_at)

    def batch_received(self, batch: Batch, count: int) -> None:
        """Answer a batch of requests."""
        self._batches.answer(batch, count)

    def batch_departed(self, key: int, stamp: Timestamp) -> None:
        """Learn when a reply of a batch left."""
        self._batches.departed(key, stamp)

    def network_error(self, errno: int) -> None:  # noqa: ARG002 - whatever it was
        """Count it: the client that can't be reached asks again, or not."""
        self.responder.counters.response_send_errors += 1
