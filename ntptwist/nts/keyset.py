"""
A server's own keys, and the cookies that it makes with them (RFC 8915, section 6).

A server keeps nothing of its clients: a cookie holds the keys of one, encrypted with a key that only the server knows,
and comes back with each request.  The layout is ntpd-rs', so that both can stand behind one key exchange: key id,
length of the ciphertext, nonce, ciphertext; inside, the algorithm, then the key of replies, then that of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final

from ntptwist.nts.aead import KEY_SIZES, Algorithm, SessionKeys, SIVKey

MASTER_KEY_SIZE: Final = 64
"""Octets: cookies are sealed with AES-SIV-CMAC-512."""

CACHED_SESSIONS: Final = 1024
"""Clients whose key objects are kept: making them costs more than answering a request."""

_HEAD = Struct("!IH16s")
_ALGORITHM = Struct("!H")


class KeySet:
    """
    The master keys by their ids, and which of them is used for new cookies.

    ``randbytes`` gives that many unpredictable octets.
    """

    __slots__ = ("_current", "_masters", "_randbytes", "_session")

    def __init__(self, masters: Mapping[int, bytes], current: int, randbytes: Callable[[int], bytes]) -> None:
        self._masters = {number: SIVKey(octets) for number, octets in masters.items()}
        self._current = current
        self._randbytes = randbytes
        self._session = lru_cache(CACHED_SESSIONS)(SessionKeys)

    @classmethod
    def fresh(cls, randbytes: Callable[[int], bytes]) -> KeySet:
        """Make a set of one new key; its id is random, so that cookies of other sets are not taken for its own."""
        number = int.from_bytes(randbytes(4), "big")
        return cls({number: randbytes(MASTER_KEY_SIZE)}, number, randbytes)

    def make_cookie(self, session: SessionKeys) -> bytes:
        """Make a new cookie: 104 octets with AES-SIV-CMAC-256, 168 with -512, 72 with AES-128-GCM-SIV."""
        nonce = self._randbytes(16)
        secret = _ALGORITHM.pack(session.algorithm) + session.s2c + session.c2s
        ciphertext = self._masters[self._current].seal(nonce, secret)
        return _HEAD.pack(self._current, len(ciphertext), nonce) + ciphertext

    def open_cookie(self, cookie: bytes) -> SessionKeys | None:
        """Give the keys in a cookie, which may be padded; None when it was not made with one of these keys."""
        if len(cookie) < _HEAD.size:
            return None
        number, size, nonce = _HEAD.unpack_from(cookie)
        master = self._masters.get(number)
        if master is None or _HEAD.size + size > len(cookie):
            return None
        secret = master.open(nonce, cookie[_HEAD.size : _HEAD.size + size])
        if secret is None:
            return None
        (number,) = _ALGORITHM.unpack_from(secret)
        if number not in KEY_SIZES or len(secret) != _ALGORITHM.size + 2 * KEY_SIZES[number]:
            return None  # ours, but of a program that knows other algorithms
        middle = _ALGORITHM.size + KEY_SIZES[number]
        return self._session(Algorithm(number), secret[middle:], secret[_ALGORITHM.size : middle])
