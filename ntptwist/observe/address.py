"""
The addresses of sources and what their kind is, as the formats of other daemons want them.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from ntptwist.identifiers import ReferenceId
from ntptwist.snapshot import SourceSnapshot, SystemSnapshot

NTP_PORT = 123
_LOCAL_MODES = frozenset({"gpsd", "pps", "sock"})


class Endpoint(NamedTuple):
    """Where a source is asked."""

    host: IPv4Address | IPv6Address
    port: int


def endpoint(row: SourceSnapshot) -> Endpoint | None:
    """Give where a source is asked; None for a clock of this machine, and as long as there is no address."""
    if row.observation.mode in _LOCAL_MODES:
        return None
    return _parsed(row.observation.address)


@lru_cache(maxsize=1024)
def _parsed(address: str) -> Endpoint | None:
    """Give the parts of an address; each is asked for again and again."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return None
    try:
        parsed = ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    return Endpoint(parsed, int(port) & 0xFFFF)


def is_reference_clock(row: SourceSnapshot) -> bool:
    """Tell whether a source is a clock of this machine (a receiver, pulses, a program) rather than a server."""
    return row.observation.mode in _LOCAL_MODES or (row.id is not None and endpoint(row) is None)


def clock_name(row: SourceSnapshot) -> ReferenceId:
    """Give the reference id of a clock of this machine; as long as it has not measured, one made of its mode."""
    return row.estimate.reference_id or ReferenceId.of_text(row.observation.mode[:4].upper())


def followed(snapshot: SystemSnapshot) -> SourceSnapshot | None:
    """Give the source that stratum and reference id come from; None while none is followed."""
    best = snapshot.used[0] if snapshot.used else None
    return next((row for row in snapshot.sources if best is not None and row.id == best), None)
