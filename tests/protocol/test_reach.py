"""The reachability register remembers eight polls."""

from __future__ import annotations

import pytest

from ntptwist.protocol.reach import Reach


def test_never_answered() -> None:
    """A server that was never asked is not reachable."""
    reach = Reach.never()

    assert (reach.value, reach.is_reachable, reach.unanswered) == (0, False, 8)


def test_unreachable_after_eight_silent_polls() -> None:
    """A server that has answered once is unreachable after eight polls without a reply, and not before."""
    reach = Reach.never()
    reach.polled()
    reach.received()
    seen = []
    for _ in range(8):
        reach.polled()
        seen.append((reach.value, reach.is_reachable, reach.unanswered))

    assert seen == [(2**n % 256, n < 8, n) for n in range(1, 9)]


def test_all_answered() -> None:
    """Eight answers fill the register, which then stays full."""
    reach = Reach.never()
    for _ in range(9):
        reach.polled()
        reach.received()

    assert (reach.value, reach.unanswered) == (0o377, 0)


def test_two_answers_count_once() -> None:
    """A second reply to one poll changes nothing."""
    reach = Reach.never()
    reach.polled()
    reach.received()
    reach.received()

    assert reach.value == 1


@pytest.mark.parametrize(("value", "unanswered"), [(0b1, 0), (0b1011_0100, 2), (0b1000_0000, 7), (0, 8)])
def test_unanswered_counts_the_latest(value: int, unanswered: int) -> None:
    """Only the polls after the latest reply count as unanswered."""
    assert Reach(value).unanswered == unanswered
