"""
The server's end of NTS-protected packets (RFC 8915, sections 5.7 and 6): reads requests, seals replies.

Nothing is kept between a request and the next.  A cookie is given for the cookie that came, and one for each
placeholder of its size, as long as the reply is no longer than the request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack

from ntptwist.errors import WireError
from ntptwist.nts.aead import SessionKeys
from ntptwist.nts.cookies import CAPACITY
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.packet import (
    COOKIE,
    PLACEHOLDER,
    UNIQUE_IDENTIFIER,
    UNIQUE_IDENTIFIER_SIZE,
    open_packet,
    position,
    seal,
    sealed_size,
)
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.message import Message


@dataclass(frozen=True, slots=True)
class ProtectedRequest:
    """
    A request that uses NTS.

    ``session`` is None where the cookie or the authenticator does not open, which is answered with the kiss NTSN.
    ``cookies`` is how many new ones it asks for, ``size`` its octets.
    """

    unique_id: bytes = field(repr=False)
    session: SessionKeys | None
    cookies: int
    size: int


class ServerProtection:
    """What a server needs to answer NTS clients: its keys, and ``randbytes`` for nonces."""

    __slots__ = ("_keys", "_randbytes")

    def __init__(self, keys: KeySet, randbytes: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._randbytes = randbytes

    def read(self, data: bytes) -> ProtectedRequest | None:
        """
        Read a request; None when it does not use NTS, WireError when it uses it in a way that has no answer.

        What follows a header and makes no sense is no NTS either.
        """
        try:
            message = Message.parse(data)
        except WireError:
            return None
        index = position(message.fields)
        if index is None:
            return None
        covered = message.fields[:index]
        unique_ids = [each.body for each in covered if each.type == UNIQUE_IDENTIFIER]
        cookies = [each.body for each in covered if each.type == COOKIE]
        if len(unique_ids) != 1 or len(unique_ids[0]) < UNIQUE_IDENTIFIER_SIZE or len(cookies) != 1:
            raise WireError("an NTS request has one unique identifier of 32 octets or more, and one cookie")
        session = self._keys.open_cookie(cookies[0])
        if session is not None and open_packet(data, message.fields, index, session.request_key) is None:
            session = None
        wanted = 1 + sum(each.type == PLACEHOLDER and len(each.body) >= len(cookies[0]) for each in covered)
        return ProtectedRequest(unique_ids[0], session, min(wanted, CAPACITY), len(data))

    def seal(self, header: bytes, request: ProtectedRequest) -> bytes:
        """Give the reply that a header becomes; without a session it only returns the unique identifier."""
        packet = header + ExtensionField(UNIQUE_IDENTIFIER, request.unique_id).serialize()
        if request.session is None:
            return packet
        key = request.session.reply_key
        room = request.size - sealed_size(packet, key)
        fresh = b""
        for _ in range(request.cookies):
            cookie = self._keys.make_cookie(request.session)
            more = pack("!HH", COOKIE, 4 + len(cookie)) + cookie
            if len(fresh) + len(more) > room:
                break
            fresh += more
        return seal(packet, key, self._randbytes(key.nonce_size), fresh)
