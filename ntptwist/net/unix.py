"""
UNIX datagram sockets in the reactor: those that others write samples to, and those that answer.

Twisted's own ``listenUNIXDatagram`` makes a socket that everybody may write to, fails on one that a dead process left
behind, leaves its own, and can't take over one that is handed to it; so the socket is ``kernel.unixsocket``'s, and this
is what waits for it.  What can't be sent at once is dropped: whoever asks by datagrams asks again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.errors import DeviceError
from ntptwist.kernel.unixsocket import Access, FeedSocket, open_answers, open_feed
from ntptwist.net.transport import Guard

LARGEST_DATAGRAM = 256
"""Octets; more than any sample has, so that one that is too long is seen to be."""
_BATCH = 64


@implementer(IReadDescriptor)
class FeedPort:
    """
    The transport of a DatagramProtocol on such a socket; it is closed by ``stopListening``, at once.

    Datagrams are cut to ``largest`` octets; the address of a sender is its path, nothing where it has none.
    """

    def __init__(
        self, sock: FeedSocket, protocol: DatagramProtocol, reactor: Any, largest: int = LARGEST_DATAGRAM
    ) -> None:
        self._socket = sock
        self._protocol = protocol
        self._reactor = reactor
        self._guard = Guard(reactor)
        self._largest = largest
        self._open = True

    def start(self) -> None:
        """Connect the protocol, and wait for datagrams."""
        self._reactor.addReader(self)
        self._guard(self._protocol.makeConnection, self)

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Give the name of this reader in Twisted's legacy log."""
        return "ntptwist-feed"

    def doRead(self) -> None:
        """Read what has come in, within bounds; what is left over wakes us again."""
        for _ in range(_BATCH):
            received = self._socket.receive_from(self._largest) if self._open else None
            if received is None:
                return
            self._guard(self._protocol.datagramReceived, *received)

    def write(self, data: bytes, address: Any) -> None:
        """Send a datagram to a path, or drop it."""
        with suppress(OSError):
            self._socket.send_to(data, address)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Close; the reactor calls this when it has shut down."""
        self.stopListening()

    def getHost(self) -> UNIXAddress:
        """Give the path."""
        return UNIXAddress(self._socket.path.encode())

    def stopListening(self) -> None:
        """Close the socket and tell the protocol; does nothing the second time."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._socket.close()
            self._guard(self._protocol.doStop)


def listen_feed(reactor: Any, path: str, access: Access, protocol: DatagramProtocol) -> Any:
    """
    Give the transport of a protocol that takes the datagrams written to a path: the reactor's own if it is a virtual
    one, else the kernel's.

    DeviceError, with the reason, when there can be no socket.
    """
    virtual = getattr(reactor, "listen_unix_datagram", None)
    if virtual is not None:
        try:
            return virtual(path, protocol)
        except OSError as error:
            raise DeviceError(f"{path}: can't make the socket: {error.strerror}") from error
    port = FeedPort(open_feed(path, access), protocol, reactor)
    port.start()
    return port


def listen_answers(reactor: Any, path: str, access: Access, protocol: DatagramProtocol, largest: int) -> FeedPort:
    """
    Give the transport of a protocol that answers, with ``write``, the datagrams that come to a path.

    DeviceError, with the reason, when there can be no socket.
    """
    port = FeedPort(open_answers(path, access), protocol, reactor, largest)
    port.start()
    return port
