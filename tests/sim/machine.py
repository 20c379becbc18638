"""One virtual machine in a network, put together by hand, and a protocol that notes what its socket tells it."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.sim.clock import SimulatedClock
from ntptwist.sim.names import NameTable
from ntptwist.sim.network import Endpoint, Network
from ntptwist.sim.oscillator import Oscillator, OscillatorModel
from ntptwist.sim.reactor import VirtualReactor
from ntptwist.sim.timeline import Timeline
from ntptwist.timestamp import Timestamp

ADDRESSES = ("192.0.2.1", "2001:db8::1")
PEER = ("198.51.100.1", 123)


class Machine:
    """A machine with a steady oscillator; ``peer`` is bound to PEER if ``with_peer``."""

    def __init__(self, frequency: float = 0.0, *, with_peer: bool = False) -> None:
        self.timeline = Timeline()
        self.clock = SimulatedClock(self.timeline, Oscillator(OscillatorModel(frequency, 0.0), 1))
        self.network = Network(self.timeline, 1)
        self.names = NameTable(self.timeline)
        self.reactor = self.boot()
        self.peer = Peer()
        if with_peer:
            self.network.bind(PEER, self.peer)

    def boot(self, addresses: tuple[str, ...] = ADDRESSES) -> VirtualReactor:
        """Give a reactor for this machine."""
        return VirtualReactor(self.timeline, self.clock, self.network, addresses, self.names)


class Peer:
    """A socket of the network itself."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Endpoint]] = []
        self.refusals: list[Endpoint] = []

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Note a packet."""
        self.received.append((data, source))

    def refused(self, source: Endpoint) -> None:
        """Note a port-unreachable."""
        self.refusals.append(source)


class Plain(DatagramProtocol):
    """Notes everything, without interest in timestamps."""

    noisy = False
    transport: Any

    def __init__(self) -> None:
        self.life: list[str] = []
        self.received: list[tuple[bytes, Any]] = []

    def startProtocol(self) -> None:
        """Note the start."""
        self.life.append("started")

    def stopProtocol(self) -> None:
        """Note the end."""
        self.life.append("stopped")

    def datagramReceived(self, datagram: bytes, addr: Endpoint) -> None:
        """Note a datagram."""
        self.received.append((datagram, addr))

    def connectionRefused(self) -> None:
        """Note a refusal."""
        self.life.append("refused")


@implementer(ITimestampedDatagramReceiver)
class Stamped(Plain):
    """Notes everything, with timestamps."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[Timestamp] = []
        self.departures: list[Timestamp] = []
        self.errors: list[int] = []

    def datagram_received(self, data: bytes, address: Endpoint, stamp: Timestamp) -> None:
        """Note a datagram."""
        self.received.append((data, address))
        self.arrivals.append(stamp)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Note when a datagram left."""
        self.departures.append(stamp)

    def network_error(self, errno: int) -> None:
        """Note an error."""
        self.errors.append(errno)
