"""
Statistics files: every measurement, and every update of the clock, in a format that other tools read.

A file is one day's (UTC): ``loopstats.20261122``.  Lines are kept in memory and written together, each minute and at
the stop, since a disk may be slow.  Nothing is ever removed; that is for tmpfiles.d or logrotate.

A disk that is full, or a directory that can't be written, is one error in the log; what could not be written is lost,
and the next minute is another attempt.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from twisted.application.service import Service
from twisted.python.components import proxyForInterface

from ntptwist.algorithm.update import ControllerStatus, ControlUpdate
from ntptwist.identifiers import SourceId
from ntptwist.interfaces import IClockController
from ntptwist.log import Logger
from ntptwist.measurement import Measurement
from ntptwist.observe.formats import CHRONY_HEADERS, Lines, Sample, chrony_lines, ntpd_lines
from ntptwist.snapshot import SourceEstimate, SystemSnapshot
from ntptwist.timestamp import NANOSECONDS

FLUSH_INTERVAL = 60.0
FLUSH_LINES = 200
"""Lines that wait at most: writing them takes a millisecond, and in everyday life they are many minutes' worth."""

Format = Literal["ntpd", "chrony"]

_NO_HEADERS: Mapping[str, str] = {}
_FORMATS: Mapping[Format, tuple[Lines, Mapping[str, str]]] = {
    "ntpd": (ntpd_lines, _NO_HEADERS),
    "chrony": (chrony_lines, CHRONY_HEADERS),
}


class Statistics(Service):
    """
    Writes the files of one format into a directory, which is made when its parent exists.

    ``names`` gives the address of each source, or what stands for it.  It is asked when a source is new.
    """

    log = Logger()

    def __init__(
        self, directory: str, style: Format, names: Callable[[], Mapping[SourceId, str]], reactor: Any
    ) -> None:
        self.directory = Path(directory)
        self._lines, self._headers = _FORMATS[style]
        self._names = names
        self._known: Mapping[SourceId, str] = {}
        self._reactor = reactor
        self._pending: dict[tuple[str, str], list[str]] = {}
        self._waiting = 0
        self._timer: Any = None
        self._failed = False

    def startService(self) -> None:
        """Begin to write each minute."""
        super().startService()
        self._timer = self._reactor.callLater(FLUSH_INTERVAL, self._due)

    def stopService(self) -> None:
        """Write what is left."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def measured(self, source: SourceId, measurement: Measurement, controller: Any, update: ControlUpdate) -> None:
        """Note a measurement, and what the controller thinks after it."""
        estimate: SourceEstimate = controller.estimate(source)
        status: ControllerStatus = controller.status()
        if source not in self._known:
            self._known = self._names()
        name = self._known.get(source, f"source-{source}")
        poll: int = controller.desired_poll(source)
        sample = Sample(source, name, measurement, estimate, status, update.time, poll)
        day = time.strftime("%Y%m%d", time.gmtime(sample.local // NANOSECONDS))
        for file, line in self._lines(sample):
            self._pending.setdefault((file, day), []).append(line)
            self._waiting += 1
        if self._waiting >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        pending, self._pending = self._pending, {}
        self._waiting = 0
        try:
            for (file, day), lines in pending.items():
                self._append(f"{file}.{day}", self._headers.get(file), lines)
        except OSError as error:
            if not self._failed:
                self._failed = True
                reason = error.strerror or str(error)
                self.log.error(
                    "{path}: statistics can't be written and are lost: {reason}", path=self.directory, reason=reason
                )
        else:
            if self._failed and pending:
                self._failed = False
                self.log.info("{path}: statistics are written again", path=self.directory)

    def _due(self) -> None:
        self._timer = self._reactor.callLater(FLUSH_INTERVAL, self._due)
        self.flush()

    def _append(self, name: str, header: str | None, lines: list[str]) -> None:
        """Add lines to a file, all or none."""
        self.directory.mkdir(mode=0o755, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self.directory / name, flags, 0o644)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, f"{name} is not a regular file")
            if status.st_size == 0:
                os.fchmod(descriptor, 0o644)  # whatever the umask: these are for everybody's tools
                if header is not None:
                    lines = [rule := "=" * len(header), header, rule, *lines]
            data = memoryview("".join(f"{line}\n" for line in lines).encode())
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, status.st_size)  # a half line would be read as a wrong one
                raise
        finally:
            os.close(descriptor)


class WatchedController(proxyForInterface(IClockController, "_controller")):  # type: ignore[misc]  # made at run time
    """A controller whose measurements are noted in statistics; neither it nor the system knows."""

    def __init__(self, controller: IClockController, statistics: Statistics) -> None:
        super().__init__(controller)
        self._statistics = statistics

    def measured(self, source: SourceId, measurement: Measurement) -> ControlUpdate:
        """Take a measurement."""
        update: ControlUpdate = self._controller.measured(source, measurement)
        self._statistics.measured(source, measurement, self._controller, update)
        return update


def names_of(snapshot: SystemSnapshot) -> dict[SourceId, str]:
    """Give what stands for each source in a column: the address without its port, or a path; no blanks."""
    names = {}
    for row in snapshot.sources:
        if row.id is not None:
            address = row.observation.address or row.observation.name
            host = address if address.startswith("/") else address.rpartition(":")[0].strip("[]") or address
            names[row.id] = "_".join(host.split())
    return names
