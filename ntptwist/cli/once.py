"""
The daemon's core for once: it observes until enough sources agree, shows how far the clock is off, and steps it.

``ntptwist-ctl sync --once`` becomes this where no daemon runs.  It serves nobody and leaves nothing behind; the step
itself is the only thing that it does to the clock.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ntptwist.cli.change import EX_CONFIG, EX_REFUSED
from ntptwist.cli.client import EX_OK
from ntptwist.cli.sync import agreed
from ntptwist.config.loader import load
from ntptwist.config.model import ClockSettings, Config, ObservabilitySettings
from ntptwist.errors import ClockError, ConfigError
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import explain
from ntptwist.log import set_log_level
from ntptwist.net.monotonic import schedule_on_monotonic_time
from ntptwist.registry import find_driver
from ntptwist.service import Daemon, make_clock, make_service
from ntptwist.snapshot import SystemSnapshot
from ntptwist.tap import DEFAULT_CONFIG
from ntptwist.timestamp import NANOSECONDS

EX_SOFTWARE = 70
LOOK_INTERVAL = 0.25
LONGEST = 60.0
"""Seconds until it is given up."""

ENOUGH = 4
"""Measurements of every source that is used, when it is known well enough what time it is."""

PATIENCE = 12.0
"""Seconds after which fewer must do."""


def observing(config: Config) -> Config:
    """Give a configuration of the same sources and policy that only observes, and opens and keeps nothing."""
    return replace(
        config,
        clock=ClockSettings("observe"),
        servers=(),
        key_servers=(),
        keyset=None,
        control_directory=None,
        state_directory=None,
        observability=ObservabilitySettings(log_level="error"),
        leap_seconds_file=None,
    )


def is_enough(snapshot: SystemSnapshot, seconds: float) -> bool:
    """Tell whether the time is known, ``seconds`` after the start."""
    used = [row.estimate.measurements for row in snapshot.sources if row.estimate.selected]
    return snapshot.synchronized and bool(used) and (min(used) >= ENOUGH or seconds > PATIENCE)


class Looking:
    """Runs a daemon until the time is known; ``found`` is the state then, or None when it took too long."""

    def __init__(self, daemon: Daemon, reactor: Any, done: Callable[[], None]) -> None:
        self.found: SystemSnapshot | None = None
        self._daemon = daemon
        self._reactor = reactor
        self._done = done
        self._started = reactor.seconds()

    def look(self) -> None:
        """Look now, and again in a moment while it is not known."""
        assert self._daemon.system is not None  # noqa: S101 - make_service has given it
        snapshot = self._daemon.system.snapshot()
        passed = self._reactor.seconds() - self._started
        if is_enough(snapshot, passed):
            self.found = snapshot
            self._done()
        elif passed > LONGEST:
            print(f"nobody has told the time in {LONGEST:.0f} s: {snapshot.state}", file=sys.stderr)
            self._done()
        else:
            self._reactor.callLater(LOOK_INTERVAL, self.look)


def correct(found: SystemSnapshot, clock: IClock, *, yes: bool) -> int:
    """Step a clock by what was found, when the operator agrees; returns the exit status."""
    if found.offset is None or found.error_bound is None or not agreed(found.offset, found.error_bound, yes=yes):
        return EX_REFUSED
    if clock.control != "system":
        print(f"not stepped: the configuration says control = {clock.control!r}", file=sys.stderr)
        return EX_REFUSED
    try:
        clock.step(round(found.offset * NANOSECONDS))
    except ClockError as error:
        print(explain(error), file=sys.stderr)
        return EX_SOFTWARE
    print("the clock was stepped")
    return EX_OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; returns 0, 1 when nothing was stepped, 70 when the clock refuses, 78 for a wrong configuration."""
    parser = argparse.ArgumentParser(prog="ntptwist-ctl sync --once")
    parser.add_argument("-c", "--config", default=DEFAULT_CONFIG)
    parser.add_argument("--yes", action="store_true")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, find_driver)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    if not config.sources:
        print("no source is configured: nobody can tell the time", file=sys.stderr)
        return EX_REFUSED

    from twisted.internet import reactor as real

    reactor: Any = real
    schedule_on_monotonic_time(reactor)
    set_log_level("error")
    daemon = make_service(observing(config), reactor)
    looking = Looking(daemon, reactor, reactor.stop)
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    daemon.privilegedStartService()
    daemon.startService()
    reactor.callLater(0, looking.look)
    print("no daemon runs: asking the sources of the configuration", file=sys.stderr)
    reactor.run()
    return EX_REFUSED if looking.found is None else correct(looking.found, make_clock(config.clock), yes=options.yes)


if __name__ == "__main__":
    sys.exit(main())
