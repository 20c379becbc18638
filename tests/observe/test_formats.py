"""Lines of statistics files: the columns and signs of ntpd and of chrony."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.algorithm.update import ControllerStatus
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.measurement import OneWayMeasurement, TwoWayMeasurement
from ntptwist.observe.formats import CHRONY_HEADERS, Sample, chrony_lines, ntpd_lines
from ntptwist.snapshot import SourceEstimate, TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

NOON = 1_795_348_800 * NANOSECONDS
"""2026-11-22 12:00:00 UTC, the day 61366."""

TWO_WAY = TwoWayMeasurement(
    t1=Timestamp(NOON - 20_000_000),
    t2=Timestamp(NOON + 500_000),
    t3=Timestamp(NOON + 500_000),
    t4=Timestamp(NOON),
    monotonic=Monotonic(7 * NANOSECONDS),
    leap=Leap.NONE,
    stratum=1,
    reference_id=ReferenceId(b"GPS\0"),
    root_delay=0.001,
    root_dispersion=0.002,
    precision=-20,
)
"""The local clock is 10.5 ms slow, at a delay of 20 ms."""

PULSE = OneWayMeasurement(1e-6, Timestamp(NOON), Monotonic(0), 1e-7)

SAMPLE = Sample(
    source=SourceId(3),
    name="192.0.2.17",
    measurement=TWO_WAY,
    estimate=SourceEstimate(
        selected=True,
        reason="used, best of 2",
        offset=0.0104,
        uncertainty=0.0001,
        delay=0.02,
        jitter=0.0003,
        frequency=0.25,
        stratum=1,
        measurements=9,
    ),
    status=ControllerStatus(
        synchronized=True,
        state="synchronized",
        used=(SourceId(3), SourceId(4)),
        offset=12.3e-6,
        error_bound=0.0094,
        frequency=-3.541,
        frequency_error=0.045,
    ),
    time=TimeSnapshot(leap=Leap.NONE, stratum=2, root_delay=0.021, dispersion=0.003, base=4e-10),
    poll=6,
)


def test_ntpd() -> None:
    """Peerstats has offset, delay, dispersion, jitter; loopstats offset, frequency, jitter, wander, time constant."""
    lines = list(ntpd_lines(SAMPLE))

    assert lines == [
        ("peerstats", "61366 43200.000 192.0.2.17 9614 0.010500000 0.020000000 0.000100000 0.000300000"),
        ("loopstats", "61366 43200.000 0.000012300 -3.541 0.000300000 0.045000 6"),
    ]


@pytest.mark.parametrize(
    ("source", "selected", "reason", "status"),
    [
        (3, True, "used", "9614"),
        (4, True, "used", "9414"),
        (5, False, "falseticker by 2 s", "9114"),
        (5, False, "", "9014"),
    ],
)
def test_the_status_word(source: int, selected: bool, reason: str, status: str) -> None:
    """The selection stands in the status word: followed, used, falseticker or not used."""
    estimate = replace(SAMPLE.estimate, selected=selected, reason=reason)
    (_, line), *_ = ntpd_lines(replace(SAMPLE, source=SourceId(source), estimate=estimate))

    assert line.split()[3] == status


def test_chrony() -> None:
    """Each of chrony's files has its own sign of the offset."""
    lines = dict(chrony_lines(SAMPLE))

    assert lines == {
        "measurements.log": "2026-11-22 12:00:00 192.0.2.17      N  1 111 111 1111   6  6 0.00  1.050e-02  2.000e-02"
        "  9.537e-07  1.000e-03  2.000e-03 47505300 4B K K",
        "statistics.log": "2026-11-22 12:00:00 192.0.2.17       3.000e-04 -1.040e-02  1.000e-04 -2.500e-07  4.500e-08"
        " 0.0e+00   9   0   0  0.00",
        "tracking.log": "2026-11-22 12:00:00 192.0.2.17       2      3.541      0.045 -1.230e-05 N  2  2.000e-05"
        "  0.000e+00  2.100e-02  3.020e-03  9.400e-03",
    }


@pytest.mark.parametrize("file", CHRONY_HEADERS)
def test_the_columns_stand_below_their_names(file: str) -> None:
    """A line of chrony's is as long as its header, and the header begins with a blank."""
    header, line = CHRONY_HEADERS[file], dict(chrony_lines(SAMPLE))[file]

    assert header.startswith(" ")
    assert len(line) == len(header)


def test_a_source_that_is_not_used() -> None:
    """A measurement that did not update the clock has no line in loopstats and tracking.log."""
    sample = replace(SAMPLE, estimate=SourceEstimate(reason="waiting"))

    assert [file for file, _ in ntpd_lines(sample)] == ["peerstats"]
    assert [file for file, _ in chrony_lines(sample)] == ["measurements.log", "statistics.log"]


def test_a_clock_that_is_not_synchronised() -> None:
    """While too few agree there is no update either."""
    sample = replace(SAMPLE, status=ControllerStatus(synchronized=False, state="waiting for 2 more sources"))

    assert "loopstats" not in dict(ntpd_lines(replace(sample, estimate=SourceEstimate())))
    assert "tracking.log" not in dict(chrony_lines(sample))


def test_a_pulse() -> None:
    """A one-way measurement has no delay, and no line among the exchanges with servers."""
    sample = replace(SAMPLE, name="/dev/pps0", measurement=PULSE)
    (_, line), *_ = ntpd_lines(sample)

    assert line.startswith("61366 43200.000 /dev/pps0 9614 0.000001000 0.000000000 ")
    assert [file for file, _ in chrony_lines(sample)] == ["statistics.log", "tracking.log"]


def test_interleaved_mode() -> None:
    """An exchange in interleaved mode is marked as chrony marks it."""
    sample = replace(SAMPLE, measurement=replace(TWO_WAY, interleaved=True, leap=Leap.INSERT))

    assert dict(chrony_lines(sample))["measurements.log"].endswith(" 47505300 4I K K")
    assert dict(chrony_lines(sample))["measurements.log"].split()[3] == "+"
