"""Snapshots made by hand, for those who show them."""

from __future__ import annotations

from typing import Any

from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.snapshot import (
    ServerSnapshot,
    SourceEstimate,
    SourceObservation,
    SourceSnapshot,
    SystemSnapshot,
    TimeSnapshot,
)
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

START = 1_800_000_000 * NANOSECONDS
"""What the clock reads where monotonic time is 0."""


def source(number: int | None = 1, name: str = "ntp1.example.net:123", **estimate: Any) -> SourceSnapshot:
    """Make a source that has measured something; without a number, an entry that still looks for one."""
    known = {"offset": 1e-3, "uncertainty": 1e-4, "delay": 2e-3, "measurements": 1, **estimate}
    observation = SourceObservation(name, "192.0.2.1:123", "server", reach=0xFF, poll=6)
    return SourceSnapshot(None if number is None else SourceId(number), observation, SourceEstimate(**known))


def system(*sources: SourceSnapshot, seconds: float = 0.0, shift: float = 0.0, **fields: Any) -> SystemSnapshot:
    """Make the state of a synchronised daemon so many seconds after the start; its clock was stepped by ``shift``."""
    monotonic = round(seconds * NANOSECONDS)
    time = TimeSnapshot(
        Leap.NONE, 2, ReferenceId.of_address("192.0.2.1"), monotonic=Monotonic(monotonic), dispersion=0.0
    )
    known = {"offset": 5e-6, "error_bound": 2e-3, "frequency": -3.5, "frequency_error": 0.05, **fields}
    now = Timestamp(START + monotonic + round(shift * NANOSECONDS))
    known = {"synchronized": True, "state": "synchronized", "time": time, **known}
    return SystemSnapshot(now, Monotonic(monotonic), control="observe", sources=sources, **known)


def server(received: int = 0, with_nts: int = 0, address: str = "[::]:123") -> ServerSnapshot:
    """Make a server that has received so many requests."""
    counters = dict.fromkeys(
        (
            *("accepted", "control", "denied", "ignored", "interleaved", "nts_accepted", "nts_denied", "nts_nak"),
            *("rate_limited", "response_send_errors"),
        ),
        0,
    )
    return ServerSnapshot(address, None, {**counters, "received": received, "nts_received": with_nts})
