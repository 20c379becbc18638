"""
Answers NTP clients: a socket around ``protocol.server.respond``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.interfaces import IClock, ITimestampedDatagramReceiver
from ntptwist.net.port import timestamped_udp
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.server import respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Timestamp

if TYPE_CHECKING:
    from ntptwist.nts.responder import ServerProtection

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
    the latest reply.  ``nts`` lets clients be answered that use it.
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
        nts: ServerProtection | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.requests = 0
        self.replies = 0
        self.read_at = Timestamp(0)
        self._lags: deque[int] = deque(maxlen=LAGS)
        self._clock = clock
        self._time = time
        self._nts = nts
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
        self.requests += 1
        received = self._clock.from_kernel(stamp)
        now = self._clock.read()
        transmit = Timestamp(now.local + min(self._lags, default=0))
        reply = respond(data, received, transmit, self._time(), now.monotonic, self._nts)
        if not isinstance(reply, Dropped):
            self.read_at = now.local
            self.transport.write(reply, address)
            self.replies += 1

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """
        Learn how long after our reading of the clock a reply really leaves.

        The next reply's transmit timestamp is later by the shortest of the last few such times: one that is too late
        would make a delay negative.
        """
        late = self._clock.from_kernel(stamp) - self.read_at
        if 0 <= late < LARGEST_LAG:
            self._lags.append(late)

    def network_error(self, errno: int) -> None:
        """Nothing to do: the client that can't be reached asks again, or not."""
