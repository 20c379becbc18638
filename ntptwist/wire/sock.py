"""
The sample that gpsd writes to a socket of a time daemon, as chrony's SOCK reference clock defined it.

It is a C structure in the machine's own byte order: a timeval, the offset as a double, then the 32-bit integers pulse,
leap, padding and magic.  Where ``time_t`` has 64 bits these are 40 octets, where it has 32 they are 32, and both are
read whatever this machine's own is.  No layout has a gap, so none depends on the compiler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap
from ntptwist.timestamp import NANOSECONDS, Timestamp

MAGIC: Final = 0x534F434B
"""``SOCK``."""
LARGEST_OFFSET: Final = float(1 << 33)
"""Seconds, two eras of NTP: an offset beyond them is no measurement."""

_LAYOUTS = {layout.size: layout for layout in (Struct("=qqdiiii"), Struct("=iidiiii"))}
_LAYOUT = Struct("=qqdiiii")
_MICROSECONDS = 1_000_000
_LATEST = 1 << 34
"""Seconds since 1970 of the year 2514: a time that can be in the future of nobody who reads this."""


@dataclass(frozen=True, slots=True)
class SockSample:
    """
    One sample: at ``time`` on this machine's CLOCK_REALTIME the true time was ``offset`` seconds later.

    ``leap`` is UNSYNCHRONIZED while gpsd itself does not trust what it says.
    """

    time: Timestamp
    offset: float
    leap: Leap = Leap.NONE

    @classmethod
    def parse(cls, data: bytes) -> SockSample:
        """Read a datagram; WireError when it is anything but one sample of a whole time."""
        layout = _LAYOUTS.get(len(data))
        if layout is None:
            raise WireError(f"{len(data)} octets, a sample has {' or '.join(map(str, sorted(_LAYOUTS)))}")
        seconds, microseconds, offset, pulse, leap, _, magic = layout.unpack(data)
        if magic != MAGIC:
            raise WireError(f"magic {magic & 0xFFFFFFFF:#010x}, not {MAGIC:#010x}", len(data) - 4)
        if not (0 <= seconds < _LATEST and 0 <= microseconds < _MICROSECONDS):
            raise WireError(f"{seconds} s and {microseconds} us are no time")
        if not math.isfinite(offset) or abs(offset) >= LARGEST_OFFSET:
            raise WireError(f"an offset of {offset:g} s", len(data) - 24)
        if pulse:
            raise WireError("a pulse, which tells no whole time", len(data) - 16)
        if not 0 <= leap <= Leap.UNSYNCHRONIZED:
            raise WireError(f"leap {leap}", len(data) - 12)
        return cls(Timestamp(seconds * NANOSECONDS + microseconds * 1000), offset, Leap(leap))

    def serialize(self) -> bytes:
        """Write the 40 octets that gpsd would; its time is cut to the microsecond."""
        seconds, nanoseconds = divmod(self.time, NANOSECONDS)
        return _LAYOUT.pack(seconds, nanoseconds // 1000, self.offset, 0, self.leap, 0, MAGIC)
