"""Protocols that note what a transport tells them."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.timestamp import Timestamp

Address = tuple[str, int]


@implementer(ITimestampedDatagramReceiver)
class Recorder(DatagramProtocol):
    """Notes everything; ``life`` is what happened to it in order."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address, Timestamp]] = []
        self.transmitted: list[Timestamp] = []
        self.errors: list[int] = []
        self.life: list[str] = []

    @property
    def data(self) -> list[bytes]:
        """The datagrams, without what came with them."""
        return [data for data, _, _ in self.received]

    def startProtocol(self) -> None:
        """Note the start."""
        self.life.append("started")

    def stopProtocol(self) -> None:
        """Note the end."""
        self.life.append("stopped")

    def datagram_received(self, data: bytes, address: Address, stamp: Timestamp) -> None:
        """Note a datagram."""
        self.received.append((data, address, stamp))

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Note when a datagram left."""
        self.transmitted.append(stamp)

    def network_error(self, errno: int) -> None:
        """Note an error."""
        self.errors.append(errno)


@implementer(ITimestampedDatagramReceiver)
class Echo(Recorder):
    """Sends everything back to where it came from."""

    def datagram_received(self, data: bytes, address: Address, stamp: Timestamp) -> None:
        """Send it back."""
        super().datagram_received(data, address, stamp)
        assert self.transport is not None
        self.transport.write(data, address)
