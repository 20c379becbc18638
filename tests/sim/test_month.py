"""A month of the whole daemon takes less than a minute, and no more memory than a day but for the clock's trace."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel, Sine
from ntptwist.sim.world import World
from tests.sim.daemon import STEADY, VirtualDaemon

pytestmark = [pytest.mark.nightly, pytest.mark.lengthy, pytest.mark.limit(600)]

DAY = 86_400
SERVERS = "".join(f'[[source]]\nmode = "server"\naddress = "198.51.100.{n}"\n' for n in range(1, 5))


def world_of_four() -> World:
    """Give a world with four servers near by, warm days and cold nights."""
    world = World(1, oscillator=OscillatorModel(frequency=20e-6, sines=(Sine(0.5e-6, DAY),)))
    for number in range(1, 5):
        world.add_server(f"198.51.100.{number}", up=Path(1e-3, 1e-4))
    return world


def memory_beside_the_trace(world: World) -> int:
    """Give the octets in use, without what the trace of the clock needs."""
    gc.collect()
    trace = world.clock.trace
    held = sum(row.buffer_info()[1] * row.itemsize for row in (trace.offsets, trace.frequencies))
    return tracemalloc.get_traced_memory()[0] - held


def test_a_month_needs_no_more_memory_than_a_few_days() -> None:
    """From the fourth day to the thirtieth the daemon and its world grow by less than a tenth of a megabyte a week."""
    world = world_of_four()
    tracemalloc.start()
    with VirtualDaemon(world, SERVERS) as daemon:
        daemon.run(4 * DAY)
        before = memory_beside_the_trace(world)
        daemon.run(26 * DAY)
        grown = memory_beside_the_trace(world) - before
    tracemalloc.stop()

    assert grown < 400_000


def test_a_month_passes_in_a_minute() -> None:
    """Thirty days of four servers, asked each minute, are simulated in less than a minute of a processor's time."""
    import time

    world = world_of_four()
    start = time.process_time()
    with VirtualDaemon(world, STEADY + SERVERS) as daemon:
        daemon.run(30 * DAY)
    took = time.process_time() - start

    assert took < 60
    assert world.statistics(DAY).rms < 10e-6
