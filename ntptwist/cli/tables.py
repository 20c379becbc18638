"""
``status``, ``sources``, ``tracking`` and ``stats``: what the daemon thinks, as tables for people and data for programs.
"""

from __future__ import annotations

import sys
from typing import Any

from ntptwist.cli.client import EX_OK, ask, control_directory
from ntptwist.cli.terminal import columns, paint_for, write, write_csv, write_json
from ntptwist.observe import screens

COMMANDS = {
    "status": "is the clock right, and how sure is that",
    "sources": "every source, and why it is used or not",
    "tracking": "the state of the clock, with chronyc's names",
    "stats": "what is known of each source: samples, jitter, frequency, and what was dropped",
}

SOURCE_FIELDS = (
    "id", "name", "address", "mode", "selected", "standing", "stratum", "poll", "reach", "last_measurement", "offset",
    "uncertainty", "distance", "delay", "jitter", "root_delay", "root_dispersion", "leap", "reference_id",
    "nts_cookies", "reason",
)  # fmt: skip

STATS_FIELDS = (
    "id", "name", "address", "measurements", "span", "jitter", "offset", "uncertainty", "frequency", "skew", "sent",
    "received", "dropped",
)  # fmt: skip

TRACKING_FIELDS = (
    "now", "synchronized", "since", "state", "control", "reference_id", "stratum", "leap", "reference_time", "offset",
    "uncertainty", "error_bound", "frequency", "frequency_error", "wander", "root_delay", "root_dispersion", "steps",
    "accumulated_steps",
)  # fmt: skip


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    for name, text in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text)
        form = command.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="machine-readable; seconds and ppm")
        form.add_argument("--csv", action="store_true", help="comma-separated, with a line of names; seconds and ppm")
        if name == "sources":
            command.add_argument("-v", "--verbose", action="store_true", help="explain the columns")


def run(options: Any) -> int:
    """Print one table."""
    status = ask(control_directory(options.config), "status")
    if options.json:
        write_json(_data(options.command, status))
    elif options.csv:
        _write_csv(options.command, status)
    else:
        write(_lines(options, status))
    return EX_OK


def _lines(options: Any, status: dict[str, Any]) -> list[str]:
    width, paint = columns(sys.stdout), paint_for(sys.stdout)
    match options.command:
        case "sources":
            return screens.sources_screen(status, width, paint, legend=options.verbose)
        case "tracking":
            return screens.tracking_lines(status)
        case "stats":
            return screens.stats_lines(status, width)
    return screens.status_lines(status, paint)


def _data(command: str, status: dict[str, Any]) -> Any:
    """Give what a command is about."""
    match command:
        case "sources":
            return status["sources"]
        case "tracking":
            return {name: status[name] for name in TRACKING_FIELDS}
        case "stats":
            return [{name: row[name] for name in (*STATS_FIELDS, "drops")} for row in status["sources"]]
    return status


def _write_csv(command: str, status: dict[str, Any]) -> None:
    if command in ("sources", "stats"):
        write_csv(status["sources"], SOURCE_FIELDS if command == "sources" else STATS_FIELDS)
    else:
        write_csv([status], TRACKING_FIELDS)
