"""
A whole NTP packet: the header, then extension fields (NTPv4 only), then perhaps a MAC.

Reading is strict: every octet belongs to one of the three.  Any bytes give a Message or raise WireError, and what was
read is written again to the octet, so the offset of ``fields[n]`` is ``HEADER_SIZE`` plus the sizes of those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntptwist.wire.extension import MINIMUM_END, ExtensionField, parse_fields
from ntptwist.wire.header import HEADER_SIZE, Header
from ntptwist.wire.mac import MAC


@dataclass(frozen=True, slots=True)
class Message:
    """
    One packet.

    ValueError when a packet can't say this: fields in NTPv3, or a last field so short that it would be read as a MAC.
    """

    header: Header
    fields: tuple[ExtensionField, ...] = ()
    mac: MAC | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            return
        if self.header.version < 4:
            raise ValueError("NTPv3 has no extension fields")
        if self.fields[-1].size + (self.mac.size if self.mac is not None else 0) < MINIMUM_END:
            raise ValueError(f"the last field begins less than {MINIMUM_END} octets before the end")

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """Read one packet; WireError, with the octet where it fails, for everything that is none."""
        header = Header.parse(data)
        end = HEADER_SIZE
        if len(data) == end:
            return cls(header)
        fields: tuple[ExtensionField, ...] = ()
        if header.version >= 4:
            fields, end = parse_fields(data, end)
        return cls(header, fields, MAC.parse(data, end) if end < len(data) else None)

    def serialize(self) -> bytes:
        """Give the octets of the packet; ValueError when a header field is out of its range."""
        parts = [self.header.serialize(), *(field.serialize() for field in self.fields)]
        if self.mac is not None:
            parts.append(self.mac.serialize())
        return b"".join(parts)
