"""
The journal: what was decided and what became another, numbered, with its reason in words.

It is kept in memory and bounded.  Only changes are worth an entry: a source begins or ends, is used or not any more,
its poll interval changes, the clock is stepped; never a mere measurement.  Nobody is told of an entry: whoever wants to
follow asks for those after the last number that was seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from ntptwist.identifiers import SourceId
from ntptwist.timestamp import Timestamp

JOURNAL_LENGTH = 500
"""Entries kept; at one a second some eight minutes, in practice days."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One line of the journal: when it happened on the clock's ``local`` axis, of what kind it is, and why it is so.

    ``kind`` is the value of a DecisionKind, or ``source``, ``standing`` or ``poll``.  ``source`` and its ``name`` at
    that time are given where it is about one, ``amount`` in seconds where there is one.
    """

    number: int
    time: Timestamp
    kind: str
    reason: str
    source: SourceId | None = None
    name: str | None = None
    amount: float | None = None


class Journal:
    """The last entries, numbered from 1."""

    def __init__(self, length: int = JOURNAL_LENGTH) -> None:
        self._entries: deque[Entry] = deque(maxlen=length)
        self.last = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(
        self,
        time: Timestamp,
        kind: str,
        reason: str,
        source: SourceId | None = None,
        name: str | None = None,
        amount: float | None = None,
    ) -> Entry:
        """Add an entry, in place of the oldest when the journal is full."""
        self.last += 1
        entry = Entry(self.last, time, kind, reason, source, name, amount)
        self._entries.append(entry)
        return entry

    def after(self, number: int) -> list[Entry]:
        """Give the entries after this number, oldest first; what has been dropped is missing."""
        return list(takewhile(lambda entry: entry.number > number, reversed(self._entries)))[::-1]
