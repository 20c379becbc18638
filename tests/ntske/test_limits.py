"""What the key exchange server puts up with: crowds, slowness, floods, and a process without descriptors."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.threads import deferToThread

from ntptwist.ntske.server import ExchangeLimits, Outcome, origin_of
from tests.ntske.asking import REQUEST, SLOW, ask, connected, connections, context, settled
from tests.ntske.certificates import Authority
from tests.ntske.conftest import HOST, StartServer

TCP_CLOSE = b"\x07"


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
        """Send an octet now and then."""
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
        """Wait for the end after the answer."""
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
        """Send more than is read."""
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
        """Hang up in the middle."""
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
        """Connect many at once."""
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
        """Connect many at once."""
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
        """Connect again and again."""
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
