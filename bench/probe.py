"""
A client that only measures, with kernel timestamps of both directions: what a server says against what was so.

On loopback both ends share the machine's clock.  The kernel stamps a datagram on its way out and on its way in within a
microsecond, so the time from its departure to its arrival is known at one end; a server whose transmit timestamp is
earlier than its reply makes the way back look longer.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ntptwist.kernel.timestamping import KernelSocket, TimestampedSocket  # noqa: E402 - the path had to be set first
from ntptwist.timestamp import decode_timestamp  # noqa: E402
from tests.functional.peers.lab import Lab  # noqa: E402

INTERVAL, PATIENCE = 0.01, 0.1
_REQUEST = Struct("!B23x8s8s8s")
_REPLY = Struct("!24x8sQQ")
_NOTHING = bytes(8)

Stamps = tuple[int, int, int, int]
"""T1 to T4 of an exchange, nanoseconds; all but T3 are the kernel's, and T3 too in interleaved mode."""


class Probe:
    """Asks one server at a steady pace, in basic or in interleaved mode."""

    def __init__(self, lab: Lab, ip: str, *, interleaved: bool) -> None:
        self._opened = KernelSocket(fileno=lab.open_socket().detach())
        self._opened.settimeout(0)
        self._opened.connect((ip, 123))
        self._stamped = TimestampedSocket(self._opened)
        self._poll = select.poll()
        self._poll.register(self._opened, select.POLLIN)
        self._interleaved = interleaved
        self._before: tuple[int, int, int, bytes] | None = None

    def measure(self, count: int) -> Iterator[Stamps]:
        """Make so many exchanges, and give the stamps of those that were complete."""
        with self._opened:
            for _ in range(count):
                stamps = self._exchange()
                if stamps is not None:
                    yield stamps
                time.sleep(INTERVAL)

    def _exchange(self) -> Stamps | None:
        """Give the stamps of this exchange, in interleaved mode those of the one before."""
        before, self._before = self._before, None
        asked, nonce = os.urandom(8), os.urandom(8)
        origin = before[3] if self._interleaved and before is not None else _NOTHING
        self._stamped.send(_REQUEST.pack(0x23, origin, asked, nonce))
        t1, reply = None, None
        deadline = time.monotonic() + PATIENCE
        while (t1 is None or reply is None) and time.monotonic() < deadline:
            self._poll.poll(int(PATIENCE * 1000))
            t1 = self._stamped.error_queue().transmitted or t1
            reply = next(self._stamped.receive(1), None) or reply
        if t1 is None or reply is None or len(reply.data) < _REPLY.size:
            return None
        echo, received, transmitted = _REPLY.unpack_from(reply.data)
        t2 = decode_timestamp(received, reply.stamp)
        t3 = decode_timestamp(transmitted, reply.stamp)
        self._before = t1, t2, reply.stamp, reply.data[32:40]
        if echo == asked and before is not None:
            return before[0], before[1], t3, before[2]
        return (t1, t2, t3, reply.stamp) if echo == nonce and not self._interleaved else None


def offset(stamps: Stamps) -> float:
    """Give the offset of an exchange, microseconds."""
    t1, t2, t3, t4 = stamps
    return ((t2 - t1) + (t3 - t4)) / 2e3


def earliness(stamps: Stamps) -> float:
    """Give by how many microseconds T3 is earlier than the kernel's transmit stamp, if both ways take as long."""
    return -2 * offset(stamps)
