"""The key exchange: what both ends send, what they accept, and the words for everything that they don't."""

from __future__ import annotations

import pytest

from ntptwist.nts.aead import Algorithm, SessionKeys
from ntptwist.nts.exchange import (
    ClientExchange,
    Completed,
    Failed,
    FailureKind,
    KeyExchangeResult,
    Response,
    ServerExchange,
)
from ntptwist.wire.record import Record, RecordReader, RecordType

PROTOCOL = Record.of_numbers(RecordType.NEXT_PROTOCOL, 0)
AEAD = Record.of_numbers(RecordType.AEAD_ALGORITHM, 15)
END = Record(RecordType.END_OF_MESSAGE, critical=True)
COOKIE = Record(RecordType.NEW_COOKIE, b"c" * 100)
GOOD = (PROTOCOL, AEAD, COOKIE)


def export(context: bytes, size: int) -> bytes:
    """Derive keys as TLS would: other contexts, other keys."""
    return (context * size)[:size]


def message(*records: Record) -> bytes:
    """Give records with their end as octets."""
    return b"".join(record.serialize() for record in (*records, END))


def outcome(data: bytes) -> Completed | Failed | None:
    """Give what a client makes of a response."""
    return ClientExchange(export).received(data)


def result(*records: Record) -> KeyExchangeResult:
    """Give what a client gets from a good response."""
    done = outcome(message(*records))
    assert isinstance(done, Completed)
    return done.result


def failure(*records: Record) -> tuple[FailureKind, str]:
    """Give why a client refuses a response."""
    done = outcome(message(*records))
    assert isinstance(done, Failed)
    return done.kind, done.words


# the client


def test_the_request_to_the_octet() -> None:
    """NTPv4; our three algorithms in their order; chrony's record for the compliant export; end."""
    assert ClientExchange(export).request == bytes.fromhex("80010002 0000 80040006 0011 000f 001e 04000000 80000000")


def test_a_good_response() -> None:
    """Keys and cookies are there, and the server is meant to be where the exchange took place."""
    given = result(*GOOD, Record(RecordType.NEW_COOKIE, b"d" * 100))

    assert given.cookies == (b"c" * 100, b"d" * 100)
    assert given.keys == SessionKeys.export(Algorithm.AES_SIV_CMAC_256, export)
    assert (given.server, given.port) == (None, None)


def test_records_in_another_order() -> None:
    """The order of records is the server's choice."""
    assert result(COOKIE, AEAD, PROTOCOL).cookies == (b"c" * 100,)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_in_pieces(size: int) -> None:
    """A response in pieces of any size gives the same, once, with its last piece."""
    data = message(*GOOD)
    exchange = ClientExchange(export)
    outcomes = [exchange.received(data[start : start + size]) for start in range(0, len(data), size)]

    assert outcomes[-1] == outcome(data)
    assert set(outcomes[:-1]) == {None}


def test_after_the_outcome_nothing_is_read() -> None:
    """What comes after the end, and the closing of the connection, change nothing any more."""
    exchange = ClientExchange(export)
    exchange.received(message(*GOOD) + b"garbage")

    assert exchange.received(b"garbage") is None
    assert exchange.closed() is None


def test_closed_too_early() -> None:
    """A response without its end is none."""
    exchange = ClientExchange(export)
    exchange.received(message(*GOOD)[:-1])

    assert exchange.closed() == Failed(
        FailureKind.TRUNCATED, "the connection was closed before the response was complete"
    )
    assert exchange.closed() is None


@pytest.mark.parametrize(
    ("name", "octets"),
    [("ntp.example", b"ntp.example"), ("192.0.2.1", b"192.0.2.1"), ("2001:db8::1", b"2001:db8::1")],
)
def test_a_server_is_named(name: str, octets: bytes) -> None:
    """Requests may have to go elsewhere: to a name, an IPv4 or an IPv6 address."""
    assert result(*GOOD, Record(RecordType.NTP_SERVER, octets, critical=True)).server == name


def test_a_port_is_named() -> None:
    """Requests may have to go to another port."""
    assert result(*GOOD, Record.of_numbers(RecordType.NTP_PORT, 1123)).port == 1123


@pytest.mark.parametrize("octets", [b"", b"a b", b"ntp\x00", b"ntp\n.example", "zürich".encode(), b"x" * 256])
def test_a_bad_server_name(octets: bytes) -> None:
    """What can't be a name is not looked up."""
    kind, words = failure(*GOOD, Record(RecordType.NTP_SERVER, octets))

    assert kind is FailureKind.MALFORMED
    assert words == "it names an NTP server that is neither a name nor an address"


@pytest.mark.parametrize("octets", [b"", b"\x00\x00", b"\x01", b"\x00\x7b\x00\x7b"])
def test_a_bad_port(octets: bytes) -> None:
    """A port is one number that is not zero."""
    assert failure(*GOOD, Record(RecordType.NTP_PORT, octets))[0] is FailureKind.MALFORMED


def test_more_cookies_than_are_kept() -> None:
    """Eight cookies are kept, however many come."""
    cookies = [Record(RecordType.NEW_COOKIE, bytes([number]) * 50) for number in range(100)]

    assert len(result(PROTOCOL, AEAD, *cookies).cookies) == 8


@pytest.mark.parametrize("size", [0, 257, 5000])
def test_cookies_of_a_bad_size(size: int) -> None:
    """An empty or a huge cookie is refused, be there good ones beside it or not."""
    bad = Record(RecordType.NEW_COOKIE, bytes(size))

    assert failure(*GOOD, bad) == (FailureKind.MALFORMED, f"it has a cookie of {size} octets")


def test_no_cookies() -> None:
    """Without a cookie no request can be made."""
    assert failure(PROTOCOL, AEAD) == (FailureKind.NO_COOKIES, "the server gave no cookies")


def test_a_message_that_is_too_long() -> None:
    """A response of more than 16 KiB is refused."""
    kind, words = failure(*GOOD, Record(1, bytes(16000)), Record(0x4000, bytes(16000)))

    assert (kind, words) == (FailureKind.MALFORMED, "it has two records of type 1")
    assert failure(*GOOD, Record(0x4000, bytes(16300))) == (
        FailureKind.MALFORMED,
        "the message is longer than 16384 octets",
    )


def test_endless_records() -> None:
    """A server that never ends its response is cut off after 16 KiB, whatever it sends."""
    exchange = ClientExchange(export)
    filler = Record(0x4000, bytes(96)).serialize()
    pieces = 0
    while exchange.received(filler) is None:
        pieces += 1

    assert pieces == 163


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "the server refuses: a critical record of our request is unknown to it"),
        (1, "the server refuses: it calls our request bad"),
        (2, "the server refuses: it has an internal error"),
        (7, "the server refuses: error (7,)"),
    ],
)
def test_errors(code: int, words: str) -> None:
    """An error record ends the exchange with its meaning."""
    assert failure(Record.of_numbers(RecordType.ERROR, code)) == (FailureKind.REFUSED, words)


@pytest.mark.parametrize("body", [b"", bytes(4)])
def test_a_garbled_error(body: bytes) -> None:
    """An error that has no code, or two, is an error."""
    assert failure(*GOOD, Record(RecordType.ERROR, body, critical=True))[0] is FailureKind.REFUSED


def test_a_warning() -> None:
    """No warning is defined, and an unknown one counts as an error."""
    kind, words = failure(*GOOD, Record.of_numbers(RecordType.WARNING, 3))

    assert (kind, words) == (FailureKind.WARNING, "the server warns of something unknown: (3,)")


def test_an_unknown_critical_record() -> None:
    """A record that is critical and unknown ends the exchange."""
    kind, words = failure(*GOOD, Record(0x4001, b"", critical=True))

    assert (kind, words) == (FailureKind.UNRECOGNIZED, "it has a critical record of the unknown type 16385")


def test_an_unknown_record() -> None:
    """A record that is unknown and not critical is skipped, be there one or many."""
    assert result(*GOOD, Record(0x4001, b"?"), Record(0x4001, b"?")).cookies == (b"c" * 100,)


@pytest.mark.parametrize(
    "record",
    [
        PROTOCOL,
        AEAD,
        Record(RecordType.NTP_SERVER, b"ntp.example"),
        Record.of_numbers(RecordType.NTP_PORT, 123),
        Record(RecordType.COMPLIANT_EXPORT),
    ],
    ids=lambda record: RecordType(record.type).name,
)
def test_repeated_records(record: Record) -> None:
    """What must be said once is not said twice, even if it is the same."""
    others = [each for each in GOOD if each != record]

    assert failure(*others, record, record) == (
        FailureKind.MALFORMED,
        f"it has two records of type {record.type}",
    )


@pytest.mark.parametrize(
    ("records", "kind", "words"),
    [
        ((AEAD, COOKIE), FailureKind.MALFORMED, "the protocol is missing"),
        ((PROTOCOL, COOKIE), FailureKind.MALFORMED, "the algorithm is missing"),
        (
            (Record(RecordType.NEXT_PROTOCOL), AEAD, COOKIE),
            FailureKind.NO_PROTOCOL,
            "the server offers no NTPv4",
        ),
        (
            (PROTOCOL, Record(RecordType.AEAD_ALGORITHM), COOKIE),
            FailureKind.NO_ALGORITHM,
            "the server knows none of our algorithms",
        ),
        (
            (Record.of_numbers(RecordType.NEXT_PROTOCOL, 0x8001), AEAD, COOKIE),
            FailureKind.MALFORMED,
            "it chooses the protocols (32769,), NTPv4 was offered",
        ),
        (
            (PROTOCOL, Record.of_numbers(RecordType.AEAD_ALGORITHM, 16), COOKIE),
            FailureKind.MALFORMED,
            "it chooses the algorithms (16,), which were not offered so",
        ),
        (
            (PROTOCOL, Record.of_numbers(RecordType.AEAD_ALGORITHM, 15, 17), COOKIE),
            FailureKind.MALFORMED,
            "it chooses the algorithms (15, 17), which were not offered so",
        ),
        (
            (PROTOCOL, Record(RecordType.AEAD_ALGORITHM, b"\x00"), COOKIE),
            FailureKind.MALFORMED,
            "a list of 16-bit numbers can't have 1 octets",
        ),
    ],
)
def test_bad_choices(records: tuple[Record, ...], kind: FailureKind, words: str) -> None:
    """A server chooses one protocol and one algorithm of those offered."""
    assert failure(*records) == (kind, words)


def test_an_end_with_a_body() -> None:
    """The end of a message is empty."""
    data = b"".join(record.serialize() for record in (*GOOD, Record(0, b"x", critical=True)))

    assert outcome(data) == Failed(FailureKind.MALFORMED, "its end has a body")


def test_gcm_siv_wants_the_compliant_export() -> None:
    """AES-128-GCM-SIV is used only with a server that says which keys it derives."""
    gcm_siv = Record.of_numbers(RecordType.AEAD_ALGORITHM, 30)
    agreed = result(PROTOCOL, gcm_siv, Record(RecordType.COMPLIANT_EXPORT), COOKIE)

    assert agreed.keys == SessionKeys.export(Algorithm.AES_128_GCM_SIV, export)
    assert failure(PROTOCOL, gcm_siv, COOKIE)[0] is FailureKind.NO_ALGORITHM


def test_nothing_secret_is_shown() -> None:
    """Whatever prints an outcome prints neither keys nor cookies."""
    shown = repr(outcome(message(*GOOD)))

    assert "cccc" not in shown
    assert repr(export(b"\x00\x00\x00\x0f\x00", 4)) not in shown
    assert shown.startswith("Completed(result=KeyExchangeResult(keys=SessionKeys(algorithm=")


# the server


def make_cookies(keys: SessionKeys, count: int) -> list[bytes]:
    """Make something that depends on the keys."""
    return [b"cookie of " + keys.c2s] * count


def response(*records: Record, server: str | None = None, port: int | None = None) -> tuple[Response, list[Record]]:
    """Give what a server answers, and its records."""
    given = ServerExchange(export, make_cookies, server, port).received(message(*records))
    assert given is not None
    return given, list(RecordReader().read(given.data))


def test_both_ends_agree() -> None:
    """A client and a server, both ours, end with the same keys, eight cookies and the place to go."""
    client = ClientExchange(export)
    server = ServerExchange(export, make_cookies, "2001:db8::1", 1123)
    answered = server.received(client.request)
    assert answered is not None
    done = client.received(answered.data)

    assert isinstance(done, Completed)
    assert done.result.keys == answered.keys
    assert done.result.keys.algorithm is Algorithm.AES_SIV_CMAC_512
    assert done.result.cookies == tuple(make_cookies(done.result.keys, 8))
    assert (done.result.server, done.result.port) == ("2001:db8::1", 1123)


def test_the_first_algorithm_that_is_known() -> None:
    """The client's order decides."""
    asked = Record.of_numbers(RecordType.AEAD_ALGORITHM, 16, 15, 17)
    given, records = response(PROTOCOL, asked)

    assert given.keys is not None
    assert given.keys.algorithm is Algorithm.AES_SIV_CMAC_256
    assert records[1] == AEAD


def test_gcm_siv_for_those_who_derive_it_rightly() -> None:
    """AES-128-GCM-SIV is chosen with the record for the compliant export, and the record is returned."""
    asked = Record.of_numbers(RecordType.AEAD_ALGORITHM, 30, 15)
    compliant, records = response(PROTOCOL, asked, Record(RecordType.COMPLIANT_EXPORT))
    older, _ = response(PROTOCOL, asked)

    assert compliant.keys is not None
    assert compliant.keys.algorithm is Algorithm.AES_128_GCM_SIV
    assert Record(RecordType.COMPLIANT_EXPORT) in records
    assert older.keys is not None
    assert older.keys.algorithm is Algorithm.AES_SIV_CMAC_256


def test_nothing_in_common() -> None:
    """Without a protocol or an algorithm in common, the server says so with an empty list."""
    other_protocol, first = response(Record.of_numbers(RecordType.NEXT_PROTOCOL, 0x8001), AEAD)
    other_algorithm, second = response(PROTOCOL, Record.of_numbers(RecordType.AEAD_ALGORITHM, 1, 2))

    assert first == [Record(RecordType.NEXT_PROTOCOL, critical=True), END]
    assert second == [PROTOCOL, Record(RecordType.AEAD_ALGORITHM, critical=True), END]
    assert (other_protocol.keys, other_algorithm.keys) == (None, None)


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ((PROTOCOL,), 1),
        ((AEAD,), 1),
        ((PROTOCOL, PROTOCOL, AEAD), 1),
        ((Record(RecordType.NEXT_PROTOCOL), AEAD), 1),
        ((PROTOCOL, Record(RecordType.AEAD_ALGORITHM)), 1),
        ((PROTOCOL, Record(RecordType.AEAD_ALGORITHM, b"\x00")), 1),
        ((PROTOCOL, AEAD, Record.of_numbers(RecordType.ERROR, 1)), 1),
        ((PROTOCOL, AEAD, Record.of_numbers(RecordType.WARNING, 1)), 1),
        ((Record(0x4000, b"", critical=True), PROTOCOL, AEAD), 0),
        ((PROTOCOL, AEAD, Record(0x4000, bytes(4090))), 1),
    ],
)
def test_bad_requests(records: tuple[Record, ...], code: int) -> None:
    """A bad request is answered with an error, and no cookie is made."""
    given, answered = response(*records)

    assert answered == [Record.of_numbers(RecordType.ERROR, code), END]
    assert given.keys is None


def test_records_that_only_clients_of_pools_send() -> None:
    """Records that are unknown and not critical, and a server's own records in a request, are skipped."""
    given, _ = response(PROTOCOL, AEAD, Record(8), Record(5, b"cookie"), Record(RecordType.NTP_SERVER, b"x"))

    assert given.keys is not None


def test_a_request_in_pieces_is_answered_once() -> None:
    """The response comes with the last octet of the request, and never again."""
    exchange = ServerExchange(export, make_cookies)
    answers = [exchange.received(bytes([octet])) for octet in ClientExchange(export).request]

    assert [answer is not None for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert exchange.received(ClientExchange(export).request) is None


def test_a_response_shows_nothing_secret() -> None:
    """Whatever prints a response prints no cookie."""
    assert "cookie of" not in repr(response(PROTOCOL, AEAD)[0])
