"""
A real gpsd in a lab, and the GPS receiver that it reads: invented sentences over TCP.

gpsd gives no time service from a pty or a file, but it takes ``tcp://`` devices.  The socket that it writes samples to
is named after what follows the last slash of the device.  Run as a program, with a port, this is the receiver.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from subprocess import Popen
from typing import Self

from tests.functional.daemon import ENVIRONMENT
from tests.functional.peers import fetch
from tests.functional.peers.lab import Lab, end

LATENESS_S = 0.08
"""Seconds from a second to the sentences that tell of it."""
LISTENING = "the receiver listens"
_START_S = 10.0


def sentence(body: str) -> bytes:
    """Give an NMEA 0183 sentence with its checksum."""
    checksum = 0
    for octet in body.encode():
        checksum ^= octet
    return f"${body}*{checksum:02X}\r\n".encode()


def sentences(second: int) -> bytes:
    """Give what a receiver with a good fix says of a second."""
    date = time.gmtime(second)
    clock, day = time.strftime("%H%M%S.00", date), time.strftime("%d%m%y", date)
    return b"".join(
        map(
            sentence,
            (
                f"GPGGA,{clock},5130.0000,N,00007.0000,W,1,08,1.0,50.0,M,47.0,M,,",
                "GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,1.0,1.5",
                f"GPRMC,{clock},A,5130.0000,N,00007.0000,W,0.0,0.0,{day},,,A",
                time.strftime("GPZDA,%H%M%S.00,%d,%m,%Y,00,00", date),
            ),
        )
    )


def receive(port: int) -> None:
    """Be a receiver for one client after the other, until the process is ended."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(LISTENING, flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        time.sleep(1.0 - time.time() % 1.0 + LATENESS_S)
                        connection.sendall(sentences(int(time.time())))
                except OSError:
                    continue


class Gpsd:
    """The gpsd of sid with one receiver; it serves JSON at ``json_port``."""

    def __init__(self, lab: Lab, port: int = 4001, json_port: int = 29471) -> None:
        """Prepare it; PeersMissingError where the cache lacks it."""
        self._lab = lab
        self._peers = fetch.unpacked("sid")
        self._port = port
        self.json_port = json_port
        self.directory = lab.directory / "gpsd"
        self._receiver: Popen[bytes] | None = None
        self._process: Popen[bytes] | None = None

    @property
    def device(self) -> str:
        """Give its name of the receiver."""
        return f"tcp://127.0.0.1:{self._port}"

    @property
    def path(self) -> Path:
        """Give the path of the socket that it writes samples of the serial time to."""
        return Path(f"/run/chrony.clk.127.0.0.1:{self._port}.sock")

    def start(self) -> Self:
        """Start the receiver, unless it runs already, and gpsd, which must find it there."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            if self._receiver is None:
                receiver = [sys.executable, "-m", "tests.functional.peers.gps", str(self._port)]
                self._receiver = self._lab.popen(receiver, output=log, environment=ENVIRONMENT)
            deadline = time.monotonic() + _START_S
            while LISTENING not in self.log_tail() and time.monotonic() < deadline:
                time.sleep(0.05)
            options = ["-N", "-n", "-S", str(self.json_port), self.device]
            self._process = self._lab.popen([*self._peers.command("gpsd"), *options], output=log)
        return self

    def stop(self) -> None:
        """End gpsd; the receiver stays, as receivers do."""
        if self._process is not None:
            end([self._process])

    def log_tail(self) -> str:
        """Give the last lines of its log."""
        text = (self.directory / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-20:])


if __name__ == "__main__":
    receive(int(sys.argv[1]))
