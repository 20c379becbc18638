"""The key exchange server, as clients of another make see it."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from ntptwist.nts.certificate import ServerIdentity
from ntptwist.ntske.client import exchange_keys
from ntptwist.ntske.server import KeyExchangeServer, Outcome
from ntptwist.ntske.tls import Trust, server_context, words_of
from ntptwist.wire.record import Record, RecordReader
from tests.ntske.asking import REQUEST, SLOW, ask, context, settled
from tests.ntske.certificates import Authority
from tests.ntske.conftest import HOST, StartServer


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
        """Send what is no TLS."""
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
        """Connect twice with one session."""
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
