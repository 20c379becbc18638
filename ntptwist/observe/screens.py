"""
Screens for people, made from the plain data of ``observe.state``.

Only the standard library: the operator's tool imports this and must start in milliseconds.  Each function gives lines;
``width`` is what they are cut or folded to, ``paint`` gives them colours where there are some.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ntptwist.observe.intervals import interval_lines
from ntptwist.observe.words import (
    STYLES,
    Paint,
    ago,
    amount,
    label,
    lasting,
    mark,
    slow_or_fast,
    unpainted,
    utc,
)

SERVER_WORDS = (
    ("interleaved", "interleaved"),
    ("nts_accepted", "with NTS"),
    ("nts_nak", "with unknown NTS keys"),
    ("denied", "denied"),
    ("rate_limited", "too frequent"),
    ("ignored", "ignored"),
    ("control", "of mode 6"),
    ("response_send_errors", "not deliverable"),
)
"""The counters of a server, as people read them."""

KEY_SERVER_WORDS = (
    ("refused", "with a request that gives no keys"),
    ("crowded", "one too many"),
    ("crowded_address", "one too many of its address"),
    ("tls", "with an error of TLS"),
    ("protocol", "for something else"),
    ("too_long", "too long"),
    ("too_slow", "too slow"),
    ("closed", "closed too early"),
)
"""How connections to a key exchange server ended, as people read it."""

LEAP_WORDS = {
    "none": "none announced",
    "insert": "one is to be inserted at the end of the month",
    "delete": "one is to be deleted at the end of the month",
    "unsynchronized": "not known",
}

CONTROL_WORDS = {
    "observe": "the clock is only observed, not steered",
    "virtual": "a virtual clock is steered; this machine's own is not touched",
}

KIND_STYLES = {"panic": "bad", "step": "odd", "foreign step": "odd", "unsynchronized": "bad", "synchronized": "good"}
"""How an entry of the journal is painted, where it is."""

LEGEND = (
    "S      * followed, + used, - usable but not used, x falseticker, ? not usable",
    "St     stratum: 0 for a clock of this machine, 1 for a server that has one",
    "Poll   log2 of the seconds between two requests",
    "Reach  the last eight polls, the latest at the right: 1 answered, 0 not",
    "Last   how long ago it was last measured",
    "Offset reference minus local: + says that this clock is slow",
    "+/-    one standard deviation of the offset",
)


SOURCE_COLUMNS: tuple[tuple[str, tuple[int, Callable[[dict[str, Any]], str]]], ...] = (
    ("St", (2, lambda row: "-" if row["stratum"] is None else str(row["stratum"]))),
    ("Poll", (4, lambda row: "-" if row["poll"] is None else str(row["poll"]))),
    ("Reach", (8, lambda row: f"{row['reach']:08b}")),
    ("Last", (5, lambda row: ago(row["last_measurement"]))),
    ("Offset", (9, lambda row: amount(row["offset"], sign=True))),
    ("+/-", (8, lambda row: amount(row["uncertainty"]))),
    ("Delay", (8, lambda row: amount(row["delay"]))),
)
"""The columns between a source's name and its reason, with their widths."""

EXPENDABLE = ("Delay", "Poll", "+/-")
"""Columns that make way, in this order, where the reasons would be cut: why is worth more."""


def _wide(names: list[str], most: int = 40) -> int:
    return min(max([len(name) for name in names] + [12]), most)


def sources_lines(
    status: dict[str, Any],
    width: int = 100,
    paint: Paint = unpainted,
    *,
    legend: bool = False,
) -> list[str]:
    """Give the table of sources, one line each, cut to ``width`` columns."""
    rows = status["sources"]
    names = [label(row) for row in rows]
    columns = dict(SOURCE_COLUMNS)
    room = _wide(names)
    reasons = max([len(row["reason"]) for row in rows] + [12])

    def missing() -> int:
        return 2 + room + sum(size + 1 for size, _ in columns.values()) + 2 + reasons - width

    for name in EXPENDABLE:
        if missing() > 0:
            room = max(room - missing(), min(room, 22))
        if missing() > 0:
            del columns[name]
    head = f"S {'Source':<{room}} " + " ".join(f"{name:>{size}}" for name, (size, _) in columns.items()) + "  Why"
    lines = [*(LEGEND if legend else ()), head[:width], "=" * min(width, len(head) - 3 + reasons)]
    for row, name in zip(rows, names, strict=True):
        tally = mark(row, status["used"])
        cells = " ".join(f"{words(row):>{size}}" for size, words in columns.values())
        lines.append(paint(f"{tally} {name[:room]:<{room}} {cells}  {row['reason']}"[:width], STYLES[tally]))
    if not rows:
        lines.append("no sources configured")
    return lines


def sources_screen(status: dict[str, Any], width: int, paint: Paint = unpainted, *, legend: bool = False) -> list[str]:
    """Give the table of sources and the picture of their intervals."""
    picture = interval_lines(status, width)
    return [*sources_lines(status, width, paint, legend=legend), *([""] if picture else []), *picture]


def stats_lines(status: dict[str, Any], width: int = 100) -> list[str]:
    """Give what the filters know of each source, and what was dropped on the way."""
    rows = status["sources"]
    names = [label(row) for row in rows]
    room = _wide(names)
    head = f"S {'Source':<{room}} Samples  Span     Jitter     Offset        +/-     Frequency      Skew  Dropped"
    lines = [head[:width], "=" * min(width, len(head) + 8)]
    for row, name in zip(rows, names, strict=True):
        span = "-" if row["span"] is None else ago(row["span"])
        frequency = "-" if row["frequency"] is None else f"{row['frequency']:+.3f} ppm"
        skew = "-" if row["skew"] is None else f"{row['skew']:.3f} ppm"
        lines.append(
            f"{mark(row, status['used'])} {name[:room]:<{room}} {row['measurements']:>7} {span:>5}"
            f" {amount(row['jitter']):>10} {amount(row['offset'], sign=True):>10} {amount(row['uncertainty']):>10}"
            f" {frequency:>13} {skew:>9} {row['dropped']:>8}"[:width]
        )
    dropped = [(name, row["drops"]) for row, name in zip(rows, names, strict=True) if row["drops"]]
    if dropped:
        lines += ["", "Dropped:"]
    lines += [f"  {name}: {count} x {reason}"[:width] for name, drops in dropped for reason, count in drops.items()]
    return lines


def followed(status: dict[str, Any]) -> dict[str, Any] | None:
    """Give the source that stratum and reference id are taken from."""
    return next((row for row in status["sources"] if status["used"][:1] == [row["id"]]), None)


def _known(seconds: float | None) -> str:
    return "unknown" if seconds is None else amount(seconds)


def tracking_lines(status: dict[str, Any]) -> list[str]:
    """Give the state of the clock, with chronyc's names where the meaning is the same."""
    best = followed(status)
    reference = status["reference_id"] if status["stratum"] < 16 else "none"
    if best is not None:
        reference += f" ({label(best)}, {best['mode']})"
    age = status["reference_age"]
    skew = "" if status["frequency_error"] is None else f" +/- {status['frequency_error']:.3f} ppm"
    wander = "unknown" if status["wander"] is None else f"{status['wander']:.2g} ppm per square root of a second"
    offset, bound = status["offset"], status["error_bound"]
    signed = "unknown" if offset is None else f"{amount(offset, sign=True)} (the clock is {slow_or_fast(offset)})"
    steps = f", {amount(status['accumulated_steps'])} after the first" if status["accumulated_steps"] else ""
    facts = (
        ("Reference ID", reference),
        ("Stratum", str(status["stratum"])),
        ("Ref time", "never" if age is None else f"{utc(status['reference_time'])}, {lasting(age)} ago"),
        ("System offset", signed),
        ("Offset std dev", _known(status["uncertainty"])),
        ("Frequency", f"{status['frequency']:+.3f} ppm{skew}"),
        ("Wander", wander),
        ("Root delay", _known(status["root_delay"])),
        ("Root dispersion", _known(status["root_dispersion"])),
        (
            "Error bound",
            "unknown" if bound is None else f"{amount(bound)} = |offset| + 3 std dev + dispersion + delay / 2",
        ),
        ("Leap status", "not synchronized" if status["leap"] == "unsynchronized" else LEAP_WORDS[status["leap"]]),
        ("Steps", f"{status['steps']}{steps}"),
        ("State", status["state"]),
        ("Control", CONTROL_WORDS.get(status["control"], "the system's clock is steered")),
    )
    return [f"{name:<15} : {text}" for name, text in facts]


def serving(server: dict[str, Any], *, synchronized: bool = True) -> str:
    """Say in words what a server has done so far."""
    if server["trouble"] is not None:
        return f"not served: {server['trouble']}"
    counters = server["counters"]
    parts = [f"{counters['accepted']} of {counters['received']} requests answered"]
    parts += [f"{counters[name]} {words}" for name, words in SERVER_WORDS if counters[name]]
    if not synchronized and server["stratum"] < 16:
        parts.append(f"with this machine's own, unsynchronized time as stratum {server['stratum']} (local-stratum)")
    return ", ".join(parts)


def exchanging(server: dict[str, Any]) -> str:
    """Say in words what a key exchange server has done so far."""
    if server["trouble"] is not None:
        return f"not served: {server['trouble']}"
    outcomes = server["outcomes"]
    parts = [f"{outcomes['given']} of {sum(outcomes.values())} connections have got keys"]
    parts += [f"{outcomes[name]} {words}" for name, words in KEY_SERVER_WORDS if outcomes[name]]
    return ", ".join(parts)


def following(status: dict[str, Any]) -> str:
    """Say in words whom the clock follows."""
    best = followed(status)
    if best is None:
        return "nobody"
    others = len(status["used"]) - 1
    along = "" if not others else f", and {others} {'other' if others == 1 else 'others'}"
    return f"{label(best)} ({best['mode']}){along}"


def status_lines(status: dict[str, Any], paint: Paint = unpainted) -> list[str]:
    """Give the verdict first, then the facts behind it: one screen."""
    since = ""
    if status["since"]:
        since = f"since {utc(status['since'])} ({lasting(status['synchronized_for'])})"
    right = status["synchronized"]
    verdict = paint(f"{'Synchronized' if right else 'Not synchronized':<20}", "good" if right else "bad")
    there = [row for row in status["sources"] if row["id"] is not None]
    count = sum(mark(row, status["used"]) in "*+-" for row in there)
    usable = f"{count} of {len(there)} sources usable" if there else "no source yet"
    bound = "" if status["error_bound"] is None else f", certain to within {amount(status['error_bound'])}"
    spread = "" if status["frequency_error"] is None else f" +/- {status['frequency_error']:.3f} ppm"
    lines = [f"{verdict}{since:<48}ntptwist {status['version']}"]
    if status["state"] != "synchronized":
        lines.append(f"{'State':<20}{status['state']}")
    lines += [
        f"{'Clock':<20}{slow_or_fast(status['offset']) + bound:<48}stratum {status['stratum']}",
        f"{'Following':<20}{following(status):<48}{usable}",
        f"{'Frequency':<20}{status['frequency']:+.3f} ppm{spread}",
        f"{'Leap second':<20}{LEAP_WORDS[status['leap']]}",
    ]
    if status["steps"]:
        more = f", {amount(status['accumulated_steps'])} after the first" if status["accumulated_steps"] else ""
        lines.append(f"{'Steps':<20}{status['steps']}{more}")
    if status["control"] in CONTROL_WORDS:
        lines.append(f"{'Control':<20}{CONTROL_WORDS[status['control']]}")
    for server in status["servers"]:
        lines.append(f"{'Server':<20}{server['address']}: {serving(server, synchronized=right)}")
    lines += [f"{'NTS key server':<20}{row['address']}: {exchanging(row)}" for row in status["key_servers"]]
    for row in status["sources"]:
        tally = mark(row, status["used"])
        if tally in "x?":
            ignored = " (ignored)" if tally == "x" else ""
            lines.append(paint(f"{'Trouble':<20}{label(row)}: {row['reason']}{ignored}", STYLES[tally]))
    return [line.rstrip() for line in lines]


def event_line(event: dict[str, Any], width: int = 1000, paint: Paint = unpainted, *, short: bool = False) -> str:
    """Give one entry of the journal; ``short`` is without number and date."""
    about = "" if event["name"] is None else f"{event['name']}: "
    when = event["time"][11:19] if short else f"{event['number']:>4}  {event['time'][:10]} {event['time'][11:19]}"
    line = f" {when}  {about}{event['reason']}"[:width]
    style = KIND_STYLES.get(event["kind"])
    return line if style is None else paint(line, style)
