"""A virtual machine with a GPS receiver: the whole daemon, fed through a socket and by pulses."""

from __future__ import annotations

from typing import Any

from ntptwist.config.loader import loads
from ntptwist.registry import find_driver
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.receiver import Receiver
from ntptwist.sim.world import World
from ntptwist.snapshot import SourceSnapshot
from ntptwist.spawners.pps import PPSSpawner
from ntptwist.spawners.service import SpawnerService
from tests.sim.daemon import VirtualDaemon

SOCK = """
[[source]]
mode = "sock"
path = "/run/gps.sock"
precision = 1e-3
"""
PPS = """
mode = "pps"
path = "/dev/pps0"
precision = 1e-6
"""


class GPSMachine(VirtualDaemon):
    """
    The daemon of a configuration ``text`` on a machine whose clock starts 0.3 s fast and 20 ppm off.

    ``pps`` is the table of a source with a pulse, which is the receiver's; None for no such source.
    """

    def __init__(self, text: str = SOCK, pps: str | None = PPS, world: World | None = None, **receiver: Any) -> None:
        world = world or World(1, oscillator=OscillatorModel(frequency=20e-6), offset=-0.3)
        self.receiver = Receiver(world, **receiver)
        super().__init__(world, text)
        if pps is not None:
            configuration = loads(f"[[source]]\n{pps}", find_driver).sources[0].configuration
            make = self.receiver.open_device, self.receiver.threads
            spawner = PPSSpawner(configuration, self.system, world.reactor, *make)
            self.pps = SpawnerService(spawner, self.system, world.reactor, "pps")
            self.pps.setServiceParent(self.system)

    def row(self, number: int = 0) -> SourceSnapshot:
        """Give one row of the sources, in their order."""
        return self.snapshot().sources[number]

    @property
    def error(self) -> float:
        """Truth minus the clock, seconds."""
        return self.world.clock.true_offset()
