"""
True time in a virtual world, and the calls that are due in it.

``now`` is perfect time: an int in nanoseconds since 1970 that runs evenly, leap seconds included; no part of the daemon
ever sees it.  Clocks, links and servers are functions of it.  It moves from call to call and never beyond one that is
due, so nothing is ever late.  Calls for the same moment are made in the order in which they were asked for.

A call that was cancelled stays in the heap until its time, or until such calls make up half of the heap: a timer that
is set and cancelled for ever needs bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from ntptwist.timestamp import NANOSECONDS, Timestamp

NEW_YEAR_2026 = Timestamp(1_767_225_600 * NANOSECONDS)

_FEW = 64
"""So many cancelled calls are not worth a sweep."""


class Call:
    """A call that is due at some moment: what ``Timeline.at`` gives and ``Timeline.cancel`` takes."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self.function: Callable[..., object] | None = function
        self.arguments = arguments


class Timeline:
    """
    True time, from ``start`` on.

    ``leap_shift`` is what leap seconds have added to UTC since the start, in nanoseconds (an inserted one: minus 1 s).
    ``made`` counts the calls that were made; the length is the number of those queued, cancelled ones among them.
    """

    __slots__ = ("_calls", "_cancelled", "_sequence", "leap_shift", "made", "now", "start")

    def __init__(self, start: Timestamp = NEW_YEAR_2026) -> None:
        self.start = start
        self.now = start
        self.leap_shift = 0
        self.made = 0
        self._calls: list[tuple[int, int, Call]] = []
        self._sequence = 0
        self._cancelled = 0

    @property
    def utc(self) -> Timestamp:
        """The time that a perfect clock shows."""
        return Timestamp(self.now + self.leap_shift)

    @property
    def elapsed(self) -> int:
        """Nanoseconds since the start."""
        return self.now - self.start

    def __len__(self) -> int:
        return len(self._calls)

    def at(self, when: int, function: Callable[..., object], *arguments: object) -> Call:
        """Have a function called at a moment of true time; what is already past is due now."""
        call = Call(function, arguments)
        self._sequence += 1
        heappush(self._calls, (max(when, self.now), self._sequence, call))
        return call

    def cancel(self, call: Call) -> None:
        """Forget a call; one that was made or cancelled before is left alone."""
        if call.function is None:
            return
        call.function = None
        call.arguments = ()
        self._cancelled += 1
        if self._cancelled > _FEW and 2 * self._cancelled > len(self._calls):
            self._calls[:] = [entry for entry in self._calls if entry[2].function is not None]
            heapify(self._calls)
            self._cancelled = 0

    def run_until(self, when: int) -> None:
        """Make every call that is due up to and at a moment; then it is that moment."""
        calls = self._calls
        while calls and calls[0][0] <= when:
            moment, _, call = heappop(calls)
            function = call.function
            if function is None:
                self._cancelled -= 1
                continue
            call.function = None
            self.now = Timestamp(moment)
            self.made += 1
            function(*call.arguments)
        self.now = Timestamp(max(when, self.now))

    def run_for(self, seconds: float) -> None:
        """Let so many seconds of true time pass."""
        self.run_until(self.now + round(seconds * NANOSECONDS))
