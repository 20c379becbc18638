"""A daemon at one moment, with one source of each kind, for the tests of what other daemons' tools are told."""

from __future__ import annotations

from dataclasses import replace

from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.snapshot import (
    CorrectionsSnapshot,
    ServerSnapshot,
    SourceEstimate,
    SourceObservation,
    SourceSnapshot,
    SystemSnapshot,
    TimeSnapshot,
)
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

NOW = Timestamp(1_795_000_000 * NANOSECONDS)
MONOTONIC = Monotonic(1000 * NANOSECONDS)

BEST = SourceSnapshot(
    SourceId(1),
    SourceObservation(
        "ntp.example", "192.0.2.1:123", "nts", reach=0o377, poll=6, nts_cookies=8, sent=12, received=10, dropped=1
    ),
    SourceEstimate(
        selected=True,
        standing="best",
        offset=0.25,
        uncertainty=1e-6,
        delay=2e-3,
        jitter=4e-6,
        frequency=39.5,
        stratum=1,
        reference_id=ReferenceId.of_text("GPS"),
        leap=Leap.NONE,
        root_delay=1e-3,
        root_dispersion=5e-4,
        measurements=9,
        last_measurement=Monotonic(MONOTONIC - 20 * NANOSECONDS),
        distance=0.125,
        skew=0.5,
        span=64.0,
        last_offset=0.5,
        precision=-25,
        interleaved=True,
    ),
)
"""It says that the clock is 0.25 s slow."""

USED = SourceSnapshot(
    SourceId(2),
    SourceObservation("[2001:db8::1]:123", "[2001:db8::1]:123", "server", reach=1, poll=7),
    replace(
        BEST.estimate, standing="used", stratum=2, reference_id=ReferenceId(b"\xc0\0\2\7"), interleaved=False, leap=None
    ),
)
FALSE = SourceSnapshot(
    SourceId(3),
    SourceObservation("192.0.2.3:1123", "192.0.2.3:1123", "pool", reach=2, poll=6),
    replace(BEST.estimate, selected=False, standing="falseticker", offset=-1.0),
)
PULSE = SourceSnapshot(
    SourceId(4),
    SourceObservation("/dev/pps0", "/dev/pps0", "pps", reach=0o377, received=7, dropped=2),
    SourceEstimate(standing="agrees", offset=1e-7, stratum=0, reference_id=ReferenceId.of_text("PPS"), leap=Leap.NONE),
)
SILENT_CLOCK = SourceSnapshot(
    SourceId(5), SourceObservation("/run/feed", "/run/feed", "sock"), SourceEstimate(standing="new")
)
UNRESOLVED = SourceSnapshot(None, SourceObservation("nowhere.example:123", "", "server"), SourceEstimate())

PICTURE = SystemSnapshot(
    now=NOW,
    monotonic=MONOTONIC,
    time=TimeSnapshot(
        leap=Leap.INSERT,
        stratum=2,
        reference_id=ReferenceId.of_address("192.0.2.1"),
        reference_time=Timestamp(NOW - 20 * NANOSECONDS),
        monotonic=MONOTONIC,
        root_delay=3e-3,
        dispersion=0.0078125,
    ),
    control="system",
    synchronized=True,
    state="synchronized",
    offset=0.25,
    frequency=140.0,
    frequency_error=0.125,
    accumulated_steps=0.5,
    sources=(BEST, USED, FALSE, PULSE, SILENT_CLOCK, UNRESOLVED),
    used=(SourceId(1), SourceId(2)),
    oscillator_frequency=40.0,
    corrections=CorrectionsSnapshot(latest=0.0625, typical=0.03125, interval=64.0),
)
"""The clock is 0.25 s slow, and would lose 40 ppm if it were left alone; it is being slewed at 100 ppm besides."""

JUST_STARTED = SystemSnapshot(NOW, MONOTONIC, TimeSnapshot(), "system", False, "waiting for sources", sources=())

SERVERS = (
    ServerSnapshot("[::]:123", None, {"received": 10, "denied": 1, "ignored": 2, "nts_accepted": 3, "interleaved": 4}),
    ServerSnapshot("127.0.0.9:123", None, {"received": 5, "rate_limited": 1}),
)
