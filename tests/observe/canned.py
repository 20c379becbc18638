"""What a daemon would report of itself, for the screens: the sources that the manual's sketches show."""

from __future__ import annotations

from typing import Any


def source(**changes: Any) -> dict[str, Any]:
    """Give one source as the daemon reports it."""
    row = {
        "id": 1, "name": "ntp1.example.net", "address": "192.0.2.1:123", "mode": "nts", "selected": True,
        "reason": "used, best of 3", "standing": "best", "trouble": None, "why": "It is the best.",
        "change": "Another one may be better.", "offset": 12.3e-6, "uncertainty": 9.1e-6, "distance": 9.1e-3,
        "delay": 12.0e-3, "jitter": 8.1e-6, "frequency": -3.5, "skew": 0.05, "span": 3000.0, "reach": 255, "poll": 6,
        "stratum": 1, "reference_id": "GPS", "leap": "none", "root_delay": 1e-3, "root_dispersion": 2e-3,
        "last_measurement": 23.0, "next_poll": 41.0, "measurements": 9, "sent": 9, "received": 9, "dropped": 0,
        "drops": {}, "nts_cookies": None,
    }  # fmt: skip
    return {**row, **changes}


def sources() -> list[dict[str, Any]]:
    """Give one source of each standing."""
    never = {
        "offset": None, "uncertainty": None, "distance": None, "delay": None, "jitter": None, "frequency": None,
        "skew": None, "span": None, "stratum": None, "last_measurement": None, "next_poll": 90.0, "measurements": 0,
    }  # fmt: skip
    return [
        source(),
        source(
            id=2, name="/dev/pps0", address=None, mode="pps", reason="used", standing="used", offset=180e-9,
            uncertainty=1e-6, distance=1e-6, delay=0.0, poll=4, stratum=0, last_measurement=1.0, next_poll=None,
        ),
        source(
            id=3, name="0.pool.example", address="192.0.2.17:123", mode="pool", reason="used", standing="used",
            offset=-210e-6, distance=14.2e-3, delay=20e-3,
        ),
        source(
            id=4, name="198.51.100.4", address="198.51.100.4:123", mode="server", selected=False,
            reason="falseticker: 251 ms from the majority", standing="falseticker", offset=0.251, uncertainty=18e-6,
            distance=18e-3, why="The majority agree on a time that is outside its interval.",
            change="It is used again as soon as its interval overlaps that.", dropped=3,
            drops={"the reply is a duplicate": 2, "not an NTP packet": 1},
        ),
        source(
            id=5, name="2001:db8::7", address="[2001:db8::7]:123", mode="server", selected=False,
            reason="no answer for 8 polls", standing="silent", trouble="Connection refused", reach=0, poll=7, **never,
        ),
    ]  # fmt: skip


def status(**changes: Any) -> dict[str, Any]:
    """Give a whole state as the daemon reports it."""
    state = {
        "protocol": 1, "version": "1.2.3", "now": "2026-11-22T08:32:11.482Z", "control": "system",
        "synchronized": True, "since": "2026-11-22T07:40:12.000Z", "synchronized_for": 3119.0, "state": "synchronized",
        "offset": 12.3e-6, "uncertainty": 7.9e-6, "error_bound": 9.4e-3, "frequency": -3.541, "frequency_error": 0.045,
        "stratum": 2, "reference_id": "C0000201", "reference_time": "2026-11-22T08:31:48.000Z", "reference_age": 23.5,
        "leap": "none", "wander": 0.012, "root_delay": 0.01364, "root_dispersion": 0.0011, "steps": 1,
        "accumulated_steps": 0.0, "used": [1, 2, 3], "sources": sources(), "servers": [], "key_servers": [],
        "last_event": 8,
        "majority": {"low": -9.0e-3, "high": 9.1e-3, "agree": 3, "of": 4, "needed": 3},
    }  # fmt: skip
    return {**state, **changes}


def lost(**changes: Any) -> dict[str, Any]:
    """Give the state of a daemon that has just started."""
    return status(
        synchronized=False, since=None, synchronized_for=None, state="waiting for 2 more sources", offset=None,
        uncertainty=None, error_bound=None, frequency=0.0, frequency_error=None, stratum=16, reference_id="",
        reference_time=None, reference_age=None, leap="unsynchronized", wander=None, root_delay=None,
        root_dispersion=None, steps=0, used=[], majority=None,
        sources=[source(id=None, selected=False, reason="resolving", standing="new", offset=None, distance=None,
                        uncertainty=None, delay=None, jitter=None, frequency=None, skew=None, span=None, reach=0,
                        poll=None, stratum=None, reference_id=None, last_measurement=None, why="", change="",
                        measurements=0, sent=0, received=0, next_poll=None)],
        **changes,
    )  # fmt: skip


def events() -> list[dict[str, Any]]:
    """Give the last entries of a journal."""
    return [
        {"number": 7, "time": "2026-11-22T07:40:12.000Z", "kind": "step", "source": None, "name": None,
         "reason": "the clock was 482 ms slow: stepped forward", "amount": 0.482},
        {"number": 8, "time": "2026-11-22T08:29:40.000Z", "kind": "standing", "source": 4, "name": "198.51.100.4",
         "reason": "falseticker: 251 ms from the majority", "amount": None},
    ]  # fmt: skip
