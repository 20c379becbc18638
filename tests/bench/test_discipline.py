"""The table of the discipline says what was measured, what was quoted, and which goals are reached."""

from __future__ import annotations

import math

import pytest

from bench.discipline import line, ratio, shown, title
from bench.goals import BAR, ROWS, Row, rows
from bench.scenarios import SCENARIOS
from ntptwist.algorithm.config import PollLimits

FIGURES = {"rms": 1e-5, "below": 1.0, "packets": 630.0}


@pytest.mark.parametrize(
    ("figure", "text"),
    [(None, "-"), (math.inf, "never"), (0.0, "0"), (630.0, "630"), (0.2114, "0.211"), (9.8, "9.80"), (8059.6, "8060")],
)
def test_figures_have_three_digits(figure: float | None, text: str) -> None:
    """Small figures keep their digits, whole ones have none after the point, and what never came is called so."""
    assert text == shown(figure)


def test_what_never_came_has_no_ratio() -> None:
    """Ratios are of two finite figures."""
    assert [ratio(1.0, 2.0), ratio(math.inf, 2.0), ratio(1.0, None), ratio(1.0, 0.0)] == ["0.50", "-", "-", "-"]


@pytest.mark.parametrize(("figure", "reached"), [(10.5, "yes"), (10.6, "near"), (11.6, "no")])
def test_a_figure_of_the_prototype_is_held_within_five_percent(figure: float, reached: str) -> None:
    """Up to five percent more than the prototype's figure are a yes, up to fifteen are near."""
    assert reached == Row("a", goal=10.0).reached(figure)


@pytest.mark.parametrize(("figure", "reached"), [(7.3, "yes"), (7.4, "no")])
def test_a_bar_is_held_as_it_is(figure: float, reached: str) -> None:
    """A bar is not softened by a margin."""
    assert reached == Row("s", "recovered", goal=7.3, margin=BAR).reached(figure)


def test_a_row_without_goal_is_not_judged() -> None:
    """What has no goal can't fail."""
    assert Row("t4").reached(1.0) == "-"


def test_every_row_is_of_a_scenario() -> None:
    """The goals name scenarios that exist."""
    assert {row.scenario for known in ROWS.values() for row in known} <= set(SCENARIOS)


def test_rows_of_some_scenarios() -> None:
    """Scenarios that are asked for have their rows, and one of their own where they have no goal."""
    assert [row.label for row in rows(PollLimits(6, 6), ["b", "t4"])] == ["b   RMS, us", "t4  RMS, us"]


def test_a_line_tells_contenders_and_verdict() -> None:
    """A line has the quoted figures, those measured here with their ratios, the goal, and whether it is reached."""
    row = Row("a", "rms", (21.9, None, 40.0), 10.4)
    figures = {"ntpd-rs": {**FIGURES, "rms": 4.4e-5}, "prototype": FIGURES, "controller": FIGURES, "daemon": FIGURES}
    words = "a RMS, us 21.9 - 40 44 1.10 10 10 10 1.00 0.46 10.4 yes 1 630"

    assert words.split() == line(row, figures).split()


def test_a_discipline_that_knows_no_pulses_has_no_figure() -> None:
    """Where ntpd-rs was not run there is a dash."""
    words = line(Row("p"), dict.fromkeys(("prototype", "controller", "daemon"), FIGURES)).split()

    assert words[6:8] == ["-", "-"]


def test_titles_tell_the_polls() -> None:
    """Each part says which polls it is of."""
    assert "16 s" in title(PollLimits(4, 4), 5)
    assert "64 to 1024 s" in title(PollLimits(6, 10), 5)
