"""Our own daemon as the functional tests run it: in a lab, from a configuration file, looked into by its tool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.functional.peers.lab import Lab, end

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)} | {
    name: value for name, value in os.environ.items() if name.startswith("COVERAGE")
}
"""What daemons of ours see of the environment: the measuring of coverage goes on in them."""

CONFIGURATION = """
[clock]
{clock}

[control]
directory = "{directory}"

[state]
directory = "{directory}"

[source-defaults]
poll-interval-limits = {{ min = {minimum}, max = 6 }}
"""

SOURCE = """
[[source]]
mode = "server"
address = "{ip}:{port}"
"""


class Ntptwist:
    """One daemon of ours; ``status`` asks it with the tool that operators use."""

    def __init__(
        self,
        lab: Lab,
        sources: Sequence[tuple[str, int]],
        *,
        clock: str = 'control = "observe"',
        minimum: int = 6,
        command: Sequence[str | Path] = (BIN / "ntptwist",),
        name: str = "ntptwist",
    ) -> None:
        self.lab = lab
        self.directory = lab.directory / name
        self.directory.mkdir(exist_ok=True)
        self.file = self.directory / "ntptwist.toml"
        text = CONFIGURATION.format(clock=clock, directory=self.directory, minimum=minimum)
        self.file.write_text(text + "".join(SOURCE.format(ip=ip, port=port) for ip, port in sources))
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> Ntptwist:
        """Start it in the foreground."""
        with (self.directory / "log").open("ab") as log:
            self._process = self.lab.popen(
                [*self._command, *(options or ("-c", str(self.file)))],
                directory=self.directory,
                output=log,
                environment=ENVIRONMENT | {"NTPTWIST_CONFIG": str(self.file)},
            )
        return self

    def stop(self) -> int:
        """End it and give its exit status."""
        assert self._process is not None
        end([self._process])
        return self._process.returncode

    @property
    def pid(self) -> int:
        """Give its process id."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_exit(self, seconds: float = 10.0) -> int:
        """Wait until it ends by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def log(self) -> str:
        """Give what it has printed."""
        return (self.directory / "log").read_text(errors="replace")

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the tool against it."""
        command = [str(BIN / "ntptwist-ctl"), "-c", str(self.file), *words]
        return subprocess.run([*self.lab.entering(), *command], capture_output=True, text=True, timeout=20, check=False)

    def status(self) -> dict[str, Any]:
        """Give the state; empty while it does not answer."""
        done = self.ctl("status", "--json")
        state: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return state

    def wait(self, holds: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """
        Wait until the state is as wanted, and give it; else AssertionError with the last one and the log.

        The process may have been started by somebody else; where it is ours it is no use to wait for it when it has
        ended.
        """
        deadline = time.monotonic() + seconds
        state: dict[str, Any] = {}
        while time.monotonic() < deadline and (self._process is None or self._process.poll() is None):
            state = self.status()
            if state and holds(state):
                return state
            time.sleep(0.1)
        raise AssertionError(f"not so after {seconds:g} s: {json.dumps(state, indent=1)}\n{self.log()}")
