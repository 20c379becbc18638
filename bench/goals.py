"""
What the table of ``discipline`` holds itself to: the anchors' figures, and the goal of every row.

The anchors are chrony, ntpsec and ntpd-rs themselves.  They were measured in the same scenarios in another simulator,
and are quoted here.  The goals are the prototype's figures in that simulator, which the daemon shall hold within five
percent, and some bars beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntptwist.algorithm.config import PollLimits

Quoted = tuple[float | None, float | None, float | None]
"""Of chrony, ntpsec and ntpd-rs, in the unit of the row; infinity for never."""

UNQUOTED: Quoted = (None, None, None)
HELD = 1.05
"""A figure of the prototype's is held within five percent."""
NEAR = 1.15
"""That were other worlds: within fifteen percent is as near as the spread of five seeds lets one say."""
BAR = 1.0
FIGURES = {
    "rms": ("RMS, us", 1e6),
    "frequency": ("frequency, ppm", 1e6),
    "packets": ("packets", 1.0),
    "below": ("first ms, s", 1.0),
    "recovered": ("recovery, s", 1.0),
}
"""Fields of a Result: how the table calls them, and units in one of the Result's."""

NTPD_RS_DEFAULT = PollLimits(4, 10)
"""ntpd-rs was measured with its own default where the others adapt; so is its restatement."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one scenario: what the anchors reach, what is wanted, and by how much that may be exceeded."""

    scenario: str
    figure: str = "rms"
    quoted: Quoted = UNQUOTED
    goal: float | None = None
    margin: float = HELD
    note: str = ""

    @property
    def label(self) -> str:
        """Name the row and its unit."""
        return f"{self.scenario:<3} {FIGURES[self.figure][0]}{self.note}"

    def reached(self, figure: float) -> str:
        """Tell whether a figure reaches the goal: yes, near, or no; a dash without one."""
        if self.goal is None:
            return "-"
        if figure <= self.goal * self.margin:
            return "yes"
        return "near" if self.margin > BAR and figure <= self.goal * NEAR else "no"


FIXED_64 = (
    Row("a", "rms", (21.9, 20.9, 33.8), 10.4),
    Row("b", "rms", (8.9, 15.8, 9.6), 4.1),
    Row("c", "rms", (439.0, 287.0, 839.0), 62.0),
    Row("c", "rms", UNQUOTED, 50.0, BAR, ", then"),
    Row("c4", "rms", (255.0, 208.0, 751.0), 44.0),
    Row("e", "rms", (19.7, 18.2, 22.5), 7.0),
    Row("g", "rms", (76.5, 391.0, 92.6), 41.0),
    Row("l", "rms", (33.4, 36.4, 55.5), 17.5),
    Row("p", "rms", (0.17, 1.7, None), 0.211),
    Row("a", "frequency", UNQUOTED, 0.083),
    Row("a", "below", UNQUOTED, 1.0, BAR),
    Row("c", "below", UNQUOTED, 144.0, BAR),
    Row("s", "recovered", (371.0, None, math.inf), 7.3, BAR),
)

FIXED_16 = (
    Row("a", "rms", (11.7, None, 23.4), 4.5),
    Row("b", "rms", (3.8, None, 6.6), 1.8),
    Row("c", "rms", (412.0, None, 772.0), 29.0),
    Row("c4", "rms", (364.0, None, None), 27.0),
    Row("e", "rms", (6.9, None, None), 3.3),
    Row("g", "rms", (37.4, None, 60.0), 15.0),
    Row("l", "rms", (14.1, None, 33.0), 7.5),
    Row("p", "rms", UNQUOTED, 0.211),
    Row("a", "below", (23.0, None, None), 1.0, BAR),
    Row("s", "recovered", (95.0, None, None), 7.3, BAR),
)

ADAPTIVE = (
    Row("a", "rms", (117.0, 210.0, 45.0), 63.0),
    Row("b", "rms", (30.0, 230.0, 9.6), 16.5),
    Row("c", "rms", (667.0, 873.0, 1430.0), 310.0),
    Row("c4", "rms", (684.0, 597.0, 933.0), 167.0),
    Row("e", "rms", (124.0, 498.0, 28.0), 58.0),
    Row("g", "rms", (97.0, 540.0, 94.0), 69.0),
    Row("h", "rms", (8060.0, None, None), 8060.0, BAR),
    Row("l", "rms", (139.0, 206.0, 44.0), 100.0),
    Row("p", "rms", (0.17, 1.7, None), 0.211),
    Row("a", "packets", (78.0, 106.0, 368.0), 67.0),
    Row("b", "packets", (126.0, 106.0, 1042.0), 114.0),
    Row("c", "packets", (65.0, 112.0, 149.0), 59.0),
    Row("c4", "packets", (265.0, 430.0, 608.0), 232.0),
    Row("e", "packets", (261.0, 407.0, 1438.0), 234.0),
    Row("g", "packets", (560.0, 106.0, 548.0), 338.0),
    Row("l", "packets", (102.0, 178.0, 795.0), 100.0),
    Row("a", "frequency", (0.17, 0.06, 0.54)),
    Row("a", "below", (72.0, 454.0, 152.0), 1.0, BAR),
    Row("s", "recovered", (563.0, 2654.0, 1003.0), 7.3, BAR),
)

ROWS = {PollLimits(6, 6): FIXED_64, PollLimits(4, 4): FIXED_16, PollLimits(6, 10): ADAPTIVE}


def rows(limits: PollLimits, scenarios: Sequence[str]) -> list[Row]:
    """Give the rows at these polls of some scenarios, of all that have goals if none is named."""
    known = ROWS.get(limits, ())
    if not scenarios:
        return list(known or FIXED_64)
    asked = [Row(name) for name in scenarios if not any(row.scenario == name for row in known)]
    return [row for row in known if row.scenario in scenarios] + asked
