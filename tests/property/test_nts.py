"""The parsers of NTS take any octets, give the same for any fragmentation, and believe nothing that was not sealed."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.errors import WireError
from ntptwist.nts.aead import OFFERED, Algorithm, SessionKeys
from ntptwist.nts.exchange import ClientExchange, Completed, Failed, Response, ServerExchange
from ntptwist.nts.packet import inner_fields
from ntptwist.nts.responder import ProtectedRequest
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.message import Message
from ntptwist.wire.record import Record, RecordReader, RecordType
from tests.nts.pair import REPLY, REQUEST, Pair

records = st.builds(
    Record,
    type=st.one_of(st.sampled_from(RecordType), st.integers(0, 0x7FFF)),
    body=st.one_of(st.just(b"\0\0"), st.sampled_from([b"\0\x0f", b"\0\x11", b"\0\x1e"]), st.binary(max_size=300)),
    critical=st.booleans(),
)
useful = st.sampled_from(
    [
        Record.of_numbers(RecordType.NEXT_PROTOCOL, 0),
        Record.of_numbers(RecordType.AEAD_ALGORITHM, 15),
        Record.of_numbers(RecordType.AEAD_ALGORITHM, 30),
        Record(RecordType.COMPLIANT_EXPORT),
        Record(RecordType.NEW_COOKIE, bytes(100)),
        Record.of_numbers(RecordType.NTP_PORT, 123),
        Record(RecordType.NTP_SERVER, b"ntp.example"),
        Record(RecordType.END_OF_MESSAGE, critical=True),
    ]
)
messages = st.one_of(
    st.binary(max_size=400),
    st.lists(records, max_size=8).map(lambda chain: b"".join(record.serialize() for record in chain)),
    st.lists(useful, max_size=10).map(lambda chain: b"".join(record.serialize() for record in chain)),
)
fields = st.builds(
    ExtensionField,
    type=st.one_of(st.sampled_from([0x0104, 0x0204, 0x0304, 0x0404]), st.integers(0, 0xFFFF)),
    body=st.one_of(st.integers(3, 40).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))),
)


def export(context: bytes, size: int) -> bytes:
    """Derive keys."""
    return (context * size)[:size]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut octets at some places."""
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def client_outcome(parts: list[bytes]) -> Completed | Failed | None:
    """Give what a client makes of a response in pieces, and its end."""
    exchange = ClientExchange(export)
    outcomes = [exchange.received(part) for part in parts]
    outcomes.append(exchange.closed())
    (outcome,) = [each for each in outcomes if each is not None]
    return outcome


def server_outcome(parts: list[bytes]) -> list[Response]:
    """Give what a server makes of a request in pieces."""
    exchange = ServerExchange(export, lambda keys, count: [keys.c2s] * count)
    return [response for part in parts if (response := exchange.received(part)) is not None]


@given(messages, st.lists(st.integers(0, 400), max_size=12))
def test_a_client_takes_any_response_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """There is one outcome, and it does not depend on how the octets came."""
    whole = client_outcome([data])

    assert whole == client_outcome(pieces(data, cuts))
    if isinstance(whole, Completed):
        assert 1 <= len(whole.result.cookies) <= 8
        assert all(1 <= len(cookie) <= 256 for cookie in whole.result.cookies)
        assert whole.result.keys.algorithm in OFFERED


@given(messages, st.lists(st.integers(0, 400), max_size=12))
def test_a_server_takes_any_request_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """There is at most one response, it can be read, and it does not depend on how the octets came."""
    whole = server_outcome([data])

    assert whole == server_outcome(pieces(data, cuts))
    assert len(whole) <= 1
    for response in whole:
        assert list(RecordReader().read(response.data))[-1].type == RecordType.END_OF_MESSAGE


@given(st.lists(records, max_size=6), st.lists(st.integers(0, 2000), max_size=12))
def test_records_are_read_as_they_were_written(chain: list[Record], cuts: list[int]) -> None:
    """What is written is read again to the end of the message, in any pieces."""
    ends = [index for index, record in enumerate(chain) if record.type == RecordType.END_OF_MESSAGE]
    expected = chain[: ends[0] + 1] if ends else chain
    data = b"".join(record.serialize() for record in expected)
    reader = RecordReader()

    assert [record for part in pieces(data, cuts) for record in reader.read(part)] == expected


@given(st.binary(max_size=200))
def test_fields_inside_are_any_octets(plaintext: bytes) -> None:
    """What was encrypted may be anything; what is read of it fits into it."""
    assert sum(4 + len(body) for _, body in inner_fields(plaintext)) <= len(plaintext)


@given(st.lists(fields, max_size=6), st.binary(max_size=60), st.sampled_from(OFFERED))
def test_no_reply_is_believed_unless_it_was_sealed(
    chain: list[ExtensionField], end: bytes, algorithm: Algorithm
) -> None:
    """Whatever fields hang at a reply, it is refused and leaves no trace."""
    pair = Pair(algorithm)
    request = pair.request()
    unique_id = Message.parse(request).fields[0]
    for first in ((), (unique_id,)):
        packet = REPLY.serialize() + b"".join(field.serialize() for field in (*first, *chain)) + end

        assert pair.flaw(packet) is not None
    assert (pair.client.cookies, pair.client.spent) == (7, None)
    assert pair.flaw(pair.reply(request)) is None


@given(st.lists(fields, max_size=6), st.binary(max_size=60), st.integers(0, 8))
def test_a_server_takes_any_fields(chain: list[ExtensionField], end: bytes, lost: int) -> None:
    """Whatever fields a request has, it is refused or answered with no more octets than it has."""
    pair = Pair(cookies=8)
    data = REQUEST.serialize() + b"".join(field.serialize() for field in chain) + end
    good = [pair.request() for _ in range(min(lost, 7) + 1)][-1] + b"".join(field.serialize() for field in chain)
    for request in (data, good):
        read = attempt(pair, request)
        if read is not None:
            assert len(pair.server.seal(REPLY.serialize(), read)) <= len(request)


def attempt(pair: Pair, request: bytes) -> ProtectedRequest | None:
    """Give what a server reads, None where it refuses."""
    try:
        return pair.server.read(request)
    except WireError:
        return None


@given(st.sampled_from(OFFERED), st.lists(st.booleans(), max_size=40), st.integers(0, 2**32))
def test_cookies_are_never_used_twice(algorithm: Algorithm, answered: list[bool], seed: int) -> None:
    """Whatever is lost, each request has a cookie of its own, and there are never more than eight."""
    pair = Pair(algorithm)
    random = Random(seed)
    seen = set()
    for number, comes in enumerate(answered):
        if pair.client.spent:
            return
        request = pair.request()
        seen.add(Message.parse(request).fields[1].body)
        reply = pair.reply(request)
        if comes:
            pair.flaw(reply)
        if random.random() < 0.3:
            pair.flaw(reply)

        assert len(seen) == number + 1
        assert pair.client.cookies <= 8


@given(st.sampled_from(OFFERED), st.binary(min_size=80, max_size=200))
def test_any_octets_are_no_cookie(algorithm: Algorithm, octets: bytes) -> None:
    """A server opens nothing that it did not make."""
    pair = Pair(algorithm)
    keys: SessionKeys | None = pair.keyset.open_cookie(octets)

    assert keys is None
