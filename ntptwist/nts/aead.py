"""
The authenticated encryption that NTS may negotiate (RFC 8915, section 5.1; RFC 5297; RFC 8452).

A key object is made once and kept: making one costs twice as much as sealing a packet with it.  Whatever holds a key
shows none of its octets when it is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from struct import Struct, pack
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

EXPORTER_LABEL: Final = b"EXPORTER-network-time-security"
NTPV4: Final = 0
"""The number of NTPv4 among the protocols that keys can be exchanged for (RFC 8915, section 7.7)."""

Exporter = Callable[[bytes, int], bytes]
"""``export(context, length)``: the key material that TLS derives under EXPORTER_LABEL (RFC 8446, section 7.5)."""


class Algorithm(IntEnum):
    """The AEADs that are known here, by their numbers in IANA's registry."""

    AES_SIV_CMAC_256 = 15
    AES_SIV_CMAC_512 = 17
    AES_128_GCM_SIV = 30


OFFERED: Final = (Algorithm.AES_SIV_CMAC_512, Algorithm.AES_SIV_CMAC_256, Algorithm.AES_128_GCM_SIV)
"""In the order of our preference."""

KEY_SIZES: Final = {
    Algorithm.AES_SIV_CMAC_256: 32,
    Algorithm.AES_SIV_CMAC_512: 64,
    Algorithm.AES_128_GCM_SIV: 16,
}
"""Octets of a key."""

TAG_SIZE: Final = 16
"""Octets by which a ciphertext is longer than its plaintext, whatever the algorithm."""


class Key(Protocol):
    """A key and what it does; ``nonce_size`` is what we use of nonces, in octets."""

    nonce_size: int

    def seal(self, nonce: bytes, plaintext: bytes, *associated: bytes) -> bytes:
        """Encrypt a plaintext, which may be empty, and authenticate it together with the associated data."""

    def open(self, nonce: bytes, ciphertext: bytes, *associated: bytes) -> bytes | None:
        """Give the plaintext, or None when anything is not as it was sealed."""


class SIVKey:
    """AES-SIV-CMAC with 32 or 64 octets of key; the tag is the first of the ciphertext."""

    __slots__ = ("_decrypt", "_encrypt", "nonce_size")

    def __init__(self, octets: bytes) -> None:
        self.nonce_size = 16
        cipher = AESSIV(octets)
        self._encrypt, self._decrypt = cipher.encrypt, cipher.decrypt

    def seal(self, nonce: bytes, plaintext: bytes, *associated: bytes) -> bytes:
        """Encrypt; any number of strings of associated data, and the nonce is the last (RFC 5297, section 3)."""
        return self._encrypt(plaintext, [*associated, nonce])

    def open(self, nonce: bytes, ciphertext: bytes, *associated: bytes) -> bytes | None:
        """Decrypt; None when it does not verify."""
        try:
            return self._decrypt(ciphertext, [*associated, nonce])
        except (InvalidTag, ValueError):  # ValueError: an empty nonce, which S2V can't take from the wire
            return None


class GCMSIVKey:
    """AES-GCM-SIV with 16 octets of key; the tag is the last of the ciphertext, the nonce has 12 octets."""

    __slots__ = ("_cipher", "nonce_size")

    def __init__(self, octets: bytes) -> None:
        self.nonce_size = 12
        self._cipher = AESGCMSIV(octets)

    def seal(self, nonce: bytes, plaintext: bytes, *associated: bytes) -> bytes:
        """Encrypt; more than one string of associated data is a ValueError."""
        return self._cipher.encrypt(nonce, plaintext, _only(associated))

    def open(self, nonce: bytes, ciphertext: bytes, *associated: bytes) -> bytes | None:
        """Decrypt; None when it does not verify."""
        try:
            return self._cipher.decrypt(nonce, ciphertext, _only(associated))
        except (InvalidTag, ValueError):  # ValueError: a nonce of another size
            return None


def _only(associated: tuple[bytes, ...]) -> bytes:
    if len(associated) > 1:
        raise ValueError("AES-GCM-SIV takes one string of associated data")
    return associated[0] if associated else b""


def make_key(algorithm: Algorithm, octets: bytes) -> Key:
    """Make a key; ValueError when it has a wrong number of octets."""
    _check_size(algorithm, octets)
    return GCMSIVKey(octets) if algorithm is Algorithm.AES_128_GCM_SIV else SIVKey(octets)


_ALGORITHM = Struct("!H")


def _check_size(algorithm: Algorithm, octets: bytes) -> None:
    if len(octets) != KEY_SIZES[algorithm]:
        raise ValueError(f"{algorithm.name} takes keys of {KEY_SIZES[algorithm]} octets, not {len(octets)}")


@dataclass(frozen=True)
class SessionKeys:
    """
    The keys that a client and a server share: the octets, and the objects that use them.

    ``c2s`` protects requests, ``s2c`` replies.  ValueError when one has not the size of the algorithm.  The objects are
    made when they are first used: a key exchange server only puts the octets into cookies.
    """

    algorithm: Algorithm
    c2s: bytes = field(repr=False)
    s2c: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for octets in (self.c2s, self.s2c):
            _check_size(self.algorithm, octets)

    @cached_property
    def request_key(self) -> Key:
        """The key of requests."""
        return make_key(self.algorithm, self.c2s)

    @cached_property
    def reply_key(self) -> Key:
        """The key of replies."""
        return make_key(self.algorithm, self.s2c)

    @cached_property
    def secret(self) -> bytes:
        """What a cookie holds encrypted: the algorithm, the key of replies, that of requests (ntpd-rs' layout)."""
        return _ALGORITHM.pack(self.algorithm) + self.s2c + self.c2s

    @classmethod
    def parse(cls, secret: bytes) -> SessionKeys | None:
        """Read what a cookie held; None where it is of a program that shares our master keys and knows more."""
        (number,) = _ALGORITHM.unpack_from(secret)
        if number not in KEY_SIZES or len(secret) != _ALGORITHM.size + 2 * KEY_SIZES[number]:
            return None
        middle = _ALGORITHM.size + KEY_SIZES[number]
        return cls(Algorithm(number), secret[middle:], secret[_ALGORITHM.size : middle])

    @classmethod
    def export(cls, algorithm: Algorithm, export: Exporter) -> SessionKeys:
        """Derive the keys of NTPv4 from a TLS session (RFC 8915, section 5.1)."""
        size = KEY_SIZES[algorithm]
        c2s, s2c = (export(pack("!HHB", NTPV4, algorithm, direction), size) for direction in (0, 1))
        return cls(algorithm, c2s, s2c)
