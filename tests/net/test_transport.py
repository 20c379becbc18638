"""The transport of one socket: where it sends to, what it refuses, and how it begins and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from errno import EACCES, EAGAIN, ECONNABORTED, ECONNREFUSED
from select import EPOLLERR, EPOLLIN
from socket import AF_INET, MSG_ERRQUEUE, SO_ERROR, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.net.port import TimestampedUDP
from ntptwist.net.transport import Guard, UDPTransport
from ntptwist.timestamp import Timestamp
from tests.net.conftest import closed_port
from tests.net.recorder import Echo, Recorder

Turn = Callable[[Any, Callable[[], object]], None]


@pytest.fixture
def reactor() -> Iterator[Any]:
    """Give one reactor; the kinds make no difference here."""
    reactor = SelectReactor()
    yield reactor
    reactor.disconnectAll()
    reactor.removeReader(reactor.waker)
    reactor.waker.connectionLost(Failure(ConnectionError()))


@pytest.fixture
def udp(reactor: Any) -> TimestampedUDP:
    """Give its UDP."""
    return TimestampedUDP(reactor)


def test_it_provides_twisteds_interface(udp: TimestampedUDP) -> None:
    """Any DatagramProtocol finds the transport that it expects."""
    assert verifyObject(IUDPTransport, udp.listen_udp("127.0.0.1", 0, Recorder()))


def test_local_address_is_told(udp: TimestampedUDP) -> None:
    """The local address is one of Twisted's, with the port that the kernel chose."""
    four = udp.listen_udp("127.0.0.1", 0, Recorder()).getHost()
    six = udp.listen_udp("::1", 0, Recorder()).getHost()

    assert four == IPv4Address("UDP", "127.0.0.1", four.port)
    assert six == IPv6Address("UDP", "::1", six.port)
    assert 0 not in {four.port, six.port}


def test_connected_transport_sends_to_its_peer_only(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """The peer may be named or not; another address is refused."""
    server = Recorder()
    port = udp.listen_udp("127.0.0.1", 0, server).getHost().port
    transport = udp.connect_udp("127.0.0.1", port, Recorder())
    transport.write(b"1")
    transport.write(b"2", ("127.0.0.1", port))
    with pytest.raises(InvalidAddressError):
        transport.write(b"3", ("127.0.0.2", port))
    turn(reactor, lambda: len(server.received) == 2)

    assert server.data == [b"1", b"2"]


def test_connected_transport_hears_its_peer_only(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """A datagram from somebody else does not reach the protocol."""
    server, client = Echo(), Recorder()
    port = udp.listen_udp("127.0.0.1", 0, server).getHost().port
    transport = udp.connect_udp("127.0.0.1", port, client)
    stranger = udp.listen_udp("127.0.0.1", 0, Recorder())
    stranger.write(b"forged", ("127.0.0.1", transport.getHost().port))
    transport.write(b"request")
    turn(reactor, lambda: client.received)

    assert client.data == [b"request"]


@pytest.mark.parametrize("addr", [None, ("localhost", 123), ("::1", 123)])
def test_bound_transport_needs_an_address_that_it_can_send_to(udp: TimestampedUDP, addr: Any) -> None:
    """No address, a name, or an address of the other family is refused before anything is sent."""
    protocol = Recorder()
    with pytest.raises(InvalidAddressError):
        udp.listen_udp("127.0.0.1", 0, protocol).write(b"reply", addr)

    assert (protocol.transmitted, protocol.errors) == ([], [])


@pytest.mark.parametrize("host", ["localhost", "", "127.1", "300.0.0.1"])
def test_names_are_not_looked_up(udp: TimestampedUDP, host: str) -> None:
    """Opening takes literal addresses, so that it never waits for a name server."""
    with pytest.raises(InvalidAddressError):
        udp.connect_udp(host, 123, Recorder())


def test_datagram_that_is_too_long_for_udp_is_refused(udp: TimestampedUDP) -> None:
    """This is the caller's fault, not the network's."""
    protocol = Recorder()
    transport = udp.connect_udp("127.0.0.1", closed_port(), protocol)
    with pytest.raises(MessageLengthError, match="70000 octets"):
        transport.write(bytes(70000))

    assert protocol.errors == []


def test_refused_write_is_told_to_the_protocol(udp: TimestampedUDP) -> None:
    """What the network refuses does not raise: a broadcast that is not allowed is told as EACCES, and nothing left."""
    protocol = Recorder()
    transport = udp.listen_udp("0.0.0.0", 0, protocol)
    transport.write(b"hello", ("127.255.255.255", 9))

    assert protocol.errors == [EACCES]
    assert protocol.transmitted == []


def test_refused_write_of_a_plain_protocol_is_no_error(udp: TimestampedUDP) -> None:
    """A protocol that can only be told of refused connections is not told of anything else, and nothing raises."""
    told: list[str] = []

    class Plain(DatagramProtocol):
        """A stock protocol."""

        noisy = False

        def connectionRefused(self) -> None:
            """Note it."""
            told.append("refused")

    udp.listen_udp("0.0.0.0", 0, Plain()).write(b"hello", ("127.255.255.255", 9))

    assert told == []


def test_stamp_of_the_driver_replaces_the_users(reactor: Any) -> None:
    """When write returns the protocol has the time at which the driver took the datagram over, not that of the call."""
    called: list[int] = []

    class Watched(KernelSocket):
        """Notes when it is told to send, which is after the user-space stamp."""

        def send(self, data: Any, flags: int = 0) -> int:
            """Note the time and send."""
            called.append(time.time_ns())
            return super().send(data, flags)

    protocol = Recorder()
    transport = UDPTransport(Watched(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK), protocol, Guard(reactor), lambda _: None)
    transport.start()
    transport.connect("127.0.0.1", closed_port())
    transport.write(b"request")
    transport.stopListening()

    assert called[0] <= protocol.transmitted[0] <= time.time_ns()


def test_failing_callbacks_do_not_reach_the_writer(udp: TimestampedUDP, logged_failures: Any) -> None:
    """Write returns in order though the protocol fails at what it is told meanwhile; each kind is logged."""

    class Broken(Recorder):
        """Fails at everything."""

        def datagram_transmitted(self, stamp: Timestamp) -> None:
            """Fail."""
            raise ArithmeticError

        def network_error(self, errno: int) -> None:
            """Fail."""
            raise LookupError

    udp.connect_udp("127.0.0.1", closed_port(), Broken()).write(b"request")

    assert len(logged_failures.flush(ArithmeticError, LookupError)) == 2


def test_event_of_a_closed_transport_is_ignored(udp: TimestampedUDP) -> None:
    """What epoll has reported before another callback closed the transport is nobody's business any more."""
    protocol = Recorder()
    transport = udp.listen_udp("127.0.0.1", 0, protocol)
    transport.stopListening()
    transport.ready(EPOLLIN | EPOLLERR)

    assert (protocol.received, protocol.errors) == ([], [])


def test_error_that_receiving_finds_is_told(reactor: Any) -> None:
    """An error that comes up between the look at the error queue and the read reaches the protocol too."""

    class Refused(KernelSocket):
        """A socket that an ICMP error has just hit."""

        def recvmsg(self, size: int, control: int = 0, flags: int = 0) -> Any:
            """Fail as the kernel does."""
            raise OSError(EAGAIN if flags & MSG_ERRQUEUE else ECONNREFUSED, "")

    protocol = Recorder()
    transport = UDPTransport(Refused(AF_INET, SOCK_DGRAM), protocol, Guard(reactor), lambda _: None)
    transport.start()
    transport.ready(EPOLLIN)
    transport.stopListening()

    assert protocol.errors == [ECONNREFUSED]


def test_error_that_only_the_socket_knows_is_told(reactor: Any) -> None:
    """Not every error is in the error queue: one that the socket has pending is taken from it and told."""
    pending = [ECONNABORTED]

    class Aborted(KernelSocket):
        """A socket that the administrator has aborted."""

        def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
            """Give the error once."""
            return pending.pop() if (level, option) == (SOL_SOCKET, SO_ERROR) and pending else 0

    protocol = Recorder()
    sock = Aborted(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK)
    transport = UDPTransport(sock, protocol, Guard(reactor), lambda _: None)
    transport.start()
    transport.ready(EPOLLERR)
    transport.ready(EPOLLERR)
    transport.stopListening()

    assert protocol.errors == [ECONNABORTED]


def test_nothing_is_told_after_the_end(udp: TimestampedUDP) -> None:
    """A protocol that closes when it hears of the stamp does not hear of the error that has come with it."""

    class Closing(Recorder):
        """Closes when its datagram has left."""

        def datagram_transmitted(self, stamp: Timestamp) -> None:
            """Note it and close."""
            super().datagram_transmitted(stamp)
            transport.stopListening()

    protocol = Closing()
    transport = udp.connect_udp("127.0.0.1", closed_port(), protocol)
    transport.write(b"request")

    assert (len(protocol.transmitted), protocol.errors) == (1, [])


def test_broadcast_can_be_allowed(udp: TimestampedUDP) -> None:
    """Broadcast is off at first, as everywhere."""
    transport = udp.listen_udp("127.0.0.1", 0, Recorder())
    before = transport.getBroadcastAllowed()
    transport.setBroadcastAllowed(enabled=True)

    assert (before, transport.getBroadcastAllowed()) == (False, True)


def test_transport_is_connected_once(udp: TimestampedUDP) -> None:
    """A bound transport can be connected; a second time is a mistake."""
    transport = udp.listen_udp("127.0.0.1", 0, Recorder())
    transport.connect("127.0.0.1", 9)
    with pytest.raises(RuntimeError, match="connected already"):
        transport.connect("127.0.0.1", 10)


def test_closed_transport_is_closed_at_once_and_once(udp: TimestampedUDP) -> None:
    """The protocol is stopped before stopListening returns; a second call does nothing; writing is a mistake."""
    protocol = Recorder()
    transport = udp.listen_udp("127.0.0.1", 0, protocol)
    transport.stopListening()
    transport.stopListening()
    with pytest.raises(RuntimeError, match="closed"):
        transport.write(b"late", ("127.0.0.1", 9))

    assert protocol.life == ["started", "stopped"]


def test_protocol_may_write_when_it_starts(reactor: Any, udp: TimestampedUDP, turn: Turn) -> None:
    """The transport works as soon as the protocol has it."""

    class Eager(Recorder):
        """Sends at once."""

        def startProtocol(self) -> None:
            """Send."""
            assert self.transport is not None
            self.transport.write(b"first", None)

    server, client = Echo(), Eager()
    udp.connect_udp("127.0.0.1", udp.listen_udp("127.0.0.1", 0, server).getHost().port, client)
    turn(reactor, lambda: client.received)

    assert client.data == [b"first"]


def test_protocol_may_close_when_it_starts(reactor: Any, udp: TimestampedUDP) -> None:
    """It is stopped in order then."""

    class Reluctant(Recorder):
        """Closes at once."""

        def startProtocol(self) -> None:
            """Close."""
            super().startProtocol()
            transport: Any = self.transport
            transport.stopListening()

    protocol = Reluctant()
    udp.connect_udp("127.0.0.1", closed_port(), protocol)

    assert protocol.life == ["started", "stopped"]
    assert udp not in reactor.getReaders()


def test_protocol_that_fails_to_start_leaves_nothing_behind(reactor: Any, udp: TimestampedUDP) -> None:
    """The error is the opener's to hear, and the socket is closed."""

    class Broken(Recorder):
        """Can't start."""

        def startProtocol(self) -> None:
            """Fail."""
            raise ArithmeticError

    protocol = Broken()
    with pytest.raises(ArithmeticError):
        udp.connect_udp("127.0.0.1", closed_port(), protocol)
    assert protocol.transport is not None
    with pytest.raises(RuntimeError, match="closed"):
        protocol.transport.write(b"request", None)

    assert udp not in reactor.getReaders()


def test_protocol_that_fails_to_stop_is_logged(udp: TimestampedUDP, logged_failures: Any) -> None:
    """Closing goes on."""

    class Broken(Recorder):
        """Can't stop."""

        def stopProtocol(self) -> None:
            """Fail."""
            raise ArithmeticError

    udp.listen_udp("127.0.0.1", 0, Broken()).stopListening()

    assert len(logged_failures.flush(ArithmeticError)) == 1


def fail(error: type[Exception]) -> None:
    """Raise an error."""
    raise error


def test_each_kind_of_failure_is_logged_once_a_minute(logged_failures: Any) -> None:
    """A protocol that fails with every datagram must not fill the disk; another kind of failure is still seen."""
    clock = Clock()
    guard = Guard(clock)
    for error in (ArithmeticError, ArithmeticError, LookupError):
        guard(fail, error)
    clock.advance(59.0)
    guard(fail, ArithmeticError)
    first_minute = len(logged_failures.flush(ArithmeticError, LookupError))
    clock.advance(1.0)
    guard(fail, ArithmeticError)

    assert first_minute == 2
    assert len(logged_failures.flush(ArithmeticError)) == 1
