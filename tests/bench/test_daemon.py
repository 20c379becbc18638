"""The table's scenarios are the lab's, and the daemon lives in the same world as what it is compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.daemon import simulate_daemon, virtual_scenario
from bench.scenarios import SCENARIOS
from bench.simulate import simulate_controller, simulate_prototype
from ntptwist.algorithm.config import PollLimits
from ntptwist.registry import find_driver
from ntptwist.sim.scenario import Limits, Scenario
from ntptwist.sim.scenario_file import load
from tests.algorithm.widened import WidenedPrototype

WHERE = Path(__file__).parents[2] / "etc/scenarios"
POLLS = {"": PollLimits(6, 6), "16": PollLimits(4, 4), "-adaptive": PollLimits(6, 10)}
FILES = [
    *[(name, "") for name in ("a", "b", "c", "c4", "d", "e", "e2", "g", "gd", "gi", "h", "l", "p", "s", "w")],
    ("a", "16"),
    ("a", "-adaptive"),
    ("s", "-adaptive"),
]


def world(scenario: Scenario) -> Scenario:
    """Leave only what the world knows: no names and limits, nor which way it starts off; and frequencies as written."""
    servers = [
        replace(server, behaviour=replace(server.behaviour, frequency=round(server.behaviour.frequency, 15)))
        for server in scenario.servers
    ]
    return replace(
        scenario,
        name="",
        title="",
        offset=abs(scenario.offset),
        oscillator=replace(scenario.oscillator, frequency=round(scenario.oscillator.frequency, 15)),
        servers=tuple(servers),
        settle=0,
        limits=Limits(),
        nightly=False,
    )


@pytest.mark.parametrize(("name", "polls"), FILES)
def test_the_files_of_the_lab_say_the_same(name: str, polls: str) -> None:
    """A scenario file has the parameters of the table's scenario of that name."""
    file = load(str(WHERE / f"{name}{polls}.toml"), find_driver)

    assert world(virtual_scenario(name, POLLS[polls])) == world(file)


@pytest.mark.lengthy
@pytest.mark.parametrize("name", ["a", "e", "l", "p", "t4"])
def test_one_seed_is_one_world(name: str) -> None:
    """
    With one seed the daemon, its controller and the prototype see the same crystal, delays, losses and pulses.

    The prototype is one that approaches its polls as they do, for it shall send the same packets.
    """
    run = name, PollLimits(6, 6), 2, 6000, 2000
    daemon, controller = simulate_daemon(*run), simulate_controller(*run)
    prototype = simulate_prototype(*run, kind=WidenedPrototype)

    assert controller.rms == pytest.approx(daemon.rms, rel=0.01)
    assert prototype.rms == pytest.approx(daemon.rms, rel=0.01)
    assert abs(controller.packets - daemon.packets) <= len(SCENARIOS[name].outward)


@pytest.mark.lengthy
def test_a_foreign_step_is_undone_within_seconds() -> None:
    """The time from somebody's step until the error is small again is measured for the daemon too."""
    recovered = simulate_daemon("s", PollLimits(6, 6), 1, 22000, 21000).recovered

    assert recovered is not None
    assert recovered <= 8


@pytest.mark.lengthy
@pytest.mark.parametrize("name", ["n2", "t6", "r2", "j1", "j3", "e2"])
def test_every_kind_of_scenario_can_be_given_to_the_daemon(name: str) -> None:
    """Other noise, new routes, jumps of the crystal and drifting servers are the same there."""
    limits = PollLimits(6, 6)
    daemon, controller = (s(name, limits, 1, 25000, 18000) for s in (simulate_daemon, simulate_controller))

    assert controller.rms == pytest.approx(daemon.rms, rel=0.1)
