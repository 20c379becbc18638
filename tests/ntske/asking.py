"""Clients of the key exchange server, of the standard library, which knows nothing of ours."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from twisted.internet import reactor, task

from ntptwist.ntske.server import ExchangeLimits, KeyExchangeServer, Outcome
from tests.ntske.certificates import Certified
from tests.ntske.conftest import HOST

REQUEST = bytes.fromhex("80010002 0000 80040002 000f 80000000")
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
