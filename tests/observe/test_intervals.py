"""The picture of the intervals."""

from __future__ import annotations

import pytest

from ntptwist.observe.intervals import interval_lines, room_for, scale, strip
from tests.observe.canned import lost, source, status


@pytest.mark.parametrize(
    ("low", "high", "middle", "drawn"),
    [
        (-0.5, 0.5, 0.0, "  --o--  "),
        (0.25, 0.75, 0.5, "    |-o- "),
        (-0.1, 0.1, None, "    |    "),
        (-9.0, 9.0, 0.5, "----|-o--"),
        (3.0, 5.0, 4.0, "    |   >"),
        (-5.0, -3.0, -4.0, "<   |    "),
        (3.0, 5.0, None, "    |   >"),
        (-5.0, -3.0, None, "<   |    "),
        (0.5, 9.0, 4.0, "    | -->"),
    ],
)
def test_intervals_are_drawn_to_scale(low: float, high: float, middle: float | None, drawn: str) -> None:
    """An interval covers its columns, and one beyond the edge is an arrow."""
    assert strip(low, high, middle, 1.0, 9) == drawn


@pytest.mark.parametrize(
    ("offset", "distance", "largest"),
    [(0.0, 9e-3, 0.01), (1e-3, 10e-3, 0.025), (-20e-3, 20e-3, 0.05), (0.0, 60e-6, 100e-6), (0.0, 0.0, 1.0)],
)
def test_the_scale_is_round_and_fits(offset: float, distance: float, largest: float) -> None:
    """The edge is a round number beyond the intervals that are used."""
    there = status(sources=[source(offset=offset, distance=distance)])

    assert scale(there) == pytest.approx(largest)


def test_without_measurements_there_is_no_picture() -> None:
    """Before the first measurement there is nothing to draw."""
    assert interval_lines(lost(), 80) == []


def test_without_a_majority_nothing_is_said_of_it() -> None:
    """What most agree on is drawn only where most agree."""
    majority = {"low": 0.0, "high": 0.0, "agree": 1, "of": 4, "needed": 3}

    assert "most agree" not in interval_lines(status(majority=majority), 80)[-1]
    assert "most agree" in interval_lines(status(), 80)[-1]


@pytest.mark.parametrize(("width", "room"), [(40, 19), (80, 51), (1000, 59)])
def test_the_picture_has_a_middle(width: int, room: int) -> None:
    """The number of columns is odd, so that there is one in the middle, and bounded."""
    assert room_for(width, 27) == room
