"""
The true time of the virtual machine, and the server that gives it.

True time is an affine function of CLOCK_MONOTONIC_RAW, which nothing steers; so the machine itself can tell, to a
microsecond, how wrong its CLOCK_REALTIME is.  Run as a program, with an address, this is a stratum 1 NTP server.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PATH = Path("/run/reference.json")
EPOCH_OFFSET = 2_208_988_800
PORT = 123
_REPLY = struct.Struct(">BBbbII4sQ8sQ")


@dataclass(frozen=True)
class Reference:
    """True time, the same for all processes: at ``raw`` (ns) it was ``true`` (ns), and it runs ``ppm`` fast."""

    raw: int
    true: int
    ppm: float

    @classmethod
    def create(cls, offset_s: float, ppm: float) -> Reference:
        """Begin: true time is ``offset_s`` ahead of the machine's clock and ``ppm`` faster than its oscillator."""
        reference = cls(_raw(), time.time_ns() + round(offset_s * 1e9), ppm)
        PATH.write_text(json.dumps(asdict(reference)))
        return reference

    @classmethod
    def load(cls) -> Reference:
        """Give what ``create`` began."""
        return cls(**json.loads(PATH.read_text()))

    def at(self, raw: int) -> int:
        """Give the true time, ns, at a moment of CLOCK_MONOTONIC_RAW."""
        return self.true + raw - self.raw + round((raw - self.raw) * self.ppm * 1e-6)

    def raw_at(self, true: int) -> int:
        """Give the moment of CLOCK_MONOTONIC_RAW, ns, at which true time is this."""
        return self.raw + round((true - self.true) / (1.0 + self.ppm * 1e-6))

    def now(self) -> int:
        """Give the true time, ns."""
        return self.at(_raw())

    def offset(self) -> int:
        """Give true time minus CLOCK_REALTIME, ns, from the tightest of five bracketed reads."""
        reads = []
        for _ in range(5):
            before = _raw()
            realtime = time.time_ns()
            after = _raw()
            reads.append((after - before, self.at((before + after) // 2) - realtime))
        return min(reads)[1]


def _raw() -> int:
    """Read the time that nothing steers, ns."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def _ntp(nanoseconds: int) -> int:
    """Give the 64-bit timestamp of RFC 5905, section 6."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return (seconds + EPOCH_OFFSET & 0xFFFFFFFF) << 32 | (fraction << 32) // 10**9


def serve(address: str) -> None:
    """Answer NTP requests with the true time, until the process is ended."""
    reference = Reference.load()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        while True:
            request, client = server.recvfrom(1024)
            received = reference.now()
            if len(request) < 48 or request[0] & 7 != 3:
                continue
            first, poll = request[0] & 0x38 | 4, struct.unpack_from("b", request, 2)[0]
            head = _REPLY.pack(
                first, 1, poll, -20, 0, 1, b"SIM\0", _ntp(received - 10**9), request[40:48], _ntp(received)
            )
            server.sendto(head + struct.pack(">Q", _ntp(reference.now())), client)


if __name__ == "__main__":
    serve(sys.argv[1])
