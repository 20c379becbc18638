"""
``ntptwist-ctl``: ask a running daemon, change it, or check its configuration.

It starts in milliseconds, so it imports neither Twisted nor the daemon, and of its own commands only the family that is
asked for.  A family is a module with ``register(subparsers)``, which adds its commands, and ``run(options)``, which
does one of them and returns the exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import ntptwist
from ntptwist.cli.client import EX_OK, EX_UNAVAILABLE, EX_USAGE, NoDaemonError, RequestError

FAMILIES: dict[str, tuple[str, ...]] = {
    "ntptwist.cli.tables": ("status", "sources", "tracking", "stats"),
    "ntptwist.cli.decisions": ("why", "events"),
    "ntptwist.cli.watch": ("watch",),
    "ntptwist.cli.monitoring": ("waitsync", "check", "metrics"),
    "ntptwist.cli.offline": ("check-config", "drivers"),
    "ntptwist.cli.change": ("reload", "add", "remove", "online", "offline", "burst"),
    "ntptwist.cli.sync": ("sync",),
    "ntptwist.cli.console": ("console",),
    "ntptwist.cli.completion": ("completion",),
}
"""The commands, in the order of the help, by the module that does them."""

EX_REFUSED = 1
EX_INTERRUPTED = 130
"""As a shell says it: 128 and the number of SIGINT."""


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Describe the command line: the families of the commands among ``words``, or all when there are none."""
    top = argparse.ArgumentParser(prog="ntptwist-ctl", description="Look into a running ntptwist daemon.")
    top.add_argument("-c", "--config", metavar="FILE", help="the daemon's configuration, to find its socket")
    top.add_argument("--version", action="version", version=f"ntptwist {ntptwist.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    meant = [module for module, names in FAMILIES.items() if not set(names).isdisjoint(words)]
    for module in meant or FAMILIES:
        import_module(module).register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command; returns the exit status.

    Each command has its own; for all of them: 1 refused, 64 usage, 69 no daemon, 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parser(words).parse_args(words)
    except SystemExit as end:
        return EX_USAGE if end.code else EX_OK
    family = next(module for module, names in FAMILIES.items() if options.command in names)
    try:
        status: int = import_module(family).run(options)
        sys.stdout.flush()
    except (NoDaemonError, RequestError) as error:
        print(f"ntptwist-ctl: {error}", file=sys.stderr)
        return EX_UNAVAILABLE if isinstance(error, NoDaemonError) else EX_REFUSED
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:  # the reader, head(1) perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_OK
    return status


if __name__ == "__main__":
    sys.exit(main())
