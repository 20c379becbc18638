"""
The framing of NTPv4 extension fields (RFC 7822, section 3): a type, a length, a body.

What the body means is the business of others.  A body holds every octet after the length, padding included, so what is
read and written again is the same to the octet, and a field lies where the sizes of the fields before it say.  That is
what a signature over the raw packet needs.

A field is at least 16 octets long and a trailing MAC at most 24, so fields go on while more than 24 octets are left:
that is how the two are told apart, and why the last field of a packet without a MAC has at least 28 octets.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from ntptwist.errors import WireError

MINIMUM_SIZE: Final = 16
"""Octets of the shortest field, type and length included."""

MINIMUM_END: Final = 28
"""Octets from the start of the last field to the end of the packet, so that they can't be taken for a MAC."""

MAXIMUM_SIZE: Final = 0xFFFC
"""Octets of the longest field: the largest multiple of four that its length can state."""

_LAYOUT = Struct("!HH")


@dataclass(frozen=True, slots=True)
class ExtensionField:
    """
    One extension field: ``type`` is an unsigned 16-bit number, ``body`` everything after the length.

    The body is padded already: a multiple of four octets, 12 to 65528 of them.  ValueError otherwise.
    """

    type: int
    body: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.type <= 0xFFFF:
            raise ValueError(f"an extension field type has 16 bits, {self.type} has not")
        if self.size % 4 or not MINIMUM_SIZE <= self.size <= MAXIMUM_SIZE:
            raise ValueError(f"an extension field can't have {self.size} octets")

    @classmethod
    def padded(cls, kind: int, value: bytes, size: int = MINIMUM_SIZE) -> ExtensionField:
        """Make a field of at least ``size`` octets, padded with zeros as RFC 7822 asks."""
        length = max(_LAYOUT.size + len(value), size)
        return cls(kind, value.ljust((length + 3) // 4 * 4 - _LAYOUT.size, b"\0"))

    @property
    def size(self) -> int:
        """The octets that this field takes in a packet."""
        return _LAYOUT.size + len(self.body)

    def serialize(self) -> bytes:
        """Give the field as it stands in a packet."""
        return _LAYOUT.pack(self.type, self.size) + self.body


def parse_fields(data: bytes, offset: int) -> tuple[tuple[ExtensionField, ...], int]:
    """
    Read the fields that begin at ``offset``; give them and the offset where they end, where only a MAC finds room.

    WireError when a length is too short, no multiple of four, or more than there is.
    """
    fields = []
    while len(data) - offset >= MINIMUM_END:
        kind, size = _LAYOUT.unpack_from(data, offset)
        if size < MINIMUM_SIZE or size % 4:
            raise WireError(f"an extension field can't have {size} octets", offset + 2)
        if size > len(data) - offset:
            raise WireError(f"an extension field of {size} octets reaches beyond the packet", offset + 2)
        fields.append(ExtensionField(kind, data[offset + _LAYOUT.size : offset + size]))
        offset += size
    return tuple(fields), offset
