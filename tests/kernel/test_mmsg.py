"""Batches of datagrams on loopback: what comes in is in the rows, and replies leave as they should."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence

import pytest

from ntptwist.kernel.mmsg import CAPACITY, REPLY_SIZE, Batch, Sent, supported
from ntptwist.kernel.timestamping import KernelSocket, TimestampedSocket, read_error_queue
from ntptwist.timestamp import NANOSECONDS

pytestmark = pytest.mark.skipif(not supported(), reason="not the layout that is written in kernel/mmsg.py")

REQUEST = b"request!" * 6


class Side:
    """A server's socket with its batch, and a client that asks it."""

    def __init__(self, host: str, asked: str, *, destinations: bool) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.keeper = KernelSocket(socket.AF_INET, socket.SOCK_DGRAM)
        TimestampedSocket(self.keeper)  # the kernel takes a while to begin with stamps
        time.sleep(0.002)
        self.server = KernelSocket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            self.server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.server.bind((host, 0))
        self.batch = Batch(self.server, destinations=destinations)
        self.client = socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(1.0)
        self.client.connect((asked, self.server.getsockname()[1]))  # so that only replies from there are received

    def ask(self, *requests: bytes) -> int:
        """Send requests, and receive them as a batch."""
        for request in requests:
            self.client.send(request)
        return self.batch.receive()

    def write(self, row: int, text: bytes) -> None:
        """Write a reply."""
        self.batch.replies[row * REPLY_SIZE : (row + 1) * REPLY_SIZE] = text.ljust(REPLY_SIZE, b".")

    def send(self, rows: Sequence[int], *, stamped: bool = False) -> Sent:
        """Send the replies in these rows."""
        self.batch.prepare(rows, stamped=stamped)
        return self.batch.send()

    def replies(self, count: int) -> list[bytes]:
        """Give so many replies, without their padding."""
        return [self.client.recv(4096).rstrip(b".") for _ in range(count)]

    def close(self) -> None:
        """Close all sockets."""
        for sock in (self.keeper, self.server, self.client):
            sock.close()


WAYS = {
    "bound to an address": ("127.0.0.2", "127.0.0.2", False),
    "wildcard, asked at another address": ("0.0.0.0", "127.0.0.3", True),
    "IPv6": ("::1", "::1", False),
    "IPv6 wildcard": ("::", "::1", True),
    "IPv6 wildcard, asked by IPv4": ("::", "127.0.0.4", True),
}


@pytest.fixture(params=WAYS)
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """Give a server and its client for every kind of address."""
    host, asked, destinations = WAYS[request.param]
    made = Side(host, asked, destinations=destinations)
    yield made
    made.close()


@pytest.fixture
def plain() -> Iterator[Side]:
    """Give a server that is bound to an address, and its client."""
    made = Side("127.0.0.2", "127.0.0.2", destinations=False)
    yield made
    made.close()


def test_nothing_has_come_in(plain: Side) -> None:
    """An empty queue is an empty batch."""
    assert plain.batch.receive() == 0


def test_rows_hold_what_came_in(side: Side) -> None:
    """Each row has its request, its sender and a stamp of just now."""
    before = time.time_ns()
    count = side.ask(REQUEST, b"short", REQUEST * 3)
    batch = side.batch
    sender = side.client.getsockname()[0]
    mapped = bytes(10) + b"\xff\xff" if side.server.family == socket.AF_INET6 and ":" not in sender else b""

    assert [batch.request(row) for row in range(count)] == [REQUEST, b"short", REQUEST * 3]
    assert {batch.address(row) for row in range(count)} == {mapped + socket.inet_pton(side.client.family, sender)}
    assert batch.addresses(count) == [batch.address(row) for row in range(count)]
    assert before <= batch.stamp(0) <= batch.stamp(1) <= batch.stamp(2) <= time.time_ns()
    assert all(batch.is_usable(row) for row in range(count))
    assert [batch.is_plain(row) for row in range(count)] == [True, False, False]


def test_a_batch_of_plain_requests(side: Side) -> None:
    """One comparison tells whether all have 48 octets; what was there before does not count."""
    all_plain = [side.batch.all_plain(side.ask(*requests)) for requests in ([REQUEST] * 3, [REQUEST, b"x"], [REQUEST])]

    assert all_plain == [True, False, True]


def test_replies_go_where_requests_came_from(side: Side) -> None:
    """All replies, some of them, and one of another length reach a client that listens to the address it asked only."""
    count = side.ask(*[REQUEST] * 3)
    for row in range(count):
        side.write(row, b"%d" % row)
    sent = [
        side.send(range(count)),
        side.send([2, 0]),
        side.batch.reply(1, b"long" * 100),
        side.send(range(count), stamped=True),
        side.send([1], stamped=True),
        side.batch.reply(0, b"stamped", stamped=True),
    ]

    assert side.replies(10) == [b"0", b"1", b"2", b"2", b"0", b"long" * 100, b"0", b"1", b"2", b"1"]
    assert side.replies(1) == [b"stamped"]
    assert sent == [(0, None), (0, None), (0, None), (0, 0), (0, 2), (0, 3)]


def test_stamps_of_what_asked_for_them(side: Side) -> None:
    """The first and the last of a batch, and a single reply, have the stamps that were asked for, and nothing else."""
    before = time.time_ns()
    count = side.ask(*[REQUEST] * 3)
    side.send(range(count))
    side.send(range(count), stamped=True)
    side.batch.reply(0, b"x", stamped=True)
    departures, errors = read_error_queue(side.server)
    stamps = [stamp for _, stamp in departures]

    assert ([key for key, _ in departures], errors) == ([0, 1, 2], [])
    assert before < stamps[0] < stamps[1] < stamps[2] < before + NANOSECONDS
    assert side.batch.awaits_stamps


def test_more_than_a_batch(plain: Side) -> None:
    """What finds no row waits for the next batch."""
    first = plain.ask(*[REQUEST] * (CAPACITY + 1))

    assert (first, plain.batch.receive(), plain.batch.receive()) == (CAPACITY, 1, 0)


def test_a_request_that_is_too_long(plain: Side) -> None:
    """A datagram that did not fit is recognised."""
    count = plain.ask(bytes(3000), REQUEST)

    assert [plain.batch.is_usable(row) for row in range(count)] == [False, True]


def test_a_reply_that_the_network_refuses(plain: Side) -> None:
    """The others are sent, and the numbers of the stamps begin anew."""
    plain.ask(REQUEST, REQUEST)
    plain.write(0, b"0")
    plain.send(range(1), stamped=True)
    refused = plain.batch.reply(0, bytes(65_530), stamped=True)
    again = plain.send(range(1), stamped=True)

    assert refused == (1, None)
    assert again == (0, 0)
    assert read_error_queue(plain.server)[0][0][0] == 0
    assert plain.replies(2) == [b"0", b"0"]


def test_a_client_that_can_not_be_answered(plain: Side) -> None:
    """A request from port 0 is forged; that its reply is refused keeps no other client from its own."""
    address, port = plain.server.getsockname()
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("forging needs CAP_NET_RAW")
    with raw:
        raw.sendto(struct.pack("!HHHH", 0, port, 8 + len(REQUEST), 0) + REQUEST, (address, 0))
    count = plain.ask(REQUEST)
    plain.write(0, b"0")
    plain.write(1, b"1")
    sent = plain.send(range(count))

    assert (count, sent.refused, plain.replies(1)) == (2, 1, [b"1"])


def test_a_closed_socket() -> None:
    """What the kernel refuses is raised."""
    side = Side("127.0.0.2", "127.0.0.2", destinations=False)
    side.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        side.batch.receive()
