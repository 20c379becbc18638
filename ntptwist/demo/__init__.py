"""
The embedded default: the real daemon against reference servers and local clocks of its own, on a virtual clock.

Nothing is special about the daemon here: its configuration is written to a file, read by the loader and run by
``make_service``.  The servers are real ones on loopback, and one of them is wrong by 100 ms.  The virtual clock starts
0.3 s and 40 ppm off and is steered; the machine's own clock, which everybody hands out, is never touched and is the
truth to compare with.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import MultiService

from ntptwist.config.loader import loads
from ntptwist.demo.feeds import DEVICE, GpsdFeed, demo_driver
from ntptwist.demo.screen import Screen
from ntptwist.demo.servers import AUTHENTICATED, FALSE_OFFSET, PLAIN, POOL_NAME, PoolName, ReferenceServers
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.observe.screens import sources_lines
from ntptwist.observe.state import status_data
from ntptwist.observe.words import amount, slow_or_fast
from ntptwist.service import Daemon, make_service

START_OFFSET = 0.3
START_FREQUENCY = 40.0
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

[state]
directory = "{directory}"

[source-defaults]
poll-interval-limits = {{ min = 2, max = 6 }}
{plain}
[[source]]
mode = "nts"
address = "{authenticated}:{exchange_port}"
certificate-authority = "{authority}"

[[source]]
mode = "pool"
address = "{pool}:{pool_port}"
count = 4

[[source]]
mode = "sock"
path = "{sock}"
precision = 1e-3

[[source]]
mode = "pps"
path = "{device}"
precision = 1e-6
"""

PLAIN_SOURCE = """
[[source]]
mode = "server"
address = "{}:{}"
"""


class Demo(MultiService):
    """The servers, the daemon, the feeder, and a screen."""

    def __init__(self, reactor: Any, output: TextIO = sys.stdout) -> None:
        super().__init__()
        self._reactor = reactor
        self._timer: Any = None
        self._milestones = list(MILESTONES)
        self._directory = Path()
        self._printed = -PRINT_INTERVAL
        self._clock = VirtualClock(RealSystem(), START_OFFSET, START_FREQUENCY)
        self._daemon: Daemon | None = None
        self._names: Any = None
        self.log_observer = self._screen = Screen(output)

    @property
    def exit_status(self) -> int:
        """Give the daemon's."""
        return 0 if self._daemon is None else self._daemon.exit_status

    def startService(self) -> None:
        """Start the servers, then the daemon that follows them."""
        super().startService()
        self._directory = Path(tempfile.mkdtemp(prefix="ntptwist-demo-"))
        self._names = self._reactor.installNameResolver(PoolName(self._reactor.nameResolver))
        servers = ReferenceServers(self._reactor, self._directory)
        servers.setServiceParent(self)
        path = self._directory / "ntptwist.toml"
        text = self._configuration(servers)
        path.write_text(text, encoding="utf-8")
        self._welcome(path)
        config = loads(text, demo_driver, str(path))
        self._daemon = make_service(config, self._reactor, self._clock, find_driver=demo_driver)
        self._daemon.setServiceParent(self)
        GpsdFeed(self._directory / "gps.sock", self._reactor).setServiceParent(self)
        self._redraw()

    def stopService(self) -> Any:
        """Stop everything and leave nothing behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        def clean(result: Any) -> Any:
            shutil.rmtree(self._directory, ignore_errors=True)
            if self._names is not None:
                self._reactor.installNameResolver(self._names)
            return result

        return super().stopService().addBoth(clean)

    def _configuration(self, servers: ReferenceServers) -> str:
        return CONFIGURATION.format(
            offset=START_OFFSET,
            frequency=START_FREQUENCY,
            directory=self._directory,
            plain="".join(PLAIN_SOURCE.format(host, port) for host, port in servers.plain),
            authenticated=AUTHENTICATED,
            exchange_port=servers.exchange_port,
            authority=servers.authority,
            pool=POOL_NAME,
            pool_port=servers.pool_port,
            sock=self._directory / "gps.sock",
            device=DEVICE,
        )

    def _welcome(self, path: Path) -> None:
        self._screen.say(
            f"a clock that starts {amount(START_OFFSET)} and {START_FREQUENCY:.0f} ppm off is steered; of its servers"
            f" {PLAIN[-1]} is wrong by {amount(FALSE_OFFSET)}.  Your own clock is not touched.  Ctrl-C ends."
        )
        beside = Path(sys.argv[0]).resolve().parent / "ntptwist-ctl"
        tool = beside if beside.exists() else "ntptwist-ctl"
        self._screen.say(f"look into it from another terminal:  {tool} -c {path} status")

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
