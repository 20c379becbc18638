"""
One UDP socket with kernel timestamps, as the transport of a Twisted DatagramProtocol.

It takes the place of Twisted's own ``udp.Port``, which reads no control messages and so no timestamps, leaves transmit
stamps in the error queue (epoll and poll reactors then close the port, select and asyncio spin), and is stopped without
a word by an ICMP port-unreachable.  Here whatever the network does is told to the protocol and the socket stays open.

A transport waits for its socket through ``ntptwist.net.port.TimestampedUDP``, never in the reactor itself.  Everything
happens at once: a closed transport has closed its socket, told its protocol, and calls it never again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from errno import ECONNREFUSED, EMSGSIZE
from select import EPOLLERR, EPOLLIN
from socket import AF_INET6, SO_BROADCAST, SOL_SOCKET
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.kernel.timestamping import Datagram, KernelSocket, TimestampedSocket, report_icmp_errors
from ntptwist.net.address import protocol_address, socket_address
from ntptwist.timestamp import Timestamp

_QUIET = 60.0


class Guard:
    """
    Calls protocols, whose exceptions end here: past it they would cost every source its socket.

    They are logged, each kind once a minute of the reactor's time at most.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._quiet_until: dict[tuple[str, type[Exception]], float] = {}
        self._unlogged: dict[tuple[str, type[Exception]], int] = {}

    def __call__(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function; an exception is logged and not raised."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001  what a protocol may raise isn't known
            self._complain(getattr(function, "__qualname__", repr(function)), type(error))

    def _complain(self, function: str, error: type[Exception]) -> None:
        kind = function, error
        now: float = self._reactor.seconds()
        unlogged = self._unlogged.get(kind, 0)
        if now < self._quiet_until.get(kind, now):
            self._unlogged[kind] = unlogged + 1
            return
        self._log.failure(
            "{function} failed; {unlogged} such failures went unlogged", function=function, unlogged=unlogged
        )
        self._quiet_until[kind] = now + _QUIET
        self._unlogged[kind] = 0


@implementer(ITimestampedDatagramReceiver)
class _Untimed:
    """Lets a DatagramProtocol without interest in timestamps stand in the place of one that wants them."""

    def __init__(self, protocol: DatagramProtocol) -> None:
        self._protocol = protocol

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:  # noqa: ARG002
        self._protocol.datagramReceived(data, address)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        pass

    def network_error(self, errno: int) -> None:
        if errno == ECONNREFUSED:
            self._protocol.connectionRefused()


@implementer(IUDPTransport)
class UDPTransport:
    """
    A bound or connected socket, open from the start, and the protocol that it serves.

    ``guard`` makes the calls into the protocol; ``released`` is told before the socket is closed.
    """

    def __init__(
        self,
        sock: KernelSocket,
        protocol: DatagramProtocol,
        guard: Guard,
        released: Callable[[UDPTransport], None],
    ) -> None:
        self.protocol = protocol
        self._socket = sock
        self._timestamped = TimestampedSocket(sock)
        self._receiver = ITimestampedDatagramReceiver(protocol, None) or _Untimed(protocol)
        self._guard = guard
        self._released = released
        self._peer: tuple[Any, ...] | None = None
        self._delivered: Datagram | None = None
        self._open = True
        self._started = False

    def start(self) -> None:
        """Connect the protocol; when that raises, close the socket and raise the same."""
        with ExitStack() as undo:
            undo.callback(self._release)
            self.protocol.makeConnection(self)
            undo.pop_all()
        self._started = True
        if not self._open:  # startProtocol has closed it
            self._guard(self.protocol.doStop)

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._socket.fileno()

    def ready(self, events: int) -> None:
        """Read what has come in; called when epoll has reported ``events`` for what may be closed by now."""
        if events & EPOLLERR and self._open:
            self._read_errors()
        if events & EPOLLIN and self._open:
            self._receive()

    def _receive(self) -> None:
        try:
            for datagram in self._timestamped.receive():
                self._delivered = datagram
                host = protocol_address(datagram.address)
                self._tell(self._receiver.datagram_received, datagram.data, host, datagram.stamp)
                if not self._open:
                    return
        except OSError as error:
            self._read_errors(error.errno or 0)
        finally:
            self._delivered = None

    def _read_errors(self, raised: int = 0) -> None:
        """Tell what the error queue holds; what the socket has pending, or has ``raised``, is mostly in there too."""
        queued = self._timestamped.error_queue()
        pending = self._timestamped.pending_error() or raised
        if queued.transmitted is not None:
            self._tell(self._receiver.datagram_transmitted, queued.transmitted)
        self._tell_errors(queued.errors or ([pending] if pending else ()))

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        if self._open:
            self._guard(function, *arguments)

    def _tell_errors(self, errors: Iterable[int]) -> None:
        for errno in errors:
            self._tell(self._receiver.network_error, errno)

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send a datagram, to ``addr`` (a literal address and a port) unless the transport is connected.

        What the network refuses is told to the protocol, before this returns.  MessageLengthError when the datagram is
        too long for UDP, InvalidAddressError when it can't be sent to ``addr``, RuntimeError after ``stopListening``.
        """
        if not self._open:
            raise RuntimeError("the port is closed")
        destination = self._destination(addr)
        delivered = self._delivered
        origin = delivered.destination if delivered is not None and protocol_address(delivered.address) == addr else ()
        try:
            stamp = self._timestamped.send(packet, destination, origin)
        except OSError as error:
            if error.errno == EMSGSIZE:
                raise MessageLengthError(f"{len(packet)} octets are too long for a datagram") from error
            self._tell_errors([*self._timestamped.error_queue().errors, error.errno or 0])
            return
        # The driver has usually taken its stamp by now.
        queued = self._timestamped.error_queue()
        self._tell(self._receiver.datagram_transmitted, queued.transmitted or stamp)
        self._tell_errors(queued.errors)

    def _destination(self, addr: tuple[str, int] | None) -> tuple[Any, ...] | None:
        """Give what ``sendto`` needs; None for the peer of a connected socket."""
        if addr is None:
            if self._peer is None:
                raise InvalidAddressError("", "a port that is not connected needs an address")
            return None
        family, address = socket_address(*addr)
        if family != self._socket.family:
            raise InvalidAddressError(addr[0], f"this port is of {self._socket.family.name}")
        if self._peer is None:
            return address
        if address != self._peer:
            raise InvalidAddressError(addr[0], f"this port is connected to {protocol_address(self._peer)}")
        return None

    def connect(self, host: str, port: int) -> None:
        """Connect to a literal address.  RuntimeError when connected already, OSError when there is no route."""
        if self._peer is not None:
            raise RuntimeError("the port is connected already")
        _, address = socket_address(host, port)
        self._socket.connect(address)
        report_icmp_errors(self._socket)
        self._peer = address

    def getHost(self) -> IPv4Address | IPv6Address:
        """Give the local address; OSError after ``stopListening``."""
        name = self._socket.getsockname()
        return IPv6Address("UDP", *name) if self._socket.family == AF_INET6 else IPv4Address("UDP", *name)

    def stopListening(self) -> None:
        """Close the socket, now; the protocol's ``stopProtocol`` has been called when this returns."""
        if self._open:
            self._release()
            if self._started:
                self._guard(self.protocol.doStop)

    def _release(self) -> None:
        self._open = False
        self._released(self)
        self._socket.close()

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: N802, FBT001  IUDPTransport's
        """Allow datagrams to broadcast addresses, or not."""
        self._socket.setsockopt(SOL_SOCKET, SO_BROADCAST, enabled)

    def getBroadcastAllowed(self) -> bool:  # noqa: N802
        """Tell whether datagrams to broadcast addresses are allowed; not so at first."""
        return bool(self._socket.getsockopt(SOL_SOCKET, SO_BROADCAST))
