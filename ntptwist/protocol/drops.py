"""
How much was dropped, and for which reasons.
"""

from __future__ import annotations

import re
from collections import Counter

MOST_REASONS = 8
"""Reasons that are counted apart; whoever sends us rubbish does not choose how much we remember of it."""

OTHER = "other reasons"

_NUMBER = re.compile(r"\b\d[\d.]*(e[+-]?\d+)?")


class Drops:
    """Counts by reason; reasons that differ only in their numbers are one."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Count one that was dropped."""
        kind = _NUMBER.sub("N", reason)
        self._counts[kind if kind in self._counts or len(self._counts) < MOST_REASONS else OTHER] += 1

    def counts(self) -> dict[str, int]:
        """Give how many there were of each."""
        return dict(self._counts)
