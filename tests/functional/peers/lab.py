"""
A private place for daemons: network, mounts and port 123 of their own, and no way to the machine's clock.

A `Lab` is two network namespaces that share one mount namespace.  In the first every address of 127.0.0.0/8 can be used
and a link leads to the second, for the daemon that wants port 123 on every address and refuses servers in 127.0.0.0/8:
10.99.1.1 to .6 are here, 10.99.1.100 is there.  /run is empty, and /etc/hosts has names that no server is asked for.

Commands run with CAP_SYS_TIME out of their bounding set and die with the process that started them.  What a command
leaves behind is found by its network namespace, so nothing outlives the lab.  It works for root and, where the kernel
lets anybody make user namespaces, for everybody else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from tests.functional.peers.keeper import REQUEST

FIRST_LINK_IPS = tuple(f"10.99.1.{each}" for each in range(1, 7))
SECOND_IP = "10.99.1.100"
LINK_NETWORK = "10.99.1.0/24"
POOL_NAME, POOL_IPS = "pool.lab.test", tuple(f"127.0.5.{each}" for each in range(1, 5))
SERVER_NAMES = {f"ntp{each}.lab.test": f"127.0.1.{each}" for each in range(1, 7)}

_KEEPER = Path(__file__).with_name("keeper.py")
_CONFINED = ("setpriv", "--pdeathsig", "KILL", "--bounding-set", "-sys_time", "--inh-caps", "-all", "--")
_START_SECONDS, _STOP_SECONDS = 10.0, 5.0
_MOUNTS = """
mount -t tmpfs -o mode=755 tmpfs /run
cat > /run/hosts
mount --bind /run/hosts /etc/hosts
"""


class LabError(Exception):
    """A lab could not be made, or a command in it failed."""


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes of `Namespace.popen` with their groups, by SIGTERM and, where that takes too long, by SIGKILL."""
    running = [each for each in processes if each.poll() is None]
    for each in running:
        os.killpg(each.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for each in running:
        try:
            each.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


class Namespace:
    """A network namespace that lives as long as its keeper."""

    def __init__(self, command: Sequence[str]) -> None:
        """Run the keeper by ``command``, the words that make a namespace or enter one."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_START_SECONDS)
        with theirs, tempfile.TemporaryFile() as said:
            self._keeper = subprocess.Popen(
                [*command, *_CONFINED, sys.executable, "-I", str(_KEEPER)],
                stdin=theirs.fileno(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            theirs.close()
            if not self._channel.recv(16):
                self._channel.close()
                self._keeper.wait()
                said.seek(0)
                raise LabError(f"no private namespace: {said.read().decode(errors='replace').strip()}")

    @property
    def pid(self) -> int:
        """Give the process that keeps this namespace, by which iproute2 and nsenter find it."""
        return self._keeper.pid

    def entering(self) -> list[str]:
        """Give the words that run a command in this namespace, with the clock out of its reach."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), *user, "--mount", "--ipc", "--net", "--", *_CONFINED]

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path = Path("/"),
        output: BinaryIO | int = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command that `Lab.close` ends at the latest; ``output`` takes what it prints and its errors."""
        process = subprocess.Popen(
            [*self.entering(), "env", "-C", directory, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def run(self, command: Sequence[str | Path], *, stdin: str = "", seconds: float = 10.0) -> str:
        """Give what a command prints; raise LabError where it fails or takes longer than ``seconds``."""
        words = [*self.entering(), *command]
        try:
            done = subprocess.run(words, check=False, input=stdin, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{command[0]} took more than {seconds:g} s") from error
        if done.returncode:
            raise LabError(f"{command[0]} exited with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def open_socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """Give a socket of this process that lies in this namespace."""
        self._channel.send(REQUEST.pack(family, kind))
        _, descriptors, _, _ = socket.recv_fds(self._channel, 16, 1)
        if not descriptors:
            raise LabError("the keeper of the namespace gave no socket")
        return socket.socket(fileno=descriptors[0])

    def ask(self, request: bytes, ip: str, port: int = 123, *, seconds: float = 0.5) -> bytes | None:
        """Send a datagram and give the first answer that comes from there within ``seconds``, else None."""
        with self.open_socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as asking:
            asking.settimeout(seconds)
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                asking.connect((ip, port))
                asking.send(request)
                return asking.recv(4096)
        return None

    def close(self) -> None:
        """End all commands, then the keeper."""
        end(self._processes)
        self._end_the_rest()
        self._channel.close()
        try:
            self._keeper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()

    def _end_the_rest(self) -> None:
        """Kill what commands left behind: every process whose network is this one, but for the keeper."""
        network = Path(f"/proc/{self.pid}/ns/net").readlink()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or it is somebody else's
                if entry.name != str(self.pid) and (entry / "ns/net").readlink() == network:
                    os.kill(int(entry.name), signal.SIGKILL)


class Lab(Namespace):
    """The first namespace, with its link to the second and a directory for its daemons."""

    def __init__(self) -> None:
        """Make it; LabError where this machine does not let us."""
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        super().__init__(["unshare", *user, "--net", "--mount", "--ipc", "--"])
        self.second = Namespace([*self.entering(), "unshare", "--net", "--"])
        hosts = {"localhost": "127.0.0.1", "ip6-localhost": "::1", **SERVER_NAMES}
        lines = [f"{ip} {name}\n" for name, ip in hosts.items()] + [f"{ip} {POOL_NAME}\n" for ip in POOL_IPS]
        self.run(["sh", "-e", "-c", _MOUNTS], stdin="".join(lines))
        self._link()
        self.directory = Path(tempfile.mkdtemp(prefix="ntptwist-lab-"))
        """Short enough for the path of a UNIX socket, and gone when the lab is closed."""

    def _link(self) -> None:
        """Bring the networks up and join them; ntpsec skips an interface that does not run yet."""
        addresses = [f"address add {ip}/24 dev first" for ip in FIRST_LINK_IPS]
        here = ["link set lo up", f"link add first type veth peer name second netns {self.second.pid}", *addresses]
        there = ["link set lo up", f"address add {SECOND_IP}/24 dev second", "link set second up"]
        self.run(["ip", "-batch", "-"], stdin="\n".join([*here, "link set first up"]))
        self.second.run(["ip", "-batch", "-"], stdin="\n".join(there))
        deadline = time.monotonic() + _START_SECONDS
        while "state UP" not in self.second.run(["ip", "link", "show", "second"]):
            if time.monotonic() > deadline:
                raise LabError("the link between the namespaces does not come up")
            time.sleep(0.02)

    def close(self) -> None:
        """End everything in both namespaces and remove the directory."""
        self.second.close()
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)
