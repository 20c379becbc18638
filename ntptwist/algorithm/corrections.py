"""
What the corrections of the clock were like so far, for people and for other daemons' tools.

Nothing is decided by it.
"""

from __future__ import annotations

import math

from ntptwist.snapshot import CorrectionsSnapshot

MEMORY = 0.1
"""Weight of the newest in the mean of the squares, chrony's."""


class Corrections:
    """The corrections of one clock: the latest, its distance from the one before, and how large they typically are."""

    __slots__ = ("_latest", "_square", "_time", "_waited")

    def __init__(self) -> None:
        self._latest: float | None = None
        self._square = 0.0
        self._time: float | None = None
        self._waited = 0.0

    def add(self, offset: float, time: float) -> None:
        """Take note that an offset (reference minus local) was corrected, at ``time``; both in seconds."""
        square = offset * offset
        self._square = square if self._latest is None else self._square + MEMORY * (square - self._square)
        self._waited = 0.0 if self._time is None else time - self._time
        self._latest, self._time = offset, time

    def snapshot(self) -> CorrectionsSnapshot:
        """Give the form that is shown."""
        return CorrectionsSnapshot(self._latest or 0.0, math.sqrt(self._square), self._waited)
