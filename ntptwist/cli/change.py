"""
``reload``, ``add``, ``remove``, ``online``, ``offline``, ``burst``: what can be changed while the daemon runs.

The daemon answers with what it did, in sentences; this prints them.  What needs a restart and what it wants to be known
goes to standard error, with the problems.
"""

from __future__ import annotations

import sys
from typing import Any

from ntptwist.cli.client import EX_OK, EX_USAGE, ask, control_directory
from ntptwist.cli.terminal import write, write_json

SOCKET_NAME = "control.sock"
EX_REFUSED, EX_CONFIG = 1, 78
TIMEOUT = 60.0
"""Seconds: a reload reads the files and loads drivers."""

WHICH = "name, address or number of a source, as the list of sources shows it"
COMMANDS = {
    "reload": "read the configuration anew: show what is different, and do it as a whole or not at all",
    "add": "add a source until the next reload or restart",
    "remove": "remove sources until the next reload or restart",
    "online": "let sources work again; all without a name",
    "offline": "let sources send and take nothing, but keep them in the list; all without a name",
    "burst": "ask sources quickly a few times; all without a name",
}


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    for name, text in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text)
        if name == "add":
            command.add_argument(
                "words",
                nargs="+",
                metavar="KEY=VALUE",
                help="a key of [[source]] and its value; an address alone is that of mode=server; - reads TOML",
            )
        elif name != "reload":
            command.add_argument("sources", nargs="+" if name == "remove" else "*", metavar="SOURCE", help=WHICH)
        command.add_argument("--json", action="store_true", help="the daemon's answer for programs")


def run(options: Any) -> int:
    """Have it done; returns 0, 1 when the daemon refuses, or 78 when the configuration can't be used."""
    arguments: dict[str, Any] = {}
    if options.command == "add":
        if "-" in options.words and len(options.words) > 1:
            print("ntptwist-ctl: - stands alone", file=sys.stderr)
            return EX_USAGE
        arguments = {"source": sys.stdin.read()} if options.words == ["-"] else {"words": spelled_out(options.words)}
    elif options.command != "reload":
        arguments = {"sources": options.sources}
    directory = control_directory(options.config)
    answer = ask(directory, options.command, socket_name=SOCKET_NAME, timeout=TIMEOUT, **arguments)
    return show(answer, options)


def spelled_out(words: list[str]) -> list[str]:
    """Give ``key=value`` for each word: what has none is an address, and the mode is ``server`` unless given."""
    full = [word if "=" in word else f"address={word}" for word in words]
    if not any(word.startswith("mode=") for word in full):
        full.insert(0, "mode=server")
    return full


def show(answer: dict[str, Any], options: Any) -> int:
    """Print the daemon's answer; returns the exit status."""
    if options.json:
        write_json(answer)
    else:
        for line in answer["problems"]:
            print(line, file=sys.stderr)
        for line in (*answer["later"], *answer["warnings"]):
            print(f"note: {line}", file=sys.stderr)
        if answer["done"]:
            write(answer["changes"] or ["nothing is different"])
        else:
            print("nothing was changed", file=sys.stderr)
    if answer["done"]:
        return EX_OK
    return EX_CONFIG if options.command == "reload" else EX_REFUSED
