"""
The message authentication code at the end of a packet (RFC 5905, section 7.3; RFC 7822, section 3; RFC 8573).

A key id of four octets and a digest: 16 octets (MD5, AES-CMAC) or 20 (SHA-1, or a longer hash cut to fit).  A key id
of zero without a digest is a crypto-NAK: "your MAC did not verify".  This daemon has no keys: it reads the code only to
know where the packet ends, and neither verifies nor makes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from ntptwist.errors import WireError

_KEY_ID = Struct("!I")

DIGEST_SIZES: Final = (0, 16, 20)
"""Octets; 0 is the crypto-NAK's."""


@dataclass(frozen=True, slots=True)
class MAC:
    """
    A key id, unsigned 32 bits, and the digest made with that key.

    ValueError when the digest has another size than 16 or 20, or none with a key id other than zero.
    """

    key_id: int
    digest: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.key_id <= 0xFFFFFFFF:
            raise ValueError(f"a key id has 32 bits, {self.key_id} has not")
        if len(self.digest) not in DIGEST_SIZES:
            raise ValueError(f"a digest can't have {len(self.digest)} octets")
        if self.key_id and not self.digest:
            raise ValueError("a key id without a digest says nothing")

    @property
    def size(self) -> int:
        """The octets that this code takes in a packet."""
        return _KEY_ID.size + len(self.digest)

    @property
    def is_crypto_nak(self) -> bool:
        """Whether the server says that it could not verify our MAC."""
        return not self.digest

    @classmethod
    def parse(cls, data: bytes, offset: int) -> MAC:
        """Read the code that takes everything from ``offset`` on; WireError when it can't be one."""
        size = len(data) - offset - _KEY_ID.size
        if size not in DIGEST_SIZES:
            raise WireError(f"{len(data) - offset} octets are neither an extension field nor a MAC", offset)
        (key_id,) = _KEY_ID.unpack_from(data, offset)
        if key_id and not size:
            raise WireError("the MAC has a key id and no digest", offset)
        return cls(key_id, data[offset + _KEY_ID.size :])

    def serialize(self) -> bytes:
        """Give the octets as they stand at the end of a packet."""
        return _KEY_ID.pack(self.key_id) + self.digest


CRYPTO_NAK: Final = MAC(0, b"")
