"""Pulses and samples of gpsd beside servers."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.config import PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.measurement import OneWayMeasurement
from tests.algorithm.world import HandClock, World

PPS = SourceId(9)


def test_pulses_take_over_once_they_can_be_numbered() -> None:
    """A pulse each second steers alone, first of all sources, while the server only agrees."""
    world = World(HandClock(error=30_000_000, drift=10.0), limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.pulse(PPS)
    early = world.controller.estimate(PPS).reason
    world.ask_all(6)
    for _ in range(60):
        world.pulse(PPS)
        world.clock.advance(0.2)
    world.ask()
    status = world.controller.status()

    assert "waiting for other sources to number its pulses" == early
    assert (PPS,) == status.used
    assert (1, ReferenceId.of_text("PPS")) == (world.update.time.stratum, world.update.time.reference_id)
    assert "agrees with the pulses that are used" == world.controller.estimate(SourceId(0)).reason
    assert world.clock.error == pytest.approx(0.0, abs=1e-7)


def test_pulses_go_on_when_the_server_falls_silent() -> None:
    """Pulses that are numbered keep the clock when no server answers any more; when they end too, it holds over."""
    world = World(HandClock(drift=10.0), limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(400):
        world.pulse(PPS)
        world.clock.advance(0.2)
    alone = world.controller.status()
    world.pass_time(100.0)

    assert ((PPS,), "synchronized") == (alone.used, alone.state)
    assert world.controller.estimate(PPS).reason.startswith("no sample for")
    assert world.controller.status().state.startswith("holding over for")
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)


def test_pulse_that_the_majority_contradicts_is_not_used() -> None:
    """A pulse 0.1 s late is a falseticker as soon as it is numbered."""
    world = World(limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(3):
        world.pulse(PPS, late=0.1)
        world.clock.advance(0.2)

    assert world.controller.estimate(PPS).reason.startswith("falseticker: 100 ms from")
    assert (SourceId(0),) == world.controller.status().used


def test_pulses_can_not_be_numbered_by_a_clock_that_is_far_off() -> None:
    """While a clock that must not be stepped is 0.4 s off, its pulses wait."""
    world = World(HandClock(error=400_000_000), policy=SynchronizationPolicy(step_policy=StepPolicy.NEVER))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    world.pulse(PPS)

    assert "waiting for other sources to number its pulses" == world.controller.estimate(PPS).reason


def test_late_pulse_is_gated() -> None:
    """One pulse that is 1 ms late among good ones does not move the clock."""
    world = World(limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(30):
        world.pulse(PPS)
        world.clock.advance(0.2)
    settings = len(world.clock.settings)
    world.pulse(PPS, late=1e-3)

    assert settings == len(world.clock.settings)


def test_samples_of_gpsd_can_vote() -> None:
    """A source of whole offsets is enough for a clock that needs one source."""
    world = World(HandClock(error=100_000_000), count=0, policy=SynchronizationPolicy())
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("SOCK"))
    world.pulse(PPS, period=None)

    assert 1 == len(world.clock.steps)
    assert "used" == world.controller.estimate(PPS).reason
    assert 1 == world.update.time.stratum


def test_pulse_with_an_absurd_period_is_refused() -> None:
    """A pulse every thirty years is no pulse."""
    world = World()
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(9)
    world.pulse(PPS, period=1e9)

    assert "its measurements are implausible" == world.controller.estimate(PPS).reason


@pytest.mark.parametrize(("offset", "precision"), [(math.nan, 1e-6), (math.inf, 1e-6), (0.0, 0.0), (0.0, math.nan)])
def test_sample_that_is_no_number_is_refused(offset: float, precision: float) -> None:
    """An offset or a precision that is no number, or a precision of nothing, is no sample."""
    world = World()
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("SOCK"))
    reading = world.clock.read()
    world.take(world.controller.measured(PPS, OneWayMeasurement(offset, reading.local, reading.monotonic, precision)))

    assert "its measurements are implausible" == world.controller.estimate(PPS).reason


def test_source_that_turns_into_pulses_loses_its_vote() -> None:
    """A source whose offsets are no longer whole has to wait for others, like any pulse."""
    world = World(count=3)
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("SOCK"))
    world.pulse(PPS, period=None)
    world.pulse(PPS)

    assert "waiting for other sources to number its pulses" == world.controller.estimate(PPS).reason
