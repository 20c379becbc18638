"""Counting what was dropped."""

from __future__ import annotations

from ntptwist.protocol.drops import MOST_REASONS, OTHER, Drops


def test_reasons_that_differ_in_numbers_are_one() -> None:
    """Each reason is counted once, whatever the numbers in it."""
    drops = Drops()
    for reason in ("its time stamp is 12.5 s old", "its time stamp is 3e-05 s old", "wrong origin"):
        drops.add(reason)

    assert drops.counts() == {"its time stamp is N s old": 2, "wrong origin": 1}


def test_strangers_do_not_fill_the_memory() -> None:
    """After a few reasons the rest is counted together."""
    drops = Drops()
    for letter in "abcdefghijkl":
        drops.add(letter)

    assert len(drops.counts()) == MOST_REASONS + 1
    assert drops.counts()[OTHER] == 4
