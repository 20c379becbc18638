"""Offset and delay come out of four timestamps as RFC 5905, section 8, has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.measurement import OneWayMeasurement, TwoWayMeasurement
from ntptwist.timestamp import Monotonic, Timestamp

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def exchange(t1: int, t2: int, t3: int, t4: int) -> TwoWayMeasurement:
    """Give the measurement of an exchange at these nanoseconds after the start."""
    return TwoWayMeasurement(
        t1=Timestamp(START + t1),
        t2=Timestamp(START + t2),
        t3=Timestamp(START + t3),
        t4=Timestamp(START + t4),
        monotonic=Monotonic(t4),
        leap=Leap.NONE,
        stratum=1,
        reference_id=ReferenceId.of_text("GPS"),
        root_delay=0.0,
        root_dispersion=0.0,
        precision=-20,
    )


@pytest.mark.parametrize(
    ("stamps", "offset", "delay"),
    [
        ((0, 0, 0, 0), 0.0, 0.0),
        ((0, SECOND, SECOND, 0), 1.0, 0.0),
        ((0, -SECOND, -SECOND, 0), -1.0, 0.0),
        ((0, SECOND // 2, SECOND // 2, SECOND), 0.0, 1.0),
        ((0, 6 * SECOND, 7 * SECOND, 3 * SECOND), 5.0, 2.0),
        ((0, 1, 1, 1), 0.5e-9, 1e-9),
        ((0, 0, SECOND, 0), 0.5, -1.0),
    ],
)
def test_offset_and_delay(stamps: tuple[int, int, int, int], offset: float, delay: float) -> None:
    """A positive offset says that the local clock is slow; a negative delay is told as it is."""
    measurement = exchange(*stamps)

    assert (measurement.offset, measurement.delay) == (offset, delay)


milliseconds = st.integers(0, 10**9)


@given(st.integers(-(10**15), 10**15), milliseconds, milliseconds, milliseconds)
def test_the_offset_is_off_by_half_the_asymmetry(ahead: int, there: int, processing: int, back: int) -> None:
    """The error of an offset is half the difference of the two paths, so never more than half the delay."""
    t2 = there + ahead
    measurement = exchange(0, t2, t2 + processing, there + processing + back)

    assert measurement.delay == (there + back) / SECOND
    assert measurement.offset == pytest.approx(ahead / SECOND + (there - back) / 2 / SECOND, abs=1e-9)
    assert abs(measurement.offset - ahead / SECOND) <= measurement.delay / 2 + 1e-9


def test_a_plain_exchange_is_basic() -> None:
    """A measurement is interleaved only when it is said to be."""
    assert not exchange(0, 0, 0, 0).interleaved


def test_a_one_way_measurement_knows_the_second_unless_told() -> None:
    """A sample of gpsd has no period and no leap second ahead; a pulse names its period."""
    sample = OneWayMeasurement(0.25, Timestamp(START), Monotonic(0), 1e-6)
    pulse = OneWayMeasurement(0.25, Timestamp(START), Monotonic(0), 1e-6, period=1.0)

    assert (sample.leap, sample.period, pulse.period) == (Leap.NONE, None, 1.0)
