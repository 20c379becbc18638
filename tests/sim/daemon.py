"""The whole daemon in a virtual world, from the text of a configuration: what tests of its outer parts start from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from twisted.internet.defer import Deferred

from ntptwist.config.loader import loads
from ntptwist.config.model import Config
from ntptwist.control.report import Report
from ntptwist.interfaces import IControl
from ntptwist.registry import find_driver
from ntptwist.service import Daemon, make_service
from ntptwist.sim.network import Path
from ntptwist.sim.port import FIRST_EPHEMERAL, LAST_EPHEMERAL
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.snapshot import SourceSnapshot, SystemSnapshot
from ntptwist.spawners.service import SpawnerService
from ntptwist.system import System

NEAR = Path(1e-3, 1e-4)
"""The path to a server whose distance does not matter to a test."""

STEADY = """
[source-defaults]
poll-interval-limits = { min = 6, max = 6 }
"""
"""For tests that count polls: 64 s, always, after the burst."""


class VirtualDaemon(AbstractContextManager["VirtualDaemon"]):
    """
    The daemon of a configuration in a ``world``, started; in a ``with`` statement it is stopped at its end.

    ``text`` is the TOML text.  No control directory is used, whatever it says, and no state directory but the one
    given here.
    """

    def __init__(self, world: World, text: str, state_directory: str | None = None) -> None:
        self.world = world
        self.text = text
        self._state_directory = state_directory
        self.service: Daemon = make_service(
            self._config(),
            world.reactor,
            clock=world.clock,
            randbytes=world.randbytes,
            own_addresses=lambda: map(ip_address, ADDRESSES),
            read=self._config,
        )
        assert self.service.system is not None
        assert self.service.control is not None
        self.system: System = self.service.system
        self.control: IControl = self.service.control
        world.start(self.service)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.service.stopService()

    def _config(self) -> Config:
        return replace(loads(self.text, find_driver), control_directory=None, state_directory=self._state_directory)

    def reload(self, text: str) -> Report:
        """Change the text of the configuration, and let the daemon read it."""
        self.text = text
        return self.done(self.control.reload())

    def done(self, answer: Deferred[Report]) -> Report:
        """Give what became of a wish."""
        reports: list[Report] = []
        answer.addCallback(reports.append)
        self.world.run(0)  # threads of a virtual world take no time
        (report,) = reports
        return report

    @property
    def spawners(self) -> list[SpawnerService]:
        """The services around the spawners, in the order of the configuration."""
        return [child for child in self.system if isinstance(child, SpawnerService)]

    def run(self, seconds: float) -> Self:
        """Let time pass."""
        self.world.run(seconds)
        return self

    def run_until(self, holds: Callable[[SystemSnapshot], bool], seconds: float, step: float = 1.0) -> float:
        """Let time pass until the state is as wanted; give how long that took.  AssertionError if it takes longer."""
        start = self.world.timeline.now
        while not holds(self.snapshot()):
            waited = (self.world.timeline.now - start) / 1e9
            assert waited < seconds, f"not so after {seconds:g} s: {self.snapshot()}"
            self.world.run(step)
        return (self.world.timeline.now - start) / 1e9

    def snapshot(self) -> SystemSnapshot:
        """Give the state."""
        return self.system.snapshot()

    def rows(self) -> list[SourceSnapshot]:
        """Give the rows of all sources that there are."""
        return [row for row in self.snapshot().sources if row.id is not None]

    def hosts(self) -> list[str]:
        """Give the addresses of all sources, without their ports."""
        return [row.observation.address.rpartition(":")[0].strip("[]") for row in self.rows()]

    def troubles(self) -> list[str]:
        """Give what the spawners have to say beside their sources."""
        return [row.observation.trouble or "" for row in self.snapshot().sources if row.id is None]


def open_ports(world: World) -> list[int]:
    """Give the ephemeral ports that are open on the machine."""
    used = range(FIRST_EPHEMERAL, LAST_EPHEMERAL + 1)
    return [port for port in used if any(world.network.is_bound((address, port)) for address in ADDRESSES)]
