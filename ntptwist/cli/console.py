"""
``ntptwist-ctl console``: a terminal on the daemon's console socket.

The prompt and its line editing are the daemon's; here the terminal is only made raw, and octets go both
ways until one side ends.  Standard library alone.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from contextlib import suppress
from typing import Any

from ntptwist.cli.client import EX_OK, NoDaemonError, control_directory

SOCKET_NAME = "console.sock"
END = b"\r\x04"
"""What says that the input has ended: Ctrl-D, at the beginning of a line."""

_PART = 65_536


def register(subparsers: Any) -> None:
    """Add the command to a parser."""
    text = "a Python prompt inside the daemon, where [console] enabled allows it"
    subparsers.add_parser("console", help=text, description=text)


def run(options: Any) -> int:
    """Attach this terminal until one side ends; NoDaemonError when there is no console."""
    path = os.path.join(control_directory(options.config), SOCKET_NAME)  # noqa: PTH118 - pathlib takes too long to import
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            hint = "is [console] enabled in its configuration?"
            raise NoDaemonError(f"no console at {path}: {error.strerror or error}: {hint}") from error
        if not sys.stdin.isatty():
            _copy(connection)
            return EX_OK
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            _copy(connection)
        finally:
            with suppress(termios.error):  # the terminal itself may be gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    print()
    return EX_OK


def _copy(connection: socket.socket) -> None:
    """Copy octets both ways until the daemon hangs up or the terminal is gone."""
    terminal, screen = sys.stdin.fileno(), sys.stdout.fileno()
    watched: list[int | socket.socket] = [connection, terminal]
    while True:
        ready, _, _ = select.select(watched, [], [])
        try:
            if connection in ready:
                octets = connection.recv(_PART)
                if not octets:
                    return
                os.write(screen, octets)
            if terminal in ready:
                octets = os.read(terminal, _PART)
                if not octets:
                    watched.remove(terminal)
                connection.sendall(octets or END)
        except OSError:
            return
