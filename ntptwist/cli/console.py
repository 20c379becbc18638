"""
``ntptwist-ctl console``: a terminal on the daemon's console socket.

The prompt, its line editing and its colours are the daemon's; here the terminal is only made raw, and octets go both
ways until one side ends.  Standard library alone.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

from ntptwist.cli.client import NoDaemonError

SOCKET_NAME = "console.sock"
_PART = 65_536


def attach(directory: str) -> int:
    """Attach this terminal; NoDaemonError when there is no console.  Returns the exit status."""
    path = str(Path(directory) / SOCKET_NAME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            hint = "is [console] enabled in its configuration?"
            raise NoDaemonError(f"no console at {path}: {error.strerror or error}: {hint}") from error
        if not sys.stdin.isatty():
            _copy(connection)
            return 0
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            _copy(connection)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    print()
    return 0


def _copy(connection: socket.socket) -> None:
    """Copy octets both ways until the daemon hangs up; the end of the input is told as Ctrl-D."""
    terminal, screen = sys.stdin.fileno(), sys.stdout.fileno()
    watched: list[int | socket.socket] = [connection, terminal]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if connection in ready:
            octets = connection.recv(_PART)
            if not octets:
                return
            os.write(screen, octets)
        if terminal in ready:
            octets = os.read(terminal, _PART)
            if not octets:
                watched.remove(terminal)
                octets = b"\x04"
            connection.sendall(octets)
