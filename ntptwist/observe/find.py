"""
Which source people mean, and all that is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ntptwist.interfaces import ISystem
from ntptwist.observe.state import entry_data, source_data, status_data
from ntptwist.snapshot import SourceSnapshot


def why_data(system: ISystem, word: str | None) -> dict[str, Any]:
    """
    Give what answers ``why``: of the source that a word names or, without one, of the clock.

    ValueError where no source or more than one is meant.
    """
    snapshot = system.snapshot()
    status = status_data(snapshot)
    if word is None:
        entries = [entry for entry in system.journal if entry.source is None]
        return {"status": status, "source": None, "events": [entry_data(entry) for entry in entries]}
    row = find_source(snapshot.sources, word)
    entries = [entry for entry in system.journal if row.id is not None and entry.source == row.id]
    known = {"why": row.estimate.why, "change": row.estimate.change}
    source = {**source_data(row, snapshot), **known}
    return {"status": status, "source": source, "events": [entry_data(entry) for entry in entries]}


def find_source(rows: Sequence[SourceSnapshot], word: str) -> SourceSnapshot:
    """
    Give the source that a word names: by its id, its name or its address, or by the beginning of one of the latter.

    ValueError says what the word could mean, or what there is.
    """
    exact = [row for row in rows if word and word in _names(row)]
    found = exact or [row for row in rows if word and any(name.startswith(word) for name in _names(row)[1:])]
    if len(found) == 1:
        return found[0]
    there = ", ".join(map(_told, found or rows)) or "none"
    raise ValueError(f"{word!r} could be any of these: {there}" if found else f"no source {word!r}; there are: {there}")


def _names(row: SourceSnapshot) -> list[str]:
    """Give what a source may be called, its id first."""
    seen = row.observation
    bare = [name.removesuffix(":123").strip("[]") for name in (seen.name, seen.address)]
    return ["" if row.id is None else str(row.id), seen.name, seen.address, *bare]


def _told(row: SourceSnapshot) -> str:
    seen = row.observation
    where = f" ({seen.address})" if seen.address not in ("", seen.name) else ""
    return f"{'-' if row.id is None else row.id} {seen.name}{where}"
