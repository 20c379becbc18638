"""
Points in time and the formats of RFC 5905, section 6.

Inside the daemon a point in time is an ``int``: nanoseconds since 1970-01-01 00:00 UTC as CLOCK_REALTIME counts them.
That is the kernel's own unit (timespec, ADJ_NANO, SO_TIMESTAMPING, PPS), so no stamp is ever rounded; the 32.32
format exists on the wire only.  No float ever holds a point in time.  A *difference* of two may be a float in seconds.

A wire timestamp says nothing of its era.  It is read as the point nearest to a pivot that the caller knows (RFC 5905,
section 6: within 68 years), which makes the era of 2036 a matter of course.
"""

from __future__ import annotations

from typing import NamedTuple, NewType

Timestamp = NewType("Timestamp", int)
"""Nanoseconds since 1970-01-01 00:00 UTC on some clock's REALTIME axis."""

Monotonic = NewType("Monotonic", int)
"""Nanoseconds on a clock's axis that no step moves."""


class ClockReading(NamedTuple):
    """
    A clock's axes, read together.

    ``asleep`` counts the nanoseconds that the machine was suspended since it booted (BOOTTIME - MONOTONIC): both other
    axes stand still meanwhile, and ``local`` then jumps by that much.
    """

    local: Timestamp
    monotonic: Monotonic
    asleep: int = 0


NANOSECONDS = 1_000_000_000
EPOCH_OFFSET = 2_208_988_800
"""Seconds from the prime epoch (1900-01-01) to the Unix epoch."""

_ERA = 1 << 64
_HALF_ERA = 1 << 63
_SHORT_MAXIMUM = 0xFFFFFFFF


def encode_timestamp(moment: Timestamp) -> int:
    """Give the unsigned 64-bit 32.32 value of a point in time; the era is dropped."""
    return (((moment + EPOCH_OFFSET * NANOSECONDS) << 32) + NANOSECONDS // 2) // NANOSECONDS & (_ERA - 1)


def decode_timestamp(value: int, pivot: Timestamp) -> Timestamp:
    """Give the point in time nearest to ``pivot`` that an unsigned 64-bit 32.32 value can mean."""
    away = (value - encode_timestamp(pivot) + _HALF_ERA & (_ERA - 1)) - _HALF_ERA
    whole = ((pivot + EPOCH_OFFSET * NANOSECONDS) << 32) + NANOSECONDS // 2
    return Timestamp(((whole // NANOSECONDS + away) * NANOSECONDS + (1 << 31) >> 32) - EPOCH_OFFSET * NANOSECONDS)


def encode_short(seconds: float) -> int:
    """Give the 16.16 value of a duration in seconds, rounded up; what is too long saturates, what is negative is 0."""
    if not seconds > 0.0:  # NaN too
        return 0
    if seconds >= 65536.0:
        return _SHORT_MAXIMUM
    return min(-int(-seconds * 65536.0 // 1), _SHORT_MAXIMUM)


def decode_short(value: int) -> float:
    """Give the seconds that an unsigned 32-bit 16.16 value means."""
    return value / 65536.0


def seconds_between(later: int, earlier: int) -> float:
    """Give ``later - earlier`` in seconds; exact to the nanosecond for differences up to 97 days."""
    return (later - earlier) / NANOSECONDS
