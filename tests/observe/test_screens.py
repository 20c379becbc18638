"""Screens: every time has its sign or direction, and its unit."""

from __future__ import annotations

from typing import Any

import pytest

from ntptwist.observe.screens import SERVER_WORDS, ago, amount, slow_or_fast, sources_lines, status_lines
from ntptwist.protocol.server import ServerCounters


def source(**changes: Any) -> dict[str, Any]:
    """Give one source as the daemon reports it."""
    row = {
        "id": 1, "name": "ntp1.example.net", "address": "192.0.2.1:123", "mode": "server", "selected": True,
        "reason": "used, best of 3", "offset": 12.3e-6, "uncertainty": 9.1e-6, "delay": 12.0e-3, "jitter": 8e-6,
        "frequency": 0.1, "reach": 255, "poll": 6, "stratum": 1, "reference_id": "GPS", "leap": "none",
        "root_delay": 0.0, "root_dispersion": 0.0, "last_measurement": 23.0, "measurements": 9, "sent": 9,
        "received": 9, "dropped": 0, "nts_cookies": None,
    }  # fmt: skip
    return {**row, **changes}


def status(**changes: Any) -> dict[str, Any]:
    """Give a whole state as the daemon reports it."""
    state = {
        "protocol": 1, "version": "1.2.3", "now": "2026-11-22T08:32:11.482Z", "control": "system",
        "synchronized": True, "since": "2026-11-22T07:40:12.000Z", "state": "synchronized", "offset": 12.3e-6,
        "error_bound": 9.4e-3, "frequency": -3.541, "frequency_error": 0.045, "stratum": 2,
        "reference_id": "C0000201", "leap": "none", "root_delay": 0.01364, "root_dispersion": 0.0011, "steps": 1,
        "accumulated_steps": -0.482, "sources": [source()],
    }  # fmt: skip
    return {**state, **changes}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0.0, "0 ns"), (1e-9, "1 ns"), (12.34e-6, "12.3 µs"), (9.996e-6, "10.0 µs"), (-251e-3, "-251 ms"),
        (0.99949, "999 ms"), (0.9996, "1.00 s"), (3600.0, "3600 s"), (999.6e-9, "1.00 µs"),
    ],
)  # fmt: skip
def test_amount_has_a_unit_and_three_digits(seconds: float | None, text: str) -> None:
    """A duration is written with the unit that suits it."""
    assert amount(seconds) == text


def test_sign_on_request() -> None:
    """An offset always shows its sign."""
    assert amount(12.3e-6, sign=True) == "+12.3 µs"


def test_slow_and_fast_are_told_in_words() -> None:
    """A positive offset means that the clock is slow."""
    assert [slow_or_fast(12e-6), slow_or_fast(-12e-6), slow_or_fast(None)] == [
        "12.0 µs slow",
        "12.0 µs fast",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.2, "0s"), (119.0, "119s"), (600.0, "10m"), (86400.0, "24h"), (864000.0, "10d")],
)
def test_age_in_whole_units(seconds: float | None, text: str) -> None:
    """The time since the last answer is short to read."""
    assert ago(seconds) == text


def test_each_source_has_its_mark_and_reason() -> None:
    """The tally is that of chronyc and ntpq, and the reason stands beside it."""
    rows = [
        source(),
        source(name="b", selected=True, reason="used", reference_id="PPS"),
        source(name="c", selected=False, reason="falseticker: 251 ms from the majority", offset=0.251),
        source(name="d", selected=False, reason="no answer for 8 polls", offset=None, reach=0, last_measurement=None),
        source(name="e", selected=False, reason="good, not needed"),
    ]
    lines = sources_lines(status(sources=rows), 200)[2:]

    assert [line[0] for line in lines] == ["*", "+", "x", "?", "-"]
    assert lines[2].endswith("falseticker: 251 ms from the majority")
    assert "never" in lines[3]


def test_lines_fit_the_terminal() -> None:
    """No line of the table is wider than asked for."""
    lines = sources_lines(status(sources=[source(reason="x" * 300)]), 80)

    assert max(len(line) for line in lines) == 80


def test_a_source_that_does_not_exist_yet() -> None:
    """A name that is still being resolved stands in the table too."""
    waiting = source(id=None, selected=False, reason="resolving", offset=None, uncertainty=None, delay=None,
                     reach=0, poll=None, stratum=None, reference_id=None, last_measurement=None)  # fmt: skip
    (line,) = sources_lines(status(sources=[waiting]))[2:]

    assert line.startswith("? ntp1.example.net")
    assert line.endswith("resolving")


def test_no_sources() -> None:
    """A daemon without sources says so."""
    assert sources_lines(status(sources=[]))[-1] == "no sources configured"


def test_status_gives_the_verdict_first() -> None:
    """The first line says whether the clock is right, the second how right."""
    lines = status_lines(status())

    assert lines[0].startswith("Synchronized        since 2026-11-22T07:40:12")
    assert lines[1] == "Clock               12.3 µs slow, certain to within 9.40 ms"
    assert "Frequency           -3.541 ppm +/- 0.045" in lines


def test_status_lists_the_troubles() -> None:
    """Each source that is not used is named with its reason."""
    lines = status_lines(
        status(
            synchronized=False, since=None, offset=None, error_bound=None, frequency_error=None,
            sources=[source(name="b", selected=False, reason="falseticker: 251 ms from the majority")],
        )
    )  # fmt: skip

    assert lines[0].startswith("Not synchronized")
    assert lines[-1] == "Trouble             b: falseticker: 251 ms from the majority"


def test_status_tells_what_servers_did() -> None:
    """Each server has a line: how many requests it answered, and of the rest only what there was."""
    counters = dict.fromkeys(ServerCounters.__slots__, 0)
    counters |= {"received": 10, "accepted": 6, "denied": 1, "rate_limited": 3, "interleaved": 2}
    servers = [
        {"address": "[::]:123", "trouble": None, "counters": counters, "clients": []},
        {"address": "192.0.2.1:123", "trouble": "Address already in use", "counters": counters, "clients": []},
    ]
    lines = status_lines(status(servers=servers))

    assert lines[-2:] == [
        "Server              [::]:123: 6 of 10 requests answered, 2 interleaved, 1 denied, 3 too frequent",
        "Server              192.0.2.1:123: not served: Address already in use",
    ]
    assert {name for name, _ in SERVER_WORDS} < set(ServerCounters.__slots__)
