"""
A program for a network namespace of its own, whose loopback delays datagrams; its argument is a kind of reactor.

Loopback gets a token bucket that lets a few datagrams pass at once and the next one after a while, and a link-local
address.  The program sends until one is held up, tells what its protocol was told, as JSON, and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from asyncio import new_event_loop
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor

from ntptwist.net.port import TimestampedUDP
from tests.net.conftest import KINDS
from tests.net.recorder import Echo, Recorder

LINK_LOCAL = "fe80::1"
BUCKET = 200
RATE = "16kbit"
LENGTH = 48
REQUESTS = 3


class CountingUDP(TimestampedUDP):
    """Counts how often the reactor calls it."""

    calls = 0

    def doRead(self) -> None:
        """Count."""
        self.calls += 1
        super().doRead()


def prepare_loopback() -> None:
    """Bring loopback up, with a link-local address and a token bucket for what it sends."""
    for command in (
        "ip link set lo up",
        f"ip address add {LINK_LOCAL}/64 dev lo nodad",
        f"tc qdisc add dev lo root tbf rate {RATE} burst {BUCKET} limit 10000",
    ):
        subprocess.run(command.split(), check=True)


def exchange(reactor: Any, host: str) -> dict[str, Any]:
    """Send requests to an echo, and say what came of the last one and how often the reactor was busy with it."""
    udp = CountingUDP(reactor)
    server, client = Echo(), Recorder()
    listening = udp.listen_udp(host, 0, server)
    transport = udp.connect_udp(host, listening.getHost().port, client)
    before = 0
    for _ in range(REQUESTS):
        client.transmitted.clear()
        before = time.time_ns()
        transport.write(bytes(LENGTH))
    written = time.time_ns()
    give_up = time.monotonic() + 5.0
    while len(client.received) < REQUESTS and time.monotonic() < give_up:
        reactor.iterate(0.5)
    told = {
        "host": host,
        "write": written - before,
        "transmitted": [stamp - before for stamp in client.transmitted],
        "served": server.received[-1][2] - before,
        "sources": sorted({source for _, (source, _), _ in client.received}),
        "received": len(client.received),
        "lives": [*client.life, *server.life],
        "calls": udp.calls,
    }
    transport.stopListening()
    listening.stopListening()
    return told


def main(kind: str) -> None:
    """Do it over IPv4 and over link-local IPv6."""
    prepare_loopback()
    reactor: Any = AsyncioSelectorReactor(new_event_loop()) if kind == "asyncio" else KINDS[kind]()
    json.dump([exchange(reactor, host) for host in ("127.0.0.1", f"{LINK_LOCAL}%lo")], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
