"""
Serves for a while under load with everything going on at once, and counts what was lost.

``python bench/soak.py [--minutes 10] [--share 0.8]``: our daemon answers plain requests at that share of the rate that
it was seen to reach just before, and clients under NTS beside them, who make new key exchanges all the time.  Meanwhile
its master keys are rotated every minute, its certificate is replaced, packets that make no sense come in, and
another server of the same daemon, with a rate limit, is flooded from ever new addresses.

Every valid request that got no reply must have been dropped by the kernel, for want of room in the socket's buffer; no
request under NTS may meet the kiss NTSN; the memory must not grow.  It exits with 1 where that is not so.  Replies that
need more than 100 ms are counted apart: on a machine that does much else nothing of the daemon's may have caused that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.serving import (  # noqa: E402 - the path had to be set first
    CLIENT_CORE,
    ROOM,
    Load,
    Server,
    exchange_keys,
    serve_ntptwist,
    tls_session,
    write_templates,
)
from tests.functional.peers.lab import Lab  # noqa: E402
from tests.functional.peers.nts import KEY_EXCHANGE_PORT, Credentials  # noqa: E402

FLOODED_IP = "127.0.1.3"
ROTATION, RENEWAL, NTS_TURN = 60, 20.0, 5.0
NTS_RATE, NTS_CLIENTS, NTS_IN_FLIGHT = 500, 8, 32
HOSTILE_PER_TICK, TICK = 5, 0.01
TENTHS = 10
MOST_GROWTH = 2.0
"""MiB by which the daemon may be larger at the end than at half time; before that its bounded tables fill."""

CONFIGURATION = f"""
[[server]]
listen = "{FLOODED_IP}:123"
rate-limiting-cache-size = 1024
rate-limiting-cutoff-ms = 1000

[keyset]
key-rotation-interval = {ROTATION}
"""


@dataclass
class Seen:
    """What has happened so far."""

    hostile: int = 0
    flood: int = 0
    exchanges: int = 0
    replies: int = 0
    lost: int = 0
    late: int = 0
    kisses: int = 0
    wrong: int = 0
    certificates: set[int] = field(default_factory=set)
    memory: list[float] = field(default_factory=list)

    def add(self, loaded: dict[str, Any]) -> None:
        """Add what a load generator printed; what it gave up as lost and came later is late, not lost."""
        self.replies += loaded["replies"]
        self.late += loaded["late"]
        self.lost += loaded["lost"] - loaded["late"]
        self.kisses += loaded["kisses"]
        self.wrong += loaded["wrong"]


def memory(pid: int) -> float:
    """Give the resident memory, MiB."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def dropped(pid: int) -> int:
    """Give the datagrams that found no room in the buffer of a socket, in the whole network of a process."""
    names, values = (
        line.split() for line in Path(f"/proc/{pid}/net/snmp").read_text().splitlines() if line.startswith("Udp: ")
    )
    return int(values[names.index("RcvbufErrors")])


def nonsense() -> bytes:
    """Give a packet that is no request of a client."""
    first = random.choice((0x16, 0x17, 0x20, 0x21, 0x22, 0x24, 0x25, 0x03, 0x2B, 0x3B, random.randrange(256)))
    packet = bytes([first]) + random.randbytes(random.choice((0, 3, 11, 46, 47, 60, 64, 100, 500, 1400)))
    if first & 7 == 3 and len(packet) >= 48:  # the header would be a request's: spoil the version
        packet = bytes([first & 0xC7]) + packet[1:]
    return packet


class Hostility:
    """All that nobody should send; each call of ``tick`` sends a little of it."""

    def __init__(self, lab: Lab, server: Server, seen: Seen) -> None:
        self._lab = lab
        self._server = server
        self._seen = seen
        self._senders = [self._sender() for _ in range(64)]

    def _sender(self) -> socket.socket:
        """Make a socket of some address."""
        opened = self._lab.open_socket()
        opened.bind((f"127.{random.randrange(1, 256)}.{random.randrange(256)}.{random.randrange(1, 255)}", 0))
        opened.setblocking(False)  # noqa: FBT003 - Python's own signature
        return opened

    def tick(self) -> None:
        """Send some nonsense, and requests from some of very many addresses."""
        for _ in range(HOSTILE_PER_TICK):
            self._seen.hostile += self._send(random.choice(self._senders), nonsense(), self._server.ip)
        with self._sender() as flooder:
            for _ in range(HOSTILE_PER_TICK):
                self._seen.flood += self._send(flooder, bytes([0x23]).ljust(48, b"\1"), FLOODED_IP)

    def garbage(self) -> None:
        """Say something to the key exchange that is not TLS, and leave; and say nothing at all."""
        for words in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + random.randbytes(200), b""):
            with self._lab.open_socket(kind=socket.SOCK_STREAM) as opened:
                opened.settimeout(ROOM)
                opened.connect((self._server.ip, KEY_EXCHANGE_PORT))
                opened.send(words)

    @staticmethod
    def _send(sender: socket.socket, packet: bytes, ip: str) -> int:
        try:
            sender.sendto(packet, (ip, 123))
        except OSError:
            return 0
        return 1

    def close(self) -> None:
        """Close all sockets."""
        for each in self._senders:
            each.close()


def under_nts(lab: Lab, load: Load, server: Server, seen: Seen) -> Generator[None, None, None]:
    """Ask under NTS for ever, each turn with the cookies of new key exchanges; yields while a turn runs."""
    templates = lab.directory / "nts.requests"
    while True:
        clients = [exchange_keys(lab, server.ip) for _ in range(NTS_CLIENTS)]
        seen.exchanges += len(clients)
        write_templates(templates, clients, NTS_IN_FLIGHT)
        words = load.command(server, NTS_IN_FLIGHT, NTS_TURN, "-r", str(NTS_RATE), "-t", templates)
        with (lab.directory / "nts.json").open("w+b") as said:
            turn = lab.popen(words, output=said)
            while turn.poll() is None:
                yield
            said.seek(0)
            seen.add(json.load(said))


def renewals(lab: Lab, credentials: Credentials, server: Server, seen: Seen) -> Generator[None, None, None]:
    """Replace the certificate for ever, and note which one is shown; yields in between."""
    while True:
        credentials.renew()
        until = time.monotonic() + RENEWAL
        while time.monotonic() < until:
            yield
        with tls_session(lab, server.ip) as session:
            certificate = session.get_peer_certificate(as_cryptography=True)
            seen.certificates.add(certificate.serial_number if certificate is not None else 0)


def main() -> int:
    """Serve, and tell how it went."""
    options = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--share", type=float, default=0.8, help="of the rate that is reached without a limit")
    chosen = options.parse_args()
    seconds = 60 * chosen.minutes
    seen = Seen()
    with closing(Lab()) as lab:
        load = Load(lab)
        os.sched_setaffinity(0, {int(CLIENT_CORE)})
        credentials = Credentials(lab)
        server = serve_ntptwist(lab, credentials, extra=CONFIGURATION)
        reached = load.run(server, 256, 3.0).rate
        rate = chosen.share * reached
        print(
            f"{reached:.0f} requests a second without a limit, {rate:.0f} from now on, for {seconds:.0f} s", flush=True
        )
        words = load.command(server, 256, seconds, "-r", f"{rate:.0f}")
        before = dropped(server.pid)
        with (lab.directory / "plain.json").open("w+b") as said, closing(Hostility(lab, server, seen)) as hostility:
            plain = lab.popen(words, output=said)
            tasks = [under_nts(lab, load, server, seen), renewals(lab, credentials, server, seen)]
            begin = spoken = time.monotonic()
            while plain.poll() is None and time.monotonic() - begin < seconds + ROOM:
                hostility.tick()
                for task in tasks:
                    next(task)
                if time.monotonic() - begin > seconds * (1 + len(seen.memory)) / TENTHS:
                    seen.memory.append(memory(server.pid))
                if time.monotonic() - spoken > 1.0:
                    spoken = time.monotonic()
                    hostility.garbage()
                time.sleep(TICK)
            for task in tasks:
                task.close()
            protected = seen.replies
            said.seek(0)
            loaded = json.load(said)
            seen.add(loaded)
        drops = dropped(server.pid) - before
    unexplained = max(0, seen.lost - drops)
    growth = seen.memory[-1] - seen.memory[len(seen.memory) // 2]
    print(f"plain: {loaded['replies']} replies, {loaded['rate']:.0f} a second")
    print(f"NTS: {seen.exchanges} key exchanges, {protected} replies, {seen.kisses} times NTSN")
    print(f"hostile: {seen.hostile} packets, and {seen.flood} of a flood from changing addresses")
    print(f"certificates shown: {len(seen.certificates)}; wrong replies: {seen.wrong}")
    print(f"requests without a reply: {seen.lost}; dropped by the kernel for want of room, of all kinds: {drops}")
    print(f"replies later than 100 ms: {seen.late}")
    print(f"memory by tenths of the time, MiB: {', '.join(f'{each:.1f}' for each in seen.memory)}")
    return 1 if unexplained or seen.kisses or seen.wrong or growth > MOST_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
