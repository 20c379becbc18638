"""The server's end of protected packets."""

from __future__ import annotations

from random import Random

import pytest

from ntptwist.errors import WireError
from ntptwist.nts.aead import OFFERED, Algorithm
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.packet import COOKIE, PLACEHOLDER, UNIQUE_IDENTIFIER, inner_fields, open_packet, seal
from ntptwist.nts.responder import ServerProtection
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.message import Message
from tests.nts.pair import NTSN, REPLY, REQUEST, Pair, fields_of, session


def cookies_in(pair: Pair, reply: bytes) -> list[bytes]:
    """Give the cookies that a reply holds."""
    fields = Message.parse(reply).fields
    plaintext = open_packet(reply, fields, len(fields) - 1, pair.keys.reply_key)
    assert plaintext is not None
    return [body for kind, body in inner_fields(plaintext) if kind == COOKIE]


def made(pair: Pair, *fields: ExtensionField) -> bytes:
    """Give a request with these fields, authenticated."""
    return seal(Message(REQUEST, fields).serialize(), pair.keys.request_key, bytes(pair.keys.request_key.nonce_size))


UNIQUE = ExtensionField(UNIQUE_IDENTIFIER, bytes(32))


@pytest.mark.parametrize("algorithm", OFFERED)
@pytest.mark.parametrize("lost", range(8))
def test_as_long_as_the_request(algorithm: Algorithm, lost: int) -> None:
    """A reply returns the unique identifier and the cookies asked for, and is exactly as long as its request."""
    pair = Pair(algorithm)
    for _ in range(lost):
        pair.request()
    request = pair.request()
    reply = pair.reply(request)

    assert len(reply) == len(request)
    assert fields_of(reply)[0] == (UNIQUE_IDENTIFIER, 36)
    assert len(cookies_in(pair, reply)) == sum(kind in (COOKIE, PLACEHOLDER) for kind, _ in fields_of(request))


def test_plain_requests_are_not_its_business() -> None:
    """A request without an authenticator is no NTS request, whatever its fields."""
    server = Pair().server

    assert server.read(REQUEST.serialize()) is None
    assert server.read(Message(REQUEST, (UNIQUE,)).serialize()) is None


def test_a_cookie_of_another_key() -> None:
    """A cookie that does not open gives no session, and the reply only returns the unique identifier."""
    pair = Pair()
    request = pair.request()
    server = ServerProtection(KeySet.fresh(Random(9).randbytes), Random(9).randbytes)
    read = server.read(request)

    assert read is not None
    assert read.session is None
    assert fields_of(server.seal(NTSN.serialize(), read)) == [(UNIQUE_IDENTIFIER, 36)]


def test_every_single_bit_of_a_request() -> None:
    """A request with any one bit flipped is not believed: no session, no NTS, or no answer at all."""
    pair = Pair()
    request = pair.request()
    believed = []
    for bit in range(8 * len(request)):
        altered = (int.from_bytes(request, "big") ^ 1 << bit).to_bytes(len(request), "big")
        try:
            read = pair.server.read(altered)
        except WireError:
            continue
        if read is not None and read.session is not None:
            believed.append(bit)

    assert believed == []


@pytest.mark.parametrize("case", ["no identifier", "short", "two identifiers", "no cookie", "two cookies"])
def test_requests_without_an_answer(case: str) -> None:
    """What breaks the rules of RFC 8915, section 5.7, is not answered."""
    pair = Pair()
    cookie = ExtensionField(COOKIE, pair.keyset.make_cookies(pair.keys, 1)[0])
    fields = {
        "no identifier": (cookie,),
        "short": (ExtensionField(UNIQUE_IDENTIFIER, bytes(28)), cookie),
        "two identifiers": (UNIQUE, UNIQUE, cookie),
        "no cookie": (UNIQUE,),
        "two cookies": (UNIQUE, cookie, cookie),
    }

    with pytest.raises(WireError, match="one unique identifier"):
        pair.server.read(made(pair, *fields[case]))


def test_a_longer_identifier_is_returned_whole() -> None:
    """A client may use more than 32 octets."""
    pair = Pair()
    longer = ExtensionField(UNIQUE_IDENTIFIER, bytes(range(64)))
    request = made(pair, longer, ExtensionField(COOKIE, pair.keyset.make_cookies(pair.keys, 1)[0]))

    assert Message.parse(pair.reply(request)).fields[0] == longer


def test_short_placeholders_give_nothing() -> None:
    """A placeholder that is shorter than a cookie asks for none, and none behind the authenticator counts."""
    pair = Pair()
    cookie = ExtensionField(COOKIE, pair.keyset.make_cookies(pair.keys, 1)[0])
    request = made(pair, UNIQUE, cookie, ExtensionField(PLACEHOLDER, bytes(100)))
    request += ExtensionField(PLACEHOLDER, bytes(104)).serialize()

    assert len(cookies_in(pair, pair.reply(request))) == 1


def test_many_placeholders_give_eight() -> None:
    """A request for hundreds of cookies costs no more than eight."""
    pair = Pair()
    cookie = ExtensionField(COOKIE, pair.keyset.make_cookies(pair.keys, 1)[0])
    request = made(pair, UNIQUE, cookie, *[ExtensionField(PLACEHOLDER, bytes(104))] * 100)

    assert len(cookies_in(pair, pair.reply(request))) == 8


def test_a_small_request_gets_no_cookies() -> None:
    """When the request is too short for a fresh cookie, the reply has none rather than being longer."""
    pair = Pair()
    keyset = KeySet.fresh(Random(1).randbytes)
    server = ServerProtection(keyset, Random(1).randbytes)
    keys = session(Algorithm.AES_SIV_CMAC_512)
    cookie = keyset.make_cookies(keys, 1)[0]
    packet = Message(REQUEST, (UNIQUE, ExtensionField(COOKIE, cookie))).serialize()
    ciphertext = keys.request_key.seal(b"1", b"", packet)
    authenticator = ExtensionField(0x0404, b"\x00\x01\x00\x10" + b"1\0\0\0" + ciphertext)
    request = packet + authenticator.serialize()
    read = server.read(request)
    assert read is not None
    reply = server.seal(REPLY.serialize(), read)
    pair.keys = keys

    assert read.session == keys
    assert cookies_in(pair, reply) == []
    assert len(reply) <= len(request)


def test_no_key_is_shown() -> None:
    """Whatever prints a request prints no keys."""
    pair = Pair()
    read = pair.server.read(pair.request())

    assert repr(read).endswith(f"session={pair.keys!r}, cookies=1, size=232)")
    assert repr(pair.keys) == "SessionKeys(algorithm=<Algorithm.AES_SIV_CMAC_256: 15>)"


def test_what_follows_the_authenticator() -> None:
    """What nobody has authenticated is not read, even where it is no field at all, and the request is answered."""
    pair = Pair()
    read = pair.server.read(pair.request() + bytes.fromhex("0204 0007") + bytes(40))

    assert read is not None
    assert read.session == pair.keys


def test_fields_that_make_no_sense() -> None:
    """A field with a length that can't be makes the request a plain one."""
    pair = Pair()
    request = pair.request()
    for length in (0, 15, 17, 1000):
        assert pair.server.read(request[:50] + length.to_bytes(2, "big") + request[52:]) is None


def test_the_keys_are_there_for_others() -> None:
    """Processes that answer in a server's place get the keys that are in use now."""
    pair = Pair()
    before = pair.server.masters
    pair.keyset.use(pair.keyset.masters.rotated(5, 1, Random(1).randbytes))

    assert before != pair.server.masters == pair.keyset.masters
