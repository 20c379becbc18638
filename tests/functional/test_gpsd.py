"""A real gpsd, with a receiver whose sentences are invented, drives our daemon through a socket and through JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import ENVIRONMENT, Ntptwist
from tests.functional.peers.gps import LATENESS_S, Gpsd
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

HERE = Path(__file__).parent
VIRTUAL = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = 40.0'
SECONDS = 120
"""A daemon that a test forgets ends by itself."""
GOOD = 0.02
"""Seconds: what a serial line of which the delay is known is good for."""

SOCK = f"""
[[source]]
mode = "sock"
path = "{{path}}"
precision = 1e-3
accuracy = 0.02
offset = {LATENESS_S}
reference-id = "GPS"
"""
JSON = f"""
[[source]]
mode = "gpsd"
address = "127.0.0.1:{{port}}"
device = "{{device}}"
accuracy = 0.02
offset = {LATENESS_S}
"""


class Watched:
    """Our daemon on a virtual clock that starts 0.3 s off, and what it prints of its true error each second."""

    def __init__(self, lab: Lab, source: str) -> None:
        self.lab = lab
        self.daemon = Ntptwist(lab, [], clock=VIRTUAL)
        with self.daemon.file.open("a") as file:
            file.write(source)
        self.command = [sys.executable, str(HERE / "virtual_daemon.py"), str(self.daemon.file), str(SECONDS)]
        self._log = self.daemon.directory / "errors"

    def start(self, *before: str | Path) -> Any:
        """Start it, behind the words of a command that runs it."""
        with self._log.open("ab") as log:
            return self.lab.popen([*before, *self.command], output=log, environment=ENVIRONMENT)

    def lines(self) -> list[dict[str, Any]]:
        """Give what it has printed."""
        text = self._log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def wait(self, holds: Callable[[list[dict[str, Any]]], bool], seconds: float, about: Gpsd) -> list[dict[str, Any]]:
        """Wait until the lines from the latest start on are as wanted; AssertionError with the logs otherwise."""
        deadline = time.monotonic() + seconds
        lines: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            lines = self.lines()
            starts = [number for number, line in enumerate(lines) if line["time"] < 0.5]
            lines = lines[starts[-1] if starts else 0 :]
            if holds(lines):
                return lines
            time.sleep(0.2)
        raise AssertionError(f"not so after {seconds:g} s: {lines}\n{self._log.read_text()}\n{about.log_tail()}")

    def starts(self) -> int:
        """Give how often it was started."""
        return sum(line["time"] < 0.5 for line in self.lines())


def settled(lines: list[dict[str, Any]]) -> bool:
    """Tell whether the clock was off, and is right now and has been so for some seconds."""
    late = lines[-3:]
    wrong = bool(lines) and abs(lines[0]["error"]) > 0.29
    return wrong and len(lines) > 3 and all(line["synchronized"] and abs(line["error"]) < GOOD for line in late)


def test_gpsd_drives_the_clock_through_a_socket(lab: Lab) -> None:
    """Samples that a real gpsd writes to our socket bring the clock to the truth, and again after a restart of ours."""
    gpsd = Gpsd(lab)
    watched = Watched(lab, SOCK.format(path=gpsd.path))
    pid_file = lab.directory / "pid"
    watched.start(sys.executable, HERE / "peers/activator.py", gpsd.path, pid_file)
    watched.wait(bool, 20, gpsd)
    gpsd.start()
    watched.wait(settled, 40, gpsd)
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + 20
    while watched.starts() < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    again = watched.wait(settled, 40, gpsd)

    assert watched.starts() == 2
    assert max(abs(line["error"]) for line in again[-3:]) < GOOD


def test_gpsd_drives_the_clock_through_json(lab: Lab) -> None:
    """The reports of a real gpsd bring the clock to the truth, whichever of both daemons is started again."""
    gpsd = Gpsd(lab)
    watched = Watched(lab, JSON.format(port=gpsd.json_port, device=gpsd.device))
    first = watched.start()
    watched.wait(bool, 20, gpsd)
    gpsd.start()
    watched.wait(settled, 60, gpsd)
    gpsd.stop()
    gpsd.start()
    lost = watched.daemon.wait(lambda state: any(row["id"] is None for row in state["sources"]), 10)
    back = watched.daemon.wait(lambda state: any(row["selected"] for row in state["sources"]), 40)
    os.killpg(first.pid, signal.SIGTERM)
    first.wait(10)
    watched.start()
    watched.wait(lambda lines: watched.starts() == 2 and settled(lines), 40, gpsd)

    assert "gpsd" in lost["sources"][-1]["reason"]
    assert [row["mode"] for row in back["sources"]] == ["gpsd", "gpsd"]


def test_a_socket_of_our_own_is_for_its_owner_alone(lab: Lab) -> None:
    """Without systemd the socket is made by us, with mode 0600, and taken away at the end."""
    gpsd = Gpsd(lab)
    watched = Watched(lab, SOCK.format(path=gpsd.path))
    process = watched.start()
    watched.wait(bool, 20, gpsd)
    seen = lab.run(["stat", "-c", "%a %F", gpsd.path]).strip()
    os.killpg(process.pid, signal.SIGTERM)
    start = time.monotonic()
    process.wait(10)
    took = time.monotonic() - start

    assert seen == "600 socket"
    assert took < 2.0
    assert gpsd.path.name not in lab.run(["ls", "/run"]).split()
