"""
Timestamps and errors of datagrams, over sockets in memory and over the kernel's own on loopback.

The readings of the clock that stand in for missing kernel stamps are recognisable here: they are all 0.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from errno import ECONNREFUSED, EHOSTUNREACH, EINVAL, EMSGSIZE, ENOTCONN
from itertools import repeat
from typing import Any

import pytest

from ntptwist.kernel.timestamping import (
    IP_RECVERR,
    MAXIMUM_DATAGRAM,
    SO_TIMESTAMPING,
    SO_TIMESTAMPNS,
    Queued,
    StampMethod,
    TimestampedSocket,
    report_icmp_errors,
    tell_destinations,
)
from tests.kernel.memory_socket import MemoryNetwork, MemorySocket, extended_error, refuse
from tests.kernel.stamping import NOTHING, KernelWorld, MemoryWorld, Refused, World, kernel_stamps

OLDER: Refused = frozenset({SO_TIMESTAMPING})
OLDEST: Refused = frozenset({SO_TIMESTAMPING, SO_TIMESTAMPNS})


def never() -> int:
    """Stand in for the clock, so that a stamp of 0 is none of the kernel's."""
    return 0


@pytest.fixture(scope="module")
def _stamping() -> Iterator[None]:
    """Have the kernel give receive stamps."""
    with kernel_stamps():
        yield


@pytest.fixture(params=["memory", "127.0.0.1", "::1"])
def world(request: pytest.FixtureRequest, _stamping: None) -> Iterator[World]:
    """Give the sockets to test."""
    if request.param == "memory":
        yield MemoryWorld()
    else:
        with ExitStack() as opened:
            yield KernelWorld(request.param, opened)


@pytest.fixture
def network() -> MemoryNetwork:
    """Give a network in memory."""
    return MemoryNetwork()


def pair(world: World, refused: Refused = NOTHING) -> tuple[Any, Any]:
    """Open two sockets, each connected to the other."""
    one, other = world.socket(refused), world.socket(refused)
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    return one, other


def connected_to_nobody(world: World) -> Any:
    """Open a socket whose peer's port is closed, and which wants to hear of it."""
    one, other = pair(world)
    other.close()
    report_icmp_errors(one)
    return one


def drain(sock: TimestampedSocket) -> list[bytes]:
    """Receive everything."""
    return [datagram.data for datagram in sock.receive()]


def test_received_datagram_carries_the_kernels_stamp(world: World) -> None:
    """A datagram is stamped when it comes in: not before it was sent, and not when it is read at last."""
    one, other = pair(world)
    receiver = TimestampedSocket(other, never)
    before = world.now()
    one.send(b"request")
    world.wait(other)
    after = world.now()
    [datagram] = receiver.receive()

    assert (datagram.data, datagram.address) == (b"request", one.getsockname())
    assert before <= datagram.stamp <= after


def test_reply_leaves_from_where_the_request_went_to(world: World) -> None:
    """A socket that is told where datagrams went to answers from there, by whatever interface; others are not told."""
    one, other = pair(world)
    server, client = TimestampedSocket(other), TimestampedSocket(one)
    client.send(b"untold")
    world.wait(other)
    [untold] = server.receive()
    tell_destinations(other)
    client.send(b"request")
    world.wait(other)
    [request] = server.receive()
    server.send(b"reply", request.address, request.destination)
    world.wait(one)
    [(_, _, payload)] = request.destination
    index = payload[16:20] if len(payload) == 20 else payload[:4]

    assert untold.destination == ()
    assert index == bytes(4)
    assert drain(client) == [b"reply"]


def test_transmitted_datagram_carries_the_kernels_stamp(world: World) -> None:
    """The stamp of a sent datagram lies between the readings of the clock before and after sending."""
    one, _ = pair(world)
    sender = TimestampedSocket(one, world.now)
    before = world.now()
    stamp = sender.send(b"request")
    queued = sender.error_queue()
    after = world.now()

    assert queued.transmitted is not None
    assert before <= stamp <= queued.transmitted <= after
    assert sender.error_queue() == Queued(None, [])


def test_datagram_is_sent_to_an_address(world: World) -> None:
    """A socket that is not connected sends to whom it is told."""
    one, other = world.socket(), world.socket()
    TimestampedSocket(one).send(b"reply", other.getsockname())
    world.wait(other)

    assert drain(TimestampedSocket(other)) == [b"reply"]


def test_only_the_stamp_of_the_last_datagram_counts(world: World) -> None:
    """Of two datagrams the stamp of the second is told."""
    one, _ = pair(world)
    sender = TimestampedSocket(one, world.now)
    sender.send(b"first")
    second = sender.send(b"second")
    transmitted = sender.error_queue().transmitted

    assert transmitted is not None
    assert transmitted >= second


def test_late_stamp_of_an_earlier_datagram_is_not_the_last_ones() -> None:
    """A stamp that was held up until another datagram was sent is not taken for that one's."""
    world = MemoryWorld()
    one, _ = pair(world)
    sender = TimestampedSocket(one, world.now)
    world.network.holding = True
    sender.send(b"first")
    sender.send(b"second")
    world.network.let_go()

    assert sender.error_queue() == Queued(None, [])

    world.network.let_go()

    assert sender.error_queue().transmitted is not None


def test_stamps_are_found_after_a_refused_datagram(world: World) -> None:
    """A datagram that was refused does not confuse the count of those that were sent."""
    one, _ = pair(world)
    sender = TimestampedSocket(one, world.now)
    sender.send(b"before")
    with pytest.raises(OSError, match="long") as refused:
        sender.send(bytes(70000))
    sender.send(b"after")

    assert refused.value.errno == EMSGSIZE
    assert sender.error_queue().transmitted is not None


def test_nothing_there_is_no_error(world: World) -> None:
    """Reading where nothing has arrived gives nothing."""
    sock = TimestampedSocket(world.socket())

    assert list(sock.receive()) == []
    assert sock.error_queue() == Queued(None, [])
    assert sock.pending_error() == 0


def test_no_more_is_received_than_asked_for(world: World) -> None:
    """Reading is bounded, so that one busy socket does not starve the others."""
    one, other = pair(world)
    receiver = TimestampedSocket(other)
    for data in (b"1", b"2", b"3"):
        one.send(data)
    world.wait(other)

    assert [datagram.data for datagram in receiver.receive(2)] == [b"1", b"2"]
    assert drain(receiver) == [b"3"]


def test_datagram_that_is_too_long_is_dropped(world: World) -> None:
    """What does not fit is not delivered cut off; the next one is delivered, be it empty."""
    one, other = pair(world)
    one.send(bytes(MAXIMUM_DATAGRAM + 1))
    one.send(bytes(MAXIMUM_DATAGRAM))
    one.send(b"")
    world.wait(other)

    assert [bytes(MAXIMUM_DATAGRAM), b""] == drain(TimestampedSocket(other))


def test_port_unreachable_is_queued(world: World) -> None:
    """The ICMP answer to a datagram for a closed port is found in the error queue, and leaves nothing pending."""
    one = connected_to_nobody(world)
    sender = TimestampedSocket(one, world.now)
    sender.send(b"request")
    world.wait(one)
    queued = sender.error_queue()

    assert queued.transmitted is not None
    assert queued.errors == [ECONNREFUSED]
    assert sender.pending_error() == 0
    assert sender.error_queue() == Queued(None, [])


def test_earlier_error_does_not_stop_the_next_datagram(world: World) -> None:
    """The kernel hands the error of one datagram to the next send; that is sent all the same, the error not lost."""
    one = connected_to_nobody(world)
    sender = TimestampedSocket(one, world.now)
    sender.send(b"first")
    world.wait(one)
    sender.send(b"second")
    world.wait(one)
    queued = sender.error_queue()

    assert queued.transmitted is not None
    assert queued.errors == [ECONNREFUSED, ECONNREFUSED]


def test_pending_error_is_raised_by_receive(world: World) -> None:
    """Whoever only receives hears of the error too."""
    one = connected_to_nobody(world)
    sock = TimestampedSocket(one, world.now)
    sock.send(b"request")
    world.wait(one)
    with pytest.raises(ConnectionRefusedError):
        list(sock.receive())

    assert sock.error_queue().errors == [ECONNREFUSED]


def test_refusal_of_this_datagram_is_raised(network: MemoryNetwork) -> None:
    """What is wrong with the datagram itself is the sender's to hear."""
    sock = TimestampedSocket(MemorySocket(network))
    with pytest.raises(OSError, match="not connected") as refused:
        sock.send(b"nowhere")

    assert refused.value.errno == ENOTCONN


def test_error_survives_a_repeated_send_that_fails(network: MemoryNetwork) -> None:
    """When the repeated send is refused as well, neither error is lost."""

    class Unlucky(MemorySocket):
        """A socket for which the route has gone, and which has heard of it."""

        def sendto(self, data: bytes, address: tuple[str, int]) -> int:
            """Refuse."""
            raise refuse(EHOSTUNREACH)

        def recvmsg(self, size: int, control: int, flags: int = 0) -> tuple[bytes, Any, int, Any]:
            """Give an ICMP error, once."""
            if told:
                return super().recvmsg(size, control, flags)
            told.append(True)
            return b"", [extended_error(ECONNREFUSED, 2, 3, 3, 0)], flags, None

    told: list[bool] = []
    sock = TimestampedSocket(Unlucky(network))
    with pytest.raises(OSError, match="route"):
        sock.send(b"request", ("127.0.0.1", 1))

    assert sock.error_queue().errors == [ECONNREFUSED]


def test_errors_of_other_origin_are_dropped(network: MemoryNetwork) -> None:
    """What the kernel says about itself (origin LOCAL) was returned by the call already."""
    messages = [[extended_error(EMSGSIZE, 1, 0, 0, 0)], [(socket.SOL_SOCKET, 0, b"")]]

    class Talking(MemorySocket):
        """A socket with something else in its error queue."""

        def recvmsg(self, size: int, control: int, flags: int = 0) -> tuple[bytes, Any, int, Any]:
            """Give the messages, then nothing."""
            return (b"", messages.pop(), flags, None) if messages else super().recvmsg(size, control, flags)

    assert TimestampedSocket(Talking(network)).error_queue() == Queued(None, [])


def test_error_queue_is_read_within_bounds(network: MemoryNetwork) -> None:
    """A queue that is filled as fast as it is read does not hold the reader for ever."""
    endless = repeat([extended_error(ECONNREFUSED, 3, 1, 4, 0)])

    class Flooded(MemorySocket):
        """A socket under a flood of ICMP errors."""

        def recvmsg(self, size: int, control: int, flags: int = 0) -> tuple[bytes, Any, int, Any]:
            """Give one more."""
            return b"", next(endless), flags, None

    assert TimestampedSocket(Flooded(network)).error_queue().errors == [ECONNREFUSED] * 64


@pytest.mark.parametrize(
    ("refused", "method"),
    [
        (NOTHING, StampMethod.TIMESTAMPING),
        (OLDER, StampMethod.TIMESTAMPNS),
        (OLDEST, StampMethod.IOCTL),
    ],
)
def test_next_best_method_stamps_received_datagrams(world: World, refused: Refused, method: StampMethod) -> None:
    """Where the kernel does not know the best way, received datagrams have the kernel's stamp all the same."""
    one, other = pair(world, refused)
    receiver = TimestampedSocket(other, never)
    before = world.now()
    one.send(b"request")
    world.wait(other)
    after = world.now()
    [datagram] = receiver.receive()

    assert receiver.method is method
    assert before <= datagram.stamp <= after


@pytest.mark.parametrize("refused", [OLDER, OLDEST])
def test_without_transmit_stamps_there_is_the_users(world: World, refused: Refused) -> None:
    """Where the kernel gives no transmit stamps, sending and a refused send still work."""
    one, _ = pair(world, refused)
    sender = TimestampedSocket(one, world.now)
    before = world.now()
    with pytest.raises(OSError, match="long"):
        sender.send(bytes(70000))
    stamp = sender.send(b"request")

    assert before <= stamp <= world.now()
    assert sender.error_queue().transmitted is None


class Stampless(MemorySocket):
    """A socket of a kernel that gives no stamps; ``last_stamp`` fails as told."""

    failures: Callable[[], OSError]

    def last_stamp(self) -> bytes:
        """Fail."""
        raise self.failures()


def test_users_clock_is_the_last_resort(network: MemoryNetwork) -> None:
    """Where the kernel gives no stamp at all, the clock is read when the datagram is."""
    one, other = MemorySocket(network), Stampless(network, OLDEST)
    other.failures = lambda: refuse(EINVAL)
    receiver = TimestampedSocket(other, lambda: 42)
    one.sendto(b"request", other.getsockname())
    [datagram] = receiver.receive()

    assert receiver.method is StampMethod.USER
    assert datagram.stamp == 42


def test_datagram_from_before_the_stamps_gets_the_users(network: MemoryNetwork) -> None:
    """A datagram that came in before stamps were switched on is stamped when it is read."""
    one, other = MemorySocket(network), Stampless(network, OLDEST)
    other.failures = lambda: FileNotFoundError(2, "not yet")
    receiver = TimestampedSocket(other, lambda: 42)
    one.sendto(b"request", other.getsockname())
    [datagram] = receiver.receive()

    assert receiver.method is StampMethod.IOCTL
    assert datagram.stamp == 42


def test_icmp_errors_are_asked_for_in_each_family(network: MemoryNetwork) -> None:
    """The option that asks for ICMP errors has a name of its own in each family."""
    four, six = MemorySocket(network), MemorySocket(network)
    six.family = socket.AF_INET6
    report_icmp_errors(four)
    report_icmp_errors(six)

    assert four.getsockopt(socket.IPPROTO_IP, IP_RECVERR) == 1
    assert six.getsockopt(socket.IPPROTO_IPV6, 25) == 1
