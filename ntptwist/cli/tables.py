"""
``status`` and ``sources``: what the daemon thinks, as tables for people and as data for programs.
"""

from __future__ import annotations

import sys
from typing import Any

from ntptwist.cli.client import EX_OK, ask, control_directory
from ntptwist.cli.terminal import columns, write, write_json
from ntptwist.observe import screens

COMMANDS = {
    "status": "is the clock right, and how sure is that",
    "sources": "every source, and why it is used or not",
}


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    for name, text in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text)
        command.add_argument("--json", action="store_true", help="machine-readable; seconds and ppm")


def run(options: Any) -> int:
    """Print one table."""
    status = ask(control_directory(options.config), "status")
    if options.json:
        write_json(status if options.command == "status" else status["sources"])
    elif options.command == "status":
        write(screens.status_lines(status))
    else:
        write(screens.sources_lines(status, columns(sys.stdout)))
    return EX_OK
