"""
The server's end of NTS-protected packets (RFC 8915, sections 5.7 and 6): reads requests, seals replies.

Nothing is kept between a request and the next.  A cookie is given for the cookie that came, and one for each
placeholder of its size, as long as the reply is no longer than the request.

This is done for every request of every client, so the fields are read in one pass and nothing is made of them but what
the reply needs; ``wire.message`` reads the same fields for those who want to look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from ntptwist.errors import WireError
from ntptwist.nts.aead import SessionKeys
from ntptwist.nts.cookies import CAPACITY
from ntptwist.nts.keyset import KeySet, MasterKeys
from ntptwist.nts.packet import (
    AUTHENTICATOR,
    COOKIE,
    PLACEHOLDER,
    UNIQUE_IDENTIFIER,
    UNIQUE_IDENTIFIER_SIZE,
    open_sealed,
    seal,
    sealed_size,
)
from ntptwist.wire.extension import MINIMUM_END, MINIMUM_SIZE
from ntptwist.wire.header import HEADER_SIZE

_FIELD = Struct("!HH")


class ProtectedRequest(NamedTuple):
    """
    A request that uses NTS.

    ``unique_id`` is the field as it stands in the request.  ``session`` is None where the cookie or the authenticator
    does not open, which is answered with the kiss NTSN.  ``cookies`` is how many new ones it asks for, ``size`` its
    octets.
    """

    unique_id: bytes
    session: SessionKeys | None
    cookies: int
    size: int


class ServerProtection:
    """What a server needs to answer NTS clients: its keys, and ``randbytes`` for nonces."""

    __slots__ = ("_keys", "_randbytes")

    def __init__(self, keys: KeySet, randbytes: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._randbytes = randbytes

    @property
    def masters(self) -> MasterKeys:
        """The keys in use, for processes that answer in our place."""
        return self._keys.masters

    def read(self, data: bytes) -> ProtectedRequest | None:
        """
        Read an NTPv4 request; None when it does not use NTS, WireError when it uses it in a way that has no answer.

        What makes no sense before an authenticator is no NTS either, and what follows one is not read.
        """
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
                cookie = data[offset + _FIELD.size : offset + size]
            elif kind == PLACEHOLDER:
                placeholders.append(size - _FIELD.size)
            offset += size
        else:
            return None
        if unique_ids != 1 or len(unique_id) < _FIELD.size + UNIQUE_IDENTIFIER_SIZE or cookies != 1:
            raise WireError("an NTS request has one unique identifier of 32 octets or more, and one cookie")
        session = self._keys.open_cookie(cookie)
        if session is not None and open_sealed(data, offset, size, session.request_key) is None:
            session = None
        wanted = 1 + sum(each >= len(cookie) for each in placeholders) if placeholders else 1
        return ProtectedRequest(unique_id, session, min(wanted, CAPACITY), end)

    def seal(self, header: bytes, request: ProtectedRequest) -> bytes:
        """Give the reply that a header becomes; without a session it only returns the unique identifier."""
        packet = header + request.unique_id
        if request.session is None:
            return packet
        key = request.session.reply_key
        room = request.size - sealed_size(packet, key)
        fresh = self._keys.make_cookies(request.session, request.cookies)
        size = _FIELD.size + len(fresh[0])
        field = _FIELD.pack(COOKIE, size)
        fields = b"".join([field + cookie for cookie in fresh[: max(room, 0) // size]])
        return seal(packet, key, self._randbytes(key.nonce_size), fields)
