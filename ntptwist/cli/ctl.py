"""
``ntptwist-ctl``: ask a running daemon, or check its configuration.

It starts in milliseconds, so it imports neither Twisted nor the daemon; ``check-config`` hands over to the daemon's
own command, which reads the file with the very code that will run it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence

import ntptwist
from ntptwist.cli.client import NoDaemonError, RequestError, ask, control_directory
from ntptwist.observe import screens

EX_OK, EX_USAGE, EX_UNAVAILABLE = 0, 64, 69


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="ntptwist-ctl", description="Look into a running ntptwist daemon.")
    top.add_argument("-c", "--config", metavar="FILE", help="the daemon's configuration, to find its socket")
    top.add_argument("--version", action="version", version=f"ntptwist {ntptwist.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("status", "is the clock right, and how sure is that"),
        ("sources", "every source, and why it is used or not"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--json", action="store_true", help="machine-readable; seconds and ppm")
    text = "read the configuration and list everything that is wrong with it"
    commands.add_parser("check-config", help=text, description=text)
    return top


def write(lines: Sequence[str]) -> None:
    """Print, with plain letters where the terminal knows no others."""
    text = "\n".join(lines)
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        text = text.replace("µ", "u")
    print(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 64 usage, 69 no daemon, 78 configuration."""
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:
        return EX_USAGE if end.code else EX_OK
    if options.command == "check-config":
        given = ["-c", options.config] if options.config else []
        os.execv(sys.executable, [sys.executable, "-m", "ntptwist.cli.daemon", "--check-config", *given])
    try:
        status = ask(control_directory(options.config), "status")
    except (NoDaemonError, RequestError) as error:
        print(f"ntptwist-ctl: {error}", file=sys.stderr)
        return EX_UNAVAILABLE
    if options.json:
        write([json.dumps(status if options.command == "status" else status["sources"], indent=2)])
    elif options.command == "status":
        write(screens.status_lines(status))
    else:
        columns = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 1000
        write(screens.sources_lines(status, columns))
    return EX_OK


if __name__ == "__main__":
    sys.exit(main())
