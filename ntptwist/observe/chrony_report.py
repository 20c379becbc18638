"""
The state of the daemon in the words of chrony: the bodies of the replies that chronyc shows.

Two signs live side by side in chrony, and both were checked against chronyd itself.  ``tracking``'s system time and
``ntpdata``'s offset are ours: reference minus local, positive means that the clock is slow.  The samples of
``sources``, ``sourcestats`` and ``selectdata`` and the last offset of ``tracking`` are the other way round, and so is
the frequency: positive means that the clock would gain.  Where chrony counts what this daemon does not, there is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from ntptwist.identifiers import Leap
from ntptwist.observe.address import clock_name, endpoint, followed, is_reference_clock
from ntptwist.snapshot import ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import seconds_between
from ntptwist.wire.candm import (
    Address,
    SourceMode,
    SourceState,
    counts,
    encode_address,
    encode_time,
    floats,
)

NAME_OCTETS = 256
NEVER = 0xFFFFFFFF
"""An age that chronyc shows as ``-``."""

_SOURCE = Struct("!hHHHHHI")
_NTP_HEADER = Struct("!HBBBBbb")
_NTP_COUNTS = Struct("!HBBIIII")
_AUTHENTICATION = Struct("!HHIHHIHHHH")
_SELECTION = Struct("!cBBxHHI")

_STATES = {
    "best": SourceState.COMBINED,
    "used": SourceState.COMBINED,
    "falseticker": SourceState.FALSETICKER,
    "drifting": SourceState.FALSETICKER,
    "not_preferred": SourceState.SELECTABLE,
    "agrees": SourceState.SELECTABLE,
    "required": SourceState.SELECTABLE,
}
"""By the standing of a source (``algorithm.select.Standing``) that is not followed; all others can't be selected."""

_LETTERS = {
    "best": b"+",
    "used": b"+",
    "falseticker": b"x",
    "drifting": b"x",
    "not_preferred": b"P",
    "agrees": b"P",
    "required": b"W",
    "new": b"M",
    "implausible": b"M",
    "silent": b"S",
    "quiet": b"S",
    "unsynchronized": b"s",
    "loop": b"s",
    "stratum": b"r",
    "noselect": b"N",
    "distance": b"d",
}
"""The letters of ``chronyc selectdata``; all others wait for other sources."""

_SOURCE_NOSELECT, _ALL_TESTS, _INTERLEAVED, _AUTHENTICATED = 1, 0x3FF, 0x4000, 0x8000
_NTS = 2
_CLIENT_MODE, _SERVER_MODE, _VERSION = 3, 4, 4


def tracking(snapshot: SystemSnapshot) -> bytes:
    """Give ``chronyc tracking``: the clock as it is now; stratum 0 and no reference while it is not synchronised."""
    clock = snapshot.time
    best = followed(snapshot)
    known = clock.synchronized
    where = endpoint(best) if best is not None and known else None
    corrections = snapshot.corrections
    residual = 0.0
    if best is not None and best.estimate.frequency is not None:
        residual = snapshot.oscillator_frequency - best.estimate.frequency
    return (
        (bytes(clock.reference_id) if known else bytes(4))
        + encode_address(where.host if where is not None else None)
        + (clock.stratum if known else 0).to_bytes(2, "big")
        + clock.leap.to_bytes(2, "big")
        + encode_time(max(clock.reference_time, 0))
        + floats(
            snapshot.offset,
            -corrections.latest,
            corrections.typical,
            -snapshot.oscillator_frequency,
            residual,
            snapshot.frequency_error,
            clock.root_delay if known else 0.0,
            clock.root_dispersion(snapshot.monotonic) if known else 0.0,
            corrections.interval,
        )
    )


def address(row: SourceSnapshot, index: int) -> Address:
    """Give the address of the ``index``-th source as chrony does: an id in its place for a clock of this machine."""
    if is_reference_clock(row):
        return bytes(clock_name(row))
    where = endpoint(row)
    return index + 1 if where is None else where.host


def source_data(row: SourceSnapshot, index: int, snapshot: SystemSnapshot) -> bytes:
    """Give one line of ``chronyc sources``."""
    seen, known = row.observation, row.estimate
    state = _STATES.get(known.standing, SourceState.NOT_SELECTABLE)
    if followed(snapshot) is row:
        state = SourceState.SELECTED
    return (
        encode_address(address(row, index))
        + _SOURCE.pack(
            seen.poll,
            known.stratum or 0,
            state,
            SourceMode.REFERENCE_CLOCK if is_reference_clock(row) else SourceMode.CLIENT,
            _SOURCE_NOSELECT if known.standing == "noselect" else 0,
            seen.reach,
            _age(row, snapshot),
        )
        + floats(-(known.last_offset or 0.0), -(known.offset or 0.0), known.distance)
    )


def source_stats(row: SourceSnapshot, index: int, snapshot: SystemSnapshot) -> bytes:
    """Give one line of ``chronyc sourcestats``; runs of residuals are not counted here."""
    known = row.estimate
    where = None if is_reference_clock(row) else address(row, index)
    residual = 0.0 if known.frequency is None else snapshot.oscillator_frequency - known.frequency
    return (
        _identity(row)
        + encode_address(where)
        + counts([known.measurements, 0, round(known.span or 0.0)], 4)
        + floats(known.jitter, residual, known.skew, -(known.offset or 0.0), known.uncertainty)
    )


def select_data(row: SourceSnapshot, index: int, snapshot: SystemSnapshot) -> bytes:
    """Give one line of ``chronyc selectdata``: the interval is what chrony's would be, local minus reference."""
    known = row.estimate
    option = _SOURCE_NOSELECT if known.standing == "noselect" else 0
    offset, distance = known.offset or 0.0, known.distance or 0.0
    leap = Leap.UNSYNCHRONIZED if known.leap is None else known.leap
    return (
        _identity(row)
        + encode_address(None if is_reference_clock(row) else address(row, index))
        + _SELECTION.pack(
            b"*" if followed(snapshot) is row else _LETTERS.get(known.standing, b"w"),
            row.observation.nts_cookies is not None,
            leap,
            option,
            option,
            _age(row, snapshot),
        )
        + floats(1.0, -offset - distance, -offset + distance)
    )


def ntp_data(row: SourceSnapshot, *, later: bool) -> bytes:
    """
    Give ``chronyc ntpdata`` of a server, in the form of chrony 4.9 if ``later``, else in that of 4.3.

    The reference time, the peer dispersion and how stamps are taken are not known here.
    """
    seen, known = row.observation, row.estimate
    where = endpoint(row)
    host, port = where if where is not None else (None, 0)
    answered = known.last_offset is not None
    flags = _ALL_TESTS if answered else 0
    flags |= _INTERLEAVED if known.interleaved else 0
    flags |= _AUTHENTICATED if answered and seen.nts_cookies is not None else 0
    leap = Leap.UNSYNCHRONIZED if known.leap is None else known.leap
    counters = (seen.sent, seen.received + seen.dropped, seen.received, known.measurements)
    return (
        encode_address(host)
        + encode_address(None)
        + _NTP_HEADER.pack(port, leap, _VERSION, _SERVER_MODE, known.stratum or 0, seen.poll, known.precision or 0)
        + floats(known.root_delay, known.root_dispersion)
        + bytes(known.reference_id or bytes(4))
        + encode_time(0)
        + floats(known.last_offset, known.delay, known.jitter, 0.0, 0.0)
        + _NTP_COUNTS.pack(flags, *b"??", *(min(count, NEVER) for count in counters))
        + bytes(32 if later else 12)
    )


def authentication_data(row: SourceSnapshot) -> bytes:
    """Give one line of ``chronyc authdata``: whether NTS is used, and how many cookies are left."""
    cookies = row.observation.nts_cookies
    if cookies is None:
        return _AUTHENTICATION.pack(0, 0, 0, 0, 0, NEVER, 0, 0, 0, 0)
    return _AUTHENTICATION.pack(_NTS, 0, 0, 0, 0, NEVER, cookies, 0, 0, 0)


def activity(snapshot: SystemSnapshot) -> bytes:
    """Give ``chronyc activity``: servers that are asked, and those that have no address yet."""
    servers = [row for row in snapshot.sources if not is_reference_clock(row)]
    asked = sum(row.id is not None for row in servers)
    return counts([asked, 0, 0, 0, len(servers) - asked], 4)


def server_stats(servers: Iterable[ServerSnapshot], commands: int, *, later: bool) -> bytes:
    """
    Give ``chronyc serverstats``, in the form of chrony 4.9 if ``later``, else in that of 4.3.

    What was denied or ignored counts as dropped; ``commands`` are the requests of chronyc that were received.
    """
    totals: dict[str, int] = {}
    for server in servers:
        for name, count in server.counters.items():
            totals[name] = totals.get(name, 0) + count
    dropped = sum(totals.get(name, 0) for name in ("denied", "ignored", "rate_limited", "nts_nak"))
    counted = [
        *(totals.get("received", 0), 0, commands, dropped, 0, 0, 0),
        *(totals.get("nts_accepted", 0), totals.get("interleaved", 0), 0, 0),
    ]
    return counts([*counted, *[0] * 10], 8) if later else counts(counted, 4)


def source_name(row: SourceSnapshot) -> bytes:
    """Give ``chronyc sourcename``: what was configured, cut to what fits."""
    return row.observation.name.encode()[: NAME_OCTETS - 1].ljust(NAME_OCTETS, b"\0")


def _identity(row: SourceSnapshot) -> bytes:
    """Give the id of a source that chronyc shows where there is no address."""
    if is_reference_clock(row):
        return bytes(clock_name(row))
    where = endpoint(row)
    return where.host.packed[:4] if where is not None else bytes(4)


def _age(row: SourceSnapshot, snapshot: SystemSnapshot) -> int:
    """Give the seconds since the last sample."""
    last = row.estimate.last_measurement
    return NEVER if last is None else min(max(int(seconds_between(snapshot.monotonic, last)), 0), NEVER - 1)
