"""The state as plain data for programs."""

from __future__ import annotations

import json
from dataclasses import replace

from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.observe.state import status_data, utc
from ntptwist.snapshot import (
    ClientSnapshot,
    ServerSnapshot,
    SourceEstimate,
    SourceObservation,
    SourceSnapshot,
    SystemSnapshot,
    TimeSnapshot,
)
from ntptwist.timestamp import Monotonic, Timestamp

TIME = TimeSnapshot(
    Leap.NONE, 2, ReferenceId.of_address("192.0.2.1"), Timestamp(0), Monotonic(10**9), -20, 0.01, 0.002, 1e-12
)
ROW = SourceSnapshot(
    SourceId(1),
    SourceObservation("ntp.example", "192.0.2.1:123", "server", reach=0b111, poll=6, sent=3, received=3),
    SourceEstimate(
        True, "used", "used", 1e-6, 2e-6, 3e-4, stratum=1, reference_id=ReferenceId.of_text("GPS"), leap=Leap.NONE,
        last_measurement=Monotonic(10**9),
    ),
)  # fmt: skip
SNAPSHOT = SystemSnapshot(
    Timestamp(1_795_000_000_123_456_789), Monotonic(3 * 10**9), TIME, "system", True, "synchronized", 1e-6, 9e-3, -3.5,
    0.04, 1, 0.3, Timestamp(1_794_000_000 * 10**9), (ROW,),
)  # fmt: skip


def test_all_fields_are_plain_json() -> None:
    """The whole state is JSON without NaN and without types of ours."""
    data = status_data(SNAPSHOT)

    assert data == json.loads(json.dumps(data, allow_nan=False))


def test_promised_fields() -> None:
    """Programs find the fields that the manual promises, in seconds and ppm."""
    data = status_data(SNAPSHOT)
    promised = {
        "synchronized": True,
        "offset": 1e-6,
        "error_bound": 9e-3,
        "frequency": -3.5,
        "stratum": 2,
        "leap": "none",
    }

    assert {key: data[key] for key in promised} == promised
    assert data["root_dispersion"] == 0.002 + 1e-6
    assert data["sources"][0]["reach"] == 7
    assert data["sources"][0]["last_measurement"] == 2.0
    assert data["sources"][0]["reference_id"] == "GPS"


def test_unknown_is_null() -> None:
    """A daemon that has just started knows nothing, and says so with null."""
    fresh = SystemSnapshot(Timestamp(0), Monotonic(0), TimeSnapshot(), "observe", False, "waiting for sources")
    data = status_data(replace(fresh, sources=(replace(ROW, id=None, estimate=SourceEstimate()),)))

    assert [data[key] for key in ("offset", "error_bound", "since", "root_delay")] == [None] * 4
    assert data["leap"] == "unsynchronized"
    assert [data["sources"][0][key] for key in ("offset", "delay", "poll", "leap")] == [None] * 4


def test_trouble_stands_in_the_reason() -> None:
    """What the network or the server complains of is not hidden behind the algorithm's reason."""
    troubled = replace(ROW.observation, trouble="Connection refused")
    rows = (
        replace(ROW, observation=troubled, estimate=SourceEstimate()),
        replace(ROW, observation=troubled, estimate=SourceEstimate(reason="no answer for 8 polls")),
        replace(ROW, observation=troubled),
    )
    data = status_data(replace(SNAPSHOT, sources=rows))

    assert [row["reason"] for row in data["sources"]] == [
        "Connection refused",
        "no answer for 8 polls; Connection refused",
        "used; Connection refused",
    ]


def test_time_of_day_in_utc() -> None:
    """Points in time are ISO 8601 in UTC, to the millisecond."""
    assert utc(1_795_000_000_123_456_789) == "2026-11-18T11:06:40.123Z"


def test_servers() -> None:
    """Each server tells its address, its trouble, its counters and the clients that ask most, with their ages."""
    client = ClientSnapshot("192.0.2.7", 5, 0, Monotonic(10**9), 4, interleaved=True, nts=False)
    server = ServerSnapshot("[::]:123", None, {"received": 5}, (client,))
    data = status_data(SNAPSHOT, [server])
    row = {
        "address": "192.0.2.7",
        "packets": 5,
        "error": 0,
        "last_seen": 2.0,
        "version": 4,
        "interleaved": True,
        "nts": False,
    }

    assert data["servers"] == [{"address": "[::]:123", "trouble": None, "counters": {"received": 5}, "clients": [row]}]
    assert data == json.loads(json.dumps(data, allow_nan=False))
    assert status_data(SNAPSHOT)["servers"] == []
