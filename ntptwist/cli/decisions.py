"""
``why`` and ``events``: the daemon's decisions, with their reasons.
"""

from __future__ import annotations

import sys
from typing import Any

from ntptwist.cli.client import EX_OK, ask, control_directory, follow
from ntptwist.cli.terminal import columns, paint_for, write, write_csv, write_json
from ntptwist.observe.screens import event_line
from ntptwist.observe.why import why_lines

EVENT_FIELDS = ("number", "time", "kind", "source", "name", "reason", "amount")


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    text = "why a source is used or not, or why the clock is where it is"
    why = subparsers.add_parser("why", help=text, description=text)
    why.add_argument("source", nargs="?", metavar="SOURCE", help="its name, address or id, or a beginning of these")
    why.add_argument("--json", action="store_true", help="machine-readable; seconds and ppm")
    text = "what was decided, and what became another, with the reasons"
    events = subparsers.add_parser("events", help=text, description=text)
    events.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now on")
    events.add_argument("--after", type=int, default=0, metavar="N", help="only those after number N")
    form = events.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="machine-readable, one object a line")
    form.add_argument("--csv", action="store_true", help="comma-separated, with a line of names")


def run(options: Any) -> int:
    """Answer one of them."""
    directory = control_directory(options.config)
    if options.command == "why":
        answer = ask(directory, "why", source=options.source)
        if options.json:
            write_json(answer)
        else:
            write(why_lines(answer, columns(sys.stdout), paint_for(sys.stdout)))
        return EX_OK
    answers = follow(directory, "events", after=options.after, follow=options.follow)
    _write(next(answers), options)
    if options.follow:
        for event in answers:
            _write([event], options, first=False)
    return EX_OK


def _write(events: list[dict[str, Any]], options: Any, *, first: bool = True) -> None:
    if options.json:
        for event in events:
            write_json(event, indent=None)
    elif options.csv:
        write_csv(events, EVENT_FIELDS, header=first)
    elif events:
        width, paint = columns(sys.stdout), paint_for(sys.stdout)
        write([event_line(event, width, paint) for event in events])
