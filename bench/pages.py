"""
What it costs the reactor to show a daemon with a hundred sources and a full day: run by hand, prints a table.

No turn of the reactor shall take longer than 5 ms.  A whole answer is one turn; one in pieces (``observe.web``) is
many, each of which ends with the piece that exceeds its time or its length.  Times are those of the processor.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from ntptwist.observe.history import CAPACITY, INTERVAL
from ntptwist.observe.web import LARGEST_PART, TURN
from ntptwist.observing import make_pages
from ntptwist.timestamp import NANOSECONDS, Monotonic
from tests.page.showcase import Showcase

SOURCES = 100
ROUNDS = 50

Make = Callable[[], bytes | Iterable[str]]


def turns(make: Make) -> tuple[list[float], int]:
    """Make an answer as the listener does; give the seconds of each turn, and its length."""
    began = time.process_time()
    made = make()
    pieces = [made.decode()] if isinstance(made, bytes) else made
    taken, length, room = [time.process_time() - began], 0, LARGEST_PART
    began = time.process_time()
    for piece in pieces:
        length += len(piece)
        room -= len(piece)
        if room <= 0 or time.process_time() - began >= TURN:
            taken.append(time.process_time() - began)
            room, began = LARGEST_PART, time.process_time()
    taken.append(time.process_time() - began)
    return taken, length


def fill(showcase: Showcase) -> None:
    """Make up a whole day in which every source measures each time."""
    snapshot = showcase.system.snapshot()
    chance = Random(1)
    for tick in range(CAPACITY):
        sources = tuple(
            replace(
                row,
                estimate=replace(
                    row.estimate, offset=chance.gauss(0, 1e-4), measurements=row.estimate.measurements + tick
                ),
            )
            for row in snapshot.sources
        )
        monotonic = Monotonic(snapshot.monotonic + round(tick * INTERVAL * NANOSECONDS))
        showcase.history.sample(replace(snapshot, monotonic=monotonic, sources=sources), showcase.servers())


def main() -> None:
    """Print, for each answer, its length, its turns, and how long the longest of them takes."""
    showcase = Showcase(good=SOURCES - 2, hours=0.5)
    fill(showcase)
    gc.collect()
    gc.freeze()  # the virtual world is no part of a daemon
    pages, history, system = make_pages(showcase.views), showcase.history, showcase.system

    def page(path: str) -> Make:
        return lambda: pages[path].make({})

    def clock() -> bytes:
        axis = history.axis(system.snapshot())
        return json.dumps({**axis, "clock": history.clock(axis)}).encode()

    def source() -> bytes:
        axis = history.axis(system.snapshot())
        return json.dumps({**axis, "source": history.source(history.sources[0], axis)}).encode()

    def sample() -> bytes:
        history.sample(system.snapshot(), showcase.servers())
        return b""

    answers: dict[str, Make] = {path: page(path) for path in ("/", "/status.json", "/history.json", "/metrics")}
    answers |= {"history (ctl)": clock, "of a source (ctl)": source, "a sample": sample}
    answers["metrics (ctl)"] = lambda: json.dumps(showcase.views.meter.text()).encode()
    print(f"{SOURCES} sources, {history.octets:,} octets of history; milliseconds")
    print(f"{'answer':<18}{'octets':>10}{'turns':>7}{'all':>8}{'longest: median':>17}{'of all':>8}")
    for name, make in answers.items():
        longest, whole = [], []
        for _ in range(ROUNDS):
            taken, length = turns(make)
            longest.append(max(taken) * 1e3)
            whole.append(sum(taken) * 1e3)
        print(
            f"{name:<18}{length:>10,}{len(taken):>7}{statistics.median(whole):>8.2f}"
            f"{statistics.median(longest):>17.2f}{max(longest):>8.2f}"
        )


if __name__ == "__main__":
    main()
