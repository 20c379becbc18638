"""
How fast the lab is, and what a measurement costs with few and with many servers.

The whole daemon asks its servers each 64 s in a virtual world.  The first tenth of the time is left out; of the rest
it is printed how many times faster than real time that was per second of user processor time, the processor time of
one request with all that follows from it, the share of a core that the same would take in real time (the world
included, system calls not), and by how much the memory grew, the clock's trace included: 16 octets a second.  The
digest is that of the trace: a change that only makes things faster leaves it as it was.

``python bench/lab.py [--days 1] [--sources 1,4,100,1000] [--rounds 1] [--seed 1]``; with many sources the time is cut
so that they are asked as often as four sources in that time, but to no less than ten minutes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

sys.path.insert(0, str(FilePath(__file__).resolve().parents[1]))

from ntptwist.config.loader import loads
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel, Sine
from ntptwist.sim.world import World

DAY = 86_400
FEW = 4
SHORTEST = 600.0
POLLS = "[source-defaults]\npoll-interval-limits = { min = 6, max = 6 }\n"
ROW = "{:>8}{:>10}{:>14}{:>14}{:>12}{:>10}{:>8}  {}"


@dataclass(frozen=True, slots=True)
class Speed:
    """What one run showed: times in seconds, growth of the memory in Python's blocks and in MiB."""

    passed: float
    took: float
    requests: int
    blocks: int
    resident: float
    digest: str


def run(sources: int, seconds: float, seed: int) -> Speed:
    """Let so many sources be asked for so long."""
    world = World(seed, oscillator=OscillatorModel(frequency=20e-6, sines=(Sine(0.5e-6, DAY),)))
    text = POLLS
    for number in range(sources):
        address = f"198.18.{number // 250}.{number % 250 + 1}"
        world.add_server(address, up=Path(1e-3, 1e-4))
        text += f'[[source]]\nmode = "server"\naddress = "{address}"\n'
    config = replace(loads(text, find_driver), control_directory=None, state_directory=None)
    service = make_service(config, world.reactor, clock=world.clock, randbytes=world.randbytes, own_addresses=tuple)
    world.start(service)
    world.run(seconds / 10.0)
    blocks, resident = memory()
    asked, begin = world.statistics().packets, processor()
    world.run(seconds * 0.9)
    took, requests = processor() - begin, world.statistics().packets - asked
    after = memory()
    trace = world.clock.trace
    digest = hashlib.sha256(trace.offsets.tobytes() + trace.frequencies.tobytes()).hexdigest()
    service.stopService()
    return Speed(seconds * 0.9, took, requests, after[0] - blocks, after[1] - resident, digest[:12])


def processor() -> float:
    """Give the user processor time of this process, seconds."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def memory() -> tuple[int, float]:
    """Give the blocks that Python's objects take, and the resident memory of this process, MiB."""
    gc.collect()
    pages = int(FilePath("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> None:
    """Measure each number of sources in turn."""
    options = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    options.add_argument("--days", type=float, default=1.0, help="virtual days of up to four sources")
    options.add_argument("--sources", default="1,4,100,1000", help="numbers of servers")
    options.add_argument("--rounds", type=int, default=1, help="runs of each; the fastest counts")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    print(ROW.format("sources", "days", "x real time", "us/request", "% of core", "blocks", "MiB", "digest"))
    for sources in map(int, chosen.sources.split(",")):
        seconds = max(chosen.days * DAY * min(1.0, FEW / sources), SHORTEST)
        best = min((run(sources, seconds, chosen.seed) for _ in range(chosen.rounds)), key=lambda speed: speed.took)
        figures = (
            f"{best.passed / DAY:.2f}",
            f"{best.passed / best.took:,.0f}",
            f"{best.took / best.requests * 1e6:.1f}",
            f"{100.0 * best.took / best.passed:.4f}",
            f"{best.blocks:+d}",
            f"{best.resident:+.1f}",
        )
        print(ROW.format(sources, *figures, best.digest))


if __name__ == "__main__":
    main()
