"""The figures that are drawn from a run."""

from __future__ import annotations

import math

import pytest

from ntptwist.sim.trace import STEADY, Trace


def trace(*offsets: float) -> Trace:
    """Give a trace of these offsets, with frequency errors of a tenth of them."""
    made = Trace()
    made.extend(offsets, [offset / 10 for offset in offsets])
    return made


def test_figures_of_a_run() -> None:
    """RMS, largest and mean error are those of the seconds in question."""
    figures = trace(9.0, 3.0, -4.0, 9.0).statistics(1, 3, packets=5, steps=2)

    assert figures.seconds == 2
    assert figures.rms == pytest.approx(math.sqrt(12.5))
    assert figures.maximum == 4.0
    assert figures.mean == -0.5
    assert figures.frequency_rms == pytest.approx(math.sqrt(0.125))
    assert figures.frequency_maximum == 0.4
    assert (figures.packets, figures.steps) == (5, 2)


def test_seconds_asleep_count_for_nothing() -> None:
    """A clock that could not be read has no error."""
    figures = trace(1.0, math.nan, math.nan, -1.0).statistics()

    assert figures.seconds == 2
    assert figures.rms == 1.0
    assert figures.mean == 0.0


def test_no_figures_of_nothing() -> None:
    """Figures of a stretch in which nothing was recorded are refused: they would look perfect."""
    with pytest.raises(ValueError, match="no second between 5 and None"):
        trace(1.0, 2.0).statistics(first=5)


def test_below_a_bound_for_good() -> None:
    """An error is below a bound for good when it stays there for 1,001 s; a shorter quiet does not count."""
    made = trace(*[1.0] * 10, *[0.0] * 500, 0.5, *[0.0] * STEADY, 1.0, *[0.0] * 10)

    assert made.below(0.5) == 511
    assert made.below(0.6) == 10
    assert made.below(2.0) == 0


def test_never_below_a_bound() -> None:
    """Without 1,001 quiet seconds there is no such moment."""
    made = trace(*[0.0] * (STEADY - 1), 1.0, *[0.0] * (STEADY - 1))

    assert made.below(0.5) is None
    assert made.statistics().below_10ms is None


def test_a_quiet_end_counts_when_it_is_long_enough() -> None:
    """The last stretch of a run needs 1,001 s as well."""
    assert trace(1.0, *[0.0] * STEADY).below(0.5) == 1
    assert trace(*[0.0] * STEADY).below(0.5) == 0


def test_seconds_asleep_are_no_quiet_ones() -> None:
    """A clock is not good because nobody could read it."""
    made = trace(*[math.nan] * 5000, 1.0, *[0.0] * 1000, *[math.nan] * 5000, 0.0)

    assert made.below(0.5) == 5001
    assert made.below(0.5, last=11_001) is None


def test_recovery_is_counted_from_the_second_in_question() -> None:
    """How long a clock took after an event is asked from that event on."""
    made = trace(*[0.0] * 2000, *[1.0] * 7, *[0.0] * 2000)

    assert made.below(0.5) == 0
    assert made.below(0.5, first=2000) == 7
    assert made.below(0.5, first=2000, last=2500) is None


def test_statistics_give_the_three_bounds() -> None:
    """10 ms, 1 ms and 100 us are counted from the start of the trace, whatever the window of the other figures."""
    made = trace(1.0, 5e-3, 5e-3, 5e-4, *[5e-5] * STEADY)
    figures = made.statistics(first=10)

    assert (figures.below_10ms, figures.below_1ms, figures.below_100us) == (1, 3, 4)


def test_a_trace_can_grow_after_its_figures_were_drawn() -> None:
    """Figures may be asked for in the middle of a run."""
    made = trace(1.0, 1.0)
    made.statistics()
    made.below(0.5)
    made.extend([2.0], [0.0])

    assert len(made) == 3


def test_recovery_from_a_step() -> None:
    """The seconds from a step to the first of the quiet ones are counted, whole ones; 0 when it never showed."""
    quiet = [0.0] * STEADY
    made = trace(0.0, 0.5, 0.5, 0.5, *quiet)

    assert made.recovery(0.5) == 4
    assert made.recovery(0.0) == 4
    assert made.recovery(3.0) == 0
    assert trace(0.0, 0.5, *quiet[1:]).recovery(0.5) is None
