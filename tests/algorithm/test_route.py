"""A change of route that would be seen hours too late at long intervals is asked about at once."""

from __future__ import annotations

from random import Random

import pytest

from bench.simulate import simulate_controller
from ntptwist.algorithm.config import LONGER_SAMPLES, SHORTER_SAMPLES, PollLimits
from ntptwist.algorithm.filter import Outcome, TwoWayFilter
from ntptwist.identifiers import SourceId
from tests.algorithm.world import World

LONG = 3e-3
"""Seconds by which a path becomes longer."""


class Path:
    """A filter that has followed a path of 1 ms each way with exponential jitter of 50 µs for a while."""

    def __init__(self) -> None:
        self._random = Random(1)
        self._time = 0.0
        self.filter = TwoWayFilter(1.1e-3, 1.1e-3, 2.2e-3, 0.0, 0.0, 0.0)
        for _ in range(100):
            self.exchange()

    def exchange(self, extra: float = 0.0) -> Outcome:
        """Ask once; ``extra`` seconds are spent on the way out."""
        self._time += 64.0
        there, back = (1e-3 + self._random.expovariate(2e4) for _ in range(2))
        there += extra
        return self.filter.update(there, back, there + back, self._time, 0.0, 0.0)


def test_one_long_delay_is_suspected_until_an_ordinary_one() -> None:
    """A delay that is hardly congestion makes the route suspected; the next ordinary one ends that."""
    path = Path()
    before = path.filter.suspects_route
    path.exchange(LONG)
    then = path.filter.suspects_route
    path.exchange()

    assert (before, then, path.filter.suspects_route) == (False, True, False)


def test_delays_that_stay_long_are_a_new_route() -> None:
    """Twelve exchanges show a longer route; then there is nothing to suspect any more."""
    path = Path()
    outcomes = [path.exchange(LONG) for _ in range(LONGER_SAMPLES - 1)]
    suspected = path.filter.suspects_route
    last = path.exchange(LONG)

    assert set(outcomes) == {Outcome.ABSORBED}
    assert suspected
    assert last is Outcome.NEW_ROUTE
    assert not path.filter.suspects_route


def test_delays_that_differ_are_congestion() -> None:
    """Long delays that differ by much more than the noise are no route, however many there are."""
    path = Path()
    path.exchange(LONG)
    path.exchange(3 * LONG)

    assert not path.filter.suspects_route
    path.exchange(LONG)
    assert not path.filter.suspects_route


def test_a_shorter_delay_is_asked_about_too() -> None:
    """A delay that is shorter than the path can be has the other five asked for quickly."""
    path = Path()
    outcomes, suspected = [], []
    for _ in range(SHORTER_SAMPLES):
        outcomes.append(path.exchange(-7e-4))
        suspected.append(path.filter.suspects_route)

    assert outcomes == [Outcome.HELD_BACK] * (SHORTER_SAMPLES - 1) + [Outcome.NEW_ROUTE]
    assert suspected == [True] * (SHORTER_SAMPLES - 1) + [False]


@pytest.mark.parametrize(("exponent", "quickly"), [(7, False), (10, True)])
def test_proof_is_wanted_where_polls_are_rare(exponent: int, quickly: bool) -> None:
    """At 128 s the next polls show it soon enough; at 1024 s the next request leaves after 2 s."""
    world = World(limits=PollLimits(exponent, exponent))
    world.ask_all(8)
    world.ask_all(80, pause=64.0)
    world.ask(outward=LONG)
    world.pass_time(1.0)

    assert (world.controller.next_poll(SourceId(0)) == 2.0) == quickly


def after_steps(servers: int) -> float:
    """Give the offset of a server whose way out became 1 ms longer at once, and what it was in five steps."""
    random = Random(1)
    world = World(count=servers, limits=PollLimits(6, 6))
    world.ask_all(6)
    for extra in (0.0, 1e-3, 8e-4, 6e-4, 4e-4, 2e-4, 0.0, 0.0, 0.0):
        for _ in range(25):
            world.pass_time(64.0)
            for source in world.sources:
                there, back = (1e-4 + random.expovariate(1e4) for _ in range(2))
                world.ask(source, outward=there + extra * (source == SourceId(0)), homeward=back)
    offset = world.controller.estimate(SourceId(0)).offset
    assert offset is not None
    return offset


def test_learnt_asymmetry_is_forgotten_where_two_others_contradict_it() -> None:
    """A way that comes back by small steps leaves an asymmetry behind; three sources get rid of it, two can't."""
    assert abs(after_steps(3)) < 1e-4
    assert after_steps(2) < -3e-4


@pytest.mark.parametrize(("name", "limit"), [("r2", 120e-6), ("r4", 130e-6), ("r1", 110e-6)])
def test_routes_that_change_at_adaptive_polls(name: str, limit: float) -> None:
    """A path that becomes 1 or 2 ms longer one way, or both ways, moves the clock no more than the polls do anyway."""
    result = simulate_controller(name, PollLimits(6, 10))

    assert result.rms < limit
    assert result.packets <= 100
