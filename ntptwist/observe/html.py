"""
The web page's words and tables, from the plain data of ``observe.state``.

The page is complete without JavaScript: everything but the plots is made here, each time it is asked for.  The script
asks for the same page again and puts its new parts (``data-live``) in the place of the old ones, so there is one
place that knows the words.  Whatever comes from outside (names, addresses, reasons) is escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ntptwist.observe.screens import ago, amount, label, mark, serving, slow_or_fast
from ntptwist.observe.state import utc
from ntptwist.timestamp import Timestamp

FILES = Path(__file__).parent / "page"

EVENT_LIMIT = 50
"""Events on the page; ``ntptwist-ctl`` has more."""

MARKS = {
    "*": ("best", "followed first"),
    "+": ("used", "used"),
    "-": ("good", "good, not used"),
    "x": ("false", "contradicts the majority"),
    "?": ("lost", "of no use now"),
}
"""The tally marks of chronyc and ntpq: a class for the colour, and what they mean."""

COLUMNS = (
    ("", "mark"),
    ("Source", "name"),
    ("Kind", ""),
    ("Stratum", "number"),
    ("Offset", "number"),
    ("+/-", "number"),
    ("Delay", "number"),
    ("Jitter", "number"),
    ("Reach", "reach"),
    ("Poll", "number"),
    ("Last", "number"),
    ("Cookies", "number"),
    ("Why", "why"),
)

_PLACE = re.compile(r"\$([a-z]+)")
_SIGMAS = 3.0
_WIDTH = 1000
"""Units of the agreement picture from edge to edge."""
_MARGIN = 1.15
_ARROW = 14


class Event(NamedTuple):
    """Something that changed, with its reason in words."""

    time: Timestamp
    kind: str
    text: str


@cache
def _template() -> tuple[tuple[str, str], ...]:
    """Give the page as what stands before each place that is to be filled, and the name of the place."""
    text, *rest = _PLACE.split((FILES / "index.html").read_text(encoding="utf-8"))
    places, texts = rest[::2], rest[1::2]
    return tuple(zip((text, *texts), (*places, ""), strict=True))


def page(status: Mapping[str, Any], host: str, events: Iterable[Event]) -> Iterator[str]:
    """Give the page in pieces, of which each is quickly made."""
    verdict = "synchronized" if status["synchronized"] else "not synchronized"
    places: dict[str, Callable[[], str]] = {
        "title": lambda: escape(f"{host}: {verdict}"),
        "host": lambda: escape(host),
        "version": lambda: escape(status["version"]),
        "verdict": lambda: _verdict(status),
        "tiles": lambda: _tiles(status),
        "agreement": lambda: _agreement(status["sources"]),
        "sources": lambda: _sources(status),
        "servers": lambda: _servers(status.get("servers", ())),
        "events": lambda: _events(events),
        "": str,
    }
    for text, place in _template():
        yield text
        yield places[place]()


def _moment(iso: str) -> str:
    """Give a point in time for people, to the second."""
    return iso[:19].replace("T", " ")


def _verdict(status: Mapping[str, Any]) -> str:
    good = status["synchronized"]
    since = f"since {_moment(status['since'])} UTC" if good and status["since"] else ""
    state = "" if status["state"] == "synchronized" else f"<p>{escape(status['state'])}</p>"
    return (
        f'<p class="badge {"good" if good else "bad"}">{"Synchronized" if good else "Not synchronized"}</p>'
        f"<p>{escape(since)}</p>{state}"
        f'<p class="now">{_moment(status["now"])} UTC by this clock</p>'
    )


def _tiles(status: Mapping[str, Any]) -> str:
    bound = status["error_bound"]
    spread = "" if status["frequency_error"] is None else f"+/- {status['frequency_error']:.3f} ppm"
    steps = {0: "never stepped", 1: "stepped once"}.get(status["steps"], f"stepped {status['steps']} times")
    rows = (
        ("Clock", slow_or_fast(status["offset"]), f"control: {status['control']}"),
        ("Certain to within", amount(bound), "largest error"),
        ("Frequency", f"{status['frequency']:+.3f} ppm", spread),
        ("Stratum", str(status["stratum"]), f"reference {status['reference_id']}"),
        ("Leap second", status["leap"], steps),
    )
    return "".join(
        f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>'
        for name, value, more in rows
    )


def distance(row: Mapping[str, Any]) -> float | None:
    """Give how far truth may be from what a source says, its root distance in seconds; None before it has measured."""
    if row["offset"] is None:
        return None
    known = row.get("distance")
    if known is not None:
        return float(known)
    half_way = ((row["delay"] or 0.0) + (row["root_delay"] or 0.0)) / 2
    return half_way + (row["root_dispersion"] or 0.0) + _SIGMAS * (row["uncertainty"] or 0.0)


def _scale(rows: Iterable[tuple[Mapping[str, Any], float]]) -> float:
    """Give the offset at the picture's edge: all that is used fits in, what is far away does not make it tiny."""
    rows = list(rows)
    wanted = [row for row in rows if row[0]["selected"]] or rows
    reach = max((abs(row["offset"]) + within for row, within in wanted), default=0.0) * _MARGIN
    return reach if math.isfinite(reach) and reach > 0 else 1.0


def _agreement(sources: Iterable[Mapping[str, Any]]) -> str:
    """Draw what each source takes for the truth: where the bars overlap, they agree."""
    rows = [(row, within) for row in sources if (within := distance(row)) is not None]
    if not rows:
        return "<p>No source has measured anything yet.</p>"
    scale = _scale(rows)
    lines = "".join(_interval(row, within, scale) for row, within in rows)
    return (
        f'<table class="agreement"><thead><tr><th scope="col">Source</th><th scope="col">'
        f"<span>&minus;{amount(scale)}</span><span>this clock</span><span>+{amount(scale)}</span></th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _interval(row: Mapping[str, Any], within: float, scale: float) -> str:
    def place(offset: float) -> int:
        return round(_WIDTH / 2 * (1 + max(min(offset / scale, 1.0), -1.0)))

    low, middle, high = (place(row["offset"] + way * within) for way in (-1, 0, 1))
    beyond = abs(row["offset"]) > scale  # an arrow at the edge
    inward = middle - _ARROW if middle else _ARROW
    words = f"{amount(row['offset'], sign=True)}, right to within {amount(within)}"
    point = (
        f'<path class="point" d="M{middle} 4 V20"/>'
        if not beyond
        else f'<path class="point" d="M{inward} 4 L{middle} 12 L{inward} 20"/>'
    )
    name = escape(_name(row))
    kind, _ = MARKS[mark(dict(row), first=False)]
    return (
        f'<tr class="{kind}"><th scope="row" title="{name}">{name}</th><td>'
        f'<svg viewBox="0 0 {_WIDTH} 24" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f'<title>{words}</title><path class="zero" d="M{_WIDTH // 2} 0 V24"/>'
        f'<path class="bar" d="M{low} 12 H{max(high, low + 2)}"/>{point}</svg></td></tr>'
    )


def _sources(status: Mapping[str, Any]) -> str:
    rows = status["sources"]
    if not rows:
        return "<p>No source is configured: the clock is left alone.</p>"
    best = next((row for row in rows if row["selected"] and row["reason"].startswith("used, best")), None)
    head = "".join(f'<th scope="col" class="{kind}">{name or "<span>Use</span>"}</th>' for name, kind in COLUMNS)
    body = "".join(_source(row, first=row is best) for row in rows)
    return f'<table class="sources"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _source(row: Mapping[str, Any], *, first: bool) -> str:
    tally = mark(dict(row), first)
    kind, meaning = MARKS[tally]
    reach = f"{row['reach']:08b}"
    cells = (
        f'<abbr title="{meaning}">{tally}</abbr>',
        escape(_name(row)),
        escape(row["mode"]),
        _dash(row["stratum"]),
        amount(row["offset"], sign=True),
        amount(row["uncertainty"]),
        amount(row["delay"]),
        amount(row["jitter"]),
        f'<span title="the last eight requests, the oldest first: 1 was answered">{reach}</span>',
        "-" if row["poll"] is None else amount(2.0 ** row["poll"]),
        ago(row["last_measurement"]),
        _dash(row["nts_cookies"]),
        escape(row["reason"]),
    )
    return (
        f'<tr class="{kind}">'
        + "".join(
            f'<td class="{column}" data-label="{name}">{cell}</td>'
            for (name, column), cell in zip(COLUMNS, cells, strict=True)
        )
        + "</tr>"
    )


def _name(row: Mapping[str, Any]) -> str:
    return label(dict(row)).removesuffix(":123")


def _dash(value: object) -> str:
    return "-" if value is None else escape(str(value))


def _servers(servers: Iterable[Mapping[str, Any]]) -> str:
    lines = "".join(f"<dt>{escape(each['address'])}</dt><dd>{escape(serving(dict(each)))}</dd>" for each in servers)
    return f"<dl>{lines}</dl>" if lines else "<p>This machine serves time to nobody.</p>"


def _events(events: Iterable[Event]) -> str:
    lines = "".join(
        f"<li><time>{_moment(utc(event.time))}</time> <b>{escape(event.kind)}</b> {escape(event.text)}</li>"
        for event in events
    )
    return f"<ol>{lines}</ol>" if lines else "<p>Nothing has changed since the start.</p>"
