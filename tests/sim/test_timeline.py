"""True time: calls in their order, none jumped over, none left behind."""

from __future__ import annotations

from functools import partial

import pytest

from ntptwist.sim.timeline import NEW_YEAR_2026, Timeline
from ntptwist.timestamp import NANOSECONDS, Timestamp


def test_makes_calls_at_their_time_and_in_their_order() -> None:
    """Whatever the order in which calls are asked for, each is made at its own moment."""
    timeline = Timeline(Timestamp(0))
    made: list[tuple[str, int]] = []
    for name, when in (("c", 30), ("a", 10), ("d", 40), ("b", 20)):
        timeline.at(when, lambda name: made.append((name, timeline.now)), name)
    timeline.run_until(35)

    assert made == [("a", 10), ("b", 20), ("c", 30)]
    assert timeline.now == 35


def test_calls_of_one_moment_keep_the_order_in_which_they_were_asked_for() -> None:
    """Two things that happen at once happen in the order in which they were set up: no run differs from another."""
    timeline = Timeline(Timestamp(0))
    made: list[int] = []
    for number in range(20):
        timeline.at(7, made.append, number)
    timeline.run_until(7)

    assert made == list(range(20))


def test_does_not_jump_over_what_a_call_sets_up() -> None:
    """A call that sets up another one before the end of the run finds that made in time too."""
    timeline = Timeline(Timestamp(0))
    moments: list[int] = []

    def tick() -> None:
        """Note the moment and set up the next one."""
        moments.append(timeline.now)
        timeline.at(timeline.now + 10, tick)

    timeline.at(0, tick)
    timeline.run_until(45)

    assert moments == [0, 10, 20, 30, 40]


def test_the_past_is_now() -> None:
    """A call for a moment that has gone by is made at once, and time does not go back."""
    timeline = Timeline(Timestamp(100))
    moments: list[int] = []
    timeline.at(50, lambda: moments.append(timeline.now))
    timeline.run_until(60)

    assert moments == []
    assert timeline.now == 100

    timeline.run_until(100)

    assert moments == [100]


def test_a_cancelled_call_is_not_made() -> None:
    """What was cancelled does not happen; cancelling once more, or what was made, does no harm."""
    timeline = Timeline(Timestamp(0))
    made: list[str] = []
    kept = timeline.at(1, made.append, "kept")
    dropped = timeline.at(1, made.append, "dropped")
    timeline.cancel(dropped)
    timeline.cancel(dropped)
    timeline.run_until(2)
    timeline.cancel(kept)

    assert made == ["kept"]
    assert len(timeline) == 0


def test_timers_that_are_set_and_cancelled_for_a_month_take_no_memory() -> None:
    """A daemon that moves a long timer at each packet does not fill the queue with what it has cancelled."""
    timeline = Timeline()
    longest = 0
    far = timeline.at(timeline.now + 10**18, print)
    for second in range(30_000):
        timeline.cancel(far)
        far = timeline.at(timeline.now + 10**18, print)
        timeline.at(timeline.start + second * NANOSECONDS, int)
        timeline.run_until(timeline.start + second * NANOSECONDS)
        longest = max(longest, len(timeline))

    assert longest < 200


def test_what_is_left_after_a_sweep_is_made_in_order() -> None:
    """Clearing the queue of cancelled calls disturbs nothing else, in the middle of a run too."""
    timeline = Timeline(Timestamp(0))
    made: list[int] = []
    calls = [
        timeline.at(10 + 7919 * number % 1000, partial(made.append, 7919 * number % 1000)) for number in range(1000)
    ]
    for number in range(1000):
        if number % 4:
            timeline.at(5, timeline.cancel, calls[number])
    timeline.run_until(2000)

    assert made == sorted(7919 * number % 1000 for number in range(0, 1000, 4))


@pytest.mark.parametrize("seconds", [0.0, 0.25, 86_400.0])
def test_runs_for_seconds(seconds: float) -> None:
    """A length of time is given in seconds, and passes exactly."""
    timeline = Timeline()
    timeline.run_for(seconds)

    assert timeline.elapsed == seconds * NANOSECONDS
    assert timeline.now == NEW_YEAR_2026 + timeline.elapsed


def test_utc_follows_leap_seconds_and_true_time_does_not() -> None:
    """An inserted leap second sets UTC back by one second."""
    timeline = Timeline()
    timeline.leap_shift -= NANOSECONDS
    timeline.run_for(1.0)

    assert timeline.elapsed == NANOSECONDS
    assert timeline.utc == NEW_YEAR_2026
