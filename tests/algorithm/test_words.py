"""Durations as people read them."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.words import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ns"),
        (3e-9, "3 ns"),
        (-1.25e-5, "-12.5 µs"),
        (0.1001, "100.1 ms"),
        (0.99999, "1 s"),
        (1.5, "1.5 s"),
        (86400.0, "86400 s"),
        (-172800.4, "-172800 s"),
        (math.nan, "nan s"),
        (math.inf, "inf s"),
    ],
)
def test_duration_has_a_fitting_unit(seconds: float, words: str) -> None:
    """Four digits and the unit that fits, from nanoseconds to days in seconds."""
    assert words == duration(seconds)
