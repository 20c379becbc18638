"""Points in time survive the wire, whatever the era."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.timestamp import (
    EPOCH_OFFSET,
    NANOSECONDS,
    ClockReading,
    Monotonic,
    Timestamp,
    decode_short,
    decode_timestamp,
    encode_short,
    encode_timestamp,
    seconds_between,
)

SIXTY_EIGHT_YEARS = 68 * 365 * 86400 * NANOSECONDS
moments = st.integers(-(10**20), 10**20).map(Timestamp)


def moment(text: str) -> Timestamp:
    """Give the point in time that is written in ISO 8601, in UTC."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return Timestamp(since // timedelta(seconds=1) * NANOSECONDS)


def test_the_epochs() -> None:
    """The Unix epoch lies 70 years, 17 of them leap years, after the prime epoch."""
    assert EPOCH_OFFSET == (70 * 365 + 17) * 86400


@pytest.mark.parametrize(
    ("when", "value"),
    [
        (moment("1900-01-01"), 0),
        (moment("1970-01-01"), 2_208_988_800 << 32),
        (moment("1972-01-01"), 2_272_060_800 << 32),
        (moment("1999-12-31"), 3_155_587_200 << 32),
        (moment("2036-02-07T06:28:15"), 0xFFFFFFFF << 32),
        (moment("2036-02-07T06:28:16"), 0),
        (Timestamp(500_000_000), 2_208_988_800 << 32 | 1 << 31),
        (Timestamp(1), 2_208_988_800 << 32 | 4),
        (Timestamp(-1), (2_208_988_800 << 32) - 4),
    ],
)
def test_known_dates(when: Timestamp, value: int) -> None:
    """The dates of RFC 5905, figure 4, have the values that stand there, and nanoseconds are rounded to the nearest."""
    assert encode_timestamp(when) == value


@pytest.mark.parametrize(
    ("pivot", "value", "when"),
    [
        (moment("2027-01-01"), 0xFFFFFFFF << 32, moment("2036-02-07T06:28:15")),
        (moment("2027-01-01"), 0, moment("2036-02-07T06:28:16")),
        (moment("2037-01-01"), 0xFFFFFFFF << 32, moment("2036-02-07T06:28:15")),
        (moment("1970-01-01"), 0, moment("2036-02-07T06:28:16")),
        (moment("1960-01-01"), 0, moment("1900-01-01")),
        (moment("2170-01-01"), 0, moment("2172-03-15T12:56:32")),
    ],
)
def test_the_era_is_the_nearest(pivot: Timestamp, value: int, when: Timestamp) -> None:
    """A value of the wire means the point in time with that value which is nearest to the pivot."""
    assert decode_timestamp(value, pivot) == when


@given(moments, st.integers(-SIXTY_EIGHT_YEARS, SIXTY_EIGHT_YEARS))
def test_a_point_in_time_survives_the_wire(when: Timestamp, away: int) -> None:
    """Every nanosecond comes back exactly, read by a clock that is up to 68 years off."""
    assert decode_timestamp(encode_timestamp(when), Timestamp(when + away)) == when


@given(moments)
def test_the_value_has_64_bits(when: Timestamp) -> None:
    """Whatever the time, its value fits the wire."""
    assert 0 <= encode_timestamp(when) < 1 << 64


@given(st.integers(0, 2**64 - 1), moments)
def test_any_value_is_read_near_the_pivot(value: int, pivot: Timestamp) -> None:
    """Any value means a point in time within half an era of the pivot, and rounds back to within a nanosecond."""
    when = decode_timestamp(value, pivot)
    off = (encode_timestamp(when) - value + (1 << 63)) % (1 << 64) - (1 << 63)

    assert abs(when - pivot) <= (1 << 31) * NANOSECONDS + 1
    assert abs(off) <= 3


@given(moments, st.integers(1, 10**18))
def test_order_is_kept(when: Timestamp, later: int) -> None:
    """Of two points in time within 30 years the later one has the later value."""
    difference = encode_timestamp(Timestamp(when + later)) - encode_timestamp(when)

    assert 0 < difference % (1 << 64) < 1 << 63


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0.0, 0),
        (-0.0, 0),
        (-1.0, 0),
        (math.nan, 0),
        (-math.inf, 0),
        (5e-324, 1),
        (1e-6, 1),
        (2**-16, 1),
        (2**-16 * 1.0001, 2),
        (0.5, 0x8000),
        (1.0, 0x10000),
        (16.0, 0x100000),
        (65535.5, 0xFFFF8000),
        (65535.999999, 0xFFFFFFFF),
        (65536.0, 0xFFFFFFFF),
        (1e300, 0xFFFFFFFF),
        (math.inf, 0xFFFFFFFF),
    ],
)
def test_short_durations(seconds: float, value: int) -> None:
    """An error bound is rounded up, a negative one is none, and one too long is the longest there is."""
    assert encode_short(seconds) == value


@given(st.integers(0, 2**32 - 1))
def test_short_values_survive(value: int) -> None:
    """Every 16.16 value has exact seconds that encode to itself."""
    assert encode_short(decode_short(value)) == value


@given(st.floats(0, 65535))
def test_short_durations_are_rounded_up(seconds: float) -> None:
    """What goes on the wire is never less than what it stands for, and by one unit more at most."""
    assert seconds <= decode_short(encode_short(seconds)) <= seconds + 2**-16


@pytest.mark.parametrize(
    ("later", "earlier", "seconds"),
    [(1_500_000_000, 0, 1.5), (0, 1, -1e-9), (1_800_000_000_000_000_001, 1_800_000_000_000_000_000, 1e-9), (7, 7, 0.0)],
)
def test_seconds_between(later: int, earlier: int, seconds: float) -> None:
    """The difference of two points in time is exact although neither fits a float."""
    assert seconds_between(later, earlier) == seconds


@given(moments, st.integers(-(97 * 86400 * NANOSECONDS), 97 * 86400 * NANOSECONDS))
def test_differences_keep_their_nanoseconds(earlier: Timestamp, difference: int) -> None:
    """Differences up to 97 days keep every nanosecond."""
    assert round(seconds_between(earlier + difference, earlier) * NANOSECONDS) == difference


def test_a_reading_was_not_asleep_unless_told() -> None:
    """A clock that knows nothing of suspends reads without them."""
    assert ClockReading(Timestamp(1), Monotonic(2)) == (1, 2, 0)
