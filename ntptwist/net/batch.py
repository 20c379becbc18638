"""
The socket of a server with many clients: whole batches in, whole batches out.

It stands beside ``ntptwist.net.transport.UDPTransport`` in the private epoll descriptor of
``ntptwist.net.port.TimestampedUDP``, and is chosen there for a protocol that provides IBatchReceiver.
"""

from __future__ import annotations

from collections.abc import Callable
from select import EPOLLERR, EPOLLIN
from socket import AF_INET6
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from ntptwist.interfaces import IBatchReceiver
from ntptwist.kernel.mmsg import CAPACITY, Batch
from ntptwist.kernel.timestamping import KernelSocket, read_error_queue, take_error
from ntptwist.net.transport import Guard

REQUESTS = 512
RECEPTIONS = 64
"""What is read at most in one turn of the reactor, so that timers and other sockets have theirs: about 2 ms."""

LOOKS = 12
"""
Times that a busy server looks for more before it goes back to the reactor.

One look costs a microsecond, the way through the reactor and back some 25.  A client that asks as soon as it has
its answer is back in 10: with these looks it is answered 1.9 times as often, at half the processor time a request.
"""

BUSY = 200e-6
"""Seconds since the last turn with a request, up to which a server is busy; one that is not looks once."""


class BatchTransport:
    """
    A bound socket, open from the start, and the server behind it.

    ``guard`` makes the calls into the protocol; ``released`` is told before the socket is closed; ``seconds`` is the
    reactor's clock.
    """

    def __init__(
        self,
        sock: KernelSocket,
        protocol: Any,
        guard: Guard,
        released: Callable[[Any], None],
        seconds: Callable[[], float],
        *,
        destinations: bool,
    ) -> None:
        self.protocol = protocol
        self._socket = sock
        self._receiver: IBatchReceiver = IBatchReceiver(protocol)
        self._guard = guard
        self._released = released
        self._seconds = seconds
        self._active = seconds() - BUSY
        self._batch = Batch(sock, destinations=destinations)
        self._open = True

    def start(self) -> None:
        """Connect the protocol."""
        self.protocol.makeConnection(self)

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._socket.fileno()

    def ready(self, events: int) -> None:
        """Read what has come in; called when epoll has reported ``events`` for what may be closed by now."""
        if events & EPOLLERR and self._open:
            self._read_errors()
        if not events & EPOLLIN:
            return
        now = self._seconds()
        self._receive(LOOKS if now - self._active < BUSY else 0)
        self._active = now
        if self._batch.awaits_stamps and self._open:
            self._read_errors()  # the driver has usually taken them by now

    def _receive(self, looks: int) -> None:
        """Have what has come in answered; look as many times more for what is about to come."""
        batch, idle, requests = self._batch, 0, 0
        for _ in range(RECEPTIONS):
            try:
                count = batch.receive()
                while not count and idle < looks:
                    idle += 1
                    count = batch.receive()
            except OSError as error:
                self._tell(self._receiver.network_error, error.errno)
                self._read_errors()
                return
            if not count:
                return
            self._guard(self._receiver.batch_received, batch, count)
            requests += count
            # Where rows were left over the queue is empty, and need not be asked one more time.
            if not self._open or requests >= REQUESTS or (count < CAPACITY and not looks):
                return
            idle = 0

    def _read_errors(self) -> None:
        """Tell what the error queue holds; what the socket has pending is mostly in there too."""
        departures, errors = read_error_queue(self._socket)
        pending = take_error(self._socket)
        self._batch.awaits_stamps = False
        for key, stamp in departures:
            self._tell(self._receiver.batch_departed, key, stamp)
        for errno in errors or ([pending] if pending else ()):
            self._tell(self._receiver.network_error, errno)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        if self._open:
            self._guard(function, *arguments)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Give the local address; OSError after ``stopListening``."""
        name = self._socket.getsockname()
        return IPv6Address("UDP", *name) if self._socket.family == AF_INET6 else IPv4Address("UDP", *name)

    def stopListening(self) -> None:
        """Close the socket, now; the protocol's ``stopProtocol`` has been called when this returns."""
        if self._open:
            self._open = False
            self._released(self)
            self._socket.close()
            self._guard(self.protocol.doStop)
