"""
UDP with kernel timestamps for every source and server of the process, through one descriptor in the reactor.

A socket whose error queue holds something is reported with EPOLLERR.  To a reactor this means a broken descriptor:
those on epoll and poll drop it, those on select and asyncio call it again and again.  Transmit stamps and ICMP errors
arrive in just that queue.  So the sockets live in a private epoll descriptor, which is never in error itself, merely
readable; it is what the reactor sees, and any reactor can wait for it.
"""

from __future__ import annotations

import select
from contextlib import ExitStack
from ipaddress import ip_address
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    AddressFamily,
)
from typing import Any
from weakref import finalize

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.interfaces import IBatchReceiver, IReactorTimestampedUDP
from ntptwist.kernel.mmsg import supported
from ntptwist.kernel.prefilter import attach
from ntptwist.kernel.timestamping import (
    SO_TIMESTAMPING,
    STAMPS_ON_REQUEST,
    KernelSocket,
    StampMethod,
    TimestampedSocket,
    read_error_queue,
    restart_keys,
    tell_destinations,
)
from ntptwist.net.address import socket_address
from ntptwist.net.batch import BatchTransport
from ntptwist.net.transport import Guard, UDPTransport

_DATAGRAMS = SOCK_DGRAM | SOCK_NONBLOCK
_BATCH = 64

Transport = UDPTransport | BatchTransport


@implementer(IReactorTimestampedUDP, IReadDescriptor)
class TimestampedUDP:
    """
    The kernel's UDP with timestamps, on any reactor that can watch descriptors.

    It is in the reactor while it has open sockets.  Without ``batches`` servers have their datagrams one by one.
    OSError when there are no descriptors left.
    """

    _log = Logger()

    def __init__(self, reactor: Any, *, batches: bool = supported()) -> None:
        self._reactor = reactor
        self._batches = batches
        self._guard = Guard(reactor)
        self._transports: dict[int, Transport] = {}
        self._epoll = select.epoll()
        # The kernel takes receive stamps while some socket wants them, and needs a millisecond to begin: without one
        # that stays, the reply of a server nearby comes in before its stamp is to be had.
        keeper = KernelSocket(AF_INET, _DATAGRAMS)
        finalize(self, keeper.close)
        method = TimestampedSocket(keeper).method
        if method is not StampMethod.TIMESTAMPING:
            self._log.warn("no kernel timestamps of sent datagrams; of received ones: {method}", method=method.value)

    def connect_udp(self, host: str, port: int, protocol: DatagramProtocol) -> UDPTransport:
        """Open a socket on a fresh ephemeral port, connected to a literal address; see IReactorTimestampedUDP."""
        family, _ = socket_address(host, port)
        with ExitStack() as undo:
            sock = undo.enter_context(KernelSocket(family, _DATAGRAMS))
            transport = UDPTransport(sock, protocol, self._guard, self._remove)
            transport.connect(host, port)
            self._start(transport)
            undo.pop_all()
        return transport

    def listen_udp(self, host: str, port: int, protocol: DatagramProtocol) -> Any:
        """
        Open a socket bound to a literal address; see IReactorTimestampedUDP.

        That of a server gets a filter, and batches where this machine has them.
        """
        family, address = socket_address(host, port)
        with ExitStack() as undo:
            sock = undo.enter_context(_server_socket(family))
            sock.bind(address)
            transport = self._transport(sock, protocol)
            self._start(transport)
            undo.pop_all()
        return transport

    def adopt_udp(self, sock: KernelSocket, protocol: DatagramProtocol) -> Any:
        """
        Take over one of ``shared_sockets`` for a server, and close it when that has stopped.

        Whoever had it before us may have left stamps in its error queue, and the count of them.
        """
        read_error_queue(sock)
        restart_keys(sock, STAMPS_ON_REQUEST)
        transport = self._transport(sock, protocol)
        self._start(transport)
        return transport

    def _transport(self, sock: KernelSocket, protocol: DatagramProtocol) -> Transport:
        destinations = ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified
        server = IBatchReceiver(protocol, None)
        if server is not None:
            attach(sock, control=server.wants_control)
            if self._batches:
                seconds = self._reactor.seconds
                return BatchTransport(sock, server, self._guard, self._remove, seconds, destinations=destinations)
        if destinations:
            tell_destinations(sock)
        return UDPTransport(sock, protocol, self._guard, self._remove)

    def _start(self, transport: Transport) -> None:
        with ExitStack() as undo:
            undo.callback(self._remove, transport)
            self._epoll.register(transport, select.EPOLLIN)  # EPOLLERR is always reported
            self._transports[transport.fileno()] = transport
            if len(self._transports) == 1:
                self._reactor.addReader(self)
            transport.start()
            undo.pop_all()

    def _remove(self, transport: Transport) -> None:
        """Forget a transport, whose socket is still open; once more does no harm."""
        if self._transports.get(transport.fileno()) is not transport:
            return
        del self._transports[transport.fileno()]
        self._epoll.unregister(transport)
        if not self._transports:
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Give the private epoll descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Give the name of this reader in Twisted's legacy log."""
        return "ntptwist-udp"

    def doRead(self) -> None:
        """Let every transport that has something read it, all within bounds; what is left over wakes us again."""
        # All are looked up first: one that is called may close another, and its number may then be a new socket's.
        ready = [(self._transports[fd], events) for fd, events in self._epoll.poll(0, _BATCH)]
        for transport, events in ready:
            self._guard(transport.ready, events)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Close every socket; the reactor calls this when it has shut down."""
        for transport in list(self._transports.values()):
            transport.stopListening()


def _server_socket(family: AddressFamily) -> KernelSocket:
    sock = KernelSocket(family, _DATAGRAMS)
    if family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
    return sock


def shared_sockets(host: str, port: int, count: int) -> list[KernelSocket]:
    """
    Bind so many sockets to one literal address, among which the kernel shares out what comes in (SO_REUSEPORT).

    All that comes from one address and port comes to the same socket.  OSError when the address can't be had.
    """
    family, address = socket_address(host, port)
    sockets: list[KernelSocket] = []
    with ExitStack() as undo:
        for _ in range(count):
            sock = undo.enter_context(_server_socket(family))
            # The first asks for the address as if it were alone, and lets the others in afterwards: with the option
            # from the start a second daemon of the same user would get its share of the requests unnoticed.
            if sockets:
                sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            sock.bind(address)
            sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            # What comes in before anybody reads it is stamped from now on.
            sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPING, STAMPS_ON_REQUEST)
            sockets.append(sock)
            address = sock.getsockname()
        undo.pop_all()
    return sockets


_of_reactor: dict[Any, TimestampedUDP] = {}


def timestamped_udp(reactor: Any) -> Any:
    """
    Give what provides IReactorTimestampedUDP for a reactor: itself if it does, as a virtual one, else the kernel's.

    There is one for each reactor, which stays as long as the process.
    """
    if IReactorTimestampedUDP.providedBy(reactor):
        return reactor
    if reactor not in _of_reactor:
        _of_reactor[reactor] = TimestampedUDP(reactor)
    return _of_reactor[reactor]
