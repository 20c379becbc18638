"""
The replies to chronyc, field by field.

The signs are chrony's, as chronyd itself gives them: of two daemons that look at the same server, both print the same
(``tests/functional/test_compatible.py``).
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from struct import unpack_from

import pytest

from ntptwist.observe import chrony_report as report
from ntptwist.snapshot import SourceSnapshot
from ntptwist.wire.candm import SourceMode, SourceState, decode_address, decode_float
from tests.observe.picture import (
    BEST,
    FALSE,
    JUST_STARTED,
    PICTURE,
    PULSE,
    SERVERS,
    SILENT_CLOCK,
    UNRESOLVED,
    USED,
)


def numbers(body: bytes, count: int, end: int | None = None) -> list[float]:
    """Give so many floats before ``end``, or at the very end."""
    end = len(body) if end is None else end
    return [decode_float(body[at : at + 4]) for at in range(end - 4 * count, end, 4)]


def test_tracking() -> None:
    """A slow clock has a positive correction; an oscillator that loses time a negative frequency, as in chrony."""
    body = report.tracking(PICTURE)
    correction, last, typical, frequency, residual, skew, delay, dispersion, interval = numbers(body, 9)

    assert len(body) == 76
    assert body[:4] == bytes([192, 0, 2, 1])
    assert decode_address(body[4:]) == IPv4Address("192.0.2.1")
    assert unpack_from("!HH", body, 24) == (2, 1)
    assert unpack_from("!QI", body, 28) == (1_794_999_980, 0)
    assert (correction, last, typical) == (0.25, -0.0625, 0.03125)
    assert (frequency, residual, skew) == (-40.0, 0.5, 0.125)
    assert (delay, dispersion, interval) == pytest.approx((3e-3, 0.0078125, 64.0))


def test_tracking_a_clock_of_this_machine() -> None:
    """Where a receiver is followed there is no address, and chronyc shows the reference id."""
    body = report.tracking(replace(PICTURE, used=(PULSE.id,) if PULSE.id is not None else ()))

    assert decode_address(body[4:]) is None
    assert numbers(body, 9)[4] == 0.0


def test_tracking_before_anything_is_known() -> None:
    """A daemon that has just started is at stratum 0, has no reference, and says that it is not synchronised."""
    body = report.tracking(JUST_STARTED)

    assert body[:24] == bytes(24)
    assert unpack_from("!HH", body, 24) == (0, 3)
    assert numbers(body, 9) == [0.0] * 9


@pytest.mark.parametrize(
    ("row", "index", "address", "mode", "state", "age"),
    [
        (BEST, 0, IPv4Address("192.0.2.1"), SourceMode.CLIENT, SourceState.SELECTED, 20),
        (USED, 1, IPv6Address("2001:db8::1"), SourceMode.CLIENT, SourceState.COMBINED, 20),
        (FALSE, 2, IPv4Address("192.0.2.3"), SourceMode.CLIENT, SourceState.FALSETICKER, 20),
        (PULSE, 3, IPv4Address(b"PPS\0"), SourceMode.REFERENCE_CLOCK, SourceState.SELECTABLE, report.NEVER),
        (SILENT_CLOCK, 4, IPv4Address(b"SOCK"), SourceMode.REFERENCE_CLOCK, SourceState.NOT_SELECTABLE, report.NEVER),
        (UNRESOLVED, 5, 6, SourceMode.CLIENT, SourceState.NOT_SELECTABLE, report.NEVER),
    ],
)
def test_sources(
    row: SourceSnapshot, index: int, address: object, mode: SourceMode, state: SourceState, age: int
) -> None:
    """Each kind of source appears as chrony shows it."""
    body = report.source_data(row, index, PICTURE)
    poll, stratum, shown_state, shown_mode, flags, reach, since = unpack_from("!hHHHHHI", body, 20)

    assert len(body) == 48
    assert decode_address(body) == address
    assert (shown_mode, shown_state, flags) == (mode, state, 0)
    assert (poll, stratum, reach, since) == (
        row.observation.poll,
        row.estimate.stratum or 0,
        row.observation.reach,
        age,
    )


def test_samples_of_a_slow_clock_are_negative() -> None:
    """The samples of ``sources`` are local minus reference; the first is the measurement itself."""
    assert numbers(report.source_data(BEST, 0, PICTURE), 3) == [-0.5, -0.25, 0.125]


def test_one_source_has_the_star() -> None:
    """What was the best when it last measured, but is not followed any more, is a combined one."""
    body = report.source_data(BEST, 0, replace(PICTURE, used=()))

    assert unpack_from("!H", body, 24) == (SourceState.COMBINED,)


def test_a_source_that_is_only_measured() -> None:
    """``noselect`` is shown as chrony's option and letter of that name."""
    row = replace(BEST, estimate=replace(BEST.estimate, standing="noselect"))

    assert unpack_from("!H", report.source_data(row, 0, PICTURE), 28) == (1,)
    assert unpack_from("!c3xHH", report.select_data(row, 0, PICTURE), 24) == (b"N", 1, 1)


def test_sourcestats() -> None:
    """The frequency of a source is what the clock gains against it as it is corrected now."""
    body = report.source_stats(BEST, 0, PICTURE)
    deviation, residual, skew, offset, error = numbers(body, 5)

    assert len(body) == 56
    assert body[:4] == bytes([192, 0, 2, 1])
    assert unpack_from("!III", body, 24) == (9, 0, 64)
    assert (residual, skew, offset) == (0.5, 0.5, -0.25)
    assert (deviation, error) == pytest.approx((4e-6, 1e-6))


@pytest.mark.parametrize(
    ("row", "identity", "address"),
    [(PULSE, b"PPS\0", None), (USED, bytes.fromhex("20010db8"), IPv6Address("2001:db8::1")), (UNRESOLVED, bytes(4), 6)],
)
def test_who_a_line_of_sourcestats_is_about(row: SourceSnapshot, identity: bytes, address: object) -> None:
    """A clock of this machine is named by its reference id."""
    body = report.source_stats(row, 5, PICTURE)

    assert body[:4] == identity
    assert decode_address(body[4:]) == address


def test_selectdata() -> None:
    """The letter, NTS, the leap second and the interval in which the source says that the clock's error is."""
    body = report.select_data(BEST, 0, PICTURE)

    assert len(body) == 48
    assert unpack_from("!cBBxHHI", body, 24) == (b"*", 1, 0, 0, 0, 20)
    assert numbers(body, 3) == [1.0, -0.375, -0.125]
    assert unpack_from("!cBB", report.select_data(UNRESOLVED, 5, PICTURE), 24) == (b"M", 0, 3)


@pytest.mark.parametrize(("later", "size"), [(True, 144), (False, 124)])
def test_ntpdata(later: bool, size: int) -> None:
    """The offset of ``ntpdata`` is reference minus local, and NTS and interleaved mode are flags."""
    body = report.ntp_data(BEST, later=later)

    assert len(body) == size
    assert decode_address(body) == IPv4Address("192.0.2.1")
    assert unpack_from("!HBBBBbb", body, 40) == (123, 0, 4, 4, 1, 6, -25)
    assert numbers(body, 2, 56) == pytest.approx([1e-3, 5e-4])
    assert body[56:60] == b"GPS\0"
    assert numbers(body, 5, 92) == pytest.approx([0.5, 2e-3, 4e-6, 0.0, 0.0])
    assert unpack_from("!HBBIIII", body, 92) == (0xC3FF, 63, 63, 12, 11, 10, 9)


def test_ntpdata_before_an_answer() -> None:
    """A server that has not answered has passed no test."""
    body = report.ntp_data(replace(BEST, estimate=replace(UNRESOLVED.estimate)), later=False)

    assert unpack_from("!HB", body, 40) == (123, 3)
    assert unpack_from("!H", body, 92) == (0,)


def test_ntpdata_of_nobody() -> None:
    """Without an address there is none in the reply."""
    assert report.ntp_data(UNRESOLVED, later=False)[:42] == bytes(42)


def test_authdata() -> None:
    """NTS is mode 2, with its cookies; a server without has none."""
    assert unpack_from("!HHIHHIH", report.authentication_data(BEST)) == (2, 0, 0, 0, 0, report.NEVER, 8)
    assert unpack_from("!HHIHHIH", report.authentication_data(USED)) == (0, 0, 0, 0, 0, report.NEVER, 0)


def test_activity() -> None:
    """Servers are online, or have no address yet; the clocks of this machine are not counted, as in chrony."""
    assert unpack_from("!5I", report.activity(PICTURE)) == (3, 0, 0, 0, 1)


def test_serverstats() -> None:
    """The counters of all servers together; every request that got no time is dropped."""
    later = report.server_stats(SERVERS, 17, later=True)
    earlier = report.server_stats(SERVERS, 17, later=False)
    expected = (15, 0, 17, 4, 0, 0, 0, 3, 4, 0, 0)

    assert unpack_from("!11Q", later) == expected
    assert unpack_from("!11I", earlier) == expected
    assert (len(later), len(earlier)) == (168, 44)


def test_sourcename() -> None:
    """The name is what was configured; one that is too long is cut, and still ends."""
    long = replace(BEST, observation=replace(BEST.observation, name="x" * 300))

    assert report.source_name(BEST) == b"ntp.example".ljust(256, b"\0")
    assert report.source_name(long) == b"x" * 255 + b"\0"
