"""
A virtual world: one machine with its clock, the network, servers, names, and true time.

The daemon is built by the very function that builds it for a real machine and can't tell the difference::

    world = World(seed=1, oscillator=OscillatorModel(frequency=100e-6), offset=-0.1)
    world.add_server("198.51.100.1", up=Path(100e-6, 100e-6))
    world.start(make_service(config, world.reactor, clock=world.clock, randbytes=world.randbytes))
    world.run(40_000)
    print(world.statistics(first=10_000).rms)

Everything that happens follows from the arguments: same seed, same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.application.service import IService

from ntptwist.identifiers import Leap
from ntptwist.sim.clock import LEAPS, SimulatedClock
from ntptwist.sim.names import NameTable
from ntptwist.sim.network import PERFECT, Network, Path
from ntptwist.sim.oscillator import Oscillator, OscillatorModel
from ntptwist.sim.reactor import VirtualReactor
from ntptwist.sim.server import GOOD, NTP_PORT, Behaviour, ReferenceServer
from ntptwist.sim.timeline import NEW_YEAR_2026, Timeline
from ntptwist.sim.trace import Statistics
from ntptwist.timestamp import NANOSECONDS, Timestamp

ADDRESSES = ("192.0.2.1", "2001:db8::1")
"""Of the machine."""


class World:
    """
    One machine and what is around it.

    ``offset`` is truth minus the machine's clock at the ``start``, seconds; times are seconds of true time since then.
    ``randbytes`` is a stream of the world's own for whoever needs chance.
    """

    def __init__(
        self,
        seed: int | str = 1,
        *,
        oscillator: OscillatorModel = OscillatorModel(),  # noqa: B008 - it is frozen
        offset: float = 0.01,
        start: Timestamp = NEW_YEAR_2026,
        rounded: bool = True,
    ) -> None:
        self.timeline = Timeline(start)
        self.network = Network(self.timeline, seed)
        self.names = NameTable(self.timeline)
        self.clock = SimulatedClock(self.timeline, Oscillator(oscillator, seed), offset, rounded=rounded)
        self.reactor = self._boot()
        self.randbytes: Callable[[int], bytes] = Random(f"{seed}/randbytes").randbytes  # noqa: S311 - no secrets here
        self.servers: list[ReferenceServer] = []

    def add_server(
        self,
        address: str,
        behaviour: Behaviour = GOOD,
        up: Path = PERFECT,
        down: Path | None = None,
        port: int = NTP_PORT,
    ) -> ReferenceServer:
        """Set up a server, and the paths from the machine to it and back (``up`` stands for both)."""
        machine = ADDRESSES[":" in address]
        self.network.set_path(machine, address, up)
        self.network.set_path(address, machine, down or up)
        server = ReferenceServer(self.timeline, self.network, (address, port), behaviour)
        self.servers.append(server)
        return server

    def start(self, service: IService) -> None:
        """Start a service on the machine, to be stopped with its reactor."""
        self.reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        service.privilegedStartService()
        service.startService()

    def stop(self) -> None:
        """End what runs on the machine, as SIGTERM does; ``reactor`` is a new one then, for the next service."""
        self.run(0)
        if self.reactor.running:
            self.reactor.stop()
        self.reactor = self._boot()

    def _boot(self) -> VirtualReactor:
        return VirtualReactor(self.timeline, self.clock, self.network, ADDRESSES, self.names)

    def at(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        """Have something happen so many seconds after the start."""
        self.timeline.at(self.timeline.start + round(seconds * NANOSECONDS), function, *arguments)

    def leap_second(self, seconds: float, leap: Leap) -> None:
        """
        Let there be a leap second so many seconds after the start: at a midnight of UTC, and at the end of a month.

        It happens to UTC, so to the servers' clocks; to the machine's if its kernel was told, or its error is 1 s.
        """
        early = NANOSECONDS if leap is Leap.DELETE else 0
        when = self.timeline.start + round(seconds * NANOSECONDS) - early
        self.timeline.at(when, self._leap, LEAPS[leap])

    def _leap(self, delta: int) -> None:
        self.clock.record()
        self.timeline.leap_shift += delta

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run_for(seconds)
        self.clock.record()

    def statistics(self, first: int = 0, last: int | None = None) -> Statistics:
        """Give the figures of the seconds from ``first`` up to, not including, ``last``."""
        packets = sum(self.network.sent[address] for address in ADDRESSES)
        return self.clock.trace.statistics(first, last, packets, self.clock.steps)
