"""
A day in the life of a daemon, to look at: a virtual machine with eight sources, of which one is wrong and one silent.

The day passes in some seconds; the page that shows it is then served by the real reactor.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ntptwist.config.loader import loads
from ntptwist.observe.history import INTERVAL, History
from ntptwist.observe.metrics import Meter
from ntptwist.observing import Views
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.server import Behaviour
from ntptwist.sim.world import World
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot
from ntptwist.system import System

DISTANCES = (1e-3, 4e-3, 6e-3, 9e-3, 12e-3, 20e-3)
"""Seconds to each good server and back, halved."""
WRONG = "198.51.100.99"
SILENT = "2001:db8::7"

SOURCE = '[[source]]\nmode = "server"\naddress = "{}"\n'
HOUR = 3.6e12
"""Nanoseconds."""

LIMITS = "[source-defaults]\npoll-interval-limits = { min = 6, max = 8 }\n"


class Showcase:
    """The world, its daemon, and what was sampled of them."""

    def __init__(self, good: int = len(DISTANCES), hours: float = 24.0) -> None:
        oscillator = OscillatorModel(frequency=12e-6, wander=3e-9)
        self.world = World(1, oscillator=oscillator, offset=0.02)
        names = [f"198.51.100.{number}" for number in range(1, good + 1)]
        for place, name in enumerate(names):
            one_way = DISTANCES[place % len(DISTANCES)]
            self.world.add_server(name, up=Path(one_way, one_way / 30), down=Path(one_way, one_way / 20))
        self.world.add_server(WRONG, Behaviour(offset=0.25), up=Path(8e-3, 1e-3))
        text = LIMITS + "".join(SOURCE.format(name) for name in [*names, WRONG, f"[{SILENT}]"])
        config = replace(loads(text, find_driver), control_directory=None, state_directory=None)
        daemon = make_service(config, self.world.reactor, self.world.clock, self.world.randbytes)
        assert daemon.system is not None
        self.system: System = daemon.system
        self.history = History()
        self.views = Views(
            self.system,
            self.history,
            Meter(self.system, self.servers, self.key_servers),
            self.servers,
            self.key_servers,
            "clock.example.net",
        )
        self.world.start(daemon)
        for _ in range(int(hours * 3600 / INTERVAL)):
            self.world.run(INTERVAL)
            self.history.sample(self.system.snapshot(), self.servers())

    def servers(self) -> list[ServerSnapshot]:
        """Give a server whose load rises and falls with the hour."""
        hour = self.system.clock.read().monotonic / HOUR
        received = int(hour * 40_000 + 60_000 * (1 - math.cos(hour * math.pi / 12)))
        counters = dict.fromkeys(
            (
                *("received", "accepted", "denied", "ignored", "rate_limited", "nts_received", "nts_accepted"),
                *("nts_denied", "nts_nak", "response_send_errors", "interleaved", "control"),
            ),
            0,
        )
        counters |= {"received": received, "accepted": received - 40, "rate_limited": 40, "nts_received": received // 3}
        return [ServerSnapshot("[::]:123", None, counters)]

    def key_servers(self) -> list[KeyServerSnapshot]:
        """Give a server of NTS keys."""
        return [KeyServerSnapshot("[::]:4460", None, {"given": 812, "tls": 3})]
