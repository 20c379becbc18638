"""
The list of all leap seconds, as the IERS and the IETF publish it (``leap-seconds.list``).

A line of data holds the NTP time from which on, and TAI - UTC in seconds; ``#$`` is the time of the last change, ``#@``
when the list expires, ``#h`` the SHA-1 of the digits of all of these in the order of the file, as five hexadecimal
words.  A list without its hash, or with another, is refused.  After its end a list says nothing: an old one would
otherwise deny a leap second that it can't know.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from ntptwist.identifiers import Leap
from ntptwist.timestamp import EPOCH_OFFSET, NANOSECONDS, Timestamp

_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()
_LATEST = date.max.toordinal() - 31


class LeapSecond(NamedTuple):
    """From which second of UTC on, counted from 1970, TAI is how many seconds ahead."""

    start: int
    tai: int


@dataclass(frozen=True, slots=True)
class LeapTable:
    """All leap seconds, and until when that is known: seconds of UTC since 1970."""

    seconds: tuple[LeapSecond, ...]
    expires: int

    def tai(self, local: Timestamp) -> int | None:
        """Give TAI - UTC at a time, in seconds; None before the first entry, and when nobody knows yet."""
        now = local // NANOSECONDS
        if now >= self.expires:
            return None
        return next((second.tai for second in reversed(self.seconds) if second.start <= now), None)

    def announces(self, local: Timestamp) -> Leap | None:
        """Give the leap second at the end of this UTC month, as a server announces it; None when nobody knows yet."""
        now = local // NANOSECONDS
        if now >= self.expires:
            return None
        ordinal = _EPOCH + now // _DAY
        if not date.min.toordinal() <= ordinal <= _LATEST:
            return None
        today = date.fromordinal(ordinal)
        following = date(today.year + today.month // 12, today.month % 12 + 1, 1)
        end = (following.toordinal() - _EPOCH) * _DAY
        for before, after in zip(self.seconds, self.seconds[1:], strict=False):
            if after.start == end:
                return Leap.INSERT if after.tai > before.tai else Leap.DELETE
        return Leap.NONE


def parse_leap_table(text: str) -> LeapTable:
    """Read a list; ValueError says what is wrong with it."""
    digits = hashlib.sha1(usedforsecurity=False)
    seconds: list[LeapSecond] = []
    expires: int | None = None
    given: list[int] = []
    try:
        for line in text.splitlines():
            kind, words = line[:2], line[2:].split()
            if kind == "#h":
                given = [int(word, 16) for word in words]
            elif kind in ("#$", "#@"):
                stamp = "".join(words[:1])
                digits.update(stamp.encode())
                expires = int(stamp) - EPOCH_OFFSET if kind == "#@" else expires
            elif line.strip() and not line.startswith("#"):
                start, tai = line.partition("#")[0].split()
                digits.update((start + tai).encode())
                seconds.append(LeapSecond(int(start) - EPOCH_OFFSET, int(tai)))
    except ValueError as error:
        raise ValueError("it is no list of leap seconds") from error
    octets = digits.digest()
    if given != [int.from_bytes(octets[i : i + 4], "big") for i in range(0, len(octets), 4)]:
        raise ValueError("its hash is missing or wrong")
    if expires is None or not seconds or seconds != sorted(seconds):
        raise ValueError("it is incomplete")
    return LeapTable(tuple(seconds), expires)
