"""A client exchanges keys over TLS, and says in one line why when it can't."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.ssl import CertificateOptions, TLSVersion

from ntptwist.errors import KeyExchangeError
from ntptwist.nts.aead import Algorithm
from ntptwist.nts.keyset import KeySet
from ntptwist.ntske.client import exchange_keys
from ntptwist.ntske.tls import ALPN, Trust
from ntptwist.wire.record import Record, RecordType
from tests.ntske.certificates import DAY, Authority, Certified
from tests.ntske.conftest import HOST, Act, Scripted, StartPeer, StartServer, WithoutALPN, nothing

NOW = datetime.now(UTC)
GOOD = b"".join(
    record.serialize()
    for record in (
        Record.of_numbers(RecordType.NEXT_PROTOCOL, 0),
        Record.of_numbers(RecordType.AEAD_ALGORITHM, 15),
        Record(RecordType.NEW_COOKIE, bytes(100)),
    )
)
END = Record(RecordType.END_OF_MESSAGE, critical=True).serialize()


def trusting(authority: Certified) -> Trust:
    """Trust an authority."""
    return Trust(authority.pem)


async def complaint(port: int, authority: Certified, host: str = HOST, **limits: Any) -> str:
    """Give the words of an exchange that fails."""
    with pytest.raises(KeyExchangeError) as caught:
        await exchange_keys(reactor, host, port, trusting(authority), **limits)
    words = str(caught.value)
    assert "\n" not in words
    return words


async def test_keys_and_cookies(start_server: StartServer, authority: Authority, keyset: KeySet) -> None:
    """A client gets eight cookies that hold the very keys that it has, and is told to ask the same address."""
    server = start_server()
    result = await exchange_keys(reactor, HOST, server.port, trusting(authority))

    assert result.keys.algorithm is Algorithm.AES_SIV_CMAC_512
    assert [keyset.open_cookie(cookie) for cookie in result.cookies] == [result.keys] * 8
    assert (result.server, result.port) == (HOST, 123)
    assert server.exchanges == 1


async def test_by_name(start_server: StartServer, authority: Authority) -> None:
    """A server that was named is asked at the address at which the exchange took place, not at any of its name."""
    server = start_server()
    result = await exchange_keys(reactor, "localhost", server.port, trusting(authority))

    assert result.server == HOST


async def test_ipv6(start_server: StartServer, authority: Authority) -> None:
    """A literal IPv6 address can be asked, and is verified."""
    server = start_server("::1")
    result = await exchange_keys(reactor, "::1", server.port, trusting(authority))

    assert result.server == "::1"


@pytest.mark.parametrize("name", ["ntp.example", "192.0.2.1", "2001:db8::1"])
async def test_another_server_and_port(start_server: StartServer, authority: Authority, name: str) -> None:
    """What the server says of where to send requests is handed on."""
    server = start_server(ntp_server=name, ntp_port=1123)
    result = await exchange_keys(reactor, HOST, server.port, trusting(authority))

    assert (result.server, result.port) == (name, 1123)


async def test_server_name_indication(authority: Authority, start_peer: StartPeer) -> None:
    """A server that has many names is told which one is meant; for an address nothing is sent."""
    named: list[bytes | None] = []

    def act(peer: Scripted) -> None:
        named.append(peer.server_name())
        peer.write(GOOD + END)
        peer.close()

    port = start_peer(act)
    await exchange_keys(reactor, "localhost", port, trusting(authority))
    await exchange_keys(reactor, HOST, port, trusting(authority))

    assert named == [b"localhost", None]


# whom it does not trust


async def test_an_unknown_authority(start_server: StartServer) -> None:
    """A certificate of somebody else's authority is refused."""
    words = await complaint(start_server().port, Authority.make("another authority"))

    assert words == (
        "key exchange with 127.0.0.1: its certificate is not trusted: the authority that signed it is unknown here"
    )


async def test_the_system_does_not_know_it_either(start_server: StartServer) -> None:
    """Without an authority of our own, the system's count, and they don't know the test's."""
    with pytest.raises(KeyExchangeError, match="not trusted"):
        await exchange_keys(reactor, HOST, start_server().port, Trust())


async def test_a_self_signed_certificate(start_server: StartServer, authority: Authority) -> None:
    """A certificate that only vouches for itself is refused."""
    alone = Authority.make("alone")
    server = start_server(certified=alone)

    assert "its certificate is not trusted: it is signed by itself" in await complaint(server.port, authority)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        (HOST, ("127.0.0.2",)),
        (HOST, ("localhost",)),
        ("localhost", (HOST,)),
        ("localhost", ("localhost.example",)),
        (HOST, ()),
    ],
)
async def test_a_wrong_name(start_server: StartServer, authority: Authority, host: str, names: tuple[str, ...]) -> None:
    """A good certificate of another server is refused: other name, other address, or none at all."""
    other = authority.certify(*names)
    server = start_server(certified=other)

    assert await complaint(server.port, authority, host) == (
        f"key exchange with {host}: its certificate is not for {host}"
    )
    assert server.exchanges == 0


async def test_expired(start_server: StartServer, authority: Authority) -> None:
    """A certificate whose time is over is refused, with its end and what our clock says."""
    old = authority.certify(HOST, begin=NOW - 3 * DAY, end=NOW - 2 * DAY)
    server = start_server(certified=old)
    words = await complaint(server.port, authority)

    assert words.startswith(
        f"key exchange with 127.0.0.1: its certificate has expired on {NOW - 2 * DAY:%Y-%m-%d %H:%M} UTC, "
        "and the clock says 2"
    )


async def test_not_yet_valid(start_server: StartServer, authority: Authority) -> None:
    """A certificate of the future is refused: perhaps it is our clock that is wrong, so it is said."""
    early = authority.certify(HOST, begin=NOW + DAY, end=NOW + 2 * DAY)
    server = start_server(certified=early)
    words = await complaint(server.port, authority)

    assert f"its certificate is not valid before {NOW + DAY:%Y-%m-%d %H:%M} UTC, and the clock says" in words


@pytest.mark.parametrize("age", [100, 20])
async def test_validity_at_another_moment(start_server: StartServer, authority: Authority, age: int) -> None:
    """Certificates are judged by the moment that is given: an old one is good then, today's is not."""
    old = authority.certify(HOST, begin=NOW - 101 * DAY, end=NOW - 99 * DAY)
    server = start_server(certified=old)
    then = (NOW - age * DAY).astimezone(timezone(timedelta(hours=14)))

    if age == 100:
        assert (await exchange_keys(reactor, HOST, server.port, trusting(authority), moment=then)).cookies
    else:
        words = await complaint(server.port, authority, moment=then)

        assert f"and the clock says {NOW - age * DAY:%Y-%m-%d %H:%M}" in words


async def test_one_moment_does_not_stay(start_server: StartServer, authority: Authority) -> None:
    """The moment of one exchange is forgotten with it."""
    server = start_server()
    with pytest.raises(KeyExchangeError, match="not valid before"):
        await exchange_keys(reactor, HOST, server.port, trusting(authority), moment=NOW - 100 * DAY)

    assert (await exchange_keys(reactor, HOST, server.port, trusting(authority))).cookies


# what is no key exchange


async def test_nobody_listens(start_server: StartServer, authority: Authority) -> None:
    """A port without a server."""
    server = start_server()
    await server.stopService()

    assert await complaint(server.port, authority) == "key exchange with 127.0.0.1: Connection refused"


@pytest.mark.parametrize("name", ["", "a b", "x" * 300, "..", "fe80::1%no-such"])
async def test_what_is_no_name(authority: Authority, name: str) -> None:
    """A name that can't be one does not raise anything else."""
    words = await complaint(4460, authority, name, timeout=1.0)

    assert words.startswith(f"key exchange with {name}: ")


async def test_a_name_without_addresses(authority: Authority) -> None:
    """A name that nobody has."""
    words = await complaint(4460, authority, "no-such-host.invalid", timeout=5.0)

    assert words in (
        "key exchange with no-such-host.invalid: the name does not resolve",
        "key exchange with no-such-host.invalid: more than 5 s passed in connecting to it",
    )


async def test_tls_1_2_only(start_peer: StartPeer, certified: Certified, authority: Authority) -> None:
    """A server without TLS 1.3 is refused."""
    private: Any = certified.key  # pyOpenSSL wants cryptography's objects; Twisted's annotations don't know them
    certificate: Any = certified.certificate
    options = CertificateOptions(
        privateKey=private,
        certificate=certificate,
        lowerMaximumSecurityTo=TLSVersion.TLSv1_2,
        acceptableProtocols=[ALPN],
    )
    port = start_peer(nothing, options)

    assert await complaint(port, authority) == "key exchange with 127.0.0.1: it does not speak TLS 1.3"


@pytest.mark.parametrize("answers", [False, True])
async def test_no_alpn(start_peer: StartPeer, certified: Certified, authority: Authority, answers: bool) -> None:
    """A server that speaks TLS, but not key exchange, is refused, and gets no request."""
    asked: list[Scripted] = []
    port = start_peer(asked.append, WithoutALPN(certified, answers=answers))

    assert await complaint(port, authority) == (
        "key exchange with 127.0.0.1: it does not speak NTS key exchange (ALPN)"
    )
    assert asked == []


async def test_no_tls(start_peer: StartPeer, authority: Authority) -> None:
    """A server that speaks something else."""
    port = start_peer(lambda peer: peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls=False)

    assert await complaint(port, authority) == "key exchange with 127.0.0.1: it does not speak TLS"


async def test_closed_in_the_handshake(start_peer: StartPeer, authority: Authority) -> None:
    """A server that hangs up before TLS is there."""
    port = start_peer(lambda peer: peer.close(), tls=False)

    assert await complaint(port, authority) == (
        "key exchange with 127.0.0.1: it closed the connection in the TLS handshake"
    )


# what breaks its rules


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the connection was closed before the response was complete"),
        (GOOD, "the connection was closed before the response was complete"),
        (Record.of_numbers(2, 1).serialize() + END, "the server refuses: it calls our request bad"),
        (Record.of_numbers(3, 1).serialize() + END, "the server warns of something unknown: (1,)"),
        (GOOD + Record(5, b"").serialize() + END, "it has a cookie of 0 octets"),
        (GOOD + Record(5, bytes(60000)).serialize() + END, "the message is longer than 16384 octets"),
        (GOOD + GOOD + END, "it has two records of type 1"),
        (GOOD + Record(99, b"", critical=True).serialize() + END, "it has a critical record of the unknown type 99"),
    ],
)
async def test_bad_responses(start_peer: StartPeer, authority: Authority, data: bytes, words: str) -> None:
    """Whatever is wrong with a response is said in one line."""

    def act(peer: Scripted) -> None:
        peer.write(data)
        peer.close()

    assert await complaint(start_peer(act), authority) == f"key exchange with 127.0.0.1: {words}"


async def test_a_server_that_never_answers(start_peer: StartPeer, authority: Authority) -> None:
    """A server that takes the request and says nothing is cut off."""
    words = await complaint(start_peer(nothing), authority, timeout=0.3)

    assert words == "key exchange with 127.0.0.1: more than 0.3 s passed waiting for its response"


async def test_a_server_that_is_silent_before_tls(start_peer: StartPeer, authority: Authority) -> None:
    """A server that accepts the connection and says nothing is cut off."""
    words = await complaint(start_peer(nothing, tls=False), authority, timeout=0.3)

    assert words == "key exchange with 127.0.0.1: more than 0.3 s passed in the TLS handshake"


def drip(data: bytes, seconds: float) -> Act:
    """Send an octet from time to time, as long as anybody listens."""

    def act(peer: Scripted) -> None:
        def send(rest: bytes) -> None:
            if rest and not peer.lost.called:
                peer.write(rest[:1])
                clock.callLater(seconds, send, rest[1:])

        clock: Any = reactor
        send(data)

    return act


async def test_a_server_that_drips(start_peer: StartPeer, authority: Authority) -> None:
    """A server that sends its response an octet at a time gets no more time than others."""
    begun = time.monotonic()
    words = await complaint(start_peer(drip(GOOD + END, 0.02)), authority, timeout=0.4)

    assert words == "key exchange with 127.0.0.1: more than 0.4 s passed waiting for its response"
    assert time.monotonic() - begun < 1.5
    await task.deferLater(reactor, 0.05, lambda: None)


async def test_a_response_in_single_octets(start_peer: StartPeer, authority: Authority) -> None:
    """A response in a hundred TLS records is a response."""
    result = await exchange_keys(reactor, HOST, start_peer(drip(GOOD + END, 0.001)), trusting(authority), timeout=5.0)

    assert result.cookies == (bytes(100),)


async def test_a_server_that_never_closes(start_peer: StartPeer, authority: Authority) -> None:
    """After a complete response the connection is closed by us if the server does not."""
    peers: list[Scripted] = []

    def act(peer: Scripted) -> None:
        peers.append(peer)
        peer.write(GOOD + END)

    result = await exchange_keys(reactor, HOST, start_peer(act), trusting(authority))
    await peers[0].lost

    assert result.cookies == (bytes(100),)


async def test_given_up(start_peer: StartPeer, authority: Authority) -> None:
    """An exchange that is cancelled closes its connection."""
    asked: Deferred[Scripted] = Deferred()
    exchange = Deferred.fromCoroutine(exchange_keys(reactor, HOST, start_peer(asked.callback), trusting(authority)))
    peer = await asked
    exchange.cancel()
    with pytest.raises(CancelledError):
        await exchange
    await peer.lost


async def test_a_hundred_failures_leave_nothing(start_peer: StartPeer, authority: Authority) -> None:
    """Failed exchanges leave no connection, no timer and no failure behind; every test is checked for them."""

    def act(peer: Scripted) -> None:
        peer.write(b"nonsense" * 10)
        peer.close()

    port = start_peer(act)
    words = {await complaint(port, authority) for _ in range(20)}

    assert len(words) == 1


def test_words_hold_no_secret() -> None:
    """No message is made of octets that came from the other end."""
    assert re.search("[0-9a-f]{16}", repr(Trust())) is None
