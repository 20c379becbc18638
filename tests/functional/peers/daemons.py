"""
The real daemons, each started in a lab from the unpacked programs of one Debian release.

Every daemon serves at its address, be it that it follows sources, has a local reference, or neither; so one plain
request tells whether it runs and whether it is synchronised, whatever its make.  chronyd runs with ``-x``; the others
want to steer, so they run under the clock trap, which records in ``clock.jsonl`` what they would have done.

What is peculiar to each:

- chronyd merges sources that share an address.
- ntpd-rs (sid only) takes a source at an address of one of its own interfaces for itself: it needs its sources at
  127.0.0.2 and up, not at the addresses of the link.  Without sources it is synchronised only where its stratum is 1.
- ntpsec takes port 123 on every address of a network, so it has the lab's second namespace to itself: one of them at a
  time.  It refuses sources in 127.0.0.0/8, so they are at the addresses of the link.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen
from typing import ClassVar, Self

from tests.functional.peers import fetch
from tests.functional.peers.lab import SECOND_IP, Lab, Namespace, end

Address = tuple[str, int]

_TRAP = Path(__file__).resolve().parents[1] / "clocktrap"
_CLIENT_VERSION_4 = 0x23
_HEADER_OCTETS = 48
_ALARM = 3
_TAIL_LINES = 8


class DaemonError(Exception):
    """A daemon ended or did not get ready in time; the text has the last lines of its log."""


class Daemon:
    """A real time daemon of one release, at one address of a lab."""

    kind: ClassVar[str]

    def __init__(
        self,
        lab: Lab,
        suite: str,
        *,
        ip: str = "127.0.1.1",
        port: int = 123,
        stratum: int | None = None,
        sources: Sequence[Address] = (),
        extra: str = "",
    ) -> None:
        """
        Prepare a daemon; raise PeersMissingError where the cache lacks it.

        With a ``stratum`` it serves its own clock as a local reference of that stratum, with ``sources`` it follows
        them at a poll interval of about a second.  ``extra`` is added to its configuration as it stands.
        """
        self.lab, self.suite, self.ip, self.port = lab, suite, ip, port
        self.stratum, self.sources, self.extra = stratum, sources, extra
        self.namespace: Namespace = lab
        self.peers = fetch.unpacked(suite)
        self.directory = lab.directory / f"{self.kind}-{suite}-{ip}-{port}"
        self._process: Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        """Give where it serves: a source for others."""
        return self.ip, self.port

    def configuration(self) -> str:
        """Give the text of its configuration."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """Give the words that run it in the foreground on its configuration."""
        raise NotImplementedError

    def start(self) -> Self:
        """Write the configuration and start."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.file.write_text(f"{self.configuration()}{self.extra}\n")
        with (self.directory / "log").open("ab") as log:
            self._process = self.namespace.popen(self.command(), directory=self.directory, output=log)
        return self

    def stop(self) -> None:
        """End it; it can be started again."""
        if self._process is not None:
            end([self._process])

    @property
    def pid(self) -> int:
        """Give its process id; DaemonError before it was started."""
        if self._process is None:
            raise DaemonError(f"{self.kind} of {self.suite} was not started")
        return self._process.pid

    @property
    def file(self) -> Path:
        """Give the path of its configuration."""
        return self.directory / "configuration"

    def wait_serving(self, seconds: float = 15.0) -> Self:
        """Wait until it answers, whatever it says."""
        return self._wait("serving", lambda answer: True, seconds)

    def wait_synchronised(self, seconds: float = 30.0) -> Self:
        """Wait until it answers as one that knows the time, by its local reference or its sources, to a second."""

        def knows(answer: bytes) -> bool:
            dispersion = int.from_bytes(answer[8:12], "big") / 65536
            return answer[0] >> 6 != _ALARM and 0 < answer[1] < 16 and dispersion < 1.0

        return self._wait("synchronised", knows, seconds)

    def log_tail(self) -> str:
        """Give the last lines of its log, without colours."""
        text = (self.directory / "log").read_text(errors="replace")
        return "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()[-_TAIL_LINES:])

    def _wait(self, state: str, holds: Callable[[bytes], bool], seconds: float) -> Self:
        """Ask until an answer ``holds``; DaemonError when it ended or that takes too long."""
        process = self._process
        if process is None:
            raise DaemonError(f"{self.kind} of {self.suite} was not started")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DaemonError(f"{self.kind} of {self.suite} exited {process.returncode}: {self.log_tail()}")
            request = bytes([_CLIENT_VERSION_4]).ljust(_HEADER_OCTETS - 8, b"\0") + os.urandom(8)
            answer = self.lab.ask(request, *self.address, seconds=0.3)
            if answer is not None and len(answer) >= _HEADER_OCTETS and holds(answer):
                return self
            time.sleep(0.05)
        raise DaemonError(f"{self.kind} of {self.suite} is not {state} after {seconds:g} s: {self.log_tail()}")

    def _trapped(self, command: list[str]) -> list[str | Path]:
        """Give the words that run a command under the clock trap."""
        return [sys.executable, "-I", _TRAP, "--log", self.directory / "clock.jsonl", *command]


class Chrony(Daemon):
    """The chronyd of chrony, which answers interleaved requests on its own accord."""

    kind = "chrony"

    def configuration(self) -> str:
        """Give the text of its configuration."""
        lines = [
            f"bindcmdaddress {self.directory}/command",
            "cmdport 0",
            f"pidfile {self.directory}/pid",
            f"bindaddress {self.ip}",
            f"port {self.port}",
            "allow all",
        ]
        if self.stratum is not None:
            lines.append(f"local stratum {self.stratum}")
        lines += [f"server {ip} port {port} iburst minpoll -2 maxpoll 0" for ip, port in self.sources]
        return "\n".join([*lines, ""])

    def command(self) -> list[str | Path]:
        """Give the words that run it in the foreground on its configuration."""
        return [*self.peers.command("chronyd"), "-x", "-U", "-u", "root", "-d", "-f", self.file]

    def chronyc(self, *words: str) -> str:
        """Give what chronyc prints of it in the form for programs."""
        client = fetch.unpacked("bookworm").command("chronyc")  # newer ones want a user called _chrony
        return self.lab.run([*client, "-c", "-n", "-h", self.directory / "command", *words])


class NTPDRs(Daemon):
    """The ntp-daemon of ntpd-rs."""

    kind = "ntpd-rs"

    def configuration(self) -> str:
        """Give the text of its configuration."""
        lines = [f'[observability]\nobservation-path = "{self.directory}/observe"']
        lines += [f'[[source]]\nmode = "server"\naddress = "{ip}:{port}"' for ip, port in self.sources]
        lines += ["[source-defaults]\npoll-interval-limits = { min = 0, max = 1 }\ninitial-poll-interval = 0"]
        lines += ["[synchronization]\nminimum-agreeing-sources = 1"]
        if self.stratum is not None:
            lines += [f"local-stratum = {self.stratum}"]
        return "\n".join([*lines, f'[[server]]\nlisten = "{self.ip}:{self.port}"', ""])

    def command(self) -> list[str | Path]:
        """Give the words that run it in the foreground on its configuration."""
        return self._trapped([*self.peers.command("ntp-daemon"), "-c", str(self.file)])

    def state(self) -> dict[str, object]:
        """Give what its observation socket says: a JSON object after its length in eight octets."""
        with socket.socket(socket.AF_UNIX) as observing:
            observing.settimeout(5.0)
            observing.connect(str(self.directory / "observe"))
            with observing.makefile("rb") as stream:
                (octets,) = struct.unpack(">Q", stream.read(8))
                state: dict[str, object] = json.loads(stream.read(octets))
        return state


class NTPsec(Daemon):
    """The ntpd of ntpsec, alone in the lab's second namespace."""

    kind = "ntpsec"

    def __init__(
        self,
        lab: Lab,
        suite: str,
        *,
        stratum: int | None = None,
        sources: Sequence[Address] = (),
        extra: str = "",
    ) -> None:
        """Prepare a daemon as others are, at the one address it can have; all its sources serve on port 123."""
        super().__init__(lab, suite, ip=SECOND_IP, stratum=stratum, sources=sources, extra=extra)
        self.namespace = lab.second

    def configuration(self) -> str:
        """Give the text of its configuration."""
        # The built-in default restrictions stay whatever is said of "default"; an entry of its own has none.
        lines = ["restrict 10.99.1.0 mask 255.255.255.0", "tos minsane 1 minclock 1", f"statsdir {self.directory}/"]
        if self.stratum is not None:
            lines.append(f"refclock local stratum {self.stratum - 1} minpoll 0 maxpoll 0 prefer")
        lines += [f"server {ip} iburst minpoll 0 maxpoll 3" for ip, _ in self.sources]
        return "\n".join([*lines, ""])

    def command(self) -> list[str | Path]:
        """Give the words that run it in the foreground on its configuration."""
        words = ["-n", "-g", "-c", str(self.file), "-p", str(self.directory / "pid")]
        return self._trapped([*self.peers.command("ntpd"), *words])

    def ntpq(self, *words: str) -> str:
        """Give what ntpq prints of it."""
        return self.lab.run([*fetch.unpacked("bookworm").command("ntpq"), *words, self.ip])
