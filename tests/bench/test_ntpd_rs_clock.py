"""The restated clock of ntpd-rs steps, slews and selects as ntpd-rs does."""

from __future__ import annotations

import heapq
import itertools
from random import Random

import pytest

from bench.ntpd_rs_clock import NTPDRSClock, merge, select
from bench.ntpd_rs_filter import Estimate, Snapshot
from bench.simulate import simulate_ntpd_rs
from ntptwist.algorithm.config import PollLimits

SLOW = 23e-6


class Machine:
    """A clock that runs 23 ppm slow, and three servers 8 to 9 ms away, asked every 16 s; it keeps what was done."""

    def __init__(self, behind: float) -> None:
        self.time, self.mono, self._local, self._correction = 0.0, 0.0, -behind, 0.0
        self._due = float("inf")
        self.steps: list[tuple[float, float]] = []
        self.frequencies: list[tuple[float, float]] = []
        self.slews: list[tuple[float, float]] = []
        self.clock = NTPDRSClock(self, 3, PollLimits(4, 4), agreeing=3, root_dispersion=0.5e-3)

    def now(self) -> float:
        """Read the clock."""
        return self._local

    def step(self, x: float) -> None:
        """Step it."""
        self._local += x
        self.steps.append((self.time, x))

    def set_freq(self, f: float) -> None:
        """Set its correction."""
        self._correction = f
        self.frequencies.append((self.time, f))

    def timer(self, dt: float) -> None:
        """Have the clock woken."""
        self._due = self.time + dt
        self.slews.append((self.time, dt))

    def run(self, seconds: float) -> None:
        """Let time pass, and servers answer."""
        random = Random(1)
        polls = [(1.0 + 0.5 * source, source) for source in range(3)]
        while (time := min(polls[0][0], self._due)) < seconds:
            if time == self._due:
                self._advance(time)
                self._due = float("inf")
                self.clock.on_timer()
                continue
            time, source = heapq.heapreplace(polls, (polls[0][0] + 16.0, polls[0][1]))
            self.clock.sent(source)
            up, down = 4e-3 + random.random() / 2e3, 4e-3 + random.random() / 2e3
            self._advance(time - up - down)
            t1 = self.now()
            self._advance(time)
            self.clock.sample(source, t1, time - down, time - down, self.now())

    def frequency(self, time: float) -> float:
        """Give the correction that was in force."""
        return [f for at, f in self.frequencies if at <= time][-1]

    def _advance(self, time: float) -> None:
        elapsed = (time - self.time) * (1.0 - SLOW) * (1.0 + self._correction)
        self._local, self.mono, self.time = self._local + elapsed, self.mono + elapsed, time


def snapshot(offset: float, sigma: float) -> Snapshot:
    """Give what a source with a short path says."""
    return Snapshot(Estimate(offset, 0.0, sigma**2, 0.0, 1e-12, 0.0, 1e-16), 1e-6, 0.0)


def test_five_milliseconds_are_slewed_as_ntpd_rs_does() -> None:
    """From the third source's eighth sample on 200 ppm for 28.7 s, then a second slew of 8 s, then 22 ppm."""
    machine = Machine(5e-3)
    machine.run(400.0)

    assert machine.steps == []
    assert machine.slews[0] == pytest.approx((114.0, 28.677), rel=0.02)
    assert machine.frequency(114.1) == pytest.approx(2.0013e-4, rel=0.01)
    assert machine.slews[1][1] == pytest.approx(8.0)
    assert machine.frequency(300.0) == pytest.approx(2.2e-5, abs=3e-6)


def test_a_quarter_of_a_second_is_stepped_as_ntpd_rs_does() -> None:
    """The step comes with the third source's eighth sample, a standard deviation short."""
    machine = Machine(0.25)
    machine.run(400.0)

    assert machine.steps == [pytest.approx((114.0, 0.250735), rel=0.005)]
    assert machine.frequency(300.0) == pytest.approx(2.2e-5, abs=3e-6)


def test_a_foreign_step_is_never_recovered_from_at_fixed_polls() -> None:
    """The known weakness is there: half a second is taken for a frequency error, and 64 s later for another one."""
    assert simulate_ntpd_rs("s", PollLimits(6, 6), 1).recovered is None


def test_a_source_that_falls_silent_begins_anew() -> None:
    """After eight polls without an answer the source is another one, so a lone new sample is not yet trusted."""
    machine = Machine(0.0)
    machine.run(200.0)
    for _ in range(9):
        for source in range(3):
            machine.clock.sent(source)
    acted = len(machine.frequencies)
    machine.clock.sample(0, machine.now() - 0.1, machine.now(), machine.now(), machine.now())

    assert acted == len(machine.frequencies)


def test_a_sample_older_than_what_another_source_knows_changes_nothing() -> None:
    """All sources must be brought to the time of the sample, and an estimate can't go back."""
    machine = Machine(0.0)
    machine.run(200.0)
    before = list(machine.frequencies)
    late = machine.now() - 30.0
    machine.clock.sample(0, late - 0.008, late, late, late)

    assert before == machine.frequencies


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_majority_is_selected_in_whatever_order(order: tuple[int, ...]) -> None:
    """One of four is far from the others: three are selected."""
    sources = [snapshot(0.1, 1e-4), snapshot(0.0, 1e-4), snapshot(1e-4, 1e-4), snapshot(-1e-4, 1e-4)]

    assert {1e-4, 0.0, -1e-4} == {each.estimate.offset for each in select([sources[k] for k in order], 3)}


@pytest.mark.parametrize(
    ("offsets", "agreeing"), [((0.0, 1.0), 1), ((0.0, 0.0), 3), ((0.0, 0.0, 1.0, 1.0), 2), ((), 1)]
)
def test_no_majority_selects_nothing(offsets: tuple[float, ...], agreeing: int) -> None:
    """Half of the sources are no majority, and a majority of too few is none either."""
    assert select([snapshot(offset, 1e-4) for offset in offsets], agreeing) == []


def test_a_source_too_uncertain_has_no_voice() -> None:
    """Beyond a quarter of a second a source neither votes nor is selected."""
    good, vague = snapshot(0.0, 1e-4), snapshot(0.0, 0.13)

    assert [good] == select([good, vague], 1)


def test_two_alike_are_merged_to_their_mean() -> None:
    """Two sources that are equally sure give the mean with half the variance."""
    merged = merge([snapshot(0.0, 1e-3).estimate, snapshot(1e-3, 1e-3).estimate])

    assert merged.offset == pytest.approx(5e-4)
    assert merged.p00 == pytest.approx(0.5e-6)
    assert merged.p11 == pytest.approx(0.5e-12)
