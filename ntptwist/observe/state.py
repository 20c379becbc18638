"""
The daemon's state as plain data for JSON: what ``ntptwist-ctl`` and programs read.

Seconds everywhere (ppm for frequency), offsets are reference minus local, ``None`` where nothing is known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import ntptwist
from ntptwist.journal import Entry
from ntptwist.snapshot import ClientSnapshot, KeyServerSnapshot, ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp, seconds_between

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
        "standing": known.standing,
        "trouble": seen.trouble,
        "offset": known.offset,
        "uncertainty": known.uncertainty,
        "distance": known.distance,
        "delay": known.delay,
        "jitter": known.jitter,
        "frequency": known.frequency,
        "skew": known.skew,
        "span": known.span,
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
        "next_poll": seen.next_poll,
        "measurements": known.measurements,
        "sent": seen.sent,
        "received": seen.received,
        "dropped": seen.dropped,
        "drops": dict(seen.drops),
        "nts_cookies": seen.nts_cookies,
    }


def _age(now: Timestamp, then: Timestamp | None) -> float | None:
    """Give the seconds since something that is dated on the clock."""
    return None if then is None else max(seconds_between(now, then), 0.0)


def entry_data(entry: Entry) -> dict[str, Any]:
    """Give one entry of the journal."""
    return {**asdict(entry), "time": utc(entry.time)}


def _both(reason: str, trouble: str) -> str:
    return trouble if trouble in reason or reason == "no measurement yet" else f"{reason}; {trouble}"


def server_data(server: ServerSnapshot, monotonic: Monotonic) -> dict[str, Any]:
    """Give one server, with the clients that ask most."""
    return {
        "address": server.address,
        "trouble": server.trouble,
        "stratum": server.stratum,
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
        "synchronized_for": _age(snapshot.now, snapshot.since),
        "state": snapshot.state,
        "offset": snapshot.offset,
        "uncertainty": math.sqrt(max(clock.base, 0.0)) if clock.synchronized else None,
        "error_bound": snapshot.error_bound,
        "frequency": snapshot.frequency,
        "frequency_error": snapshot.frequency_error,
        "stratum": clock.stratum,
        "reference_id": clock.reference_id.text(clock.stratum - 1),
        "reference_time": utc(clock.reference_time) if clock.reference_time else None,
        "reference_age": _age(snapshot.now, clock.reference_time or None),
        "leap": str(clock.leap),
        "wander": math.sqrt(clock.wander) * 1e6 if clock.synchronized else None,
        "root_delay": clock.root_delay if clock.synchronized else None,
        "root_dispersion": clock.root_dispersion(snapshot.monotonic) if clock.synchronized else None,
        "steps": snapshot.steps,
        "accumulated_steps": snapshot.accumulated_steps,
        "used": list(snapshot.used),
        "majority": None if snapshot.majority is None else asdict(snapshot.majority),
        "sources": [source_data(row, snapshot) for row in snapshot.sources],
        "servers": [server_data(server, snapshot.monotonic) for server in servers],
        "key_servers": [
            {"address": server.address, "trouble": server.trouble, "outcomes": dict(server.outcomes)}
            for server in key_servers
        ],
    }
