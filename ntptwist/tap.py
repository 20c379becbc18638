"""
What twistd needs: the options, and the service that they describe.

The console script and the tac file use the same two, so every way of starting gives the same service tree.
"""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

import ntptwist
from ntptwist.errors import NTPTwistError
from ntptwist.log import LEVELS, set_log_level

if TYPE_CHECKING:
    from ntptwist.config.model import Config
    from ntptwist.service import Daemon

DEFAULT_CONFIG = "/etc/ntptwist/ntptwist.toml"
EX_CONFIG = 78


class Options(TwistedOptions):
    """The command line of the daemon."""

    synopsis = "[options]"
    longdesc = "Keep this machine's clock right.  Try --demo first: it needs no root, no configuration and no network."
    optParameters = [
        ["config", "c", None, f"the configuration; default {DEFAULT_CONFIG}"],
        ["log-level", "l", None, f"one of {', '.join(LEVELS)}; overrides the configuration"],
    ]
    optFlags = [
        ["demo", None, "run against reference servers of its own, on a virtual clock"],
        ["no-clock-control", None, "measure, but never touch the clock"],
        ["check-config", None, "list everything that is wrong with the configuration, and end"],
    ]

    def opt_version(self) -> None:
        """Show the version and end."""
        print(f"ntptwist {ntptwist.__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Refuse what can't be meant."""
        if self["log-level"] is not None and self["log-level"] not in LEVELS:
            raise UsageError(f"--log-level: {self['log-level']!r} is none of {', '.join(LEVELS)}")
        if self["demo"] and self["config"] is not None:
            raise UsageError("--demo brings its own configuration: leave --config out")


def load_config(options: Options) -> Config:
    """Read the configuration, as far as the command line lets it have its way; ConfigError tells every problem."""
    from ntptwist.config.loader import load
    from ntptwist.registry import find_driver

    config = load(options["config"] or DEFAULT_CONFIG, find_driver)
    if options["no-clock-control"]:
        config = config.without_clock_control()
    if options["log-level"]:
        config = replace(config, observability=replace(config.observability, log_level=options["log-level"]))
    return config


def read_config(options: Options) -> Config:
    """Read the configuration; one line for each problem and exit 78 when it can't be used."""
    try:
        return load_config(options)
    except NTPTwistError as error:
        print(error, file=sys.stderr)
        if options["config"] is None and not os.path.exists(DEFAULT_CONFIG):  # noqa: PTH110 - a string is all there is
            print("give a file with --config, or try --demo", file=sys.stderr)
        raise SystemExit(EX_CONFIG) from error


def check_config(options: Options) -> int:
    """List problems and warnings; returns the exit status."""
    config = read_config(options)
    for warning in config.warnings:
        print(f"warning: {warning}")
    servers = f"{len(config.servers)} servers, " if config.servers else ""
    clock = f"the clock is controlled as {config.clock.control!r}"
    print(f"{config.path}: good, {len(config.sources)} sources, {servers}{clock}")
    return 0


def build(options: Options, reactor: Any) -> Any:
    """Build the service that the options ask for; nothing is opened yet."""
    from ntptwist.net.monotonic import schedule_on_monotonic_time

    schedule_on_monotonic_time(reactor)
    set_log_level(options["log-level"] or "info")
    if options["demo"]:
        from ntptwist.demo import Demo

        return Demo(reactor)
    from ntptwist.net.hangup import HangUp
    from ntptwist.service import make_service

    config = read_config(options)
    set_log_level(config.observability.log_level)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    service = make_service(config, reactor, read=partial(load_config, options), environment=os.environ)
    HangUp(service.reload, reactor).setServiceParent(service)
    return service


def makeService(options: Options) -> Any:
    """Build the service for twistd."""
    from twisted.internet import reactor

    if options["check-config"]:
        raise SystemExit(check_config(options))
    service = build(options, reactor)
    atexit.register(_leave, service)
    return service


def _leave(service: Daemon) -> None:
    """Give the daemon's exit status, which twistd has no word for."""
    if service.exit_status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(service.exit_status)
