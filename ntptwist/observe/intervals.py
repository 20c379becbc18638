"""
The picture of the selection: where each source says that the truth is.

A source's interval is its offset plus and minus its root distance.  The clock itself is the ``|`` in the middle; what
the majority have in common is drawn below the sources.  The scale fits what is used and half of what could be; what
lies beyond it is an arrow at the edge.
"""

from __future__ import annotations

import math
from typing import Any

from ntptwist.observe.words import amount, label, mark

NAME_ROOM = 22
LEAST_ROOM = 21
MOST_ROOM = 61


def scale(status: dict[str, Any]) -> float:
    """Give the largest offset that the picture shows, seconds: a round number that fits the sources that are used."""
    rows = [(row, abs(row["offset"]) + row["distance"]) for row in status["sources"] if row["offset"] is not None]
    usable = sorted(far for row, far in rows if mark(row, status["used"]) in "*+-")
    reach = max([far for row, far in rows if row["selected"]] + usable[len(usable) // 2 :][:1], default=0.0)
    if not 0.0 < reach < math.inf:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(reach))
    return next(decade * step for step in (1.0, 2.5, 5.0, 10.0, 25.0) if decade * step >= reach)


def strip(low: float, high: float, middle: float | None, largest: float, room: int) -> str:
    """Draw one interval into ``room`` columns from ``-largest`` to ``largest``; ``middle`` gets an ``o``."""
    half = (room - 1) / 2.0

    def column(offset: float) -> int:
        return round(half + max(min(offset / largest, 2.0), -2.0) * half)

    cells = [" "] * room
    for place in range(max(column(low), 0), min(column(high), room - 1) + 1):
        cells[place] = "-"
    cells[round(half)] = "|"
    if middle is not None:
        place = column(middle)
        cells[max(min(place, room - 1), 0)] = "o" if 0 <= place < room else ">" if place > 0 else "<"
    elif column(low) >= room or column(high) < 0:
        cells[-1 if low > 0 else 0] = ">" if low > 0 else "<"
    return "".join(cells)


def source_strip(source: dict[str, Any], largest: float, room: int) -> str:
    """Draw the interval of one source; blank while it has none."""
    offset, distance = source["offset"], source["distance"]
    if offset is None or distance is None:
        return " " * room
    return strip(offset - distance, offset + distance, offset, largest, room)


def room_for(width: int, taken: int) -> int:
    """Give the columns of the picture beside so many that are taken: an odd number, for a middle."""
    return max(min(width - taken, MOST_ROOM), LEAST_ROOM) // 2 * 2 - 1


def interval_lines(status: dict[str, Any], width: int) -> list[str]:
    """Give the picture, one line for each source that has an interval."""
    rows = [row for row in status["sources"] if row["offset"] is not None]
    if not rows:
        return []
    largest, room = scale(status), room_for(width, NAME_ROOM + 5)
    edge = amount(largest)
    lines = [f"Intervals (-{edge} .. +{edge} from this clock, which is the |)"]
    for row in rows:
        name = label(row)[:NAME_ROOM]
        lines.append(f"{mark(row, status['used'])} {name:<{NAME_ROOM}} [{source_strip(row, largest, room)}]")
    majority = status["majority"]
    if majority is not None and majority["agree"] >= majority["needed"]:
        drawn = strip(majority["low"], majority["high"], None, largest, room).replace("-", "=")
        lines.append(f"  {'what most agree on':<{NAME_ROOM}} [{drawn}]")
    return lines
