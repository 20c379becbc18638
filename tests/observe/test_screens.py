"""Screens over what a daemon reports; the expected text is in the files beside this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ntptwist.observe.live import LiveView
from ntptwist.observe.screens import (
    SERVER_WORDS,
    event_line,
    sources_lines,
    sources_screen,
    stats_lines,
    status_lines,
    tracking_lines,
)
from ntptwist.observe.why import why_lines
from ntptwist.protocol.server import ServerCounters
from tests.observe.canned import events, lost, source, sources, status

SCREENS = Path(__file__).parent / "screens"


def live(width: int, height: int, *keys: str) -> list[str]:
    """Give the live screen after some keys."""
    view = LiveView("host1")
    view.update(status(), events())
    view.update(status(offset=-20e-6, frequency=-3.6), [])
    for key in keys:
        view.press(key)
    if view.details:
        row = next(row for row in sources() if row["id"] == view.chosen)
        view.answer = {"status": status(), "source": row, "events": events()[1:]}
    return view.frame(width, height)


GOLDEN: dict[str, Callable[[], list[str]]] = {
    "status": lambda: status_lines(status()),
    "status-lost": lambda: status_lines(lost()),
    "sources-96": lambda: sources_screen(status(), 96),
    "sources-140": lambda: sources_screen(status(), 140, legend=True),
    "sources-lost": lambda: sources_screen(lost(), 96),
    "tracking": lambda: tracking_lines(status()),
    "tracking-lost": lambda: tracking_lines(lost()),
    "stats": lambda: stats_lines(status(), 120),
    "why": lambda: why_lines({"status": status(), "source": None, "events": events()[:1]}, 96),
    "why-lost": lambda: why_lines({"status": lost(), "source": None, "events": []}, 96),
    "why-used": lambda: why_lines({"status": status(), "source": sources()[0], "events": []}, 96),
    "why-falseticker": lambda: why_lines({"status": status(), "source": sources()[3], "events": events()[1:]}, 96),
    "why-silent": lambda: why_lines({"status": status(), "source": sources()[4], "events": []}, 96),
    "why-resolving": lambda: why_lines({"status": lost(), "source": lost()["sources"][0], "events": []}, 96),
    "why-undecided": lambda: why_lines(
        {
            "status": status(
                majority={"low": 0.0, "high": 0.0, "agree": 2, "of": 4, "needed": 3}, state="holding over"
            ),
            "source": source(selected=False, standing="no_majority", reason="no majority", nts_cookies=7),
            "events": [],
        },
        96,
    ),
    "watch-80": lambda: live(80, 16),
    "watch-120": lambda: live(120, 16, "s", "down"),
    "watch-details": lambda: live(100, 36, "down", "down", "down", "enter"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_screens_are_as_they_were(name: str) -> None:
    """Each screen looks exactly as it did when somebody last looked at it."""
    assert "\n".join(GOLDEN[name]()) + "\n" == (SCREENS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [20, 60, 80, 96, 110, 140])
def test_lines_fit_the_terminal(width: int) -> None:
    """No line of a table is wider than the terminal."""
    rows = [source(reason="x" * 300), *sources()]
    lines = sources_lines(status(sources=rows), width) + stats_lines(status(sources=rows), width)

    assert max(len(line) for line in lines) <= width


def test_no_sources() -> None:
    """A daemon without sources says so."""
    assert sources_screen(status(sources=[], used=[]), 80)[-1] == "no sources configured"


def test_colours_are_put_around_whole_lines() -> None:
    """What is painted is the same text: good and bad are told apart by their styles."""
    painted: list[str] = []

    def paint(text: str, style: str) -> str:
        painted.append(style)
        return text

    plain = sources_lines(status(), 100)

    assert sources_lines(status(), 100, paint) == plain
    assert painted == ["good", "good", "good", "bad", "odd"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"steps": 3, "accumulated_steps": 0.5}, "Steps               3, 500 ms after the first"),
        ({"control": "observe"}, "Control             the clock is only observed, not steered"),
        ({"state": "holding over for 310 s"}, "State               holding over for 310 s"),
        ({"used": [1]}, "Following           ntp1.example.net (nts)"),
        ({"used": [1, 2]}, "Following           ntp1.example.net (nts), and 1 other"),
    ],
)
def test_status_tells_what_is_out_of_the_ordinary(changes: dict[str, object], line: str) -> None:
    """Steps, a clock that is not steered and a loss of the sources have lines of their own."""
    assert any(each.startswith(line) for each in status_lines(status(**changes)))


def test_status_tells_what_servers_did() -> None:
    """Each server has a line: how many requests it answered, and of the rest only what there was."""
    counters = dict.fromkeys(ServerCounters.__slots__, 0)
    counters |= {"received": 10, "accepted": 6, "denied": 1, "rate_limited": 3, "interleaved": 2}
    servers: list[dict[str, Any]] = [
        {"address": "[::]:123", "trouble": None, "counters": counters, "clients": [], "stratum": 2},
        {"address": "192.0.2.1:123", "trouble": "Address already in use", "counters": counters, "stratum": 2},
    ]
    told = [line for line in status_lines(status(servers=servers)) if line.startswith("Server")]

    assert told == [
        "Server              [::]:123: 6 of 10 requests answered, 2 interleaved, 1 denied, 3 too frequent",
        "Server              192.0.2.1:123: not served: Address already in use",
    ]
    assert {name for name, _ in SERVER_WORDS} < set(ServerCounters.__slots__)


def test_status_says_when_the_own_clock_is_served() -> None:
    """A server that gives out this machine's own time, which nobody confirms, says so in so many words."""
    counters = dict.fromkeys(ServerCounters.__slots__, 0)
    servers: list[dict[str, Any]] = [
        {"address": "[::]:123", "trouble": None, "counters": counters, "clients": [], "stratum": 10}
    ]
    (told,) = [line for line in status_lines(lost(servers=servers)) if line.startswith("Server")]

    assert told.endswith("with this machine's own, unsynchronized time as stratum 10 (local-stratum)")
    assert "own" not in "".join(line for line in status_lines(status(servers=servers)) if line.startswith("Server"))


def test_status_tells_what_key_servers_did() -> None:
    """Each server of NTS keys has a line too."""
    servers = [{"address": "[::]:4460", "trouble": "no certificate", "outcomes": {}}]

    assert "NTS key server      [::]:4460: not served: no certificate" in status_lines(status(key_servers=servers))


def test_events_have_numbers_and_names() -> None:
    """An entry of the journal begins with its number, and names the source that it is about."""
    assert [event_line(event) for event in events()] == [
        "    7  2026-11-22 07:40:12  the clock was 482 ms slow: stepped forward",
        "    8  2026-11-22 08:29:40  198.51.100.4: falseticker: 251 ms from the majority",
    ]
