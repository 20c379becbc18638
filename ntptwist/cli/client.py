"""
A client of the daemon's read-only socket, with the standard library alone.
"""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path
from typing import Any

DEFAULT_CONFIG = "/etc/ntptwist/ntptwist.toml"
DEFAULT_DIRECTORY = "/run/ntptwist"
SOCKET_NAME = "observe.sock"
TIMEOUT = 5.0
LARGEST_ANSWER = 16 << 20


class NoDaemonError(Exception):
    """No daemon answers; the text says where it was looked for."""


class RequestError(Exception):
    """The daemon refused the request, with this reason."""


def control_directory(config: str | None) -> str:
    """Give the ``[control] directory`` of a configuration, or the default where the file says nothing of it."""
    path = Path(config or DEFAULT_CONFIG)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if config is None:
            return DEFAULT_DIRECTORY
        raise NoDaemonError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise NoDaemonError(f"{path}: {error}") from error
    control = table.get("control")
    directory = control.get("directory") if isinstance(control, dict) else None
    return directory if isinstance(directory, str) else DEFAULT_DIRECTORY


def ask(directory: str, command: str) -> Any:
    """Send one command and return its data; NoDaemonError or RequestError when there is none."""
    path = str(Path(directory) / SOCKET_NAME)
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            while not answer.endswith(b"\n"):
                part = connection.recv(65536)
                if not part or len(answer) > LARGEST_ANSWER:
                    raise NoDaemonError(f"{path}: the daemon hung up")
                answer += part
    except OSError as error:
        raise NoDaemonError(f"no daemon answers at {path}: {error.strerror or error}") from error
    reply = json.loads(answer)
    if not reply.get("ok"):
        raise RequestError(str(reply.get("error")))
    return reply["data"]
