"""The journal of decisions."""

from __future__ import annotations

from ntptwist.journal import Entry, Journal
from ntptwist.timestamp import Timestamp


def filled(entries: int, length: int = 3) -> Journal:
    """Give a journal with so many entries."""
    journal = Journal(length)
    for number in range(1, entries + 1):
        journal.add(Timestamp(number), "step", f"reason {number}")
    return journal


def test_entries_are_numbered() -> None:
    """The first entry has number 1, and what was not given is not known."""
    journal = filled(2)

    assert [entry.number for entry in journal] == [1, 2]
    assert journal.last == 2
    assert next(iter(journal)) == Entry(1, Timestamp(1), "step", "reason 1", None, None, None)


def test_old_entries_make_room() -> None:
    """A full journal drops its oldest entry and goes on counting."""
    journal = filled(5)

    assert [entry.number for entry in journal] == [3, 4, 5]
    assert len(journal) == 3


def test_only_what_is_new() -> None:
    """Whoever follows gets the entries after the last one seen, oldest first."""
    journal = filled(5)

    assert [entry.number for entry in journal.after(4)] == [5]
    assert [entry.number for entry in journal.after(0)] == [3, 4, 5]
    assert journal.after(5) == []
