"""The long form of a verdict."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.reasons import explain
from ntptwist.algorithm.select import Standing, Verdict


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_is_explained(standing: Standing) -> None:
    """Whatever is thought of a source, whole sentences say why and what would change it."""
    for sentence in explain(Verdict(standing, amount=0.25, number=2, of=4, needed=3)):
        assert sentence[0].isupper()
        assert sentence.endswith((".", "?"))
        assert "{" not in sentence


def test_the_numbers_are_told() -> None:
    """The sentences carry the numbers of the verdict."""
    why, change = explain(Verdict(Standing.NO_MAJORITY, number=2, of=4, needed=3))

    assert "at most 2 of 4 voting sources" in why
    assert "once 3 agree" in change
