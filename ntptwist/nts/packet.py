"""
NTP packets under NTS (RFC 8915, section 5): the extension fields, and the client's end of the protection.

Whatever a packet says counts only when it stands before an authenticator that opens: the header and the fields before
it are authenticated, the fields inside it are secret as well, and what follows it is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hmac import compare_digest
from struct import Struct
from typing import Final

from ntptwist.identifiers import KissCode
from ntptwist.nts.aead import TAG_SIZE, Key, SessionKeys
from ntptwist.nts.cookies import CAPACITY, CookieJar
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import HEADER_SIZE
from ntptwist.wire.message import Message

UNIQUE_IDENTIFIER: Final = 0x0104
COOKIE: Final = 0x0204
PLACEHOLDER: Final = 0x0304
AUTHENTICATOR: Final = 0x0404

UNIQUE_IDENTIFIER_SIZE: Final = 32
"""Octets, the least that RFC 8915, section 5.3, allows."""

MAXIMUM_DATAGRAM: Final = 1024
"""Octets of a request, and so of its reply: no known server and no path takes offence at these."""

_LENGTHS = Struct("!HH")


AUTHENTICATOR_LAYOUT: Final = Struct("!HHHH")
"""Type and size of the field, size of the nonce, size of the ciphertext; these two follow."""

_AUTHENTICATOR_SIZE: Final = AUTHENTICATOR_LAYOUT.size

_PADDING: Final = tuple(bytes(-octets % 4) for octets in range(4))


def seal(packet: bytes, key: Key, nonce: bytes, plaintext: bytes = b"") -> bytes:
    """Give a packet with an authenticator that covers it and encrypts ``plaintext`` (RFC 8915, section 5.6)."""
    ciphertext = key.seal(nonce, plaintext, packet)
    body = nonce + _PADDING[len(nonce) % 4] + ciphertext + _PADDING[len(ciphertext) % 4]
    head = AUTHENTICATOR_LAYOUT.pack(AUTHENTICATOR, _AUTHENTICATOR_SIZE + len(body), len(nonce), len(ciphertext))
    return packet + head + body


def sealed_size(size: int, key: Key) -> int:
    """Give the octets that a packet of so many has when it is sealed with no plaintext."""
    return size + _AUTHENTICATOR_SIZE + key.nonce_size + TAG_SIZE


def position(fields: Iterable[ExtensionField]) -> int | None:
    """Give the index of the first authenticator among fields; None when there is none."""
    return next((index for index, field in enumerate(fields) if field.type == AUTHENTICATOR), None)


def open_packet(data: bytes, fields: tuple[ExtensionField, ...], index: int, key: Key) -> bytes | None:
    """Give what the authenticator ``fields[index]`` of a packet holds; None when it does not verify."""
    start = HEADER_SIZE + sum(field.size for field in fields[:index])
    return key.open(*authenticator(data, start, fields[index].size), data[:start])


def authenticator(data: bytes, start: int, size: int) -> tuple[bytes, bytes]:
    """
    Give nonce and ciphertext of the authenticator that begins at ``start`` and has ``size`` octets.

    Where they would not fit into it, the ciphertext is empty, which no key opens.
    """
    _, _, nonce_size, ciphertext_size = AUTHENTICATOR_LAYOUT.unpack_from(data, start)
    nonce = start + _AUTHENTICATOR_SIZE
    ciphertext = nonce + nonce_size + -nonce_size % 4
    if ciphertext + ciphertext_size > start + size:
        return b"", b""
    return data[nonce : nonce + nonce_size], data[ciphertext : ciphertext + ciphertext_size]


def inner_fields(plaintext: bytes) -> Iterator[tuple[int, bytes]]:
    """
    Give type and body of the fields that were encrypted.

    No MAC can follow them, so unlike those outside they go to the end and may be short.  Their writer is authenticated:
    where they stop making sense, the reading simply ends.
    """
    offset = 0
    while len(plaintext) - offset >= _LENGTHS.size:
        kind, size = _LENGTHS.unpack_from(plaintext, offset)
        if size < _LENGTHS.size or size > len(plaintext) - offset:
            return
        yield kind, plaintext[offset + _LENGTHS.size : offset + size]
        offset += size


class ClientProtection:
    """
    One client's use of the keys and cookies of one key exchange.

    ``randbytes`` gives that many unpredictable octets.  A reply is believed once, when its authenticator opens and its
    unique identifier is that of the latest request; one that says that the server could not open our cookie
    (NTSN, RFC 8915, section 5.7) can't be authenticated.  It is noted, and counts unless the true reply comes as well:
    then somebody between us and the server has made it.
    """

    __slots__ = ("_jar", "_keys", "_randbytes", "_refused", "_unique_id")

    def __init__(self, keys: SessionKeys, cookies: Iterable[bytes], randbytes: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._jar = CookieJar(cookies)
        self._randbytes = randbytes
        self._unique_id: bytes | None = None
        self._refused = False

    @property
    def keys(self) -> SessionKeys:
        """The keys of the exchange."""
        return self._keys

    @property
    def cookies(self) -> int:
        """How many requests can still be made without a reply."""
        return len(self._jar)

    @property
    def spent(self) -> str | None:
        """Say why no more requests should be made before there are new keys; None while all is well."""
        if self._refused:
            return "the server can't open our cookies (kiss code NTSN): new keys are needed"
        if not self._jar:
            return "all NTS cookies are used up without a reply: new ones are needed"
        return None

    def remaining_cookies(self) -> tuple[bytes, ...]:
        """Give the cookies that were not used, when this protection comes to its end."""
        return self._jar.contents()

    def seal(self, header: bytes) -> bytes:
        """
        Give the request that a header becomes; it takes a cookie, and there must be one.

        Placeholders ask for as many cookies as are missing, as far as the size of a datagram allows.
        """
        self._unique_id = self._randbytes(UNIQUE_IDENTIFIER_SIZE)
        self._refused = False
        cookie = ExtensionField.padded(COOKIE, self._jar.take())
        packet = header + ExtensionField(UNIQUE_IDENTIFIER, self._unique_id).serialize() + cookie.serialize()
        nonce = self._randbytes(self._keys.request_key.nonce_size)
        room = MAXIMUM_DATAGRAM - sealed_size(len(packet), self._keys.request_key)
        missing = min(CAPACITY - 1 - len(self._jar), max(room, 0) // cookie.size)
        packet += ExtensionField(PLACEHOLDER, bytes(len(cookie.body))).serialize() * missing
        return seal(packet, self._keys.request_key, nonce)

    def flaw(self, data: bytes, message: Message) -> str | None:
        """
        Say why a reply must not be believed; None when it may be, or may be the server's word that our cookie is stale.

        ``message`` is what ``data`` says.  The cookies of a good reply are kept; it is good only once.
        """
        if self._unique_id is None:
            return "the reply is a duplicate"
        index = position(message.fields)
        if index is None:
            return self._flaw_of_refusal(message)
        plaintext = open_packet(data, message.fields, index, self._keys.reply_key)
        if plaintext is None:
            return "the reply is forged or damaged: its authenticator does not verify"
        if not self._is_ours(message.fields[:index]):
            return "the reply does not answer the latest request: wrong unique identifier"
        self._unique_id = None
        self._refused = False
        for kind, body in inner_fields(plaintext):
            if kind == COOKIE:
                self._jar.add(body)
        return None

    def _flaw_of_refusal(self, message: Message) -> str | None:
        header = message.header
        if header.stratum != 0 or header.reference_id != KissCode.NTSN.value:
            return "the reply is not authenticated"
        if not self._is_ours(message.fields):
            return "the kiss NTSN does not answer the latest request: wrong unique identifier"
        self._refused = True
        return None

    def _is_ours(self, fields: Iterable[ExtensionField]) -> bool:
        found = [field.body for field in fields if field.type == UNIQUE_IDENTIFIER]
        return bool(found) and all(compare_digest(body, self._unique_id or b"") for body in found)
