"""
The embedded default: the real daemon against reference servers of its own, on a virtual clock.

Nothing is special about the daemon here: its configuration is written to a file, read by the loader and run by
``make_service``.  The servers are real ones on loopback, and one of them is wrong by 100 ms.  The virtual clock starts
0.3 s and 40 ppm off and is steered; the machine's own clock, which the servers hand out, is never touched and is
the truth to compare with.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import MultiService
from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

from ntptwist.config.loader import loads
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock, VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.observe.screens import amount, slow_or_fast, sources_lines
from ntptwist.observe.state import status_data
from ntptwist.registry import find_driver
from ntptwist.server.ntp import NTPServer
from ntptwist.service import Daemon, make_service
from ntptwist.snapshot import TimeSnapshot

START_OFFSET = 0.3
START_FREQUENCY = 40.0
FALSE_OFFSET = 0.1
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
MILESTONES = ((1e-3, "1 ms"), (1e-4, "100 µs"))
REDRAW = 1.0
PRINT_INTERVAL = 10.0
"""Seconds between two tables where the output is no terminal."""

CONFIGURATION = """\
# Written by the demo: the configuration that the daemon beside you is running on.
[clock]
control = "virtual"
virtual-offset = {offset}
virtual-frequency = {frequency}

[control]
directory = "{directory}"

[source-defaults]
poll-interval-limits = {{ min = 2, max = 6 }}
"""

SOURCE = """
[[source]]
mode = "server"
address = "{host}:{port}"
"""


@implementer(ILogObserver)
class Screen:
    """A table that stays at the bottom of the terminal while lines of log run away above it."""

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


class Demo(MultiService):
    """Four reference servers, the daemon, and a screen."""

    def __init__(self, reactor: Any, output: TextIO = sys.stdout) -> None:
        super().__init__()
        self._reactor = reactor
        self._timer: Any = None
        self._milestones = list(MILESTONES)
        self._directory = Path()
        self._printed = -PRINT_INTERVAL
        self._clock = VirtualClock(RealSystem(), START_OFFSET, START_FREQUENCY)
        self._daemon: Daemon | None = None
        self.log_observer = self._screen = Screen(output)

    @property
    def exit_status(self) -> int:
        """Give the daemon's."""
        return 0 if self._daemon is None else self._daemon.exit_status

    def startService(self) -> None:
        """Start the servers, then the daemon that follows them."""
        super().startService()
        truth: IClock = ObservingClock(RealSystem())
        servers = []
        for host in HOSTS:
            clock = VirtualClock(RealSystem(), FALSE_OFFSET) if host == HOSTS[-1] else truth
            server = NTPServer(host, 0, clock, _reference(clock), self._reactor)
            server.setServiceParent(self)
            servers.append(server)
        self._directory = Path(tempfile.mkdtemp(prefix="ntptwist-demo-"))
        text = CONFIGURATION.format(offset=START_OFFSET, frequency=START_FREQUENCY, directory=self._directory)
        text += "".join(SOURCE.format(host=server.host, port=server.port) for server in servers)
        path = self._directory / "ntptwist.toml"
        path.write_text(text, encoding="utf-8")
        self._screen.say(
            f"a clock that starts {amount(START_OFFSET)} and {START_FREQUENCY:.0f} ppm off is steered by four servers;"
            f" {HOSTS[-1]} is wrong by {amount(FALSE_OFFSET)}.  Your own clock is not touched.  Ctrl-C ends."
        )
        beside = Path(sys.argv[0]).resolve().parent / "ntptwist-ctl"
        tool = beside if beside.exists() else "ntptwist-ctl"
        self._screen.say(f"look into it from another terminal:  {tool} -c {path} status")
        self._daemon = make_service(loads(text, find_driver, str(path)), self._reactor, self._clock)
        self._daemon.setServiceParent(self)
        self._redraw()

    def stopService(self) -> Any:
        """Stop everything and leave nothing behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        def clean(result: Any) -> Any:
            shutil.rmtree(self._directory, ignore_errors=True)
            return result

        return super().stopService().addBoth(clean)

    def _redraw(self) -> None:
        self._timer = self._reactor.callLater(REDRAW, self._redraw)
        if self._daemon is None or self._daemon.system is None:
            return
        status = status_data(self._daemon.system.snapshot())
        error = self._clock.offset()
        self._celebrate(status["synchronized"], error)
        now = time.monotonic()
        if self._screen.live or now - self._printed >= PRINT_INTERVAL:
            self._printed = now
            verdict = (
                f"the clock is {slow_or_fast(error)} (it believes {slow_or_fast(status['offset'])}), "
                f"corrected by {status['frequency']:+.3f} ppm; {status['state']}"
            )
            self._screen.draw(["", *sources_lines(status, self._screen.width()), verdict])

    def _celebrate(self, synchronized: bool, error: float) -> None:  # noqa: FBT001 - it is what was measured
        while synchronized and self._milestones and abs(error) < self._milestones[0][0]:
            _, text = self._milestones.pop(0)
            self._screen.say(f"the clock is within {text} of the truth: {slow_or_fast(error)}")


def _reference(clock: IClock) -> Any:
    """Give what a stratum-1 server says of its time, whenever it is asked."""

    def time_now() -> TimeSnapshot:
        now = clock.read()
        return TimeSnapshot(
            leap=Leap.NONE,
            stratum=1,
            reference_id=ReferenceId.of_text("DEMO"),
            reference_time=now.local,
            monotonic=now.monotonic,
            dispersion=1e-6,
        )

    return time_now
