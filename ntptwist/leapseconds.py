"""
The list of leap seconds, read again while the daemon runs.

A new list comes every half year with an update of the system, and a daemon runs for years: with the list of its start
alone it would be without one in the end.  The file is looked at once a day, and read when it is another one than
before.  One that can't be used changes nothing: the list that was known stays until it expires.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service

from ntptwist.algorithm.leap import LeapTable
from ntptwist.config.loader import read_leap_table
from ntptwist.interfaces import IClockController, ISystem
from ntptwist.log import Logger
from ntptwist.timestamp import NANOSECONDS

LOOK_INTERVAL: Final = 86_400.0
FIRST_LOOK: Final = 3600.0
"""Seconds; the clock is right by then, so that a list can be told to have expired."""


class LeapSecondsFile(Service):
    """Keeps the algorithm's list of leap seconds up to date, and says once when it has expired."""

    log = Logger()

    def __init__(self, path: str, controller: IClockController, system: ISystem, reactor: Any) -> None:
        self._path = Path(path)
        self._controller = controller
        self._system = system
        self._reactor = reactor
        self._timer: Any = None
        self._version: tuple[int, ...] | None = None
        self._expired: LeapTable | None = None

    def startService(self) -> None:
        """Look at the file in an hour: the configuration has read it just now."""
        super().startService()
        self._timer = self._reactor.callLater(FIRST_LOOK, self._look)

    def stopService(self) -> None:
        """Look no more."""
        if self.running:
            self._timer.cancel()
            self._timer = None
        super().stopService()

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look)
        self._read()
        table: LeapTable | None = self._controller.leap_table
        if table is None or table is self._expired or not self._system.time().synchronized:
            return
        if table.expires * NANOSECONDS <= self._system.clock.read().local:
            self._expired = table
            self.log.warn("the list of leap seconds has expired and says nothing any more: {path}", path=self._path)

    def _read(self) -> None:
        """Read the file if it is another one than before; a reason not to use it is told once for each."""
        version: tuple[int, ...] = ()
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_dev, status.st_ino)
            if version == self._version:
                return
            table = read_leap_table(self._path)
        except (OSError, ValueError) as error:
            if version != self._version:
                reason = (error.strerror or error) if isinstance(error, OSError) else error
                self.log.warn(
                    "the list of leap seconds is not read again: {reason}: {path}", reason=reason, path=self._path
                )
        else:
            if table != self._controller.leap_table:
                self._controller.leap_table = table
                self.log.info("a new list of leap seconds: {path}", path=self._path)
        self._version = version
