"""Words: every time has its sign or direction, and its unit."""

from __future__ import annotations

import pytest

from ntptwist.observe.words import ago, amount, fold, label, lasting, mark, slow_or_fast, utc
from tests.observe.canned import source, sources


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0.0, "0 ns"), (1e-9, "1 ns"), (12.34e-6, "12.3 µs"), (9.996e-6, "10.0 µs"), (-251e-3, "-251 ms"),
        (0.99949, "999 ms"), (0.9996, "1.00 s"), (3600.0, "3600 s"), (999.6e-9, "1.00 µs"),
    ],
)  # fmt: skip
def test_amount_has_a_unit_and_three_digits(seconds: float | None, text: str) -> None:
    """A duration is written with the unit that suits it."""
    assert amount(seconds) == text


def test_sign_on_request() -> None:
    """An offset always shows its sign."""
    assert amount(12.3e-6, sign=True) == "+12.3 µs"


def test_slow_and_fast_are_told_in_words() -> None:
    """A positive offset means that the clock is slow."""
    assert [slow_or_fast(12e-6), slow_or_fast(-12e-6), slow_or_fast(None)] == [
        "12.0 µs slow",
        "12.0 µs fast",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.2, "0s"), (119.0, "119s"), (600.0, "10m"), (86400.0, "24h"), (864000.0, "10d")],
)
def test_age_in_whole_units(seconds: float | None, text: str) -> None:
    """The time since the last answer is short to read."""
    assert ago(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(23.4, "23 s"), (3119.0, "52 min"), (10800.0, "3 h"), (864000.0, "10 days")]
)
def test_time_spans_in_words(seconds: float, text: str) -> None:
    """In a sentence a time span has its unit apart."""
    assert lasting(seconds) == text


def test_points_in_time_name_their_scale() -> None:
    """What is said in UTC says so."""
    assert utc("2026-11-22T07:40:12.345Z") == "2026-11-22 07:40:12 UTC"


def test_sources_of_a_pool_are_told_apart() -> None:
    """A source of a pool is named by its address, with the name that was configured."""
    assert label(source(mode="pool")) == "192.0.2.1 (ntp1.example.net)"
    assert label(source()) == "ntp1.example.net"


def test_marks() -> None:
    """The tally is that of chronyc and ntpq: the source that is followed has a star."""
    idle = source(id=9, selected=False, standing="not_preferred")
    gone = source(id=9, selected=False, standing="silent", reach=0)
    drifting = source(id=9, selected=False, standing="drifting")

    assert [mark(row, [1, 2, 3]) for row in (*sources(), idle, gone, drifting)] == list("*++x?-?x")


def test_long_sentences_are_folded() -> None:
    """A sentence is broken at its spaces, never in a word, and indented."""
    assert fold("one two three four five", 12, 2) == ["  one two three four", "  five"]
    assert fold("a" * 40 + " b", 30, 2) == ["  " + "a" * 40, "  b"]
