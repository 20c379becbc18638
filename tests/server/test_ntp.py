"""The first slice of a server: it answers clients in a virtual world with its own clock's time."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import ITimestampedDatagramReceiver
from ntptwist.protocol.lag import LARGEST, LENGTH
from ntptwist.protocol.server import Responder
from ntptwist.server.ntp import NTPServer
from ntptwist.sim.world import World
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Timestamp, decode_timestamp
from ntptwist.wire.header import Header

REQUEST = bytes([0x23]).ljust(40, b"\0") + b"\1\2\3\4\5\6\7\x08"


@implementer(ITimestampedDatagramReceiver)
class Asking(DatagramProtocol):
    """A client that keeps the replies."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []

    def datagram_received(self, data: bytes, address: Any, stamp: Timestamp) -> None:
        """Keep a reply."""
        self.replies.append(data)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Not needed."""

    def network_error(self, errno: int) -> None:
        """Not needed."""


class Written:
    """A transport that keeps what is written."""

    def __init__(self, datagrams: list[bytes]) -> None:
        self._datagrams = datagrams

    def write(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Keep a datagram."""
        self._datagrams.append(datagram)


def serving(world: World) -> NTPServer:
    """Start a server on the machine of a world."""
    clock = world.clock

    def time() -> TimeSnapshot:
        return TimeSnapshot(Leap.NONE, 1, ReferenceId.of_text("GPS"), monotonic=clock.read().monotonic, dispersion=0.0)

    server = NTPServer("192.0.2.1", 123, clock, time, world.reactor)
    world.start(server)
    return server


def ask(world: World, request: bytes = REQUEST) -> list[bytes]:
    """Send a request from another port of the same machine."""
    asking = Asking()
    port = world.reactor.connect_udp("192.0.2.1", 123, asking)
    port.write(request)
    world.run(1)
    port.stopListening()
    return asking.replies


def test_answers_with_its_own_clock() -> None:
    """A client gets the time of the server's clock, and its own nonce back."""
    world = World(offset=-0.25)
    server = serving(world)
    assert verifyObject(ITimestampedDatagramReceiver, server)
    (reply,) = ask(world)
    header = Header.parse(reply)
    now = world.clock.read().local

    assert header.origin_timestamp == int.from_bytes(REQUEST[40:], "big")
    assert abs(now - 10**9 - decode_timestamp(header.transmit_timestamp, now)) < 10**7
    assert header.receive_timestamp >> 1 <= header.transmit_timestamp >> 1
    assert (server.responder.counters.received, server.responder.counters.accepted) == (1, 1)


@pytest.mark.parametrize("request_bytes", [b"", b"x" * 47, bytes([0x24]).ljust(48, b"\0"), bytes([0x26]).ljust(48)])
def test_what_is_no_request_is_not_answered(request_bytes: bytes) -> None:
    """Replies, control packets and rubbish get no answer, so nobody can be made to bounce packets."""
    world = World()
    server = serving(world)

    assert ask(world, request_bytes) == []
    assert server.responder.counters.accepted == 0


def test_transmit_stamp_learns_how_late_packets_leave() -> None:
    """The transmit timestamp is later than the reading of the clock by what quick replies needed lately."""
    world = World()
    server = serving(world)

    def lag() -> int:
        (reply,) = ask(world)
        header = Header.parse(reply)
        now = world.clock.read().local
        sent = decode_timestamp(header.transmit_timestamp, now)
        return sent - decode_timestamp(header.receive_timestamp, now)

    def leave(*late: int) -> None:
        for each in late:
            server.datagram_transmitted(Timestamp(server.read_at + each))

    first = lag()
    leave(*[16_000] * LENGTH)
    grown = lag()
    leave(*[17_000] * LENGTH, LARGEST, -5)
    more = lag()
    leave(*[18_000] * LENGTH, *[9_000] * (LENGTH // 2))
    least = lag()

    assert (first, grown, more, least) == (0, 16_000, 17_000, 9_000)


def test_stops_listening() -> None:
    """A stopped server has left its port."""
    world = World()
    server = serving(world)
    server.stopService()
    server.network_error(111)

    assert ask(world) == []
    server.stopService()


def test_a_port_that_is_taken() -> None:
    """Two servers can't have one address: the second says so when it is started."""
    world = World()
    first = serving(world)
    second = NTPServer("192.0.2.1", 123, world.clock, TimeSnapshot, world.reactor)
    with pytest.raises(OSError, match="in use"):
        second.startService()
    first.stopService()


def test_interleaved_mode() -> None:
    """A client that asks for it is told when its previous reply really left, however late that was known."""
    world = World()
    server = serving(world)
    request = bytes([0x23]).ljust(24, b"\0")
    (first,) = map(Header.parse, ask(world, request + bytes(8) + bytes(8) + b"\1" * 8))
    (second,) = map(Header.parse, ask(world, request + first.receive_timestamp.to_bytes(8) + b"\2" * 8 + b"\3" * 8))
    left = Timestamp(decode_timestamp(second.transmit_timestamp, world.clock.read().local) + 9_000)
    server.datagram_transmitted(left)
    (third,) = map(Header.parse, ask(world, request + second.receive_timestamp.to_bytes(8) + b"\4" * 8 + b"\5" * 8))

    assert second.origin_timestamp.to_bytes(8) == b"\3" * 8
    assert third.origin_timestamp.to_bytes(8) == b"\4" * 8
    assert decode_timestamp(third.transmit_timestamp, left) == left


def test_control_from_elsewhere_is_not_answered() -> None:
    """A request of mode 6 that comes over the network gets nothing, even where this machine would be answered."""
    world = World()
    responder = Responder(control=lambda request: [request])
    server = NTPServer("192.0.2.1", 123, world.clock, TimeSnapshot, world.reactor, responder)
    world.start(server)

    assert ask(world, b"\x26" + bytes(11)) == []
    assert responder.counters.ignored == 1


def test_control_from_this_machine() -> None:
    """Over loopback it is answered, each datagram by itself."""
    world = World()
    responder = Responder(control=lambda request: [b"1" + request, b"2" + request])
    server = NTPServer("192.0.2.1", 123, world.clock, TimeSnapshot, world.reactor, responder)
    written: list[bytes] = []
    server.transport = Written(written)
    server.datagram_received(b"\x26?", ("127.0.0.1", 4567), world.clock.read().local)

    assert written == [b"1\x26?", b"2\x26?"]


def test_a_client_that_can_not_be_reached_is_counted() -> None:
    """What the network refuses is counted, and the server goes on."""
    world = World()
    server = serving(world)
    server.network_error(111)

    assert server.responder.counters.response_send_errors == 1
    assert len(ask(world)) == 1
