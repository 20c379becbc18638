"""
What the benchmarks of serving share: chronyd and our daemon side by side as servers, and clients that load them.

Both run at once in a lab of the functional tests, on the same core; only one is asked at a time.  The clients run on
the other core.  What a server costs is the processor time of its whole tree of processes: chronyd's key exchanges are
done by a child.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from OpenSSL import SSL  # noqa: E402 - the path had to be set first

from ntptwist.nts.aead import EXPORTER_LABEL, NTPV4, Algorithm  # noqa: E402
from ntptwist.nts.exchange import ClientExchange, Completed, KeyExchangeResult  # noqa: E402
from ntptwist.nts.packet import COOKIE, UNIQUE_IDENTIFIER, UNIQUE_IDENTIFIER_SIZE, seal  # noqa: E402
from ntptwist.ntske.tls import ALPN  # noqa: E402
from ntptwist.wire.extension import ExtensionField  # noqa: E402
from ntptwist.wire.record import Record, RecordType  # noqa: E402
from tests.functional.daemon import BIN, Ntptwist  # noqa: E402
from tests.functional.peers.lab import Lab, LabError  # noqa: E402
from tests.functional.peers.nts import KEY_EXCHANGE_PORT, ChronyNTS, Credentials  # noqa: E402

SERVER_CORE, CLIENT_CORE = "0", "1"
CLIENT_V4, POLL = 0x23, 6
ROOM = 5.0
"""Seconds that anything may take longer than it was told to."""

CONFIGURATION = """
[[server]]
listen = "{ip}:123"
allowlist = {{ filter = ["0.0.0.0/0", "::/0"], action = "ignore" }}

[[nts-ke-server]]
listen = "{ip}:4460"
certificate-chain-path = "{certificate}"
private-key-path = "{key}"

[synchronization]
local-stratum = 1
"""


class Chronyd(ChronyNTS):
    """chronyd with NTS on the servers' core."""

    def command(self) -> list[str | Path]:
        """Give the words that run it there."""
        return ["taskset", "-c", SERVER_CORE, *super().command()]


@dataclass(frozen=True)
class Server:
    """A server that is measured: its name in the tables, where it is, and its process."""

    name: str
    ip: str
    pid: int


def serve_chronyd(lab: Lab, credentials: Credentials, ip: str = "127.0.1.1") -> Server:
    """Start chronyd and wait until it serves."""
    daemon = Chronyd(lab, "sid", credentials, ip=ip, stratum=1).start().wait_synchronised()
    return Server("chronyd", ip, daemon.pid)


def serve_ntptwist(lab: Lab, credentials: Credentials, ip: str = "127.0.1.2", extra: str = "") -> Server:
    """Start our daemon on an observed clock and wait until it serves; ``extra`` is added to its configuration."""
    daemon = Ntptwist(lab, [], command=("taskset", "-c", SERVER_CORE, BIN / "ntptwist"))
    text = CONFIGURATION.format(ip=ip, certificate=credentials.certificate, key=credentials.key)
    daemon.file.write_text(f"{daemon.file.read_text()}{text}{extra}")
    daemon.start()
    deadline = time.monotonic() + 20
    while lab.ask(bytes([CLIENT_V4]).ljust(48, b"\0"), ip) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"ntptwist does not serve: {daemon.log()}")
        time.sleep(0.1)
    return Server("ntptwist", ip, daemon.pid)


def processor_seconds(pid: int) -> float:
    """Give the processor time of a process and of its children that still run, to the nanosecond."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
        total += sum(processor_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


class Load:
    """The load generator, compiled for the occasion."""

    def __init__(self, lab: Lab) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise SystemExit("no C compiler (cc) on this machine: the load generator can't be made")
        if not os.sched_getaffinity(0) >= {int(SERVER_CORE), int(CLIENT_CORE)}:
            raise SystemExit("two processors are needed, one for the servers and one for the clients")
        self._lab = lab
        self._program = lab.directory / "load"
        source = Path(__file__).with_name("load.c")
        subprocess.run([compiler, "-std=c11", "-O2", "-o", self._program, source], check=True, timeout=60)

    def command(self, server: Server, in_flight: int, seconds: float, *options: str | Path) -> list[str | Path]:
        """Give the words that load a server."""
        words: list[str | Path] = ["taskset", "-c", CLIENT_CORE, self._program, server.ip, "123"]
        return [*words, "-w", str(in_flight), "-s", f"{seconds:g}", *options]

    def run(self, server: Server, in_flight: int, seconds: float, *options: str | Path) -> Loaded:
        """Load a server, and say what came of it and what it cost."""
        before = processor_seconds(server.pid)
        printed = self._lab.run(self.command(server, in_flight, seconds, *options), seconds=seconds + ROOM)
        return Loaded(processor_seconds(server.pid) - before, **json.loads(printed))


@dataclass(frozen=True)
class Loaded:
    """What a load came to; ``processor`` is the server's time, ``rate`` replies a second."""

    processor: float
    seconds: float
    rate: float
    sent: int
    replies: int
    lost: int
    late: int
    kisses: int
    wrong: int
    refused: int
    median_us: float
    p99_us: float

    @property
    def per_processor_second(self) -> float:
        """Replies that a second of the server's processor time makes."""
        return self.replies / self.processor


@contextmanager
def tls_session(lab: Lab, ip: str) -> Iterator[SSL.Connection]:
    """Connect to a key exchange server, whoever it is; SSL.Error or OSError where that fails."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_alpn_protos([ALPN])
    with lab.open_socket(kind=socket.SOCK_STREAM) as opened:
        # A limit of the kernel's: a socket with a timeout of Python's is not a blocking one, and OpenSSL wants that.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(ROOM), 0))
        opened.connect((ip, KEY_EXCHANGE_PORT))
        session = SSL.Connection(context, opened)
        session.set_connect_state()
        session.do_handshake()
        yield session


def exchange_keys(lab: Lab, ip: str, algorithm: Algorithm = Algorithm.AES_SIV_CMAC_256) -> KeyExchangeResult:
    """Make one whole key exchange as a client that trusts everybody; LabError when there are no keys."""
    with tls_session(lab, ip) as session:
        session.sendall(
            Record.of_numbers(RecordType.NEXT_PROTOCOL, NTPV4).serialize()
            + Record.of_numbers(RecordType.AEAD_ALGORITHM, algorithm).serialize()
            + Record(RecordType.END_OF_MESSAGE, critical=True).serialize()
        )
        machine = ClientExchange(lambda context, size: session.export_keying_material(EXPORTER_LABEL, size, context))
        outcome = None
        while outcome is None:
            outcome = machine.received(session.recv(4096))
    if isinstance(outcome, Completed):
        return outcome.result
    raise LabError(f"no key exchange with {ip}: {outcome.words}")


def write_templates(path: Path, exchanges: Sequence[KeyExchangeResult], count: int) -> None:
    """Write so many NTS requests for the load generator, of all the clients in turn and with all their cookies."""
    with path.open("wb") as file:
        for number in range(count):
            given = exchanges[number % len(exchanges)]
            cookie = given.cookies[number // len(exchanges) % len(given.cookies)]
            transmit = os.urandom(4) + struct.pack("!I", number)
            header = bytes([CLIENT_V4, 0, POLL]).ljust(40, b"\0") + transmit
            unique = ExtensionField(UNIQUE_IDENTIFIER, os.urandom(UNIQUE_IDENTIFIER_SIZE)).serialize()
            packet = header + unique + ExtensionField.padded(COOKIE, cookie).serialize()
            key = given.keys.request_key
            request = seal(packet, key, os.urandom(key.nonce_size))
            file.write(struct.pack("!H", len(request)) + request)
