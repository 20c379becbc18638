"""What people are told of the corrections so far."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.corrections import Corrections
from ntptwist.snapshot import CorrectionsSnapshot
from tests.algorithm.world import FIRST, HandClock, World


def test_before_the_first() -> None:
    """Nothing was corrected yet."""
    assert Corrections().snapshot() == CorrectionsSnapshot(0.0, 0.0, 0.0)


def test_the_mean_forgets() -> None:
    """The root mean square begins with the first offset, and a new one counts for a tenth."""
    corrections = Corrections()
    corrections.add(-3.0, 100.0)
    first = corrections.snapshot()
    corrections.add(0.0, 164.0)
    later = corrections.snapshot()

    assert first == CorrectionsSnapshot(-3.0, 3.0, 0.0)
    assert (later.latest, later.interval) == (0.0, 64.0)
    assert later.typical == pytest.approx(0.9**0.5 * 3.0)


def test_the_controller_tells_them() -> None:
    """A clock that was 1 ms slow was corrected by that, and what its oscillator needs is told without the slew."""
    world = World(HandClock(error=-1_000_000))
    world.ask()
    status = world.controller.status()

    assert status.corrections.latest == pytest.approx(1e-3, abs=1e-6)
    assert status.frequency == pytest.approx(250.0, abs=1.0)
    assert status.oscillator_frequency == pytest.approx(0.0, abs=1.0)


def test_a_source_is_told_in_numbers() -> None:
    """The standing of a source, its root distance, its span and its last offset come with the estimate."""
    world = World(HandClock(error=-1_000_000))
    before = world.controller.estimate(FIRST)
    world.ask()
    world.pass_time(2.0)
    world.ask()
    known = world.controller.estimate(FIRST)

    assert (before.standing, before.distance, before.span) == ("new", None, None)
    assert known.standing == "used"
    assert known.span == pytest.approx(2.0, abs=0.1)
    assert known.last_offset == pytest.approx(0.5e-3, abs=1e-4)
    assert known.distance is not None
    assert known.delay is not None
    assert known.distance > known.delay / 2.0
    assert known.skew is not None
    assert known.skew > 0.0
    assert not known.interleaved
