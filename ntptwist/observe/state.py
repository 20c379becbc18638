"""
The daemon's state as plain data for JSON: what ``ntptwist-ctl`` and programs read.

Seconds everywhere (ppm for frequency), offsets are reference minus local, ``None`` where nothing is known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import ntptwist
from ntptwist.snapshot import ClientSnapshot, KeyServerSnapshot, ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, seconds_between

PROTOCOL = 1
"""Version of this form; it grows by fields, and changes number when one changes its meaning."""


def utc(stamp: int) -> str:
    """Give a point in time (ns) as ISO 8601, UTC, to the millisecond."""
    whole, part = divmod(stamp, NANOSECONDS)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part // 1_000_000:03d}Z"


def source_data(row: SourceSnapshot, snapshot: SystemSnapshot) -> dict[str, Any]:
    """Give one source."""
    seen, known = row.observation, row.estimate
    last = known.last_measurement
    return {
        "id": row.id,
        "name": seen.name,
        "address": seen.address or None,
        "mode": seen.mode,
        "selected": known.selected,
        "reason": known.reason if seen.trouble is None else _both(known.reason, seen.trouble),
        "offset": known.offset,
        "uncertainty": known.uncertainty,
        "delay": known.delay,
        "jitter": known.jitter,
        "frequency": known.frequency,
        "reach": seen.reach,
        "poll": seen.poll if row.id is not None else None,
        "stratum": known.stratum,
        "reference_id": None
        if known.reference_id is None or known.stratum is None
        else known.reference_id.text(known.stratum),
        "leap": None if known.leap is None else str(known.leap),
        "root_delay": known.root_delay,
        "root_dispersion": known.root_dispersion,
        "last_measurement": None if last is None else max(seconds_between(snapshot.monotonic, last), 0.0),
        "measurements": known.measurements,
        "sent": seen.sent,
        "received": seen.received,
        "dropped": seen.dropped,
        "nts_cookies": seen.nts_cookies,
    }


def _both(reason: str, trouble: str) -> str:
    return trouble if trouble in reason or reason == "no measurement yet" else f"{reason}; {trouble}"


def server_data(server: ServerSnapshot, monotonic: Monotonic) -> dict[str, Any]:
    """Give one server, with the clients that ask most."""
    return {
        "address": server.address,
        "trouble": server.trouble,
        "counters": dict(server.counters),
        "clients": [_client_data(client, monotonic) for client in server.clients],
    }


def _client_data(client: ClientSnapshot, monotonic: Monotonic) -> dict[str, Any]:
    return {
        "address": client.address,
        "packets": client.packets,
        "error": client.error,
        "last_seen": max(seconds_between(monotonic, client.last_seen), 0.0),
        "version": client.version,
        "interleaved": client.interleaved,
        "nts": client.nts,
    }


def status_data(
    snapshot: SystemSnapshot, servers: Iterable[ServerSnapshot] = (), key_servers: Iterable[KeyServerSnapshot] = ()
) -> dict[str, Any]:
    """Give the whole state, sources and servers included."""
    clock = snapshot.time
    return {
        "protocol": PROTOCOL,
        "version": ntptwist.__version__,
        "now": utc(snapshot.now),
        "control": snapshot.control,
        "synchronized": snapshot.synchronized,
        "since": None if snapshot.since is None else utc(snapshot.since),
        "state": snapshot.state,
        "offset": snapshot.offset,
        "error_bound": snapshot.error_bound,
        "frequency": snapshot.frequency,
        "frequency_error": snapshot.frequency_error,
        "stratum": clock.stratum,
        "reference_id": clock.reference_id.text(clock.stratum - 1),
        "leap": str(clock.leap),
        "root_delay": clock.root_delay if clock.synchronized else None,
        "root_dispersion": clock.root_dispersion(snapshot.monotonic) if clock.synchronized else None,
        "steps": snapshot.steps,
        "accumulated_steps": snapshot.accumulated_steps,
        "sources": [source_data(row, snapshot) for row in snapshot.sources],
        "servers": [server_data(server, snapshot.monotonic) for server in servers],
        "key_servers": [
            {"address": server.address, "trouble": server.trouble, "outcomes": dict(server.outcomes)}
            for server in key_servers
        ],
    }
