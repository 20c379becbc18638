"""
Every scenario that is shipped is kept: the whole daemon in a virtual world, within the limits that the file states.

Those that take seconds are left to the night, where all of them run with more seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ntptwist.registry import find_driver
from ntptwist.sim.scenario_file import load
from ntptwist.sim.trial import run
from ntptwist.sim.verdict import broken

pytestmark = pytest.mark.lengthy

FILES = sorted((Path(__file__).parents[2] / "etc" / "scenarios").glob("*.toml"))
SCENARIOS = {path.stem: load(str(path), find_driver) for path in FILES}
DAILY = [name for name, scenario in SCENARIOS.items() if not scenario.nightly]
PLOTS = Path(__file__).parents[2] / "docs" / "reference" / "plots"
MORE_SEEDS = range(2, 6)


@pytest.mark.limit(60)
@pytest.mark.parametrize("name", DAILY)
def test_limits_are_kept(name: str) -> None:
    """The daemon keeps the limits of the scenario, with the seeds that the file names."""
    scenario = SCENARIOS[name]
    problems = [problem for seed in scenario.seeds for problem in broken(scenario.limits, run(scenario, seed))]

    assert problems == []


@pytest.mark.nightly
@pytest.mark.limit(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_limits_are_kept_with_more_seeds(name: str) -> None:
    """They hold on other days too; a month is long enough with one seed."""
    scenario = SCENARIOS[name]
    seeds = scenario.seeds if name == "month" else (*scenario.seeds, *MORE_SEEDS)
    problems = [f"seed {seed}: {problem}" for seed in seeds for problem in broken(scenario.limits, run(scenario, seed))]

    assert problems == []


def test_there_are_enough() -> None:
    """Thirty scenarios or more are shipped, each with a title and with a limit."""
    untitled = [name for name, scenario in SCENARIOS.items() if not scenario.title]
    bare = [name for name, scenario in SCENARIOS.items() if scenario.limits == type(scenario.limits)()]

    assert len(SCENARIOS) >= 30
    assert untitled == []
    assert bare == []


def test_each_has_its_picture() -> None:
    """The manual shows a plot of every scenario that is shipped, and of no other."""
    pictures = {path.stem for path in PLOTS.glob("*.svg")}

    assert pictures == set(SCENARIOS)
