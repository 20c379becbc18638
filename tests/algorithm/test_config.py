"""The policies that an operator chooses."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.config import SynchronizationPolicy


@pytest.mark.parametrize(("voting", "agreeing"), [(1, 1), (2, 2), (3, 2), (4, 3), (9, 3)])
def test_majority_of_the_configured_sources_must_agree(voting: int, agreeing: int) -> None:
    """Unless said otherwise a majority is needed, three at most."""
    assert agreeing == SynchronizationPolicy(voting_sources=voting).agreeing


def test_operator_may_ask_for_more() -> None:
    """A minimum that is set counts."""
    assert 5 == SynchronizationPolicy(voting_sources=1, minimum_agreeing_sources=5).agreeing
