"""
UDP with kernel timestamps, on epoll, poll, select and asyncio reactors alike.

Each test that names a trap fails with Twisted's own UDP port on at least one of them.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ECONNREFUSED, EMFILE
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.interfaces import IReactorTimestampedUDP
from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.net.port import TimestampedUDP, shared_sockets, timestamped_udp
from ntptwist.net.transport import UDPTransport
from ntptwist.timestamp import Timestamp
from tests.kernel.stamping import kernel_stamps
from tests.net.conftest import closed_port
from tests.net.recorder import Address, Echo, Recorder

Turn = Callable[[Any, Callable[[], object]], None]


class CountingUDP(TimestampedUDP):
    """Counts how often the reactor calls it."""

    calls = 0

    def doRead(self) -> None:
        """Count."""
        self.calls += 1
        super().doRead()


@pytest.fixture
def udp(reactor: Any) -> Iterator[CountingUDP]:
    """Give the UDP of a reactor; what a test leaves open is closed."""
    udp = CountingUDP(reactor)
    yield udp
    reactor.disconnectAll()


def turn_for(reactor: Any, seconds: float) -> None:
    """Turn a reactor for a while; it blocks as long as it wants to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reactor.iterate(max(end - time.monotonic(), 0.0))


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let the process open no more descriptors for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_exchange_is_stamped_at_all_four_points(reactor: Any, udp: TimestampedUDP, turn: Turn, host: str) -> None:
    """Request and reply carry the kernel's stamps: in order, and from before the reactor got to read anything."""
    server, client = Echo(), Recorder()
    port = udp.listen_udp(host, 0, server).getHost().port
    transport = udp.connect_udp(host, port, client)
    with kernel_stamps():
        before = time.time_ns()
        transport.write(b"request")
        written = time.time_ns()
        turn(reactor, lambda: client.received)
    [(data, address, t4)] = client.received
    [(_, source, t2)] = server.received
    [t1], [t3] = client.transmitted, server.transmitted

    assert (data, address) == (b"request", (host, port))
    assert source == (host, transport.getHost().port)
    assert before <= t1 <= t2 <= written <= t3 <= t4 <= time.time_ns()


def test_receive_stamps_stay_on_between_sockets(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """
    The kernel stops stamping with the last socket that wants it, and begins late: a fresh socket must not suffer.

    (Other programs that want stamps hide the difference.)
    """
    with kernel_stamps():  # it has begun
        pass
    late = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 0))
        for _ in range(5):
            turn_for(reactor, 0.02)
            client = Recorder()
            transport = udp.connect_udp("127.0.0.1", echo.getsockname()[1], client)
            transport.write(b"request")
            echo.sendto(*echo.recvfrom(100))
            replied = time.time_ns()
            turn(reactor, lambda client=client: client.received)  # type: ignore[misc]  # bound now
            transport.stopListening()
            late += client.received[0][2] > replied

    assert late == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_port_unreachable_is_told_and_the_socket_lives(reactor: Any, udp: CountingUDP, turn: Turn, host: str) -> None:
    """Trap: Twisted's own port is stopped by it without a word.  Here the protocol hears of it, and may go on."""
    client, server = Recorder(), Echo()
    port = closed_port(host)
    transport = udp.connect_udp(host, port, client)
    transport.write(b"1")
    turn(reactor, lambda: client.errors)
    udp.calls = 0
    turn_for(reactor, 0.2)

    assert client.errors == [ECONNREFUSED]
    assert udp.calls <= 1  # no spinning either

    udp.listen_udp(host, port, server)
    transport.write(b"2")
    turn(reactor, lambda: client.received)

    assert client.data == [b"2"]
    assert client.errors == [ECONNREFUSED]


def test_idle_sockets_wake_nobody(reactor: Any, udp: CountingUDP, turn: Turn) -> None:
    """Trap: a transmit stamp that nobody reads makes reactors on select and asyncio spin, the others close the port."""
    server, client = Echo(), Recorder()
    port = udp.listen_udp("127.0.0.1", 0, server).getHost().port
    transport = udp.connect_udp("127.0.0.1", port, client)
    transport.write(b"request")
    turn(reactor, lambda: client.received)
    turn_for(reactor, 0.05)
    udp.calls = 0
    turn_for(reactor, 0.2)

    assert udp.calls == 0
    assert client.life == server.life == ["started"]


def test_error_that_is_known_already_is_told_by_the_next_write(udp: TimestampedUDP) -> None:
    """An error that came while the reactor was busy is told, and the next datagram is sent nevertheless."""
    client = Recorder()
    transport = udp.connect_udp("127.0.0.1", closed_port(), client)
    transport.write(b"1")
    transport.write(b"2")

    assert client.errors == [ECONNREFUSED, ECONNREFUSED]
    assert len(client.transmitted) == 2


class Raising(Recorder):
    """Notes everything, and then fails."""

    def datagram_received(self, data: bytes, address: Address, stamp: Timestamp) -> None:
        """Note a datagram and fail."""
        self.received.append((data, address, stamp))
        raise ArithmeticError(data)


def test_protocol_that_raises_loses_nothing(
    reactor: Any, udp: TimestampedUDP, turn: Turn, logged_failures: Any
) -> None:
    """Trap: an exception removes a reader from the reactor.  Here it is logged, once, and every datagram delivered."""
    server, client = Raising(), Recorder()
    port = udp.listen_udp("127.0.0.1", 0, server).getHost().port
    transport = udp.connect_udp("127.0.0.1", port, client)
    transport.write(b"1")
    transport.write(b"2")
    turn(reactor, lambda: len(server.received) == 2)
    transport.write(b"3")
    turn(reactor, lambda: len(server.received) == 3)

    assert server.data == [b"1", b"2", b"3"]
    assert len(logged_failures.flush(ArithmeticError)) == 1


def test_socket_may_be_closed_while_it_is_read(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """A protocol that closes its socket in a callback gets nothing after that, though more has arrived."""

    class Closing(Recorder):
        """Closes its socket at the first datagram."""

        def datagram_received(self, data: bytes, address: Address, stamp: Timestamp) -> None:
            """Note it and close."""
            self.received.append((data, address, stamp))
            listening.stopListening()

    server, client = Closing(), Recorder()
    listening = udp.listen_udp("127.0.0.1", 0, server)
    transport = udp.connect_udp("127.0.0.1", listening.getHost().port, client)
    transport.write(b"1")
    transport.write(b"2")
    turn(reactor, lambda: server.received)
    turn_for(reactor, 0.02)

    assert server.data == [b"1"]
    assert server.life == ["started", "stopped"]
    assert server.transport is None


def test_reused_descriptor_number_does_not_confuse(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """Whoever is called first closes the other and opens a socket that takes its number: nobody gets what isn't his."""
    listening: dict[str, UDPTransport] = {}
    numbers: dict[str, int] = {}
    late = Recorder()

    class Rival(Recorder):
        """Closes its rival at the first datagram, and opens another socket."""

        def __init__(self, rival: str) -> None:
            super().__init__()
            self._rival = rival

        def datagram_received(self, data: bytes, address: Address, stamp: Timestamp) -> None:
            """Note it, close, open."""
            self.received.append((data, address, stamp))
            numbers["closed"] = listening[self._rival].fileno()
            listening[self._rival].stopListening()
            numbers["opened"] = udp.listen_udp("127.0.0.1", 0, late).fileno()

    rivals = {"red": Rival("blue"), "blue": Rival("red")}
    sender = udp.listen_udp("127.0.0.1", 0, Recorder())
    for name, rival in rivals.items():
        listening[name] = udp.listen_udp("127.0.0.1", 0, rival)
    for name in rivals:
        sender.write(name.encode(), ("127.0.0.1", listening[name].getHost().port))
    turn(reactor, lambda: numbers)
    turn_for(reactor, 0.02)

    assert numbers["closed"] == numbers["opened"]
    assert sorted(len(rival.received) for rival in rivals.values()) == [0, 1]
    assert (late.received, late.errors, late.transmitted) == ([], [], [])


def test_udp_is_in_the_reactor_while_sockets_are_open(reactor: Any, udp: TimestampedUDP) -> None:
    """With the last socket the reader leaves the reactor, and comes back with the next."""
    one = udp.listen_udp("127.0.0.1", 0, Recorder())
    other = udp.listen_udp("127.0.0.1", 0, Recorder())
    one.stopListening()
    with_other = udp in reactor.getReaders()
    other.stopListening()
    without = udp in reactor.getReaders()
    udp.listen_udp("127.0.0.1", 0, Recorder())

    assert (with_other, without, udp in reactor.getReaders()) == (True, False, True)


def test_sockets_are_closed_when_the_reactor_shuts_down(reactor: Any, udp: TimestampedUDP) -> None:
    """What is still open at the end is closed, and its protocol told."""
    protocols = [Recorder(), Recorder()]
    for protocol in protocols:
        udp.listen_udp("127.0.0.1", 0, protocol)
    reactor.disconnectAll()

    assert [protocol.life for protocol in protocols] == [["started", "stopped"]] * 2


def test_exhausted_descriptors_are_an_error_and_nothing_else(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """When the process has no descriptors left a new socket is refused; those that are open go on working."""
    server, client, refused = Echo(), Recorder(), Recorder()
    port = udp.listen_udp("127.0.0.1", 0, server).getHost().port
    transport = udp.connect_udp("127.0.0.1", port, client)
    with no_descriptors_left():
        with pytest.raises(OSError, match="Too many open files") as error:
            udp.connect_udp("127.0.0.1", port, refused)
        transport.write(b"1")
        turn(reactor, lambda: client.received)
    udp.connect_udp("127.0.0.1", port, refused).write(b"2")
    turn(reactor, lambda: refused.received)

    assert error.value.errno == EMFILE
    assert (client.data, refused.data, refused.life) == ([b"1"], [b"2"], ["started"])


def test_a_plain_datagram_protocol_is_served(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """A protocol that knows nothing of timestamps works as it does with Twisted's own UDP."""
    told: list[object] = []

    class Plain(DatagramProtocol):
        """A stock protocol."""

        noisy = False

        def datagramReceived(self, datagram: bytes, addr: Address) -> None:
            """Note a datagram."""
            told.append(datagram)

        def connectionRefused(self) -> None:
            """Note the refusal."""
            told.append("refused")

    server = Echo()
    listening = udp.listen_udp("127.0.0.1", 0, server)
    transport = udp.connect_udp("127.0.0.1", listening.getHost().port, Plain())
    transport.write(b"1")
    turn(reactor, lambda: told)
    listening.stopListening()
    transport.write(b"2")
    turn(reactor, lambda: len(told) == 2)

    assert told == [b"1", "refused"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_replies_leave_from_the_address_that_was_asked(
    udp: TimestampedUDP, reactor: Any, turn: Turn, host: str
) -> None:
    """A server on all addresses answers from each of them, and on those of IPv6 from IPv4's too."""
    port = udp.listen_udp(host, 0, Echo()).getHost().port
    client = Recorder()
    udp.connect_udp("127.0.0.7", port, client).write(b"hello")  # takes replies from there only
    turn(reactor, lambda: client.data)

    assert client.data == [b"hello"]


def test_port_in_use_is_refused(udp: TimestampedUDP) -> None:
    """Two servers can't share a port: the second hears why."""
    port = udp.listen_udp("127.0.0.1", 0, Recorder()).getHost().port
    protocol = Recorder()
    with pytest.raises(OSError, match="in use"):
        udp.listen_udp("127.0.0.1", port, protocol)

    assert protocol.life == []


def test_each_reactor_has_one(reactor_factory: Callable[..., Any]) -> None:
    """Whoever asks gets the same UDP for one reactor, and another for another."""
    one, other = reactor_factory(), reactor_factory()

    assert timestamped_udp(one) is timestamped_udp(one)
    assert timestamped_udp(one) is not timestamped_udp(other)


def test_virtual_reactor_brings_its_own() -> None:
    """A reactor that has UDP with timestamps itself is used as it is."""

    @implementer(IReactorTimestampedUDP)
    class Virtual(Clock):
        """A virtual reactor."""

        def connect_udp(self, host: str, port: int, protocol: Any) -> Any:
            """Open nothing."""

        def listen_udp(self, host: str, port: int, protocol: Any) -> Any:
            """Open nothing."""

    virtual = Virtual()

    assert timestamped_udp(virtual) is virtual


def test_it_provides_its_interface(udp: TimestampedUDP) -> None:
    """The names and signatures are the interface's."""
    assert verifyObject(IReactorTimestampedUDP, udp)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::", "0.0.0.0"])
def test_sockets_that_share_an_address(host: str) -> None:
    """All have the same port, what comes in is shared out among them, and nobody else gets a share."""
    sockets = shared_sockets(host, 0, 3)
    port = sockets[0].getsockname()[1]
    target = "::1" if ":" in host else "127.0.0.1"
    ports = {sock.getsockname()[1] for sock in sockets}
    asking = [socket.socket(sockets[0].family, socket.SOCK_DGRAM) for _ in range(64)]
    for each in asking:
        each.sendto(b"hello", (target, port))
    got = [0, 0, 0]
    for index, sock in enumerate(sockets):
        while True:
            try:
                sock.recv(100)
            except BlockingIOError:
                break
            got[index] += 1
    with pytest.raises(OSError, match="Address already in use"):
        shared_sockets(host, port, 2)
    for each in (*sockets, *asking):
        each.close()

    assert ports == {port}
    assert sum(got) == 64
    assert min(got) > 0


def test_a_shared_address_that_can_not_be_had() -> None:
    """Nothing is left open where one of the sockets can't be bound."""
    with pytest.raises(OSError, match="Cannot assign"):
        shared_sockets("203.0.113.77", 0, 2)


def test_a_socket_is_taken_over(udp: CountingUDP, reactor: Any, turn: Turn) -> None:
    """What came in before is delivered with the stamp of its arrival, and is answered on the same socket."""
    with kernel_stamps():
        (kept,) = shared_sockets("127.0.0.1", 0, 1)
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asking.sendto(b"early", kept.getsockname())
        arrived = time.time_ns()
        recorder = Recorder()
        transport = udp.adopt_udp(KernelSocket(fileno=os.dup(kept.fileno())), recorder)
        turn(reactor, lambda: recorder.received)
        (received,) = recorder.received
        transport.write(b"late", ("127.0.0.1", asking.getsockname()[1]))
        answer, source = asking.recvfrom(100)
        transport.stopListening()
        address = kept.getsockname()
        kept.close()
        asking.close()

    assert received[0] == b"early"
    assert (answer, source) == (b"late", address)
    assert received[2] <= arrived
