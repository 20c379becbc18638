"""
The server's end of NTS-protected packets (RFC 8915, sections 5.7 and 6): reads requests, seals replies.

Nothing is kept between a request and the next.  A cookie is given for the cookie that came, and one for each
placeholder of its size, as long as the reply is no longer than the request.

This is done for every request of every client, so the fields are read in one pass and nothing is made of them but what
the reply needs; ``wire.message`` reads the same fields for those who want to look at them.  Whatever does not depend on
the time is done when the request is read: the less lies between a transmit timestamp and the departure, the better.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Final, NamedTuple

from ntptwist.errors import WireError
from ntptwist.nts.aead import TAG_SIZE, SessionKeys
from ntptwist.nts.cookies import CAPACITY
from ntptwist.nts.keyset import KeySet, MasterKeys
from ntptwist.nts.nonces import Nonces
from ntptwist.nts.packet import (
    AUTHENTICATOR,
    AUTHENTICATOR_LAYOUT,
    COOKIE,
    PLACEHOLDER,
    UNIQUE_IDENTIFIER,
    UNIQUE_IDENTIFIER_SIZE,
    authenticator,
    seal,
    sealed_size,
)
from ntptwist.wire.extension import MAXIMUM_SIZE, MINIMUM_END, MINIMUM_SIZE
from ntptwist.wire.header import HEADER_SIZE

_FIELD = Struct("!HH")
_FIELD_SIZE: Final = _FIELD.size
_UNIQUE_FIELD_SIZE: Final = _FIELD_SIZE + UNIQUE_IDENTIFIER_SIZE
_UNIQUE_HEAD: Final = _FIELD.pack(UNIQUE_IDENTIFIER, _UNIQUE_FIELD_SIZE)
_NONCE_SIZE: Final = 16
_AUTHENTICATOR_SIZE: Final = AUTHENTICATOR_LAYOUT.size + _NONCE_SIZE + TAG_SIZE
_AUTHENTICATOR_HEAD: Final = AUTHENTICATOR_LAYOUT.pack(AUTHENTICATOR, _AUTHENTICATOR_SIZE, _NONCE_SIZE, TAG_SIZE)
_COOKIE_AT: Final = HEADER_SIZE + _UNIQUE_FIELD_SIZE

_Found = tuple[bytes, bytes, int, bytes, bytes, bytes]
"""The identifier's field, the cookie, how many new ones are asked for; what is authenticated, nonce and ciphertext."""


@cache  # there are no more lengths than octets in a datagram
def _usual(length: int) -> tuple[Struct, bytes, int] | None:
    """Give the usual layout of a request of this length, the head of its cookie, and where its authenticator begins."""
    start = length - _AUTHENTICATOR_SIZE
    size = start - _COOKIE_AT
    if size % 4 or not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
        return None
    fields = f"4s{UNIQUE_IDENTIFIER_SIZE}x4s{size - _FIELD_SIZE}s8s{_NONCE_SIZE}s{TAG_SIZE}s"
    layout = Struct(f"!{HEADER_SIZE}x{fields}")
    return layout, _FIELD.pack(COOKIE, size), start


def _find_usual(data: bytes) -> _Found | None:
    """
    Read at once what nearly every request is; None where it is anything else.

    It has an identifier of 32 octets, a cookie, and an authenticator with a nonce of 16 and no secrets, in this order.
    """
    usual = _usual(len(data))
    if usual is None:
        return None
    layout, expected, start = usual
    head, cookie_head, cookie, end, nonce, ciphertext = layout.unpack(data)
    if head != _UNIQUE_HEAD or cookie_head != expected or end != _AUTHENTICATOR_HEAD:
        return None
    return data[HEADER_SIZE:_COOKIE_AT], cookie, 1, data[:start], nonce, ciphertext


def _find(data: bytes) -> _Found | None:
    """Read a request of any layout; see ``ServerProtection.read``."""
    end = len(data)
    offset = HEADER_SIZE
    unique_id = cookie = b""
    unique_ids = cookies = 0
    placeholders: list[int] = []
    while end - offset >= MINIMUM_END:
        kind, size = _FIELD.unpack_from(data, offset)
        if size < MINIMUM_SIZE or size % 4 or size > end - offset:
            return None
        if kind == AUTHENTICATOR:
            break
        if kind == UNIQUE_IDENTIFIER:
            unique_ids += 1
            unique_id = data[offset : offset + size]
        elif kind == COOKIE:
            cookies += 1
            cookie = data[offset + _FIELD_SIZE : offset + size]
        elif kind == PLACEHOLDER:
            placeholders.append(size - _FIELD_SIZE)
        offset += size
    else:
        return None
    if unique_ids != 1 or len(unique_id) < _UNIQUE_FIELD_SIZE or cookies != 1:
        raise WireError("an NTS request has one unique identifier of 32 octets or more, and one cookie")
    wanted = 1 + sum(each >= len(cookie) for each in placeholders)
    return unique_id, cookie, min(wanted, CAPACITY), data[:offset], *authenticator(data, offset, size)


class ProtectedRequest(NamedTuple):
    """
    A request that uses NTS.

    ``unique_id`` is the field as it stands in the request.  ``session`` is None where the cookie or the authenticator
    does not open, which is answered with the kiss NTSN.  ``fields`` are the new cookies, to be encrypted in the reply.
    """

    unique_id: bytes
    session: SessionKeys | None
    fields: bytes


class ServerProtection:
    """What a server needs to answer NTS clients: its keys, and ``randbytes`` for nonces."""

    __slots__ = ("_keys", "_nonces")

    def __init__(self, keys: KeySet, randbytes: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._nonces = Nonces(randbytes)

    @property
    def masters(self) -> MasterKeys:
        """The keys in use, for processes that answer in our place."""
        return self._keys.masters

    def read(self, data: bytes) -> ProtectedRequest | None:
        """
        Read an NTPv4 request; None when it does not use NTS, WireError when it uses it in a way that has no answer.

        What makes no sense before an authenticator is no NTS either, and what follows one is not read.
        """
        found = _find_usual(data) or _find(data)
        if found is None:
            return None
        unique_id, cookie, cookies, packet, nonce, ciphertext = found
        session = self._keys.open_cookie(cookie)
        if session is None or session.request_key.open(nonce, ciphertext, packet) is None:
            return ProtectedRequest(unique_id, None, b"")
        room = len(data) - sealed_size(HEADER_SIZE + len(unique_id), session.reply_key)
        return ProtectedRequest(unique_id, session, self._fresh(session, cookies, room))

    def _fresh(self, session: SessionKeys, count: int, room: int) -> bytes:
        """Give the fields of so many new cookies, or of as many as have room."""
        cookie = self._keys.make_cookie(session)
        size = _FIELD_SIZE + len(cookie)
        head = _FIELD.pack(COOKIE, size)
        if count == 1 and size <= room:
            return head + cookie
        count = min(count, max(room, 0) // size)
        return b"".join(head + each for each in [cookie, *self._keys.make_cookies(session, count - 1)][:count])

    def seal(self, header: bytes, request: ProtectedRequest) -> bytes:
        """Give the reply that a header becomes; without a session it only returns the unique identifier."""
        packet = header + request.unique_id
        if request.session is None:
            return packet
        key = request.session.reply_key
        return seal(packet, key, self._nonces.take(key.nonce_size), request.fields)
