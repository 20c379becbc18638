"""
How long after our reading of the clock a datagram really leaves.

A transmit timestamp has to be written before its packet leaves, so it would be early by what lies between: the rest of
the answering, and the way through the kernel.  That time is learnt from transmit stamps of replies that have left, and
the next reply is dated as much later.  What counts is a low quantile of the last few: now and then something holds a
reply up, and none leaves early.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LENGTH: Final = 16
"""Replies that are looked back upon."""

LARGEST: Final = 1_000_000
"""Nanoseconds; what took longer was held up by something else."""

_QUANTILE = 4


class Lag:
    """A lag in nanoseconds; ``value`` is 0 until something was learnt."""

    __slots__ = ("_recent", "value")

    def __init__(self) -> None:
        self.value = 0
        self._recent: deque[int] = deque(maxlen=LENGTH)

    def learn(self, late: int) -> None:
        """Take what one reply needed, nanoseconds; a step of the clock in between is recognised and nothing learnt."""
        if 0 <= late < LARGEST:
            self._recent.append(late)
            self.value = sorted(self._recent)[len(self._recent) // _QUANTILE]
