"""
Answers NTP clients: a socket around a ``protocol.server.Responder``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.application.service import Service
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.interfaces import IClock, ITimestampedDatagramReceiver
from ntptwist.net.port import timestamped_udp
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.server import Responder
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Timestamp
from ntptwist.wire.header import Mode

LAGS = 16
"""Replies over which the shortest time from the reading of the clock to the departure is taken."""

LARGEST_LAG = 1_000_000
"""Nanoseconds; a reply that needed longer was held up by something else."""


@implementer(ITimestampedDatagramReceiver)
class NTPServer(Service, DatagramProtocol):
    """
    One listening socket.

    ``clock`` stamps, ``time`` gives what is to be said of it.  ``startService`` raises OSError when the address can't
    be had; ``port`` is the port in use from then on.  ``read_at`` is the reading of the clock that went into
    the latest reply.  ``responder`` decides whom it answers, and counts.
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
    ) -> None:
        self.host = host
        self.port = port
        self.responder = responder or Responder()
        self.read_at = Timestamp(0)
        self._lags: deque[int] = deque(maxlen=LAGS)
        self._clock = clock
        self.time = time
        self._asking: bytes | None = None  # the reply whose departure its client will ask for
        self._udp = timestamped_udp(reactor)

    def startService(self) -> None:
        """Open the socket."""
        transport = self._udp.listen_udp(self.host, self.port, self)
        self.port = transport.getHost().port
        super().startService()

    def stopService(self) -> Any:
        """Close the socket."""
        super().stopService()
        if self.transport is not None:
            return self.transport.stopListening()
        return None

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:
        """Answer a request."""
        responder = self.responder
        client = ip_address(address[0].partition("%")[0]).packed
        if data and data[0] & 7 == Mode.CONTROL:
            for part in responder.answer_control(data, client):
                self.transport.write(part, address)
            return
        received = self._clock.from_kernel(stamp)
        now = self._clock.read()
        transmit = Timestamp(now.local + min(self._lags, default=0))
        action = responder.judge(client, now.monotonic)
        reply = responder.answer(data, action, received, transmit, self.time(), now.monotonic, client)
        if not isinstance(reply, Dropped):
            self.read_at = now.local
            self._asking = reply if responder.asks_interleaved(data) else None
            self.transport.write(reply, address)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """
        Learn how long after our reading of the clock a reply really leaves.

        The next reply's transmit timestamp is later by the shortest of the last few such times: one that is too late
        would make a delay negative.
        """
        left = self._clock.from_kernel(stamp)
        if self._asking is not None:
            self.responder.departed(self._asking, left)
        late = left - self.read_at
        if 0 <= late < LARGEST_LAG:
            self._lags.append(late)

    def network_error(self, errno: int) -> None:  # noqa: ARG002 - whatever it was
        """Count it: the client that can't be reached asks again, or not."""
        self.responder.counters.response_send_errors += 1
