"""A month of the whole daemon takes less than a minute, and no more memory than a day but for the clock's trace."""

from __future__ import annotations

import gc
import sys
import time

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


def objects() -> int:
    """Give the number of blocks that all Python objects take; the trace of a clock is two of them, however long."""
    gc.collect()
    return sys.getallocatedblocks()


def test_a_month_passes_in_a_minute_and_leaves_nothing_behind() -> None:
    """Thirty days of four servers, asked each minute, take less than a minute of a processor and pile up no objects."""
    world = world_of_four()
    start = time.process_time()
    with VirtualDaemon(world, STEADY + SERVERS) as daemon:
        daemon.run(4 * DAY)
        before = objects()
        daemon.run(26 * DAY)
        grown = objects() - before
    took = time.process_time() - start

    assert took < 60
    assert grown < 5000
    assert world.statistics(DAY).rms < 10e-6
