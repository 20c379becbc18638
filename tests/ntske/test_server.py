"""The key exchange server, and what it puts up with."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from ntptwist.nts.certificate import ServerIdentity
from ntptwist.ntske.client import exchange_keys
from ntptwist.ntske.server import ExchangeLimits, KeyExchangeServer, Outcome, origin_of
from ntptwist.ntske.tls import Trust, server_context, words_of
from ntptwist.wire.record import Record, RecordReader
from tests.ntske.certificates import Authority, Certified
from tests.ntske.conftest import HOST, StartServer

REQUEST = bytes.fromhex("80010002 0000 80040002 000f 80000000")
TCP_CLOSE = b"\x07"
SLOW = ExchangeLimits(timeout=5.0)


def context(authority: Certified, alpn: list[str]) -> ssl.SSLContext:
    """Make the client's end with the standard library, which knows nothing of ours."""
    made = ssl.create_default_context(cadata=authority.pem.decode())
    made.set_alpn_protocols(alpn)
    return made


def connected(port: int, authority: Certified) -> ssl.SSLSocket:
    """Give a connection whose handshake is done."""
    plain = socket.create_connection((HOST, port), 5.0)
    return context(authority, ["ntske/1"]).wrap_socket(plain, server_hostname=HOST)


def ask(port: int, made: ssl.SSLContext, *pieces: bytes) -> bytes:
    """Send a request in pieces and read to the end, in a thread."""
    with socket.create_connection((HOST, port), 5.0) as plain, made.wrap_socket(plain, server_hostname=HOST) as tls:
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            tls.sendall(piece)
        answer = b""
        while piece := tls.recv(4096):
            answer += piece
        return answer


@contextmanager
def connections(port: int, *origins: str) -> Iterator[list[socket.socket]]:
    """Open a connection from each of these addresses and do nothing on them."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection((HOST, port), 5.0, (origin, 0))) for origin in origins]


async def settled(server: KeyExchangeServer, count: int) -> dict[Outcome, int]:
    """Wait until so many connections have ended, and give how they did."""
    for _ in range(500):
        if server.outcomes.total() >= count:
            break
        await task.deferLater(reactor, 0.01)
    return dict(server.outcomes)


async def test_another_client(start_server: StartServer, authority: Authority) -> None:
    """A client of the standard library gets keys, and the connection is closed cleanly."""
    server = start_server()
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)
    records = list(RecordReader().read(answer))

    assert [record.type for record in records] == [1, 4, *[5] * 8, 0]
    assert {len(record.body) for record in records if record.type == 5} == {104}


async def test_a_request_in_pieces(start_server: StartServer, authority: Authority) -> None:
    """A request may come octet by octet."""
    server = start_server(limits=SLOW)
    pieces = [REQUEST[index : index + 1] for index in range(len(REQUEST))]
    answer = await deferToThread(ask, server.port, context(authority, ["h2", "ntske/1"]), *pieces)

    assert len(list(RecordReader().read(answer))) == 11
    assert await settled(server, 1) == {Outcome.GIVEN: 1}


async def test_a_bad_request(start_server: StartServer, authority: Authority) -> None:
    """A bad request is answered with an error."""
    server = start_server()
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), bytes.fromhex("80000000"))

    assert next(RecordReader().read(answer)) == Record.of_numbers(2, 1)
    assert await settled(server, 1) == {Outcome.REFUSED: 1}
    assert server.exchanges == 0


async def test_where_to_send_requests(start_server: StartServer, authority: Authority) -> None:
    """The server names another host and port for NTP where it was told to."""
    server = start_server(ntp_server="ntp.example", ntp_port=1123)
    result = await exchange_keys(reactor, HOST, server.port, Trust(authority.pem))

    assert (result.server, result.port) == ("ntp.example", 1123)


async def test_tls_1_2_is_refused(start_server: StartServer, authority: Authority) -> None:
    """A client without TLS 1.3 gets nothing, and is told why."""
    made = context(authority, ["ntske/1"])
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    server = start_server()

    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        await deferToThread(ask, server.port, made, REQUEST)
    assert await settled(server, 1) == {Outcome.TLS: 1}


async def test_without_alpn(start_server: StartServer, authority: Authority) -> None:
    """A client that does not say that it wants a key exchange gets none."""
    server = start_server()
    answer = b""
    with suppress(OSError):
        answer = await deferToThread(ask, server.port, context(authority, []), REQUEST)

    assert answer == b""
    assert await settled(server, 1) == {Outcome.PROTOCOL: 1}


async def test_with_another_alpn(start_server: StartServer, authority: Authority) -> None:
    """A client that wants something else is told that it is not here."""
    server = start_server()
    with pytest.raises(ssl.SSLError, match=r"(?i)alert no application protocol"):
        await deferToThread(ask, server.port, context(authority, ["h2", "ntske/2"]), REQUEST)

    assert await settled(server, 1) == {Outcome.PROTOCOL: 1}


async def test_no_tls(start_server: StartServer) -> None:
    """What is no TLS at all is closed at once."""
    server = start_server(limits=SLOW)

    def speak() -> bytes:
        with socket.create_connection((HOST, server.port), 5.0) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return plain.recv(4096)

    alert = await deferToThread(speak)

    assert alert[:1] in (b"\x15", b"")
    assert await settled(server, 1) == {Outcome.TLS: 1}


async def test_no_resumption(start_server: StartServer, authority: Authority) -> None:
    """A client can't take up an earlier session: nothing is kept of it."""
    server = start_server()
    made = context(authority, ["ntske/1"])

    def twice() -> list[bool]:
        reused = []
        session = None
        for _ in range(2):
            with (
                socket.create_connection((HOST, server.port), 5.0) as plain,
                made.wrap_socket(plain, server_hostname=HOST, session=session) as tls,
            ):
                tls.sendall(REQUEST)
                while tls.recv(4096):
                    pass
                reused.append(bool(tls.session_reused))
                session = tls.session
        return reused

    assert await deferToThread(twice) == [False, False]


async def test_a_silent_client_is_cut_off(start_server: StartServer) -> None:
    """A connection on which nothing happens is closed when its time is over."""
    server = start_server(limits=ExchangeLimits(timeout=0.1))

    def wait() -> bytes:
        with socket.create_connection((HOST, server.port), 5.0) as plain:
            return plain.recv(1)

    with pytest.raises(ConnectionResetError):
        await deferToThread(wait)
    assert await settled(server, 1) == {Outcome.TOO_SLOW: 1}


async def test_a_slow_client_is_cut_off(start_server: StartServer, authority: Authority) -> None:
    """A client that sends an octet now and then gets no more time than others."""
    server = start_server(limits=ExchangeLimits(timeout=0.3))

    def drip() -> float:
        start = time.monotonic()
        with connected(server.port, authority) as tls, suppress(OSError):
            for octet in bytes.fromhex("0001 0f00") + bytes(100):
                tls.sendall(bytes([octet]))
                time.sleep(0.05)
        return time.monotonic() - start

    assert await deferToThread(drip) < 2.0
    assert await settled(server, 1) == {Outcome.TOO_SLOW: 1}


async def test_a_client_that_stays_after_its_answer(start_server: StartServer, authority: Authority) -> None:
    """Who has its answer and neither closes nor goes is cut off in time, and counts as served."""
    server = start_server(limits=ExchangeLimits(timeout=0.3))

    def stay() -> float:
        start = time.monotonic()
        with connected(server.port, authority) as tls:
            tls.sendall(REQUEST)
            while time.monotonic() - start < 5.0:
                time.sleep(0.05)
                if tls.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == TCP_CLOSE:
                    break
        return time.monotonic() - start

    assert await deferToThread(stay) < 3.0
    assert await settled(server, 1) == {Outcome.GIVEN: 1}


async def test_too_many_octets(start_server: StartServer, authority: Authority) -> None:
    """A client that sends without end is cut off, be it in the handshake or in empty TLS records."""
    server = start_server(limits=SLOW)

    def flood(*, tls: bool) -> None:
        # A record of NTS-KE that nobody needs, or the header of a handshake record that announces a long message.
        piece = bytes.fromhex("0400 0001 00") if tls else b"\x16\x03\x01\x40\x00\x01\x01\xff\xff"
        opened = connected(server.port, authority) if tls else socket.create_connection((HOST, server.port), 5.0)
        with opened:
            for _ in range(10_000):
                opened.sendall(piece)

    for tls in (False, True):
        with pytest.raises(OSError, match=r"(?i)reset|pipe|eof"):
            await deferToThread(flood, tls=tls)
    outcomes = await settled(server, 2)

    assert sum(outcomes.values()) == 2
    assert set(outcomes) <= {Outcome.TOO_LONG, Outcome.TLS, Outcome.REFUSED}


async def test_a_client_that_leaves(start_server: StartServer, authority: Authority) -> None:
    """A client that closes before its request is complete is forgotten."""
    server = start_server(limits=SLOW)

    def leave() -> None:
        with connected(server.port, authority):
            pass
        with connected(server.port, authority) as tls:
            tls.sendall(REQUEST[:7])
            with suppress(OSError):
                tls.unwrap()
        with socket.create_connection((HOST, server.port), 5.0):
            pass

    await deferToThread(leave)

    assert await settled(server, 3) == {Outcome.CLOSED: 3}


async def test_a_crowd_of_one_address(start_server: StartServer, authority: Authority) -> None:
    """One address can't take all the room: while it holds its share, others are served."""
    server = start_server(limits=ExchangeLimits(timeout=5.0, connections=32))

    def crowd() -> bytes:
        with connections(server.port, *["127.0.0.9"] * 20):
            return ask(server.port, context(authority, ["ntske/1"]), REQUEST)

    answer = await deferToThread(crowd)
    outcomes = await settled(server, 21)

    assert len(answer) > 800
    assert outcomes == {Outcome.CROWDED_ADDRESS: 16, Outcome.GIVEN: 1, Outcome.CLOSED: 4}


async def test_a_crowd_of_many_addresses(start_server: StartServer, authority: Authority) -> None:
    """When all room is taken further connections are closed, and when it is free again clients are served."""
    server = start_server(limits=ExchangeLimits(timeout=0.5, connections=8))

    def crowd() -> bytes:
        with connections(server.port, *[f"127.0.1.{index}" for index in range(1, 21)]) as opened:
            for each in opened:
                try:
                    each.recv(1)
                except ConnectionResetError:
                    continue
            return ask(server.port, context(authority, ["ntske/1"]), REQUEST)

    answer = await deferToThread(crowd)

    assert len(answer) > 800
    assert await settled(server, 21) == {Outcome.CROWDED: 12, Outcome.TOO_SLOW: 8, Outcome.GIVEN: 1}


@pytest.mark.limit(60)
async def test_ten_thousand_connections(start_server: StartServer, authority: Authority) -> None:
    """However many connections come, no more are kept than may be, and all are counted."""
    server = start_server(limits=ExchangeLimits(timeout=0.2, connections=64))
    others = len(reactor.getReaders())
    most = 0

    def watch() -> None:
        nonlocal most
        most = max(most, len(reactor.getReaders()) - others)

    client = (
        "import socket\n"
        "for batch in range(50):\n"
        f"    there = ('{HOST}', {server.port})\n"
        "    origins = [(f'127.0.{batch % 8}.{i % 50 + 1}', 0) for i in range(200)]\n"
        "    opened = [socket.create_connection(there, 9.0, origin) for origin in origins]\n"
        "    for each in opened: each.close()\n"
    )
    watching: Any = task.LoopingCall(watch)
    watching.start(0.01)
    with subprocess.Popen([sys.executable, "-c", client]) as process:
        status = await deferToThread(process.wait, 50.0)
    outcomes = await settled(server, 10_000)
    watching.stop()
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)

    assert status == 0
    assert sum(outcomes.values()) == 10_000
    assert 1 <= most <= 64
    assert len(answer) > 800


@pytest.mark.limit(30)
async def test_no_descriptors_left(start_server: StartServer, authority: Authority) -> None:
    """When the process has no descriptors left connections are closed, it does not spin, and goes on afterwards."""
    server = start_server(limits=SLOW)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = (
        "import socket, sys, time\n"
        f"opened = [socket.create_connection(('{HOST}', {server.port}), 5.0) for _ in range(30)]\n"
        "time.sleep(1.5)\n"
    )
    with subprocess.Popen([sys.executable, "-c", client]) as process, socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno() + 3, before[1]))
        try:
            await task.deferLater(reactor, 1.0)
            start = time.process_time()
            await task.deferLater(reactor, 0.5)
            busy = time.process_time() - start
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        status = await deferToThread(process.wait, 10.0)
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)

    assert status == 0
    assert busy < 0.25
    assert len(answer) > 800


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_client(host: str, origin: str) -> None:
    """An IPv4 address is one client in whatever form, and so are all addresses of an IPv6 network."""
    assert origin_of(host) == origin


async def test_the_whole_chain_is_sent(start_server: StartServer, authority: Authority) -> None:
    """A client that knows only the authority at the root can follow the chain to it."""
    intermediate = authority.delegate()
    leaf = intermediate.certify(HOST)
    made = server_context(ServerIdentity((leaf.certificate, intermediate.certificate), leaf.key))
    server = start_server(context=lambda: made)
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)

    assert len(answer) > 800


async def test_a_very_long_chain(start_server: StartServer, authority: Authority) -> None:
    """A chain that fills more than one TLS record is sent whole."""
    leaf = authority.certify(HOST)
    made = server_context(ServerIdentity((leaf.certificate, *[authority.certificate] * 60), leaf.key))
    server = start_server(context=lambda: made)
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)

    assert len(answer) > 800


async def test_ipv6(start_server: StartServer, authority: Authority) -> None:
    """A server on every address serves IPv4 and IPv6."""
    server = start_server("::")
    for host in (HOST, "::1"):
        assert (await exchange_keys(reactor, host, server.port, Trust(authority.pem))).cookies


async def test_stopped(start_server: StartServer) -> None:
    """A stopped server does not listen, and can be stopped twice."""
    server = start_server()
    closed: Any = server.stopService()
    assert isinstance(closed, Deferred)
    await closed

    with pytest.raises(ConnectionRefusedError):
        await deferToThread(socket.create_connection, (HOST, server.port), 5.0)


async def test_an_address_that_is_taken(start_server: StartServer) -> None:
    """An address that another has is an error of the system's."""
    server = start_server()
    second = KeyExchangeServer(HOST, server.port, server.context, server.keys, reactor)

    with pytest.raises(OSError, match="Address already in use"):
        second.startService()


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ([("SSL routines", "", "tlsv1 alert protocol version")], "it does not speak TLS 1.3"),
        ([("SSL routines", "", "brand new reason")], "TLS failed: brand new reason"),
        ([], "TLS failed: no reason given"),
    ],
)
def test_words_for_errors_of_tls(reasons: list[tuple[str, str, str]], words: str) -> None:
    """OpenSSL's reasons become a clause for people."""
    assert words_of(SSL.Error(reasons)) == words
    assert words_of(SSL.Error()) == "TLS failed: no reason given"
