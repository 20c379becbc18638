"""The algorithm's values come back from their plain form, to the last bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.algorithm.config import PollLimits, SynchronizationPolicy
from ntptwist.algorithm.memory import ClockMemory, KnownOffset, NoiseMemory, PathMemory
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.measurement import OneWayMeasurement
from ntptwist.observe.plain import pack, unpack
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp

PATH = PathMemory(1e-5, 2e-12, 1e-17, 0.1, 1e-3, 1e-9, 0.0, NoiseMemory(1.0, 2.0, 3.0, 4.0))
GPS = ReferenceId.of_text("GPS")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PollLimits, PollLimits(4, 10)),
        (SynchronizationPolicy, SynchronizationPolicy(4, accumulated_step_panic_threshold=1.5)),
        (OneWayMeasurement, OneWayMeasurement(-0.25, Timestamp(5), Monotonic(7), 1e-6, Leap.INSERT, 1.0, 0.1, GPS)),
        (ReferenceId, GPS),
        (frozenset[ReferenceId], frozenset({GPS, ReferenceId()})),
        (
            ClockMemory,
            ClockMemory(
                ClockReading(Timestamp(1), Monotonic(2), 3),
                1e-6,
                2e-6,
                3e-12,
                4e-17,
                {GPS: PATH, ReferenceId(): PathMemory(*(0.5,) * 7, PATH.noise, KnownOffset(1.0, 2.0, 3.0))},
            ),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_values_come_back(kind: Callable[..., Any], value: object) -> None:
    """What was packed, written as JSON and read again is equal to what it was."""
    assert unpack(kind, json.loads(json.dumps(pack(value)))) == value


@given(st.floats(allow_nan=False), st.integers(-(1 << 63), 1 << 63))
def test_numbers_keep_every_bit(number: float, whole: int) -> None:
    """Every float and every time stamp is the same after JSON."""
    measurement = OneWayMeasurement(number, Timestamp(whole), Monotonic(0), 1.0)
    back = unpack(OneWayMeasurement, json.loads(json.dumps(pack(measurement))))

    assert (back.offset, math.copysign(1.0, back.offset)) == (number, math.copysign(1.0, number))
    assert back.local == whole


@pytest.mark.parametrize("data", [None, [], [1], [1, 2, 3], {"minimum": 1}])
def test_what_is_no_value(data: object) -> None:
    """Data that is not the plain form of a type is refused."""
    with pytest.raises(ValueError, match=r"not a |zip"):
        unpack(PollLimits, data)


def test_what_has_no_plain_form() -> None:
    """Only values can be packed, and only a type that says what it is can be unpacked."""
    with pytest.raises(TypeError):
        pack(object())
    with pytest.raises(ValueError, match="nothing tells"):
        unpack(int | str, 5)  # type: ignore[arg-type]  # that is the point
