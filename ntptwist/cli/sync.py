"""
``sync --once``: how far the clock is off, and a step by just that when the operator agrees.

A daemon that runs is asked, since it would undo a step that is not its own.  Where none runs the daemon's core is run
here until enough sources agree (``ntptwist.cli.once``).
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from ntptwist.cli.change import EX_REFUSED, SOCKET_NAME, TIMEOUT, show
from ntptwist.cli.client import EX_USAGE, NoDaemonError, ask, control_directory
from ntptwist.cli.terminal import write
from ntptwist.observe.screens import amount, slow_or_fast


def register(subparsers: Any) -> None:
    """Add the command to a parser."""
    text = "show how far the clock is off and, when you agree, step it by that at once"
    command = subparsers.add_parser("sync", help=text, description=text)
    command.add_argument("--once", action="store_true", help="required: the daemon keeps the clock right anyhow")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--json", action="store_true", help="the daemon's answer for programs")


def run(options: Any) -> int:
    """Do it; returns 0, or 1 when nothing was stepped."""
    if not options.once:
        print("ntptwist-ctl: say sync --once: a running daemon keeps the clock right without it", file=sys.stderr)
        return EX_USAGE
    directory = control_directory(options.config)
    try:
        status = ask(directory, "status")
    except NoDaemonError:
        return _run_core(options)
    if status["state"] != "synchronized":
        print(f"the clock is not stepped: {status['state']}", file=sys.stderr)
        return EX_REFUSED
    if not agreed(status["offset"], status["error_bound"], yes=options.yes):
        return EX_REFUSED
    return show(ask(directory, "step", socket_name=SOCKET_NAME, timeout=TIMEOUT), options)


def agreed(offset: float, error_bound: float, *, yes: bool, answers: TextIO | None = None) -> bool:
    """Show how far the clock is off, and tell whether the operator, who types the ``answers``, wants it stepped."""
    answers = answers or sys.stdin
    write([f"the clock is {slow_or_fast(offset)}, certain to within {amount(error_bound)}"])
    sys.stdout.flush()
    if yes:
        return True
    if not answers.isatty():
        print("not stepped: there is no terminal to ask on, and no --yes", file=sys.stderr)
        return False
    print("Step it by that now? [y/N] ", end="", flush=True)
    if answers.readline().strip().lower() in ("y", "yes"):
        return True
    print("not stepped", file=sys.stderr)
    return False


def _run_core(options: Any) -> int:
    """Become a process that runs the daemon's core once; this one does not come back."""
    given = ["-c", options.config] if options.config else []
    given += ["--yes"] if options.yes else []
    os.execv(sys.executable, [sys.executable, "-m", "ntptwist.cli.once", *given])
