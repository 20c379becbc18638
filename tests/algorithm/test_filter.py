"""The filter of a server: what it learns, what it refuses, and how it gets over accidents."""

from __future__ import annotations

import math
from random import Random

import pytest

from ntptwist.algorithm.filter import Outcome, TwoWayFilter


class Path:
    """Exchanges with a server over a noisy path, 16 s apart; ``offset`` is server minus local."""

    def __init__(self, seed: int = 1, base: float = 1e-3, jitter: tuple[float, float] = (1e-4, 1e-4)) -> None:
        self.random = Random(seed)
        self.time = 0.0
        self.base = [base, base]
        self.jitter = jitter
        self.offset = 0.0
        self.filter = TwoWayFilter(*self.exchange(), 0.0, 0.0, 0.0)

    def exchange(self) -> tuple[float, float, float]:
        """Give outward and homeward time and the delay of one exchange."""
        out, home = (b + self.random.expovariate(1.0 / j) for b, j in zip(self.base, self.jitter, strict=True))
        return out + self.offset, home - self.offset, out + home

    def follow(self, count: int) -> list[Outcome]:
        """Make exchanges and hand them in."""
        outcomes = []
        for _ in range(count):
            self.time += 16.0
            outcomes.append(self.filter.update(*self.exchange(), self.time, 0.0, 0.0))
        return outcomes


def test_constant_offset_is_found_beyond_the_jitter() -> None:
    """After some hundred exchanges the offset is known far better than one sample tells, and it says how well."""
    path = Path()
    path.offset = 2e-4
    path.follow(300)

    assert path.filter.offset == pytest.approx(2e-4, abs=1e-5)
    assert path.filter.base == pytest.approx(1e-3, abs=1e-5)
    assert 1e-7 < math.sqrt(path.filter.p00) < 1e-5


def test_asymmetric_jitter_is_no_bias() -> None:
    """Three times the jitter on the way back moves the offset by a fraction of the difference only."""
    path = Path(jitter=(1e-3, 3e-3), base=15e-3)
    path.follow(400)

    assert path.filter.offset == pytest.approx(0.0, abs=1e-4)
    assert path.filter.noise.homeward > 2.0 * path.filter.noise.outward


def test_gaussian_jitter_moves_the_bank_to_a_gaussian_shape() -> None:
    """Where nothing is exponential the filter still finds the offset to a part of the jitter."""
    path = Path()
    for _ in range(600):
        path.time += 16.0
        out, home = (1e-3 + path.random.gauss(0.0, 1e-4) for _ in range(2))
        path.filter.update(out, home, out + home, path.time, 0.0, 0.0)

    assert path.filter.offset == pytest.approx(0.0, abs=2e-5)


def test_longer_route_on_one_way_does_not_move_the_offset() -> None:
    """When the way out becomes 1 ms longer for good, the path gets the change and not the clock."""
    path = Path()
    path.follow(100)
    path.base[0] += 1e-3
    outcomes = path.follow(40)

    assert 1 == outcomes.count(Outcome.NEW_ROUTE)
    assert path.filter.offset == pytest.approx(0.0, abs=5e-5)
    assert path.filter.asymmetry == pytest.approx(5e-4, abs=5e-5)


def test_learnt_asymmetry_fades_where_others_contradict_it() -> None:
    """Each time an eighth of the contradiction goes over from the path to the offset, until nothing learnt is left."""
    path = Path()
    path.follow(100)
    path.base[0] += 1e-3
    path.follow(40)
    learnt, offset = path.filter.asymmetry, path.filter.offset
    path.filter.fade(4e-4)
    agreed = path.filter.asymmetry
    path.filter.fade(-4e-4)
    faded = path.filter.asymmetry
    path.filter.fade(-1.0)

    assert agreed == learnt
    assert faded == pytest.approx(learnt - 5e-5)
    assert 0.0 == path.filter.asymmetry
    assert path.filter.offset == pytest.approx(offset + learnt)


def test_asymmetry_of_the_way_back_fades_too() -> None:
    """It has the other sign; and what was never learnt can't fade."""
    path = Path()
    path.follow(100)
    path.filter.fade(1.0)
    never = path.filter.asymmetry
    path.base[1] += 1e-3
    path.follow(40)
    learnt = path.filter.asymmetry
    path.filter.fade(4e-4)

    assert 0.0 == never
    assert path.filter.asymmetry == pytest.approx(learnt + 5e-5)
    assert learnt == pytest.approx(-5e-4, abs=5e-5)


def test_shorter_route_is_held_over_and_then_believed() -> None:
    """When both ways become shorter, six exchanges are kept back and then the new floor holds."""
    path = Path()
    path.follow(100)
    path.base = [5e-4, 5e-4]
    outcomes = path.follow(8)

    assert [Outcome.HELD_BACK] * 5 + [Outcome.NEW_ROUTE] == outcomes[:6]
    assert path.filter.base == pytest.approx(5e-4, abs=5e-5)
    assert path.filter.offset == pytest.approx(0.0, abs=5e-5)


def test_single_freak_below_the_floor_is_no_new_route() -> None:
    """One delay far below the floor holds the source over for six exchanges, and then everything is as before."""
    path = Path()
    path.follow(100)
    base = path.filter.base
    path.base = [5e-4, 5e-4]
    freak = path.follow(1)
    path.base = [1e-3, 1e-3]
    outcomes = freak + path.follow(6)

    assert [Outcome.HELD_BACK] * 5 + [Outcome.ABSORBED] * 2 == outcomes
    assert path.filter.base == pytest.approx(base, rel=1e-3)


def test_congestion_is_no_new_route() -> None:
    """Ten times the jitter for an hour does not raise the floor."""
    path = Path()
    path.follow(200)
    path.jitter = (1e-3, 1e-3)
    outcomes = path.follow(225)

    assert Outcome.NEW_ROUTE not in outcomes
    assert path.filter.base == pytest.approx(1e-3, abs=5e-5)


def test_server_that_is_stepped_makes_the_filter_start_afresh() -> None:
    """Two exchanges that no delay explains are kept back; at the third the server's new time is believed."""
    path = Path()
    path.follow(100)
    frequency = path.filter.frequency
    path.offset = 3.0
    outcomes = path.follow(3)

    assert [Outcome.CONTRADICTED, Outcome.CONTRADICTED, Outcome.AFRESH] == outcomes
    assert path.filter.offset == pytest.approx(3.0, abs=1e-3)
    assert path.filter.frequency == pytest.approx(frequency, abs=1e-7)


def test_two_wild_exchanges_are_forgotten() -> None:
    """A server that is wrong for two exchanges leaves no trace."""
    path = Path()
    path.follow(100)
    path.offset = 3.0
    path.follow(2)
    path.offset = 0.0
    outcomes = path.follow(5)

    assert [Outcome.ABSORBED] * 5 == outcomes
    assert path.filter.offset == pytest.approx(0.0, abs=5e-5)


@pytest.mark.parametrize(
    ("outward", "homeward", "delay", "elapsed"),
    [
        (math.nan, 1e-3, 2e-3, 16.0),
        (1e-3, math.inf, 2e-3, 16.0),
        (1e-3, 1e-3, math.nan, 16.0),
        (1e-3, 1e-3, -2e-3, 16.0),
        (1e-3, 1e-3, 17.0, 16.0),
        (1e12, -1e12, 2e-3, 16.0),
        (1e-3, 1e-3, 2e-3, 0.0),
        (1e-3, 1e-3, 2e-3, -16.0),
        (1e-3, 1e-3, 2e-3, math.nan),
        (1e-3, 1e-3, 2e-3, 1e12),
    ],
)
def test_what_can_not_be_an_exchange_is_refused(outward: float, homeward: float, delay: float, elapsed: float) -> None:
    """NaN, absurd times and exchanges out of order change nothing."""
    path = Path()
    path.follow(10)
    before = (path.filter.offset, path.filter.p00, path.filter.time)
    outcome = path.filter.update(outward, homeward, delay, path.time + elapsed, 0.0, 0.0)

    assert Outcome.REFUSED is outcome
    assert before == (path.filter.offset, path.filter.p00, path.filter.time)


@pytest.mark.parametrize(("integral", "correction"), [(0.0, math.inf), (math.nan, 0.0), (-math.inf, 0.0)])
def test_correction_that_no_clock_has_is_refused(integral: float, correction: float) -> None:
    """A clock can't run infinitely faster than its oscillator, nor have done so."""
    path = Path()

    assert Outcome.REFUSED is path.filter.update(*path.exchange(), 16.0, integral, correction)


def test_belief_that_is_broken_starts_afresh() -> None:
    """A belief whose variance is no number any more is replaced by the next exchange."""
    path = Path()
    path.follow(10)
    path.filter.doubt(1e200)
    path.offset = 0.25

    assert [Outcome.AFRESH, Outcome.ABSORBED] == path.follow(2)
    assert path.filter.offset == pytest.approx(0.25, abs=1e-3)


def test_step_and_doubt_move_the_whole_belief() -> None:
    """After a step the offset is smaller by it; after a suspend its variance is larger, until the next exchange."""
    path = Path()
    path.follow(50)
    offset, variance = path.filter.offset, path.filter.p00
    path.filter.shift(0.25)
    path.filter.doubt(1.0)
    doubted = path.filter.p00
    path.offset = -0.25 + 0.1
    outcomes = path.follow(1)

    assert doubted == pytest.approx(variance + 1.0)
    assert [Outcome.ABSORBED] == outcomes
    assert path.filter.offset == pytest.approx(offset - 0.15, abs=1e-3)


def test_prediction_subtracts_the_correction_that_was_applied() -> None:
    """An estimate is carried on by its frequency minus the integral of what was applied."""
    path = Path()
    path.follow(50)
    ahead, variance = path.filter.at(path.time + 100.0, 1e-3)

    assert ahead == pytest.approx(path.filter.offset + 100.0 * path.filter.frequency - 1e-3)
    assert variance > path.filter.p00


@pytest.mark.lengthy
def test_twenty_thousand_exchanges_keep_a_sound_belief() -> None:
    """The covariance survives a long run of quick polls."""
    path = Path()
    for _ in range(20000):
        path.time += 0.25
        path.filter.update(*path.exchange(), path.time, 0.0, 0.0)

    assert path.filter.offset == pytest.approx(0.0, abs=1e-5)
    assert 0.0 < path.filter.p00 < 1e-9
