"""
ntpd-rs' observation socket: its unmodified ``ntp-ctl status`` and metrics exporter read this daemon.

Whoever connects is told the state at once, as eight octets of length and so many of JSON, and hung up on; nothing is
read.  ntpd-rs' offsets are ours.  Its polynomial of the dispersion has no term for what is not the clock's own, so the
dispersion of this moment is given as a constant, and ``now``, at which readers evaluate it, is this moment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Protocol

import ntptwist
from ntptwist.identifiers import Leap
from ntptwist.interfaces import ISystem
from ntptwist.net.local import LocalServer
from ntptwist.snapshot import ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import Timestamp, encode_timestamp

TIME_LIMIT = 0.5
"""Seconds after which a reader that is slow is hung up on, ntpd-rs' own."""
READERS = 8

UNKNOWN = 2147483648.5
"""What ntpd-rs says of an uncertainty or a delay before there was a measurement, seconds."""
_SILENT = 8

_LEAPS = {
    Leap.NONE: "NoWarning",
    Leap.INSERT: "Leap61",
    Leap.DELETE: "Leap59",
    Leap.UNSYNCHRONIZED: "Unsynchronized",
}
_COUNTERS = {
    "received_packets": "received",
    "accepted_packets": "accepted",
    "denied_packets": "denied",
    "ignored_packets": "ignored",
    "rate_limited_packets": "rate_limited",
    "response_send_errors": "response_send_errors",
    "nts_received_packets": "nts_received",
    "nts_accepted_packets": "nts_accepted",
    "nts_denied_packets": "nts_denied",
    "nts_rate_limited_packets": "nts_rate_limited",
    "nts_nak_packets": "nts_nak",
}
"""ntpd-rs' names of the counters of a server, and ours; what is not counted here is 0."""


def observation(
    snapshot: SystemSnapshot,
    servers: Iterable[ServerSnapshot],
    uptime: float,
    accumulated_steps_threshold: float | None = None,
) -> dict[str, Any]:
    """Give the whole state; ``uptime`` is in seconds."""
    return {
        "program": {
            "version": f"ntptwist {ntptwist.__version__}",
            "build_commit": "-",
            "build_commit_date": "-",
            "uptime_seconds": uptime,
            "now": _timestamp(snapshot.now),
        },
        "system": _system(snapshot, accumulated_steps_threshold),
        "sources": [_source(row, snapshot) for row in snapshot.sources if row.id is not None],
        "servers": [
            {
                "address": server.address,
                "stats": {name: server.counters.get(ours, 0) for name, ours in _COUNTERS.items()},
            }
            for server in servers
        ],
    }


def _system(snapshot: SystemSnapshot, threshold: float | None) -> dict[str, Any]:
    clock = snapshot.time
    return {
        "stratum": clock.stratum,
        "reference_id": int.from_bytes(clock.reference_id, "big"),
        "accumulated_steps_threshold": threshold,
        "precision": 2.0**clock.precision,
        "root_delay": clock.root_delay,
        "root_variance_base_time": _timestamp(snapshot.now),
        "root_variance_base": clock.root_dispersion(snapshot.monotonic) ** 2,
        "root_variance_linear": 0.0,
        "root_variance_quadratic": 0.0,
        "root_variance_cubic": 0.0,
        "leap_indicator": _LEAPS[clock.leap],
        "accumulated_steps": snapshot.accumulated_steps,
    }


def _source(row: SourceSnapshot, snapshot: SystemSnapshot) -> dict[str, Any]:
    seen, known = row.observation, row.estimate
    last = known.last_measurement
    moment = None if last is None else Timestamp(snapshot.now - (snapshot.monotonic - last))
    return {
        "offset": known.offset or 0.0,
        "uncertainty": _finite(known.uncertainty),
        "delay": _finite(known.delay),
        "remote_delay": _finite(known.root_delay),
        "remote_uncertainty": _finite(known.root_dispersion),
        "last_update": {"timestamp": 0} if moment is None else _timestamp(moment),
        "unanswered_polls": (seen.reach & -seen.reach).bit_length() - 1 if seen.reach else _SILENT,
        "poll_interval": seen.poll,
        "nts_cookies": seen.nts_cookies,
        "name": seen.name,
        "address": seen.address or seen.name,
        "id": row.id,
    }


def _finite(seconds: float | None) -> float:
    return UNKNOWN if seconds is None or not math.isfinite(seconds) else seconds


def _timestamp(moment: Timestamp) -> dict[str, int]:
    return {"timestamp": encode_timestamp(moment)}


class _Telling(Protocol):
    """One reader."""

    transport: Any  # what listenUNIX gives

    def __init__(self, server: ObservationServer) -> None:
        self._server = server
        self._limit: Any = None

    def connectionMade(self) -> None:
        """Tell everything, and hang up."""
        self._server.clients.add(self)
        self._limit = self._server.reactor.callLater(TIME_LIMIT, self.transport.abortConnection)
        state = self._server.state()
        self.transport.write(len(state).to_bytes(8, "big") + state)
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002 - whatever it was
        """Forget it."""
        self._server.clients.discard(self)
        if self._limit is not None and self._limit.active():
            self._limit.cancel()


class ObservationServer(LocalServer):
    """Tells ntpd-rs' tools the state of the daemon; ``servers`` gives what there is to show of the servers of time."""

    purpose = "ntp-ctl gets no answer"
    limit = READERS

    def __init__(
        self,
        path: str,
        mode: int,
        system: ISystem,
        reactor: Any,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
        accumulated_steps_threshold: float | None = None,
    ) -> None:
        super().__init__(Path(path), mode, reactor)
        self._system = system
        self._servers = servers
        self._threshold = accumulated_steps_threshold
        self._begun: float = reactor.seconds()

    def make_protocol(self) -> Protocol:
        """Begin to tell."""
        return _Telling(self)

    def state(self) -> bytes:
        """Give the state as JSON."""
        uptime = self.reactor.seconds() - self._begun
        data = observation(self._system.snapshot(), self._servers(), uptime, self._threshold)
        return json.dumps(data, allow_nan=False).encode()
