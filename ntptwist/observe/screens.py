"""
Screens for people, made from the plain data of ``observe.state``.

Only the standard library: the operator's tool imports this and must start in milliseconds.  Every time carries its
sign or its direction, and its unit.
"""

from __future__ import annotations

from typing import Any

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

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def amount(seconds: float | None, *, sign: bool = False) -> str:
    """Give a duration with three significant digits and its unit: ``12.3 µs``, ``+251 ms``, ``-``."""
    if seconds is None:
        return "-"
    size = abs(seconds)
    scale, unit = next(((s, u) for s, u in UNITS if size >= 0.9995 * s), UNITS[-1])
    value = size / scale
    digits = 0 if value >= 99.95 or unit == "ns" else 1 if value >= 9.995 else 2
    mark = "-" if seconds < 0 else "+" if sign else ""
    return f"{mark}{value:.{digits}f} {unit}"


def slow_or_fast(offset: float | None) -> str:
    """Say where the clock is: an offset is reference minus local, so a positive one means slow."""
    if offset is None:
        return "unknown"
    return f"{amount(abs(offset))} {'slow' if offset > 0 else 'fast'}"


def ago(seconds: float | None) -> str:
    """Give an age in whole units: ``23s``, ``12m``, ``3h``, ``never``."""
    if seconds is None:
        return "never"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def label(source: dict[str, Any]) -> str:
    """Name a source: by what was configured, and where that is a pool's name by its address before it."""
    if source["mode"] == "pool" and source["address"] is not None:
        return f"{source['address'].removesuffix(':123')} ({source['name'].removesuffix(':123')})"
    return str(source["name"])


def mark(source: dict[str, Any], first: bool) -> str:  # noqa: FBT001 - the one that is followed
    """Give the tally of chronyc and ntpq: ``*`` followed, ``+`` used, ``x`` falseticker, ``?`` unusable."""
    if source["selected"]:
        return "*" if first else "+"
    if source["reason"].startswith("falseticker"):
        return "x"
    return "?" if source["offset"] is None or not source["reach"] else "-"


def sources_lines(status: dict[str, Any], width: int = 100) -> list[str]:
    """Give the table of sources, one line each, cut to ``width`` columns."""
    rows = status["sources"]
    names = [label(row) for row in rows]
    room = min(max([len(name) for name in names] + [12]), 40)
    lines = [f"S {'Source':<{room}} St Poll Reach    Last      Offset        +/-      Delay  Why"]
    followed = status.get("reference_id")
    best = next((row for row in rows if row["selected"] and row["reason"].startswith("used, best")), None)
    lines.append("=" * min(width, len(lines[0]) + 24))
    for row, name in zip(rows, names, strict=True):
        poll = "-" if row["poll"] is None else str(row["poll"])
        stratum = "-" if row["stratum"] is None else str(row["stratum"])
        first = row is best or (best is None and followed is not None and row["reference_id"] == followed)
        lines.append(
            f"{mark(row, first)} {name[:room]:<{room}} {stratum:>2} {poll:>4} {row['reach']:08b}"
            f" {ago(row['last_measurement']):>5}  {amount(row['offset'], sign=True):>10}"
            f" {amount(row['uncertainty']):>10} {amount(row['delay']):>10}  {row['reason']}"[:width]
        )
    if not rows:
        lines.append("no sources configured")
    return lines


def serving(server: dict[str, Any]) -> str:
    """Say in words what a server has done so far."""
    if server["trouble"] is not None:
        return f"not served: {server['trouble']}"
    counters = server["counters"]
    parts = [f"{counters['accepted']} of {counters['received']} requests answered"]
    parts += [f"{counters[name]} {words}" for name, words in SERVER_WORDS if counters[name]]
    return ", ".join(parts)


def exchanging(server: dict[str, Any]) -> str:
    """Say in words what a key exchange server has done so far."""
    if server["trouble"] is not None:
        return f"not served: {server['trouble']}"
    outcomes = server["outcomes"]
    parts = [f"{outcomes['given']} of {sum(outcomes.values())} connections have got keys"]
    parts += [f"{outcomes[name]} {words}" for name, words in KEY_SERVER_WORDS if outcomes[name]]
    return ", ".join(parts)


def status_lines(status: dict[str, Any]) -> list[str]:
    """Give the verdict first, then the facts behind it: one screen."""
    since = f"since {status['since']}" if status["since"] else ""
    verdict = "Synchronized" if status["synchronized"] else "Not synchronized"
    there = [row for row in status["sources"] if row["id"] is not None]
    used = [row for row in there if row["selected"]]
    bound = "" if status["error_bound"] is None else f", certain to within {amount(status['error_bound'])}"
    spread = "" if status["frequency_error"] is None else f" +/- {status['frequency_error']:.3f}"
    lines = [
        f"{verdict:<20}{since:<40}ntptwist {status['version']}",
        f"{'Clock':<20}{slow_or_fast(status['offset'])}{bound}",
        f"{'Control':<20}{status['control']}",
        f"{'Stratum':<20}{status['stratum']}, reference {status['reference_id']}",
        f"{'Using':<20}{len(used)} of {len(there)} sources" + (f": {', '.join(map(label, used))}" if used else ""),
        f"{'Frequency':<20}{status['frequency']:+.3f} ppm{spread}",
        f"{'Leap second':<20}{status['leap']}",
        f"{'Steps':<20}{status['steps']}"
        + (f", {amount(status['accumulated_steps'])} after the first" if status["accumulated_steps"] else ""),
    ]
    if status["state"] != "synchronized":
        lines.insert(1, f"{'State':<20}{status['state']}")
    lines += [f"{'Server':<20}{server['address']}: {serving(server)}" for server in status.get("servers", ())]
    lines += [f"{'NTS key server':<20}{row['address']}: {exchanging(row)}" for row in status.get("key_servers", ())]
    lines += [f"{'Trouble':<20}{label(row)}: {row['reason']}" for row in status["sources"] if not row["selected"]]
    return [line.rstrip() for line in lines]
