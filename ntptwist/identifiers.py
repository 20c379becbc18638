"""
Names of things on the wire and in the daemon: sources, their ends, reference ids, kiss codes, leap states.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NewType, Self

SourceId = NewType("SourceId", int)
SpawnerId = NewType("SpawnerId", int)


class Leap(IntEnum):
    """The leap indicator of RFC 5905, figure 9."""

    NONE = 0
    INSERT = 1
    DELETE = 2
    UNSYNCHRONIZED = 3

    def __str__(self) -> str:
        return self.name.lower()


class KissCode(Enum):
    """The kiss codes that a client acts upon (RFC 5905, section 7.4; RFC 8915, section 5.7)."""

    RATE = b"RATE"
    DENY = b"DENY"
    RSTR = b"RSTR"
    NTSN = b"NTSN"


class EndReason(Enum):
    """Why a source came to its end; what follows is its spawner's business."""

    DEMOBILIZED = "the server asked us to stay away"
    NETWORK_ISSUE = "the local network refused"
    UNREACHABLE = "no answers"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """The end of a source: the reason that its spawner decides by, and an explanation for people."""

    reason: EndReason
    explanation: str


class ReferenceId(bytes):
    """
    The four octets that name a server's own source (RFC 5905, section 7.3).

    An IPv4 address, the first four octets of the MD5 of an IPv6 address, or up to four ASCII characters.
    """

    __slots__ = ()

    def __new__(cls, octets: bytes = bytes(4)) -> Self:
        """Take exactly four octets; ValueError otherwise."""
        if len(octets) != 4:
            raise ValueError(f"a reference id has four octets, not {len(octets)}")
        return super().__new__(cls, octets)

    @classmethod
    def of_address(cls, address: str | IPv4Address | IPv6Address) -> ReferenceId:
        """Give the id of a server at a literal address; ValueError when it is none."""
        parsed = ip_address(str(address).partition("%")[0])
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        if isinstance(parsed, IPv4Address):
            return cls(parsed.packed)
        return cls(hashlib.md5(parsed.packed, usedforsecurity=False).digest()[:4])

    @classmethod
    def of_text(cls, text: str) -> ReferenceId:
        """Give the id of up to four ASCII characters, padded with NUL (RFC 5905, figure 12)."""
        return cls(text.encode("ascii").ljust(4, b"\0"))

    def text(self, stratum: int) -> str:
        """Give the id as people write it: letters up to stratum 1, hexadecimal above."""
        letters = bytes(self).rstrip(b"\0 ")
        if stratum <= 1 and letters and letters.isascii() and letters.decode("ascii").isprintable():
            return letters.decode("ascii")
        return self.hex().upper()


NO_REFERENCE = ReferenceId(b"XNON")
"""What an unsynchronised daemon reports; ntpd-rs' default."""
