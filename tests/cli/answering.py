"""A daemon of a few lines, for the operator's tool to ask."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.observe.canned import events, sources, status

ENVIRONMENT = {"PYTHONPATH": "."} | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
"""What a tool that is started sees of the environment: the measuring of coverage goes on in it."""

Answer = bytes | Callable[[dict[str, Any]], Any]


def ok(data: Any) -> bytes:
    """Give a good answer with this data."""
    return json.dumps({"ok": True, "data": data}).encode() + b"\n"


def why(request: dict[str, Any]) -> Any:
    """Tell why, as the daemon does: of the falseticker, or of the clock."""
    source = None if request["source"] is None else sources()[3]
    return {"status": status(), "source": source, "events": events()}


ORDINARY: dict[str, Answer] = {
    "status": ok(status()),
    "events": ok(events()) + b"".join(json.dumps(event).encode() + b"\n" for event in events()),
    "why": why,
    "metrics": ok("ntp_up 1\n"),
}


class Answering:
    """
    Answers each command from a table, with the octets there or with the data that a function of the request gives.

    ``asked`` are the requests so far; ``answers`` may be changed at any time.  After its octets it hangs up.
    """

    def __init__(self, directory: Path, answers: Mapping[str, Answer] = ORDINARY) -> None:
        self.config = directory / "ntptwist.toml"
        self.config.write_text(f'[control]\ndirectory = "{directory}"\n')
        self.directory = str(directory)
        self.answers = dict(answers)
        self.asked: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "observe.sock"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                octets = connection.recv(4096)
                if octets:
                    request = json.loads(octets)
                    self.asked.append(request)
                    answer = self.answers[request["command"]]
                    connection.sendall(answer if isinstance(answer, bytes) else ok(answer(request)))

    def close(self) -> None:
        """End."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
