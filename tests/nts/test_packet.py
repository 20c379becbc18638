"""The client's end of protected packets: what it sends, what it believes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ntptwist.nts.aead import OFFERED, Algorithm
from ntptwist.nts.packet import (
    AUTHENTICATOR,
    COOKIE,
    PLACEHOLDER,
    UNIQUE_IDENTIFIER,
    ClientProtection,
    inner_fields,
    seal,
)
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.message import Message
from tests.nts.pair import NTSN, REPLY, REQUEST, Pair, fields_of, kiss_of, session, without_unique_id


def test_a_request_with_a_full_jar() -> None:
    """With eight cookies one is sent and no other asked for: the reply brings the one that was spent."""
    pair = Pair()

    assert fields_of(pair.request()) == [(UNIQUE_IDENTIFIER, 36), (COOKIE, 108), (AUTHENTICATOR, 40)]
    assert pair.client.cookies == 7


def test_placeholders_for_what_is_missing() -> None:
    """After lost replies, as many placeholders as are missing, each of the cookie's size."""
    pair = Pair()
    for _ in range(3):
        pair.request()
    fields = fields_of(pair.request())

    assert fields == [(UNIQUE_IDENTIFIER, 36), (COOKIE, 108), *[(PLACEHOLDER, 108)] * 3, (AUTHENTICATOR, 40)]


@pytest.mark.parametrize(("algorithm", "expected"), [(15, 8), (17, 5), (30, 8)])
def test_the_last_cookie_brings_back_all_that_fit(algorithm: int, expected: int) -> None:
    """One reply fills the jar again, as far as a datagram of 1,024 octets can."""
    pair = Pair(Algorithm(algorithm), cookies=1)
    request = pair.request()
    flaw = pair.flaw(pair.reply(request))

    assert flaw is None
    assert len(request) <= 1024
    assert pair.client.cookies == expected


def test_cookies_stay_at_eight() -> None:
    """As long as replies come, there are always eight."""
    pair = Pair(Algorithm.AES_SIV_CMAC_512, cookies=3)
    flaws = {pair.exchange() for _ in range(50)}

    assert flaws == {None}
    assert pair.client.cookies == 8


def test_no_cookie_is_sent_twice() -> None:
    """Fifty requests, some of them unanswered, carry fifty cookies."""
    pair = Pair()
    sent = []
    for number in range(50):
        request = pair.request()
        sent.append(Message.parse(request).fields[1].body)
        if number % 3:
            pair.flaw(pair.reply(request))

    assert len(set(sent)) == 50


def test_every_request_has_its_own_identifier() -> None:
    """Unique identifiers are random and 32 octets long."""
    pair = Pair()
    seen = {Message.parse(pair.request()).fields[0].body for _ in range(8)}

    assert len(seen) == 8
    assert {len(each) for each in seen} == {32}


def test_no_cookies_left() -> None:
    """When all are used up, the words say what is needed."""
    pair = Pair(cookies=1)
    before = pair.client.spent
    pair.request()

    assert before is None
    assert pair.client.spent == "all NTS cookies are used up without a reply: new ones are needed"


def test_a_huge_cookie_has_no_placeholders_beyond_the_datagram() -> None:
    """Whatever the size of the cookies, a request stays within 1,024 octets."""
    client = ClientProtection(session(), [bytes(256)], Random(1).randbytes)

    assert len(client.seal(REQUEST.serialize())) <= 1024


@pytest.mark.parametrize("algorithm", OFFERED)
def test_a_good_reply(algorithm: Algorithm) -> None:
    """The server's reply is believed."""
    pair = Pair(algorithm)

    assert pair.exchange() is None
    assert pair.client.cookies == 8


def test_a_reply_is_good_once() -> None:
    """A reply that is replayed is refused, and gives no cookies."""
    pair = Pair()
    pair.request()
    reply = pair.reply(pair.request())
    first = pair.flaw(reply)
    cookies = pair.client.cookies
    second = pair.flaw(reply)

    assert first is None
    assert second == "the reply is a duplicate"
    assert pair.client.cookies == cookies


def test_a_reply_to_another_request() -> None:
    """A reply to the request before is refused, although the server made it."""
    pair = Pair()
    late = pair.reply(pair.request())
    pair.request()

    assert pair.flaw(late) == "the reply does not answer the latest request: wrong unique identifier"


def test_a_reply_before_any_request() -> None:
    """What nobody asked for is refused."""
    pair = Pair()
    other = Pair()

    assert pair.flaw(other.reply(other.request())) == "the reply is a duplicate"


@pytest.mark.parametrize("algorithm", OFFERED)
def test_every_single_bit(algorithm: Algorithm) -> None:
    """A reply with any one bit flipped is refused, wherever it falls; the true reply is still believed after that."""
    pair = Pair(algorithm)
    for _ in range(2):
        pair.request()
    reply = pair.reply(pair.request())
    before = pair.client.cookies
    number = int.from_bytes(reply, "big")
    flaws = [pair.flaw((number ^ 1 << bit).to_bytes(len(reply), "big")) for bit in range(8 * len(reply))]

    assert None not in flaws
    assert pair.client.cookies == before
    assert pair.client.spent is None
    assert pair.flaw(reply) is None


def test_cut_anywhere() -> None:
    """A reply that lost its end is refused."""
    pair = Pair()
    reply = pair.reply(pair.request())

    assert None not in [pair.flaw(reply[:size]) for size in range(len(reply))]
    assert pair.flaw(reply) is None


def test_what_follows_the_authenticator_is_not_read() -> None:
    """Fields that somebody hangs behind a good reply have no effect."""
    pair = Pair(cookies=1)
    unique_id = Message.parse(pair.request()).fields[0]
    reply = seal(Message(REPLY, (unique_id,)).serialize(), pair.keys.reply_key, bytes(16))
    more = ExtensionField.padded(COOKIE, bytes(100)).serialize() + without_unique_id(reply).serialize()

    assert pair.flaw(reply + more) is None
    assert pair.client.cookies == 0


def test_cookies_outside_are_not_taken() -> None:
    """A cookie counts only where it was encrypted, even if it is authenticated."""
    pair = Pair(cookies=1)
    request = pair.request()
    unique_id = Message.parse(request).fields[0]
    packet = Message(REPLY, (unique_id, ExtensionField.padded(COOKIE, b"c" * 100))).serialize()

    assert pair.flaw(seal(packet, pair.keys.reply_key, bytes(16))) is None
    assert pair.client.cookies == 0


@pytest.mark.parametrize("size", [0, 260, 1000])
def test_cookies_of_a_bad_size_are_not_kept(size: int) -> None:
    """A server, or who has its keys, can't fill us with empty or huge cookies."""
    pair = Pair(cookies=1)
    unique_id = Message.parse(pair.request()).fields[0]
    cookie = COOKIE.to_bytes(2, "big") + (4 + size).to_bytes(2, "big") + bytes(size)
    packet = Message(REPLY, (unique_id,)).serialize()

    assert pair.flaw(seal(packet, pair.keys.reply_key, bytes(16), cookie * 10)) is None
    assert pair.client.cookies == 0


def test_a_reply_sealed_with_the_key_of_requests() -> None:
    """Our own request sent back to us is no reply."""
    pair = Pair()
    request = pair.request()

    assert pair.flaw(request) == "the reply is forged or damaged: its authenticator does not verify"


def test_a_reply_without_an_authenticator() -> None:
    """What is not authenticated is refused, whatever else it says."""
    pair = Pair()
    request = pair.request()
    unique_id = Message.parse(request).fields[0]

    for reply in (Message(REPLY), Message(REPLY, (unique_id,)), Message(replace(NTSN, stratum=1), (unique_id,))):
        assert pair.flaw(reply.serialize()) == "the reply is not authenticated"


@pytest.mark.parametrize("code", [b"RATE", b"DENY", b"RSTR", b"XXXX"])
def test_kisses_must_be_authenticated(code: bytes) -> None:
    """A kiss that anybody could have made does not count."""
    pair = Pair()
    request = pair.request()
    kiss = kiss_of(request, replace(NTSN, reference_id=type(NTSN.reference_id)(code)))

    assert pair.flaw(kiss) == "the reply is not authenticated"
    assert pair.client.spent is None


def test_authenticated_kisses_are_believed() -> None:
    """The server itself may say that it denies us access."""
    pair = Pair()
    request = pair.request()
    denial = replace(NTSN, reference_id=type(NTSN.reference_id)(b"DENY"))

    assert pair.flaw(pair.reply(request, denial)) is None


def test_the_server_does_not_know_the_cookie() -> None:
    """The kiss NTSN for the latest request says that new keys are needed."""
    pair = Pair()
    flaw = pair.flaw(kiss_of(pair.request()))

    assert flaw is None
    assert pair.client.spent == "the server can't open our cookies (kiss code NTSN): new keys are needed"


def test_a_forged_ntsn_beside_the_true_reply() -> None:
    """Whoever sees our request can say NTSN; the true reply, before or after, shows that it is not so."""
    pair = Pair()
    request = pair.request()
    reply = pair.reply(request)
    first = pair.flaw(kiss_of(request))
    second = pair.flaw(reply)
    third = pair.flaw(kiss_of(request))

    assert (first, second, third) == (None, None, "the reply is a duplicate")
    assert pair.client.spent is None


def test_a_forged_ntsn_for_another_request() -> None:
    """Without the unique identifier of the latest request, NTSN means nothing."""
    pair = Pair()
    old = kiss_of(pair.request())
    request = pair.request()
    blind = Message(NTSN, (without_unique_id(request),)).serialize()

    for kiss in (old, blind, Message(NTSN).serialize()):
        assert pair.flaw(kiss) == "the kiss NTSN does not answer the latest request: wrong unique identifier"
    assert pair.client.spent is None


def test_two_identifiers() -> None:
    """A reply that names two requests answers neither, be it authenticated or not."""
    pair = Pair()
    request = pair.request()
    unique_id = Message.parse(request).fields[0]
    both = (unique_id, without_unique_id(request))
    packet = Message(REPLY, both).serialize()
    flaw = pair.flaw(seal(packet, pair.keys.reply_key, bytes(16)))

    assert flaw == "the reply does not answer the latest request: wrong unique identifier"
    assert pair.flaw(Message(NTSN, both).serialize()) is not None
    assert pair.client.spent is None


def test_cookies_left_over() -> None:
    """What was not used can be kept for another day, and the keys with it."""
    pair = Pair()
    pair.request()

    assert len(pair.client.remaining_cookies()) == 7
    assert pair.client.keys is pair.keys


@pytest.mark.parametrize(
    ("plaintext", "expected"),
    [
        ("", []),
        ("0204", []),
        ("02040003", []),
        ("02040008", []),
        ("02040004", [(COOKIE, b"")]),
        ("02040006aabb 0001", [(COOKIE, b"\xaa\xbb")]),
        ("02040006aabb 0204ffff", [(COOKIE, b"\xaa\xbb")]),
        ("0001000401020007 010203", [(1, b""), (0x0102, b"\x01\x02\x03")]),
    ],
)
def test_fields_inside(plaintext: str, expected: list[tuple[int, bytes]]) -> None:
    """Fields that were encrypted are read to where they stop making sense."""
    assert list(inner_fields(bytes.fromhex(plaintext))) == expected


def test_other_secrets_are_skipped() -> None:
    """A server may encrypt fields that are unknown here; the cookies among them are kept."""
    pair = Pair(cookies=1)
    unique_id = Message.parse(pair.request()).fields[0]
    secret = ExtensionField.padded(0x7777, b"?").serialize() + ExtensionField.padded(COOKIE, b"c" * 100).serialize()

    assert pair.flaw(seal(Message(REPLY, (unique_id,)).serialize(), pair.keys.reply_key, bytes(16), secret)) is None
    assert pair.client.cookies == 1
