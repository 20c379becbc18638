"""
A client of the daemon's sockets, with the standard library alone.

A question is a JSON object on one line, and so is the answer; some answers go on, one object a line, until we hang up.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

DEFAULT_CONFIG = "/etc/ntptwist/ntptwist.toml"
DEFAULT_DIRECTORY = "/run/ntptwist"
SOCKET_NAME = "observe.sock"
TIMEOUT = 5.0
LARGEST_ANSWER = 16 << 20

EX_OK, EX_USAGE, EX_UNAVAILABLE = 0, 64, 69
"""sysexits(3): done, the command line is wrong, no daemon answers."""


class NoDaemonError(Exception):
    """No daemon answers; the text says where it was looked for."""


class RequestError(Exception):
    """The daemon refused the request, with this reason."""


def control_directory(config: str | None) -> str:
    """Give the ``[control] directory`` of a configuration, or the default where the file says nothing of it."""
    import tomllib  # which takes longer than all the rest, and is not always needed

    path = config or DEFAULT_CONFIG
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes longer to import than all the rest
            table = tomllib.load(file)
    except OSError as error:
        if config is None:
            return DEFAULT_DIRECTORY
        raise NoDaemonError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise NoDaemonError(f"{path}: {error}") from error
    control = table.get("control")
    directory = control.get("directory") if isinstance(control, dict) else None
    return directory if isinstance(directory, str) else DEFAULT_DIRECTORY


def ask(
    directory: str, command: str, *, socket_name: str = SOCKET_NAME, timeout: float | None = TIMEOUT, **arguments: Any
) -> Any:
    """Send one command and return its data; NoDaemonError or RequestError when there is none."""
    return next(follow(directory, command, socket_name=socket_name, timeout=timeout, **arguments))


def follow(
    directory: str, command: str, *, socket_name: str = SOCKET_NAME, timeout: float | None = TIMEOUT, **arguments: Any
) -> Iterator[Any]:
    """
    Send one command and give its data, then every object that follows it; it hangs up when it is closed.

    ``timeout`` is for the answer; what follows may take its time.
    """
    path = os.path.join(directory, socket_name)  # noqa: PTH118 - as above
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            lines = _lines(connection, path)
            reply = json.loads(next(lines))
            if not reply.get("ok"):
                raise RequestError(str(reply.get("error")))
            yield reply["data"]
            connection.settimeout(None)
            yield from map(json.loads, lines)
    except OSError as error:
        raise NoDaemonError(f"no daemon answers at {path}: {error.strerror or error}") from error


def _lines(connection: socket.socket, path: str) -> Iterator[bytes]:
    """Give what the daemon sends, line by line; NoDaemonError when it hangs up."""
    left = b""
    while True:
        part = connection.recv(65536)
        if not part or len(left) > LARGEST_ANSWER:
            raise NoDaemonError(f"{path}: the daemon hung up")
        *lines, left = (left + part).split(b"\n")
        yield from lines
