"""
What the demo shows: a table that stays at the bottom of the terminal while lines of log run away above it.
"""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer


@implementer(ILogObserver)
class Screen:
    """Writes to a terminal, or plainly to a file; also a log observer."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.live = output.isatty()
        self._drawn = 0
        self._start = time.monotonic()

    def __call__(self, event: LogEvent) -> None:
        """Show an event of the log; what Twisted says of its sockets is left out."""
        failure = event.get("log_failure")
        if failure is None and not str(event.get("log_namespace")).startswith("ntptwist"):
            return
        text = formatEvent(event)
        self.say(text if failure is None else f"{text}: {failure.getErrorMessage()}")

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._erase()
        print(f"{time.monotonic() - self._start:7.1f} s  {line}", file=self._output, flush=True)

    def draw(self, lines: list[str]) -> None:
        """Put the table in place of the last one."""
        self._erase()
        print("\n".join(lines), file=self._output, flush=True)
        self._drawn = len(lines) if self.live else 0

    def width(self) -> int:
        """Give the columns that there are."""
        return shutil.get_terminal_size((140, 24)).columns if self.live else 140

    def _erase(self) -> None:
        if self._drawn:
            self._output.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0
