"""
Amounts, ages and names as people read them.

Only the standard library, as in all screens.  Every time carries its sign or its direction, and its unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))

Paint = Callable[[str, str], str]
"""From a text and the name of a style to the text in that style; styles are ``good``, ``bad``, ``odd`` and ``dim``."""


def unpainted(text: str, style: str) -> str:  # noqa: ARG001 - whatever the style
    """Leave a text as it is, where there are no colours."""
    return text


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


def lasting(seconds: float) -> str:
    """Give a time span in words: ``23 s``, ``52 min``, ``3 h``, ``10 days``."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def utc(stamp: str) -> str:
    """Give a point in time, ISO 8601 as the daemon says it, to the second: ``2026-11-22 07:40:12 UTC``."""
    return f"{stamp[:10]} {stamp[11:19]} UTC"


def label(source: dict[str, Any]) -> str:
    """Name a source: by what was configured, and where that is a pool's name by its address before it."""
    if source["mode"] == "pool" and source["address"] is not None:
        return f"{source['address'].removesuffix(':123')} ({source['name'].removesuffix(':123')})"
    return str(source["name"])


def mark(source: dict[str, Any], used: list[int]) -> str:
    """
    Give the tally of chronyc and ntpq.

    ``*`` followed, ``+`` used, ``-`` usable but not used, ``x`` falseticker, ``?`` not usable.  ``used`` are the ids of
    those that are used, the followed one first.
    """
    if source["selected"]:
        return "*" if used and used[0] == source["id"] else "+"
    if source["standing"] in ("falseticker", "drifting"):
        return "x"
    return "?" if source["offset"] is None or not source["reach"] else "-"


STYLES = {"*": "good", "+": "good", "-": "dim", "x": "bad", "?": "odd"}
"""How a line about a source is painted, by its mark."""


def fold(text: str, width: int, indent: int) -> list[str]:
    """Break a text into lines of at most ``width`` columns at its spaces; all of them are indented."""
    lines, line = [], ""
    for word in text.split():
        if line and indent + len(line) + 1 + len(word) > max(width, indent + 20):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [" " * indent + each for each in [*lines, line]]
