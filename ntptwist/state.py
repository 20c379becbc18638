"""
What is known of the clock and of the paths to its servers, kept in the state directory over a restart.

The file is read once, before the first source starts, and written every hour and at the stop; what it means is the
business of ``algorithm.memory``.  It is JSON, written aside and renamed into place, so it is whole or not there; what
is in it that can't be right makes it worthless as a whole, for then nobody knows who wrote it.

A virtual clock leaves no memory: its oscillator ends with the process.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service

from ntptwist.algorithm.config import FARTHEST_OFFSET, LONGEST_DELAY, MAXIMUM_SHAPE, MAXIMUM_WANDER, REMEMBERED_PATHS
from ntptwist.algorithm.memory import ClockMemory, KnownOffset, NoiseMemory, PathMemory
from ntptwist.identifiers import ReferenceId
from ntptwist.interfaces import IClockController
from ntptwist.kernel.files import read_file, replace_file
from ntptwist.log import Logger
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp

FILE: Final = "clock.json"
FORMAT: Final = 1
WRITE_INTERVAL: Final = 3600.0
"""Seconds; what is lost by a crash is worth no more than an hour."""

_LARGEST_FREQUENCY = 1.0
_LONGEST_WEIGHT = 1e9
_LATEST = 1 << 62


@dataclass(frozen=True, slots=True)
class StateFile:
    """The file in a state directory; others may read it, but who could write it could set the clock's frequency."""

    path: Path

    def read(self) -> ClockMemory | None:
        """Give what was kept, None when there is none; OSError or ValueError, with the reason, when it is no use."""
        try:
            content = read_file(self.path, forbidden=0o022)
        except FileNotFoundError:
            return None
        try:
            return _decoded(json.loads(content))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError("it is damaged") from error

    def write(self, memory: ClockMemory) -> None:
        """Keep what is known; OSError when that is not possible, and what was kept before stays."""
        replace_file(self.path, f"{json.dumps(_encoded(memory), indent=1)}\n".encode())


class ClockState(Service):
    """Restores the algorithm's memory when the daemon starts, and keeps it from then on."""

    log = Logger()

    def __init__(self, directory: str, controller: IClockController, reactor: Any) -> None:
        self.file = StateFile(Path(directory) / FILE)
        self._controller = controller
        self._reactor = reactor
        self._timer: Any = None
        self._restored = False
        self._failed = False

    def startService(self) -> None:
        """Restore what was kept, once: after a stop in the same process the algorithm still knows it all."""
        super().startService()
        if not self._restored:
            self._restored = True
            self._restore()
        self._timer = self._reactor.callLater(WRITE_INTERVAL, self._due)

    def stopService(self) -> None:
        """Keep what is known; what is stopped already has done so."""
        if self.running:
            self._timer.cancel()
            self._timer = None
            self._write()
        super().stopService()

    def _restore(self) -> None:
        try:
            memory = self.file.read()
        except (OSError, ValueError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else error
            self.log.warn("starting without what was known: {reason}: {path}", reason=reason, path=self.file.path)
            return
        if memory is not None:
            self._controller.restore(memory)
            self.log.info(
                "the oscillator needs {frequency:+.3f} ppm, and {count} paths to servers are known from before",
                frequency=memory.frequency * 1e6,
                count=len(memory.paths),
            )

    def _due(self) -> None:
        self._timer = self._reactor.callLater(WRITE_INTERVAL, self._due)
        self._write()

    def _write(self) -> None:
        memory = self._controller.memory()
        if memory is None:
            return
        try:
            self.file.write(memory)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                reason = error.strerror
                self.log.warn("can't keep what is known: {reason}: {path}", reason=reason, path=self.file.path)


def _encoded(memory: ClockMemory) -> dict[str, Any]:
    reading = memory.reading
    return {
        "format": FORMAT,
        "local": reading.local,
        "monotonic": reading.monotonic,
        "asleep": reading.asleep,
        "rate": memory.rate,
        "frequency": memory.frequency,
        "frequency-variance": memory.frequency_variance,
        "wander": memory.wander,
        "paths": {address.hex(): asdict(path) for address, path in memory.paths.items()},
    }


def _decoded(content: Any) -> ClockMemory:
    """Give a memory of what JSON gave; any of five errors when that is none."""
    if content["format"] != FORMAT:
        raise ValueError("another format")
    paths = content["paths"]
    if not isinstance(paths, dict) or len(paths) > REMEMBERED_PATHS:
        raise ValueError("not the paths that are ever kept")
    return ClockMemory(
        reading=ClockReading(
            Timestamp(_whole(content["local"])),
            Monotonic(_whole(content["monotonic"])),
            _whole(content["asleep"]),
        ),
        rate=_number(content["rate"], _LARGEST_FREQUENCY),
        frequency=_number(content["frequency"], _LARGEST_FREQUENCY),
        frequency_variance=_positive(content["frequency-variance"], _LARGEST_FREQUENCY),
        wander=_positive(content["wander"], MAXIMUM_WANDER),
        paths={ReferenceId(bytes.fromhex(address)): _path(path) for address, path in paths.items()},
    )


def _path(content: Any) -> PathMemory:
    total, weight, outward, homeward = content["noise"]
    offset = None
    if content["offset"] is not None:
        known, variance, covariance = content["offset"]
        most = FARTHEST_OFFSET * FARTHEST_OFFSET
        offset = KnownOffset(_number(known, FARTHEST_OFFSET), _positive(variance, most), _number(covariance, most))
    return PathMemory(
        frequency=_number(content["frequency"], _LARGEST_FREQUENCY),
        frequency_variance=_positive(content["frequency_variance"], _LARGEST_FREQUENCY),
        wander=_positive(content["wander"], MAXIMUM_WANDER),
        shape=_positive(content["shape"], MAXIMUM_SHAPE),
        base=_number(content["base"], LONGEST_DELAY),
        base_variance=_positive(content["base_variance"], LONGEST_DELAY * LONGEST_DELAY),
        asymmetry=_number(content["asymmetry"], LONGEST_DELAY),
        noise=NoiseMemory(
            _positive(total, _LONGEST_WEIGHT),
            _positive(weight, _LONGEST_WEIGHT),
            abs(_number(outward, _LONGEST_WEIGHT)),
            abs(_number(homeward, _LONGEST_WEIGHT)),
        ),
        offset=offset,
    )


def _whole(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) > _LATEST:
        raise ValueError("not a time")
    return given


def _number(given: Any, most: float) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not abs(given) <= most:
        raise ValueError("not a number, or out of range")
    return float(given)


def _positive(given: Any, most: float) -> float:
    number = _number(given, most)
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError("not positive")
    return number
