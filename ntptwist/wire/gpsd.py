"""
The reports of gpsd's JSON protocol that tell the time: TOFF, of the serial line, and PPS, of the pulse.

Both say what the receiver's time was (``real``) when this machine's CLOCK_REALTIME was ``clock``.  Every other report
is read only as far as it tells who is speaking, which devices there are, and what was wrong with a request.  The peer
may be anybody who listens on that port: whatever it sends parses or raises WireError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from ntptwist.errors import WireError
from ntptwist.timestamp import NANOSECONDS, Timestamp

PORT: Final = 2947
LONGEST_LINE: Final = 16_384
"""Octets; gpsd's own buffer for a report has 10,240."""
WATCH: Final = b'?WATCH={"enable":true,"json":true,"pps":true}'

_LATEST = 1 << 34
_LONGEST_TEXT = 256
_LARGEST_ERROR = 10**9
"""Picoseconds; no receiver's pulse is more than a millisecond off its own time."""


@dataclass(frozen=True, slots=True)
class TimeReport:
    """
    A TOFF or, if ``is_pulse``, a PPS report of one device.

    ``real`` is the receiver's time when this machine's CLOCK_REALTIME was ``clock``.  A receiver can make its pulse
    only at a tick of its own oscillator; it tells the error of that (qErr), and ``real`` is corrected for it.
    """

    device: str
    real: Timestamp
    clock: Timestamp
    is_pulse: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """The greeting."""

    release: str


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices that gpsd reads, by path."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What gpsd says is wrong."""

    message: str


Report = TimeReport | Version | Devices | Complaint


def parse_report(line: bytes) -> Report | None:
    """Read a line without its end; None for a report that says nothing of the time.  WireError when it is no report."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError("not JSON") from error
    if not isinstance(report, dict):
        raise WireError("not a JSON object")
    match report.get("class"):
        case "TOFF" | "PPS" as kind:
            return _time_report(report, is_pulse=kind == "PPS")
        case "VERSION":
            return Version(_text(report, "release"))
        case "DEVICES":
            return Devices(_paths(report.get("devices")))
        case "ERROR":
            return Complaint(_text(report, "message"))
        case str():
            return None
        case _:
            raise WireError("a report without a class")


def _time_report(report: dict[str, Any], *, is_pulse: bool) -> TimeReport:
    # The pulse came at (real - qErr): so says the receiver, in picoseconds.
    error = _integer(report, "qErr", -_LARGEST_ERROR, _LARGEST_ERROR) if is_pulse and "qErr" in report else 0
    real, clock = _moment(report, "real"), _moment(report, "clock")
    return TimeReport(_text(report, "device"), Timestamp(real - round(error / 1000)), clock, is_pulse)


def _moment(report: dict[str, Any], name: str) -> Timestamp:
    seconds = _integer(report, f"{name}_sec", 0, _LATEST)
    return Timestamp(seconds * NANOSECONDS + _integer(report, f"{name}_nsec", 0, NANOSECONDS - 1))


def _integer(report: dict[str, Any], key: str, least: int, most: int) -> int:
    value = report.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise WireError(f"{key} is no whole number from {least} to {most}")
    return value


def _text(report: dict[str, Any], key: str) -> str:
    value = report.get(key)
    if not isinstance(value, str):
        raise WireError(f"{key} is no text")
    return "".join(letter if letter.isprintable() else "?" for letter in value[:_LONGEST_TEXT])


def _paths(devices: object) -> tuple[str, ...]:
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        raise WireError("devices is no list of devices")
    return tuple(_text(device, "path") for device in devices)
