"""
``check-config`` and ``drivers``: what is found out without a daemon, but with the daemon's own code.

Both hand over to another process, since that code needs Twisted and takes a few hundred milliseconds to start.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    text = "read the configuration and list everything that is wrong with it"
    subparsers.add_parser("check-config", help=text, description=text)
    text = "the kinds of source that a configuration can name"
    command = subparsers.add_parser("drivers", help=text, description=text)
    command.add_argument("--json", action="store_true", help="machine-readable")


def run(options: Any) -> int:
    """Become the command; this process does not come back."""
    if options.command == "drivers":
        words = ["ntptwist.cli.drivers", *(["--json"] if options.json else [])]
    else:
        words = ["ntptwist.cli.daemon", "--check-config", *(["-c", options.config] if options.config else [])]
    os.execv(sys.executable, [sys.executable, "-m", *words])
