"""Whatever is written to us by those who tell the time parses, or is refused in our own words."""

from __future__ import annotations

import json
import math
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap
from ntptwist.timestamp import Timestamp
from ntptwist.wire.gpsd import parse_report
from ntptwist.wire.sock import SockSample

SAMPLES = st.builds(
    SockSample,
    st.integers(0, (1 << 34) * 10**6 - 1).map(lambda microseconds: Timestamp(microseconds * 1000)),
    st.floats(-(2.0**32), 2.0**32),
    st.sampled_from(Leap),
)
KEYS = st.sampled_from(["class", "device", "real_sec", "real_nsec", "clock_sec", "clock_nsec", "qErr", "path"])
WORDS = st.sampled_from(["TOFF", "PPS", "VERSION", "DEVICES", "ERROR"]) | st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=12,
)


@given(SAMPLES)
def test_a_sample_survives_its_octets(sample: SockSample) -> None:
    """Any sample that can be written is read as it was."""
    assert sample == SockSample.parse(sample.serialize())


@given(st.binary(max_size=64) | st.binary(min_size=40, max_size=40) | st.binary(min_size=32, max_size=32))
def test_any_octets(octets: bytes) -> None:
    """Any datagram gives a sample with a finite offset, or the one error that is caught."""
    try:
        sample = SockSample.parse(octets)
    except WireError:
        return

    assert math.isfinite(sample.offset)


@given(SAMPLES, st.integers(0, 319))
def test_any_flipped_bit(sample: SockSample, bit: int) -> None:
    """A sample with one wrong bit is another sample, or none; never an accident."""
    octets = bytearray(sample.serialize())
    octets[bit // 8] ^= 1 << bit % 8
    try:
        read = SockSample.parse(bytes(octets))
    except WireError:
        return

    assert math.isfinite(read.offset)


@given(st.binary(max_size=200))
def test_any_line(line: bytes) -> None:
    """Any line from a gpsd gives a report, nothing, or the one error that is caught."""
    with suppress(WireError):
        parse_report(line)


@given(JSON)
def test_any_report(content: object) -> None:
    """Any JSON at all gives a report, nothing, or the one error that is caught."""
    with suppress(WireError):
        parse_report(json.dumps(content).encode())
