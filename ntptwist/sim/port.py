"""
The sockets of a virtual machine: UDP with kernel timestamps, and UNIX datagrams.

A stamp is what the machine's clock shows when the packet leaves or arrives; while the machine sleeps, what arrives is
lost.  Towards protocols these behave as the kernel's (``net.transport``): what a protocol raises is logged and goes no
further, the network's refusals are told to it and leave the socket open, and ``stopListening`` is complete when it
returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, ENOENT
from functools import lru_cache
from ipaddress import ip_address
from os import strerror
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import InvalidAddressError
from twisted.logger import Logger

from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.sim.clock import SimulatedClock
from ntptwist.sim.network import Endpoint, Network

FIRST_EPHEMERAL, LAST_EPHEMERAL = 32_768, 60_999
"""Linux' ip_local_port_range."""

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - of a virtual machine

_failures = Logger().failureHandler("while handling a datagram")


class Sockets:
    """All sockets of a process on a machine with ``addresses``, at most one of each family, in a network."""

    def __init__(self, clock: SimulatedClock, network: Network, addresses: Sequence[str]) -> None:
        self.clock = clock
        self.network = network
        self._addresses: dict[int, str] = {ip_address(address).version: address for address in addresses}
        self._ports: dict[Endpoint, VirtualPort] = {}
        self._feeds: dict[str, VirtualFeed] = {}
        self._ephemeral = FIRST_EPHEMERAL
        for address in addresses:
            network.add_host(address)

    def connect(self, host: str, port: int, protocol: Any) -> VirtualPort:
        """Open a connected UDP socket on a fresh port; OSError without a route."""
        host, family = _parsed(host)
        own = self._addresses.get(family)
        if own is None or not self.network.has_route(host):
            raise _refusal(ENETUNREACH)
        return self._open((own, self._fresh_port(own)), (host, port), protocol)

    def listen(self, host: str, port: int, protocol: Any) -> VirtualPort:
        """Open a bound UDP socket; port 0 stands for any.  OSError if the address is taken or not this machine's."""
        host, family = _parsed(host)
        own = self._addresses.get(family)
        if own is None or host not in {own, *WILDCARDS}:
            raise _refusal(EADDRNOTAVAIL)
        local = (own, port or self._fresh_port(own))
        if self.network.is_bound(local):
            raise _refusal(EADDRINUSE)
        return self._open(local, None, protocol)

    def listen_unix(self, path: str, protocol: Any) -> VirtualFeed:
        """Bind a UNIX datagram socket; OSError if the path is taken."""
        if path in self._feeds:
            raise _refusal(EADDRINUSE)
        feed = self._feeds[path] = VirtualFeed(self, path, protocol)
        protocol.makeConnection(feed)
        return feed

    def feed(self, path: str, data: bytes) -> None:
        """Send a datagram to a path, as another program on this machine would; OSError if nobody is there."""
        if path not in self._feeds:
            raise _refusal(ENOENT)
        self._feeds[path].arrived(data)

    def forget(self, closed: VirtualPort | VirtualFeed) -> None:
        """Note that a socket was closed."""
        if isinstance(closed, VirtualFeed):
            del self._feeds[closed.path]
        else:
            del self._ports[closed.local]
            self.network.unbind(closed.local)

    def close(self) -> None:
        """Close everything, as the end of a process does."""
        sockets: list[VirtualPort | VirtualFeed] = [*self._ports.values(), *self._feeds.values()]
        for socket in sockets:
            socket.stopListening()

    def _open(self, local: Endpoint, remote: Endpoint | None, protocol: Any) -> VirtualPort:
        port = self._ports[local] = VirtualPort(self, local, remote, protocol)
        self.network.bind(local, port)
        port.start()
        return port

    def _fresh_port(self, own: str) -> int:
        while True:
            port = self._ephemeral
            self._ephemeral = port + 1 if port < LAST_EPHEMERAL else FIRST_EPHEMERAL
            if not self.network.is_bound((own, port)):
                return port


class VirtualPort:
    """
    A UDP socket at ``local``; connected to ``remote`` unless that is None.

    The part of IUDPTransport that this daemon uses.
    """

    __slots__ = ("_open", "_protocol", "_sockets", "_stamped", "_started", "local", "remote")

    def __init__(self, sockets: Sockets, local: Endpoint, remote: Endpoint | None, protocol: Any) -> None:
        self.local = local
        self.remote = remote
        self._sockets = sockets
        self._protocol = protocol
        self._stamped = ITimestampedDatagramReceiver.providedBy(protocol)
        self._open = True
        self._started = False

    def start(self) -> None:
        """Connect the protocol; when that raises, close the socket and raise the same."""
        try:
            self._protocol.makeConnection(self)
            self._started = True
        finally:
            if not self._started:
                self._release()
        if not self._open:  # startProtocol has closed it
            self._stop_protocol()

    def write(self, packet: bytes, addr: Endpoint | None = None) -> None:
        """
        Send a packet, to ``addr`` unless the socket is connected.

        InvalidAddressError when it can't be sent there, RuntimeError after ``stopListening``.
        """
        if not self._open:
            raise RuntimeError("the port is closed")
        destination = self._destination(addr)
        sockets = self._sockets
        if not sockets.network.has_route(destination[0]):
            self._trouble(ENETUNREACH)
            return
        sockets.network.send(self.local, destination, packet)
        if self._stamped:
            with _failures:
                self._protocol.datagram_transmitted(sockets.clock.read().local)

    def _destination(self, addr: Endpoint | None) -> Endpoint:
        if addr is None:
            if self.remote is None:
                raise InvalidAddressError("", "a port that is not connected needs an address")
            return self.remote
        given = (_parsed(addr[0])[0], addr[1])
        if self.remote not in {None, given}:
            raise InvalidAddressError(addr[0], f"this port is connected to {self.remote}")
        return given

    def getHost(self) -> IPv4Address | IPv6Address:
        """Give the local address."""
        host, port = self.local
        return IPv6Address("UDP", host, port) if ":" in host else IPv4Address("UDP", host, port)

    def stopListening(self) -> None:
        """Close the socket and tell the protocol; does nothing the second time."""
        if self._open:
            self._release()
            if self._started:
                self._stop_protocol()

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._sockets.forget(self)

    def _stop_protocol(self) -> None:
        with _failures:
            self._protocol.doStop()

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Take a packet from the network."""
        clock = self._sockets.clock
        if clock.sleeping or self.remote not in {None, source}:
            return
        with _failures:
            if self._stamped:
                self._protocol.datagram_received(data, source, clock.read().local)
            else:
                self._protocol.datagramReceived(data, source)

    def refused(self, source: Endpoint) -> None:
        """Take a port-unreachable; the kernel tells connected sockets only."""
        if self.remote == source and not self._sockets.clock.sleeping:
            self._trouble(ECONNREFUSED)

    def _trouble(self, errno: int) -> None:
        with _failures:
            if self._stamped:
                self._protocol.network_error(errno)
            elif errno == ECONNREFUSED:
                self._protocol.connectionRefused()


class VirtualFeed:
    """A bound UNIX datagram socket at ``path``."""

    __slots__ = ("_open", "_protocol", "_sockets", "path")

    def __init__(self, sockets: Sockets, path: str, protocol: Any) -> None:
        self.path = path
        self._sockets = sockets
        self._protocol = protocol
        self._open = True

    def getHost(self) -> UNIXAddress:
        """Give the path."""
        return UNIXAddress(self.path.encode())

    def stopListening(self) -> None:
        """Close the socket and tell the protocol; does nothing the second time."""
        if self._open:
            self._open = False
            self._sockets.forget(self)
            self._protocol.doStop()

    def arrived(self, data: bytes) -> None:
        """Take a datagram."""
        if not self._sockets.clock.sleeping:
            with _failures:
                self._protocol.datagramReceived(data, "")


@lru_cache(maxsize=1024)
def _parsed(host: str) -> tuple[str, int]:
    """Give a literal address in its one written form without scope, and its family; ValueError when it is none."""
    address = ip_address(host.partition("%")[0])
    return str(address), address.version


def _refusal(errno: int) -> OSError:
    return OSError(errno, strerror(errno))
