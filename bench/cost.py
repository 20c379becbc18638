"""
What the daemon costs beside chronyd: start to first packet, memory, processor time with four sources.

Both run in turn against the same four reference servers on loopback, as unprivileged observers (chronyd with ``-x``),
with the polls of everyday.  A third column is the floor: a Python that loads Twisted's reactor and sends one datagram.
``python bench/cost.py [--seconds 120] [--rounds 5]`` prints medians, our ratio to chronyd, and the goals.  The chronyd
is the one that the functional tests unpack (``tests/functional/peers/fetch.py``).
"""

from __future__ import annotations

import argparse
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.functional.peers import fetch  # noqa: E402 - the path had to be set first

HOSTS = tuple(f"127.0.7.{each}" for each in range(1, 5))
EPOCH = 2_208_988_800
GOALS = {"first packet, ms": 210.0, "memory, MiB": 50.0, "processor, %": 0.01}
CONFINED = ("setpriv", "--pdeathsig", "KILL", "--bounding-set", "-sys_time", "--inh-caps", "-all", "--")


@dataclass
class Cost:
    """What one run cost."""

    first_packet: float
    memory: float
    processor: float


class Servers:
    """Four sockets that answer as stratum-1 servers would, and know when the first request came."""

    def __init__(self) -> None:
        self.sockets = []
        for host in HOSTS:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind((host, 0))
            self.sockets.append(opened)
        self.first: float | None = None

    def since(self, start: float) -> float | None:
        """Give the seconds from ``start`` to the first request; None when there was none."""
        return None if self.first is None else self.first - start

    def serve(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Answer for so long, or until the condition holds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not until():
            for ready in select.select(self.sockets, [], [], min(left, 0.5))[0]:
                request, address = ready.recvfrom(512)
                if self.first is None:
                    self.first = time.monotonic()
                seconds_now, part = divmod(time.time_ns(), 10**9)
                stamp = struct.pack("!II", seconds_now + EPOCH & 0xFFFFFFFF, (part << 32) // 10**9)
                head = bytes([request[0] & 0x38 | 4, 1, request[2], 0xEC]) + struct.pack("!II4s", 0, 1, b"GPS\0")
                ready.sendto(head + stamp + request[40:48] + stamp + stamp, address)


def schedstat_seconds(pid: int) -> float:
    """Give the same with the resolution of the scheduler: nanoseconds."""
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def memory(pid: int) -> float:
    """Give the resident memory, MiB."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(command: list[str], servers: Servers, settle: float, seconds: float) -> Cost:
    """Run a daemon and say what it cost; its processor time is that of ``seconds`` after ``settle``."""
    servers.serve(0.2)  # what an earlier daemon left behind
    servers.first = None
    start = time.monotonic()
    process = subprocess.Popen([*CONFINED, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        servers.serve(20, lambda: servers.first is not None)
        first = servers.since(start)
        if first is None:
            raise SystemExit(f"{command}: no packet within 20 s")
        servers.serve(settle)
        before = schedstat_seconds(process.pid)
        servers.serve(seconds)
        used = schedstat_seconds(process.pid) - before
        return Cost(first * 1e3, memory(process.pid), 100.0 * used / seconds if seconds else 0.0)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def chronyd(directory: Path, servers: Servers) -> list[str]:
    """Give the words that run chronyd."""
    lines = [f"server {s.getsockname()[0]} port {s.getsockname()[1]} iburst" for s in servers.sockets]
    lines += [f"bindcmdaddress {directory}/chronyd.sock", "cmdport 0", "port 0", f"pidfile {directory}/pid"]
    (directory / "chrony.conf").write_text("\n".join([*lines, ""]))
    words = fetch.unpacked("sid").command("chronyd")
    return [str(word) for word in (*words, "-x", "-U", "-u", "root", "-d", "-f", directory / "chrony.conf")]


def ntptwist(directory: Path, servers: Servers) -> list[str]:
    """Give the words that run our daemon."""
    text = f'[clock]\ncontrol = "observe"\n[control]\ndirectory = "{directory}"\n[state]\ndirectory = "{directory}"\n'
    for opened in servers.sockets:
        host, port = opened.getsockname()
        text += f'[[source]]\nmode = "server"\naddress = "{host}:{port}"\n'
    (directory / "ntptwist.toml").write_text(text)
    return [str(Path(sys.executable).parent / "ntptwist"), "-c", str(directory / "ntptwist.toml")]


def floor(servers: Servers) -> list[str]:
    """Give the words that run the least that a daemon on Twisted can be."""
    host, port = servers.sockets[0].getsockname()
    code = (
        "from twisted.internet import reactor, protocol, task\n"
        "p = protocol.DatagramProtocol(); reactor.listenUDP(0, p)\n"
        f"reactor.callWhenRunning(lambda: p.transport.write(b'#' + bytes(47), ({host!r}, {port})))\n"
        "reactor.run()"
    )
    return [sys.executable, "-c", code]


def main() -> None:
    """Measure both in alternating rounds."""
    options = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    options.add_argument("--seconds", type=float, default=120.0, help="over which processor time is taken")
    options.add_argument("--rounds", type=int, default=5, help="starts of each")
    chosen = options.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    costs: dict[str, list[Cost]] = {"chronyd": [], "ntptwist": [], "bare Twisted": []}
    servers = Servers()
    with tempfile.TemporaryDirectory(prefix="ntptwist-bench-") as made:
        directory = Path(made)
        directory.chmod(0o700)
        daemons = {
            "chronyd": chronyd(directory, servers),
            "ntptwist": ntptwist(directory, servers),
            "bare Twisted": floor(servers),
        }
        for turn in range(chosen.rounds):
            for name, command in daemons.items():
                last = turn == chosen.rounds - 1
                costs[name].append(measure(command, servers, 15.0 if last else 0.0, chosen.seconds if last else 0.0))
    print(f"{'':<18}{'chronyd':>10}{'ntptwist':>10}{'bare Twisted':>14}{'ratio':>9}{'goal':>9}")
    for label, pick in (
        ("first packet, ms", lambda runs: statistics.median(run.first_packet for run in runs)),
        ("memory, MiB", lambda runs: runs[-1].memory),
        ("processor, %", lambda runs: runs[-1].processor),
    ):
        theirs, ours, least = (pick(costs[name]) for name in ("chronyd", "ntptwist", "bare Twisted"))
        ratio = f"{ours / theirs:.2f}" if theirs else "-"
        print(f"{label:<18}{theirs:>10.4g}{ours:>10.4g}{least:>14.4g}{ratio:>9}{GOALS[label]:>9.4g}")


if __name__ == "__main__":
    main()
