"""Whatever two configurations say, the way from one to the other leads there and disturbs as little as it can."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.config.difference import compare
from ntptwist.config.loader import loads
from tests.config.stub import find_driver

SOURCE = '[[source]]\nmode = "server"\naddress = "192.0.2.{}"\nntp-version = {}\n'
sources = st.lists(st.builds(SOURCE.format, st.integers(1, 5), st.sampled_from([3, 4])), max_size=7).map("".join)


@given(sources, sources)
def test_what_is_in_both_stays(before: str, after: str) -> None:
    """As many sources stay as stand in both; each is one that is equal, and none stands for two."""
    old, new = loads(before, find_driver), loads(after, find_driver)
    difference = compare(old, new)
    kept = [place for place in difference.sources if place is not None]
    common = Counter(map(repr, map(_without_place, old.sources))) & Counter(map(repr, map(_without_place, new.sources)))

    assert difference.config == new
    assert len(kept) == len(set(kept)) == common.total()
    assert all(
        place is None or old.sources[place] == entry
        for entry, place in zip(new.sources, difference.sources, strict=True)
    )
    assert compare(new, new).changes == ()
    assert bool(difference.changes) == (len(kept) < max(len(old.sources), len(new.sources)))
    assert all(change.isprintable() for change in difference.changes)


def _without_place(entry: object) -> object:
    return getattr(entry, "configuration", None)
