"""The first slice of the key exchange server."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from ntptwist.ntske.tls import ALPN, server_options, words_of
from ntptwist.wire.record import Record, RecordReader
from tests.ntske.certificates import Authority, Certified
from tests.ntske.conftest import HOST, StartServer

REQUEST = bytes.fromhex("80010002 0000 80040002 000f 80000000")


def context(authority: Certified, alpn: list[str]) -> ssl.SSLContext:
    """Make the client's end with the standard library, which knows nothing of ours."""
    made = ssl.create_default_context(cadata=authority.pem.decode())
    made.set_alpn_protocols(alpn)
    return made


def ask(port: int, made: ssl.SSLContext, request: bytes) -> bytes:
    """Send a request and read to the end, in a thread."""
    with socket.create_connection((HOST, port), 5.0) as plain, made.wrap_socket(plain, server_hostname=HOST) as tls:
        tls.sendall(request)
        answer = b""
        while piece := tls.recv(4096):
            answer += piece
        return answer


async def test_another_client(start_server: StartServer, authority: Authority) -> None:
    """A client of the standard library gets keys, and the connection is closed cleanly."""
    server = start_server()
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), REQUEST)
    records = list(RecordReader().read(answer))

    assert [record.type for record in records] == [1, 4, *[5] * 8, 0]
    assert {len(record.body) for record in records if record.type == 5} == {104}


async def test_a_bad_request(start_server: StartServer, authority: Authority) -> None:
    """A bad request is answered with an error."""
    server = start_server()
    answer = await deferToThread(ask, server.port, context(authority, ["ntske/1"]), bytes.fromhex("80000000"))

    assert next(RecordReader().read(answer)) == Record.of_numbers(2, 1)
    assert server.exchanges == 0


async def test_tls_1_2_is_refused(start_server: StartServer, authority: Authority) -> None:
    """A client without TLS 1.3 gets nothing."""
    made = context(authority, ["ntske/1"])
    made.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        await deferToThread(ask, start_server().port, made, REQUEST)


@pytest.mark.parametrize("alpn", [[], ["h2"]])
async def test_without_alpn(start_server: StartServer, authority: Authority, alpn: list[str]) -> None:
    """A client that does not ask for a key exchange gets none."""
    server = start_server()
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|protocol"):
        raise OSError(f"no protocol: {await deferToThread(ask, server.port, context(authority, alpn), REQUEST)!r}")

    assert server.exchanges == 0


async def test_a_silent_client_is_cut_off(start_server: StartServer) -> None:
    """A connection on which nothing happens is closed after two seconds."""
    server = start_server()

    def wait() -> bytes:
        with socket.create_connection((HOST, server.port), 5.0) as plain:
            return plain.recv(1)

    with pytest.raises(ConnectionResetError):
        await deferToThread(wait)


async def test_stopped(start_server: StartServer) -> None:
    """A stopped server does not listen, and can be stopped twice."""
    server = start_server()
    closed: Any = server.stopService()
    assert isinstance(closed, Deferred)
    await closed

    with pytest.raises(ConnectionRefusedError):
        await deferToThread(socket.create_connection, (HOST, server.port), 5.0)


def test_key_and_certificate_must_belong_together(certified: Certified, authority: Authority) -> None:
    """A key of another certificate is noticed when TLS is set up."""
    options = server_options(certified.pem, authority.key_pem)

    with pytest.raises(SSL.Error):
        options.getContext()


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
    assert ALPN == b"ntske/1"
    assert reactor is not None
