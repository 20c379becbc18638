"""The reports of gpsd's JSON protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ntptwist.errors import WireError
from ntptwist.timestamp import Timestamp
from ntptwist.wire.gpsd import Complaint, Devices, TimeReport, Version, parse_report

TIME = {
    "device": "/dev/ttyS0",
    "real_sec": 1_700_000_000,
    "real_nsec": 0,
    "clock_sec": 1_699_999_999,
    "clock_nsec": 999_990_000,
}


def line(kind: str, **content: Any) -> bytes:
    """Give a report as gpsd writes it."""
    return json.dumps({"class": kind, **content}).encode() + b"\r"


def test_serial_time() -> None:
    """A TOFF report says what time it was and what the clock showed."""
    report = parse_report(line("TOFF", **TIME))

    assert report == TimeReport("/dev/ttyS0", Timestamp(1_700_000_000 * 10**9), Timestamp(1_699_999_999_999_990_000))


def test_pulse_with_its_quantization_error() -> None:
    """A receiver that says that its pulse is 12,000 ps early is believed."""
    report = parse_report(line("PPS", **TIME, precision=-20, qErr=12_000))

    assert isinstance(report, TimeReport)
    assert report.is_pulse
    assert 1_700_000_000 * 10**9 - 12 == report.real


def test_who_speaks_and_of_what() -> None:
    """The greeting, the list of devices and a complaint are read."""
    paths = [{"class": "DEVICE", "path": "/dev/ttyS0"}, {"class": "DEVICE", "path": "tcp://gps:1"}]

    assert parse_report(line("VERSION", release="3.27", proto_major=3)) == Version("3.27")
    assert parse_report(line("DEVICES", devices=paths)) == Devices(("/dev/ttyS0", "tcp://gps:1"))
    assert parse_report(line("ERROR", message="Unrecognized request '?X'")) == Complaint("Unrecognized request '?X'")


def test_other_reports_say_nothing() -> None:
    """Positions and satellites are of no interest."""
    assert parse_report(line("TPV", lat=51.5, lon=0.0)) is None


def test_what_is_shown_to_people_is_printable() -> None:
    """A text from outside can't write lines of its own into a log, and is cut."""
    report = parse_report(line("ERROR", message="a\n\x1b[2J\ud800" + "b" * 1000))

    assert isinstance(report, Complaint)
    assert report.message.startswith("a??[2J?b")
    assert 256 == len(report.message)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"GET / HTTP/1.0", "not JSON"),
        (b"[" * 16_000, "not JSON"),
        (b"1" * 16_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "without a class"),
        (b'{"class": 7}', "without a class"),
        (line("TOFF"), "real_sec is no whole number"),
        (line("TOFF", **TIME | {"device": None}), "device is no text"),
        (line("TOFF", **TIME | {"real_sec": 1.5}), "real_sec is no whole number"),
        (line("TOFF", **TIME | {"real_sec": True}), "real_sec is no whole number"),
        (line("TOFF", **TIME | {"clock_sec": -1}), "clock_sec is no whole number"),
        (line("TOFF", **TIME | {"clock_sec": 1 << 70}), "clock_sec is no whole number"),
        (line("TOFF", **TIME | {"clock_nsec": 10**9}), "clock_nsec is no whole number"),
        (line("PPS", **TIME, qErr=1e99), "qErr is no whole number"),
        (line("PPS", **TIME, qErr=10**10), "qErr is no whole number"),
        (line("DEVICES"), "devices is no list"),
        (line("DEVICES", devices=["/dev/ttyS0"]), "devices is no list"),
        (line("DEVICES", devices=[{}]), "path is no text"),
        (line("VERSION"), "release is no text"),
    ],
)
def test_what_is_refused(octets: bytes, reason: str) -> None:
    """What is no report, or a report of no time, is refused with its reason."""
    with pytest.raises(WireError, match=reason):
        parse_report(octets)
