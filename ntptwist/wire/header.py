"""
The 48-octet header that NTPv3 and NTPv4 share (RFC 5905, section 7.3, figure 8).

Every field keeps its raw value, so that reading and writing lose nothing: durations are 16.16 and timestamps 32.32
fixed point (``ntptwist.timestamp`` converts).  The era of a timestamp is known to the caller only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, error
from typing import Final

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId

HEADER_SIZE: Final = 48
VERSIONS: Final = (3, 4)
"""The versions whose header has this layout and whose trailer this package knows."""


class Mode(IntEnum):
    """The association mode of RFC 5905, figure 10."""

    RESERVED = 0
    SYMMETRIC_ACTIVE = 1
    SYMMETRIC_PASSIVE = 2
    CLIENT = 3
    SERVER = 4
    BROADCAST = 5
    CONTROL = 6
    PRIVATE = 7


_LAYOUT = Struct("!BBbbII4sQQQQ")
_NO_REFERENCE_ID = ReferenceId()
# A tuple is indexed five times faster than an enum is called, and a server reads these for every request.
_LEAPS = tuple(Leap)
_MODES = tuple(Mode)


@dataclass(frozen=True, slots=True)
class Header:
    """
    The header of one packet.

    ``version`` is 3 or 4.  ``poll`` and ``precision`` are log2 seconds, -128..127.  ``root_delay`` and
    ``root_dispersion`` are unsigned 16.16 seconds, the four timestamps unsigned 32.32 seconds of an unknown era, and 0
    where there is none.
    """

    leap: Leap = Leap.NONE
    version: int = 4
    mode: Mode = Mode.CLIENT
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    reference_id: ReferenceId = _NO_REFERENCE_ID
    reference_timestamp: int = 0
    origin_timestamp: int = 0
    receive_timestamp: int = 0
    transmit_timestamp: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read the first 48 octets; WireError when there are fewer or the version is neither 3 nor 4."""
        if len(data) < HEADER_SIZE:
            raise WireError(f"the packet is shorter than the {HEADER_SIZE} octets of a header", len(data))
        first, stratum, poll, precision, delay, dispersion, name, *timestamps = _LAYOUT.unpack_from(data)
        version = first >> 3 & 7
        if version not in VERSIONS:
            raise WireError(f"NTP version {version} is unknown here")
        return cls(
            _LEAPS[first >> 6],
            version,
            _MODES[first & 7],
            stratum,
            poll,
            precision,
            delay,
            dispersion,
            ReferenceId(name),
            *timestamps,
        )

    def serialize(self) -> bytes:
        """Give the 48 octets; ValueError when a field is out of its range."""
        if self.version not in VERSIONS:
            raise ValueError(f"NTP version {self.version} is unknown here")
        try:
            return _LAYOUT.pack(
                self.leap << 6 | self.version << 3 | self.mode,
                self.stratum,
                self.poll,
                self.precision,
                self.root_delay,
                self.root_dispersion,
                self.reference_id,
                self.reference_timestamp,
                self.origin_timestamp,
                self.receive_timestamp,
                self.transmit_timestamp,
            )
        except error as problem:
            raise ValueError(f"a header field is out of its range: {problem}") from problem
