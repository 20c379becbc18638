"""Which source is meant."""

from __future__ import annotations

import pytest

from ntptwist.identifiers import SourceId
from ntptwist.observe.find import find_source
from ntptwist.snapshot import SourceEstimate, SourceObservation, SourceSnapshot


def row(number: int | None, name: str, address: str, mode: str = "server") -> SourceSnapshot:
    """Make a source of this name and address."""
    source = None if number is None else SourceId(number)
    return SourceSnapshot(source, SourceObservation(name, address, mode), SourceEstimate())


ROWS = [
    row(1, "ntp1.example:123", "192.0.2.1:123"),
    row(2, "ntp2.example:123", "[2001:db8::2]:123"),
    row(12, "pool.example:123", "192.0.2.12:123", "pool"),
    row(13, "pool.example:123", "192.0.2.13:123", "pool"),
    row(None, "ntp9.example:123", ""),
]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("1", 0), ("ntp1.example", 0), ("ntp1.example:123", 0), ("192.0.2.1", 0), ("192.0.2.1:123", 0), ("2001:db8", 1),
        ("2001:db8::2", 1), ("[2001:db8::2]:123", 1), ("ntp2", 1), ("12", 2), ("192.0.2.12", 2), ("ntp9", 4),
    ],
)  # fmt: skip
def test_names_addresses_ids_and_beginnings(word: str, found: int) -> None:
    """A source is found by what people know of it; what fits exactly counts before what only begins so."""
    assert find_source(ROWS, word) is ROWS[found]


@pytest.mark.parametrize("word", ["pool.example", "192.0.2", "ntp"])
def test_what_is_ambiguous_is_refused_with_the_choice(word: str) -> None:
    """Where several could be meant, all of them are named."""
    with pytest.raises(ValueError, match=r"could be any of these: .*, "):
        find_source(ROWS, word)


@pytest.mark.parametrize("word", ["", "nobody"])
def test_what_is_unknown_is_refused_with_what_there_is(word: str) -> None:
    """Where none is meant, those that there are are named."""
    with pytest.raises(ValueError, match=r"no source '.*'; there are: 1 ntp1.example:123 \(192.0.2.1:123\)"):
        find_source(ROWS, word)
    with pytest.raises(ValueError, match="there are: none"):
        find_source([], word)
