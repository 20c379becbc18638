"""
A server's own keys, and the cookies that it makes with them (RFC 8915, section 6).

A server keeps nothing of its clients: a cookie holds the keys of one, encrypted with a master key that only the server
knows, and comes back with each request.  The layouts of a cookie and of the file are ntpd-rs', so that both can stand
behind one key exchange.  A cookie is key id, length of the ciphertext, nonce, ciphertext; inside, the algorithm, then
the key of replies, then that of requests (``SessionKeys.secret``).

Master keys stand in the order of their age: old ones, which only open cookies; the one that makes them; and, unlike
ntpd-rs, the next one.  It is there a whole interval before it is used, so hosts that share the keys by copies of one
file have time to get their copy before the first cookie of a new key comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from struct import Struct
from typing import Final

from ntptwist.errors import WireError
from ntptwist.nts.aead import TAG_SIZE, SessionKeys, SIVKey
from ntptwist.nts.nonces import Nonces

MASTER_KEY_SIZE: Final = 64
"""Octets: cookies are sealed with AES-SIV-CMAC-512."""

NONCE_SIZE: Final = 16
"""Octets of the nonce in a cookie."""

CACHED_SESSIONS: Final = 1024
"""Clients whose key objects are kept: making them costs more than answering a request."""

_COOKIE = Struct("!IH16s")
_CIPHERTEXT_AT: Final = _COOKIE.size
_FILE = Struct("!QIII")
_IDS = 1 << 32


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """
    The master keys at one time, as a file keeps them.

    ``since`` is when the current one came into use, Unix seconds (ntpd-rs: when the file was written).  The ids of
    ``keys`` are ``first_id`` and those that follow it, modulo 2^32; ``current`` is an index.
    """

    since: int
    first_id: int
    keys: tuple[bytes, ...] = field(repr=False)
    current: int

    @classmethod
    def fresh(cls, now: int, randbytes: Callable[[int], bytes]) -> MasterKeys:
        """Make new ones; their ids are random, so that cookies of other keys are not taken for their own."""
        first_id = int.from_bytes(randbytes(4), "big")
        return cls(now, first_id, (randbytes(MASTER_KEY_SIZE), randbytes(MASTER_KEY_SIZE)), 0)

    @classmethod
    def parse(cls, data: bytes) -> MasterKeys:
        """Read the content of a file; WireError when it can't be one."""
        if len(data) < _FILE.size:
            raise WireError("it is too short for a file of NTS keys", len(data))
        since, first_id, current, count = _FILE.unpack_from(data)
        if len(data) != _FILE.size + count * MASTER_KEY_SIZE:
            raise WireError(f"it has not the size of a file of {count} NTS keys", _FILE.size)
        if current >= count:
            raise WireError(f"it has {count} NTS keys and says that number {current + 1} is in use", 12)
        starts = range(_FILE.size, len(data), MASTER_KEY_SIZE)
        return cls(since, first_id, tuple(data[start : start + MASTER_KEY_SIZE] for start in starts), current)

    def serialize(self) -> bytes:
        """Give the content of a file."""
        return _FILE.pack(self.since, self.first_id, self.current, len(self.keys)) + b"".join(self.keys)

    def rotated(self, since: int, stale: int, randbytes: Callable[[int], bytes]) -> MasterKeys:
        """Give the keys once the next one is in use; so many old ones are kept, and a new next one is made."""
        keys = list(self.keys[: self.current + 2])
        while len(keys) < self.current + 3:
            keys.append(randbytes(MASTER_KEY_SIZE))
        dropped = max(self.current + 1 - stale, 0)
        first_id = (self.first_id + dropped) % _IDS
        return MasterKeys(since, first_id, tuple(keys[dropped:]), self.current + 1 - dropped)

    def due(self, now: int, interval: int) -> int:
        """Give how many rotations are missing; a clock that shows a time before ``since`` tells nothing: none."""
        return max(now - self.since, 0) // interval

    def caught_up(self, now: int, interval: int, stale: int, randbytes: Callable[[int], bytes]) -> MasterKeys:
        """Give the keys as they had been if nobody had missed a rotation, so that old ones open no cookies any more."""
        due = self.due(now, interval)
        keys = self
        for _ in range(min(due, stale + 2)):  # by then every key is another
            keys = keys.rotated(self.since, stale, randbytes)
        return replace(keys, since=self.since + due * interval)


class KeySet:
    """
    The master keys in use: they make cookies and open them.

    One set is shared by all servers of a process; ``use`` replaces its keys for all of them.  ``randbytes`` gives that
    many unpredictable octets.
    """

    __slots__ = ("_by_id", "_current", "_current_id", "_masters", "_nonces", "_session")

    def __init__(self, masters: MasterKeys, randbytes: Callable[[int], bytes]) -> None:
        self._nonces = Nonces(randbytes)
        self._session = lru_cache(CACHED_SESSIONS)(SessionKeys.parse)
        self.use(masters)

    @classmethod
    def fresh(cls, randbytes: Callable[[int], bytes]) -> KeySet:
        """Make a set of new keys, for those who neither keep nor rotate them."""
        return cls(MasterKeys.fresh(0, randbytes), randbytes)

    @property
    def masters(self) -> MasterKeys:
        """The keys."""
        return self._masters

    def use(self, masters: MasterKeys) -> None:
        """Make and open cookies with these keys from now on."""
        self._masters = masters
        self._by_id = {(masters.first_id + index) % _IDS: SIVKey(key) for index, key in enumerate(masters.keys)}
        self._current_id = (masters.first_id + masters.current) % _IDS
        self._current = self._by_id[self._current_id]

    def make_cookies(self, session: SessionKeys, count: int) -> list[bytes]:
        """Make new cookies: 104 octets each with AES-SIV-CMAC-256, 168 with -512, 72 with AES-128-GCM-SIV."""
        return [self.make_cookie(session) for _ in range(count)]

    def make_cookie(self, session: SessionKeys) -> bytes:
        """Make one new cookie."""
        secret, nonce = session.secret, self._nonces.take(NONCE_SIZE)
        return _COOKIE.pack(self._current_id, TAG_SIZE + len(secret), nonce) + self._current.seal(nonce, secret)

    def open_cookie(self, cookie: bytes) -> SessionKeys | None:
        """Give the keys in a cookie, which may be padded; None when it was not made with one of these keys."""
        if len(cookie) < _CIPHERTEXT_AT:
            return None
        number, size, nonce = _COOKIE.unpack_from(cookie)
        master = self._by_id.get(number)
        end = _CIPHERTEXT_AT + size
        if master is None or end > len(cookie):
            return None
        secret = master.open(nonce, cookie[_CIPHERTEXT_AT:end])
        return self._session(secret) if secret is not None else None
