"""The same answers on every path: batches, one by one with kernel stamps, and Twisted's own port."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from ntptwist.identifiers import Leap
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.mmsg import supported
from ntptwist.kernel.timestamping import SO_TIMESTAMPNS
from ntptwist.kernel.timex import RealSystem
from ntptwist.protocol.access import AccessList, Action
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import Responder, ServerPolicy
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Timestamp, decode_timestamp
from ntptwist.wire.header import Header
from tests.server.serving import PATHS, Serving

Serve = Callable[..., Serving]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """Give the name of a path."""
    if request.param == "batch" and not supported():
        pytest.skip("no batches on this machine")
    name: str = request.param
    return name


@pytest.fixture
def serve(path: str) -> Iterator[Serve]:
    """Give a function that starts a server on the path."""
    started: list[Serving] = []

    def start(*arguments: Any, **named: Any) -> Serving:
        started.append(Serving(path, *arguments, **named))
        return started[-1]

    yield start
    for each in started:
        each.close()


nonces = count(0x0102030405060708)


def request(first: int = 0x23, poll: int = 6, origin: int = 0, receive: int = 0) -> bytes:
    """Give a plain request with a nonce of its own."""
    head = bytes([first, 0, poll & 0xFF, 0]).ljust(24, b"\1")
    return head + b"".join(each.to_bytes(8) for each in (origin, receive, next(nonces)))


def nanoseconds(octets: bytes) -> Timestamp:
    """Give the point in time that a timestamp of now means."""
    return decode_timestamp(int.from_bytes(octets), Timestamp(time.time_ns()))


def kiss(reply: bytes) -> bytes:
    """Give the code of a kiss-o'-death."""
    assert reply[1] == 0
    return reply[12:16]


def test_a_batch_of_everything(serve: Serve) -> None:
    """Every kind of request gets what the responder says, and the stamps are those of now."""
    serving = serve()
    client = serving.client()
    answered = [
        request(),
        request(0x1B, poll=-3),
        request(0xE3),
        request(origin=1 << 63 | 1),
        request() + bytes(20),
        request(),
    ]
    before = time.time_ns()
    replies = client.ask(*answered)
    after = time.time_ns()
    for asked, reply in zip(answered, sorted(replies, key=lambda each: each[24:32]), strict=True):
        header = Header.parse(reply)

        assert (header.leap, header.version, header.stratum) == (Leap.NONE, asked[0] >> 3 & 7, 2)
        assert (reply[2], reply[3], reply[4:8], reply[12:16]) == (asked[2], 0xEC, bytes((0, 0, 64, 0)), b"TEST")
        assert (0x8000, asked[40:48]) == (header.root_dispersion, reply[24:32])
        assert before - 1 <= nanoseconds(reply[32:40]) <= nanoseconds(reply[40:48]) + 2 <= after + NANOSECONDS // 100
        assert (reply[39] & 1, reply[47] & 1, len(reply)) == (1, 0, 48)


def test_what_is_no_request(serve: Serve) -> None:
    """Short packets and other modes between requests are not answered, and the requests are."""
    serving = serve()
    client = serving.client()
    asked = [request(), request()]
    for datagram in (request()[:47], asked[0], request(0x24), b"", asked[1], request(0x26)):
        client.socket.send(datagram)
    replies = client.ask(request())
    replies += client.ask(request(), replies=None) if len(replies) < 3 else []

    assert {reply[24:32] for reply in replies} >= {each[40:48] for each in asked}


def test_denied(serve: Serve) -> None:
    """A client on the deny list gets the kiss DENY, while another is answered."""
    access = AccessList(deny=(ip_network("127.0.0.1/32"),), denied=Action.DENY)
    serving = serve("0.0.0.0", Responder(ServerPolicy(access=access)))
    client = serving.client()
    codes = {kiss(reply) for reply in client.ask(request(), request())}
    counters = serving.responder.counters

    assert (codes, counters.denied, counters.accepted) == ({b"DENY"}, 2, 0)


def test_ignored(serve: Serve) -> None:
    """A client that is not on the allow list hears nothing."""
    serving = serve(responder=Responder(ServerPolicy(access=AccessList(allow=(ip_network("192.0.2.0/24"),)))))
    client = serving.client()
    client.ask(request(), request(), replies=0)

    assert (serving.responder.counters.ignored, serving.responder.counters.received) == (2, 2)


def test_allowed(serve: Serve) -> None:
    """A client that is on the allow list is answered, in batches too."""
    serving = serve(responder=Responder(ServerPolicy(access=AccessList(allow=(ip_network("127.0.0.0/8"),)))))
    client = serving.client()
    replies = client.ask(*[request() for _ in range(5)])

    assert ({reply[1] for reply in replies}, serving.responder.counters.accepted) == ({2}, 5)


def test_rate_limited(serve: Serve) -> None:
    """Who asks too often gets the kiss RATE."""
    serving = serve(
        responder=Responder(ServerPolicy(rate_limit=RateLimit(interval=60 * NANOSECONDS, burst=2, kiss=True)))
    )
    client = serving.client()
    strata = sorted(reply[1] for reply in client.ask(*[request() for _ in range(3)]))

    assert strata == [0, 2, 2]


def test_interleaved_mode(path: str, serve: Serve) -> None:
    """A client that echoes our receive timestamp is told when the reply before really left."""
    serving = serve()
    client = serving.client()
    (first,) = client.ask(request())
    (second,) = client.ask(request(origin=int.from_bytes(first[32:40])))
    serving.reactor.iterate(0)
    third_request = request(origin=int.from_bytes(second[32:40]), receive=42)
    (third,) = client.ask(third_request)
    knows = path != "stock"

    assert second[24:32] != third[24:32]
    assert int.from_bytes(third[24:32]) == (42 if knows else int.from_bytes(third_request[40:48]))
    assert (nanoseconds(second[32:40]) < nanoseconds(third[40:48]) < nanoseconds(third[32:40])) == knows
    assert serving.responder.counters.interleaved == knows


def test_control_mode(serve: Serve) -> None:
    """A mode-6 request from this machine is answered by whoever is in charge, in as many datagrams as that needs."""
    serving = serve(responder=Responder(control=lambda asked: [asked, b"more"]))
    client = serving.client()
    first = client.ask(b"\x16\x02short")
    serving.turn(lambda: serving.responder.counters.control == 1)

    assert [*first, client.socket.recv(100)] == [b"\x16\x02short", b"more"]


class Sealing:
    """Stands for NTS: what is longer than a header uses it."""

    def read(self, data: bytes) -> Any:
        """Read a request."""
        return self if len(data) > 48 else None

    session = 1

    def seal(self, header: bytes, protected: Any) -> bytes:
        """Seal a reply."""
        return header + b"sealed"


def test_nts_beside_plain_requests(serve: Serve) -> None:
    """Requests that use NTS are sealed, those beside them are not."""
    nts: Any = Sealing()
    serving = serve(responder=Responder(nts=nts))
    client = serving.client()
    replies = client.ask(request(), request() + bytes(6), request())
    counters = serving.responder.counters

    assert sorted(reply[48:] for reply in replies) == [b"", b"", b"sealed"]
    assert (counters.received, counters.accepted, counters.nts_accepted) == (3, 3, 1)


def test_nts_required(serve: Serve) -> None:
    """Where NTS is demanded a plain request gets the kiss DENY."""
    nts: Any = Sealing()
    serving = serve(responder=Responder(ServerPolicy(require_nts=Action.DENY), nts))
    client = serving.client()

    assert [kiss(reply) for reply in client.ask(request())] == [b"DENY"]


def test_a_version_that_is_not_answered(serve: Serve) -> None:
    """Only the versions of the policy are answered."""
    serving = serve(responder=Responder(ServerPolicy(versions=frozenset({4}))))
    client = serving.client()
    client.ask(request(0x1B), replies=0)
    (reply,) = client.ask(request())

    assert (reply[0], serving.responder.counters.ignored) == (0x24, 1)


@pytest.mark.parametrize(
    ("host", "asked"), [("0.0.0.0", "127.0.0.5"), ("::", "127.0.0.6"), ("::", "::1"), ("0.0.0.0", "127.9.9.9")]
)
def test_replies_leave_from_the_address_that_was_asked(path: str, serve: Serve, host: str, asked: str) -> None:
    """A server on all addresses answers from each of them; the IPv6 wildcard serves IPv4 too."""
    if path == "stock":
        pytest.skip("Twisted's own port does not know where a datagram went to")
    serving = serve(host)
    client = serving.client(asked)
    replies = client.ask(*[request() for _ in range(3)], request() + bytes(4))

    assert len(replies) == 4


def test_addresses_of_ipv4_in_ipv6(path: str, serve: Serve) -> None:
    """A client that comes by IPv4 to an IPv6 socket is an IPv4 client to the access list and in the table."""
    if path == "stock":
        pytest.skip("Twisted's own port serves one family")
    access = AccessList(allow=(ip_network("127.0.0.0/8"),))
    serving = serve("::", Responder(ServerPolicy(access=access)))
    client = serving.client("127.0.0.1")
    client.ask(request(), request())

    assert [address for address, _ in serving.responder.clients.top(2)] == [bytes((127, 0, 0, 1))]


def test_a_client_that_is_gone(serve: Serve) -> None:
    """A reply that nobody waits for any more, and the ICMP error that it causes, do not disturb the server."""
    serving = serve()
    gone = serving.client()
    for _ in range(3):
        gone.socket.send(request())
    gone.close()
    client = serving.client()

    assert len(client.ask(request())) == 1
    assert len(client.ask(request())) == 1


def test_a_forged_request(serve: Serve) -> None:
    """A request from port 0 can't be answered: it is counted, and the next one is answered."""
    serving = serve()
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("forging needs CAP_NET_RAW")
    with raw:
        forged = request()
        raw.sendto(struct.pack("!HHHH", 0, serving.server.port, 8 + len(forged), 0) + forged, ("127.0.0.1", 0))
    client = serving.client()
    client.ask(request())
    (reply,) = client.ask(request())

    assert (reply[1], serving.responder.counters.response_send_errors) == (2, 1)


def test_a_request_that_is_too_long(path: str, serve: Serve) -> None:
    """What is longer than any request of NTP is not answered."""
    if path == "stock":
        pytest.skip("Twisted's own port takes 8192 octets")
    serving = serve()
    client = serving.client()
    client.socket.send(request() + bytes(3000))
    (reply,) = client.ask(request())

    assert reply[1] == 2
    assert serving.responder.counters.accepted == 1


def test_clients_are_counted(serve: Serve) -> None:
    """All requests of one client are in the table, in whatever batches they came."""
    serving = serve()
    client = serving.client()
    for number in (1, 3, 20):
        client.ask(*[request() for _ in range(number)])
    ((address, seen),) = serving.responder.clients.top(5)

    assert (address, seen.packets, seen.version) == (bytes((127, 0, 0, 1)), 24, 4)


def test_the_time_changes(serve: Serve) -> None:
    """What is said of the time is that of now, also when it changes between two batches."""
    serving = serve()
    client = serving.client()
    (before,) = client.ask(request())
    serving.time = TimeSnapshot()
    (after,) = client.ask(request())

    assert ((before[0] >> 6, before[1]), (after[0] >> 6, after[1])) == ((0, 2), (3, 16))


@pytest.mark.parametrize(("gap", "frequency"), [(0.0, 10.0), (0.01, 100_000.0)])
def test_the_time_of_a_clock_of_our_own(serve: Serve, gap: float, frequency: float) -> None:
    """Stamps of the kernel are told on the clock that is served, be the requests of a batch near or far apart."""
    clock = VirtualClock(RealSystem(), offset_s=-1000.0, frequency_ppm=frequency)
    serving = serve(clock=clock)
    client = serving.client()
    client.socket.send(request())
    time.sleep(gap)
    replies = client.ask(request(), request())
    replies += client.ask(request()) if len(replies) < 3 else []
    now = clock.read().local
    for reply in replies:
        assert now - NANOSECONDS // 5 < decode_timestamp(int.from_bytes(reply[32:40]), now) < now


def test_the_lag_is_learnt(path: str, serve: Serve) -> None:
    """With the kernel's stamps of replies the transmit timestamps approach the moment of departure."""
    if path == "stock":
        pytest.skip("no stamps")
    serving = serve()
    client = serving.client()
    client.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    early = []
    for _ in range(10):
        client.socket.send(request())
        serving.turn(lambda: select.select([client.socket], [], [], 0)[0])
        reply, ((_, _, stamp),), _, _ = client.socket.recvmsg(100, 100)
        seconds, nanoseconds_ = struct.unpack("qq", stamp)
        early.append(seconds * NANOSECONDS + nanoseconds_ - nanoseconds(reply[40:48]))
        time.sleep(0.07)  # the time between two replies that are stamped for this
        serving.reactor.iterate(0)

    assert early[0] > 0
    assert min(map(abs, early[1:])) < early[0]
