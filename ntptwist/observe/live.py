"""
The live screen: what ``watch`` draws, as lines for a terminal of a given size, and what its keys do.

Nothing here knows of terminals.  The last values of offset and frequency are kept here for the sparklines, for as long
as the screen is open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ntptwist.observe.intervals import LEAST_ROOM, room_for, scale, source_strip
from ntptwist.observe.screens import event_line
from ntptwist.observe.why import why_lines
from ntptwist.observe.words import (
    STYLES,
    Paint,
    ago,
    amount,
    label,
    mark,
    slow_or_fast,
    unpainted,
)

HISTORY = 3600
"""Looks that are kept, one each second."""

BLOCKS = "▁▂▃▄▅▆▇█"
PICTURE_WIDTH = 96
"""Columns from which on there is room for the intervals."""

JITTER_WIDTH = 116
"""Columns from which on there is room for the jitter too."""

EVENTS = 5
"""Lines of the journal that are shown where there is room."""

_FAR = float("inf")

ORDERS: dict[str, Callable[[dict[str, Any]], Any] | None] = {
    "configuration": None,
    "offset": lambda row: _FAR if row["offset"] is None else -abs(row["offset"]),
    "distance": lambda row: _FAR if row["distance"] is None else row["distance"],
    "delay": lambda row: _FAR if row["delay"] is None else row["delay"],
    "name": label,
}
"""The orders of the sources, each by its key."""


def sparkline(values: Sequence[float], room: int) -> str:
    """Draw the course of some values into at most so many columns, from the least to the largest."""
    if not values:
        return ""
    count = min(len(values), room)
    parts = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((mean - low) / (high - low) * top) if high > low else top // 2] for mean in means)


class LiveView:
    """What is shown: the order, the source that is chosen, and whether its details are open."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.order = 0
        self.chosen: Any = None
        self.details = False
        self.status: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | None = None
        self.trouble: str | None = None
        self._offsets: deque[float] = deque(maxlen=HISTORY)
        self._frequencies: deque[float] = deque(maxlen=HISTORY)

    def update(self, status: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Take what the daemon says now, and the entries of its journal that are new."""
        self.status, self.trouble = status, None
        if status["last_event"] < self.last_event:  # another daemon, another journal
            self.events = []
        self.events = [*self.events, *events][-EVENTS:]
        if status["offset"] is not None:
            self._offsets.append(status["offset"])
            self._frequencies.append(status["frequency"])
        there = [row["id"] for row in self._rows()]
        if self.chosen not in there:
            self.chosen = there[0] if there else None
            self.details = False

    @property
    def last_event(self) -> int:
        """The number of the last entry that was seen."""
        return self.events[-1]["number"] if self.events else 0

    def press(self, key: str) -> bool:
        """Do what a key means; tell whether the screen is to go on."""
        there = [row["id"] for row in self._rows()]
        match key:
            case "q":
                return False
            case "s":
                self.order = (self.order + 1) % len(ORDERS)
            case "up" | "down" if self.chosen in there:
                place = there.index(self.chosen) + (1 if key == "down" else -1)
                self.chosen = there[max(0, min(place, len(there) - 1))]
            case "enter":
                self.details = not self.details and self.chosen is not None
            case "escape":
                self.details = False
        self.answer = self.answer if self.details else None
        return True

    def frame(self, width: int, height: int, paint: Paint = unpainted) -> list[str]:
        """Give the lines of the screen, none longer than ``width`` and at most ``height`` of them."""
        if self.status is None:
            lines = [self.trouble or "asking the daemon"]
        elif self.details and self.answer is not None:
            lines = [*self._head(width, paint), *why_lines(self.answer, width, paint, most=max(height - 24, 2))]
        else:
            lines = self._overview(width, height, paint)
        keys = (
            " q quit   Enter, Esc back" if self.details else f" q quit   s sort: {self._order()}   up, down, Enter why"
        )
        lines = [line if "\x1b" in line else line[:width] for line in lines]  # what is painted was cut before
        return [*lines[: height - 1], *[""] * (height - 1 - len(lines)), paint(keys[:width], "dim")]

    def _order(self) -> str:
        return list(ORDERS)[self.order]

    def _rows(self) -> list[dict[str, Any]]:
        rows = [] if self.status is None else [row for row in self.status["sources"] if row["id"] is not None]
        key = ORDERS[self._order()]
        return rows if key is None else sorted(rows, key=key)

    def _head(self, width: int, paint: Paint) -> list[str]:
        status = self.status or {}
        right = status["synchronized"]
        bound = "" if status["error_bound"] is None else f" +/- {amount(status['error_bound'])}"
        text = (
            f" ntptwist  {self.host}   {'SYNCHRONIZED' if right else 'NOT SYNCHRONIZED'}   stratum {status['stratum']}"
            f"   {slow_or_fast(status['offset'])}{bound}   {status['frequency']:+.3f} ppm   {status['now'][11:19]} UTC"
        )
        lines = [paint(text[:width], "good" if right else "bad")]
        if self.trouble is not None:
            lines.append(paint(f" what follows is old: {self.trouble}"[:width], "bad"))
        elif status["state"] != "synchronized":
            lines.append(f" {status['state']}"[:width])
        return lines

    def _course(self, name: str, values: Sequence[float], words: Callable[[float], str], width: int) -> str:
        """Give the line of one sparkline."""
        if not values:
            return f" {name:<7}"
        told = f" {name:<7}{words(min(values))} .. {words(max(values))}, last {ago(len(values))}  "
        now = f"  now {words(values[-1])}"
        return f"{told:<50}{sparkline(values, max(width - max(len(told), 50) - len(now), 8))}{now}"[:width]

    def _overview(self, width: int, height: int, paint: Paint) -> list[str]:
        status = self.status or {}
        rule = "-" * width
        lines = [
            *self._head(width, paint),
            self._course("offset", list(self._offsets), lambda value: amount(value, sign=True), width),
            self._course("freq", list(self._frequencies), lambda value: f"{value:+.3f} ppm", width),
            rule,
        ]
        rows = self._rows()
        events = self.events[-min(EVENTS, max(height - len(lines) - len(rows) - 4, 1)) :]
        most = max(height - len(lines) - len(events) - 3, 1)
        return [*lines, *self._table(status, rows, most, width, paint), rule, *self._news(events, width, paint)]

    def _table(
        self, status: dict[str, Any], rows: list[dict[str, Any]], most: int, width: int, paint: Paint
    ) -> list[str]:
        """Give the sources, ``most`` of them: those around the one that is chosen."""
        names = max([len(label(row)) for row in rows] + [12])
        jitter, pictured = width >= JITTER_WIDTH, width >= PICTURE_WIDTH
        taken = 56 + 10 * jitter
        name_room = max(min(names, width - taken - (LEAST_ROOM + 4) * pictured, 40), 12)
        room, largest = room_for(width, taken + name_room + 4), scale(status)
        apart = "    Jitter" if jitter else ""
        head = f"   {'Source':<{name_room}}     Offset       +/-     Delay{apart}  Reach    Next"
        if pictured:
            head += f"  interval, +/- {amount(largest)}"
        lines = [head[:width]]
        chosen = next((i for i, row in enumerate(rows) if row["id"] == self.chosen), 0)
        first = max(0, min(chosen - most // 2, len(rows) - most))
        for row in rows[first : first + most]:
            due = "-" if row["next_poll"] is None else ago(max(row["next_poll"], 0.0))
            tally = mark(row, status["used"])
            apart = f" {amount(row['jitter']):>9}" if jitter else ""
            line = (
                f"{'>' if row['id'] == self.chosen else ' '}{tally} {label(row)[:name_room]:<{name_room}}"
                f" {amount(row['offset'], sign=True):>10} {amount(row['uncertainty']):>9} {amount(row['delay']):>9}"
                f"{apart} {row['reach']:08b} {due:>5}"
            )
            if pictured:
                line += f"  [{source_strip(row, largest, room)}]"
            lines.append(paint(line[:width], STYLES[tally]))
        return lines if rows else [*lines, "  no source yet"]

    def _news(self, events: list[dict[str, Any]], width: int, paint: Paint) -> list[str]:
        return [event_line(event, width, paint, short=True) for event in events]
