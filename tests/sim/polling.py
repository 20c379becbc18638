"""A minimal NTP client for virtual worlds: asks one server at a steady pace and keeps what it measured."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.measurement import TwoWayMeasurement
from ntptwist.sim.network import Path, gamma
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.world import World
from ntptwist.timestamp import Timestamp, decode_timestamp
from ntptwist.wire.header import Header

REQUEST = Header(transmit_timestamp=0x0123456789ABCDEF).serialize()


@implementer(ITimestampedDatagramReceiver)
class PollingClient(DatagramProtocol):
    """Asks one server; each request leaves from a fresh port."""

    noisy = False
    transport: Any

    def __init__(self, world: World, host: str, interval: float = 64.0) -> None:
        self.measurements: list[TwoWayMeasurement] = []
        self.replies: list[bytes] = []
        self.arrivals: list[Timestamp] = []
        self.errors: list[int] = []
        self.sent: list[Timestamp] = []
        self._clock = world.clock
        self._reactor: Any = world.reactor
        self._host = host
        self._interval = interval

    def start(self, delay: float = 0.5) -> PollingClient:
        """Begin after so many seconds."""
        self._reactor.callLater(delay, self._poll)
        return self

    def _poll(self) -> None:
        """Ask, and set the time of the next request."""
        if self.transport is not None:
            self.transport.stopListening()
        self._reactor.callLater(self._interval, self._poll)
        self._reactor.connect_udp(self._host, 123, self)
        self.transport.write(REQUEST)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Note T1."""
        self.sent.append(stamp)

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:
        """Note a reply and, if it tells the time, a measurement."""
        self.replies.append(data)
        self.arrivals.append(stamp)
        header = Header.parse(data)
        if header.leap is Leap.UNSYNCHRONIZED:
            return
        self.measurements.append(
            TwoWayMeasurement(
                t1=self.sent[-1],
                t2=decode_timestamp(header.receive_timestamp, stamp),
                t3=decode_timestamp(header.transmit_timestamp, stamp),
                t4=stamp,
                monotonic=self._clock.read().monotonic,
                leap=header.leap,
                stratum=header.stratum,
                reference_id=ReferenceId(header.reference_id),
                root_delay=0.0,
                root_dispersion=0.0,
                precision=header.precision,
            )
        )

    def network_error(self, errno: int) -> None:
        """Note an error."""
        self.errors.append(errno)


def digest_of_a_run(seed: int) -> str:
    """Run a world that uses all its kinds of chance; give a digest of every stamp, reply and sample in it."""
    world = World(seed, oscillator=OscillatorModel(frequency=50e-6, wander=1e-8), offset=0.25)
    path = Path(1e-3, 1e-3, gamma, loss=0.1, duplication=0.1, reordering=0.1)
    clients = []
    for number, name in enumerate(("198.51.100.1", "198.51.100.2", "2001:db8::7b")):
        world.add_server(name, up=path)
        clients.append(PollingClient(world, name, interval=16.0).start(0.1 * number + world.randbytes(1)[0] / 1000))
    world.at(1000, world.clock.set_frequency, -50.0)
    world.at(1500, world.clock.foreign_step, -250_000_000)
    world.run(3000)
    digest = hashlib.sha256()
    for client in clients:
        digest.update(b"".join(client.replies))
        digest.update(struct.pack(f"{len(client.arrivals)}q", *client.arrivals))
    digest.update(world.clock.trace.offsets.tobytes())
    digest.update(world.clock.trace.frequencies.tobytes())
    return digest.hexdigest()
