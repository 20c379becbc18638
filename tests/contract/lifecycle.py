"""
What every spawner of network sources keeps to, from the first source to the last stop.

A test module subclasses ``SpawnerLifecycleContract``, makes its spawner and says where each end leads.  The spawner
runs in the real system of a virtual world; the servers of the name are at HOSTS, and the first of them misbehaves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import pytest
from twisted.python.components import proxyForInterface
from zope.interface.verify import verifyObject

from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import IPoolSpawner, ISource, ISpawner
from ntptwist.sim.server import DENYING, GOOD, SILENT
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.snapshot import SourceEstimate
from ntptwist.spawners.service import SpawnerService
from ntptwist.system import System
from tests.sim.daemon import NEAR, VirtualDaemon, open_ports

NAME = "ntp.example"
HOSTS = ("198.51.100.1", "198.51.100.2")
DAY = 86_400.0
LONG_ENOUGH = 3000.0
"""Seconds after which a source has come to its end for certain: eight polls of at most 5 minutes."""


class Next(Enum):
    """What follows the end of a source."""

    REPLACED = "another source, soon"
    AWAY = "no source any more"


@dataclass
class Life:
    """A spawner at work, and what it was told of the ends of its sources."""

    world: World
    daemon: VirtualDaemon
    service: SpawnerService
    told: list[tuple[SourceId, SourceEnd]] = field(default_factory=list)

    @property
    def sources(self) -> list[Any]:
        """The sources that there are."""
        return list(self.service)

    def run_until_told(self) -> SourceEnd:
        """Let time pass until the spawner has been told of an end; give it."""
        known = len(self.told)
        self.daemon.run_until(lambda _: len(self.told) > known, LONG_ENOUGH)
        return self.told[-1][1]

    def run_until_answered(self, seconds: float = 60.0) -> None:
        """Let time pass until there is a source that was answered."""
        self.daemon.run_until(lambda _: any(each.observe().received for each in self.sources), seconds)


def recorded(spawner: ISpawner, told: list[tuple[SourceId, SourceEnd]]) -> ISpawner:
    """Give the same spawner, with what it is told of ends written down."""
    kind = IPoolSpawner if IPoolSpawner.providedBy(spawner) else ISpawner
    base: Any = proxyForInterface(kind)

    class Recorded(base):  # type: ignore[misc]  # the base is made of an interface
        """Hands everything on."""

        def source_removed(self, source: SourceId, end: SourceEnd) -> None:
            told.append((source, end))
            self.original.source_removed(source, end)

    made: ISpawner = Recorded(spawner)
    return made


class SpawnerLifecycleContract:
    """What holds for every spawner of network sources."""

    leads_to: ClassVar[dict[EndReason, Next]]
    """Where each end leads, as docs/design.rst says."""

    def spawner(self, system: System, reactor: Any) -> ISpawner:
        """Make a spawner that wants one source of NAME."""
        raise NotImplementedError

    def prepare(self, world: World) -> None:
        """Set up NAME and its servers."""
        world.names.add(NAME, *HOSTS)
        for host in HOSTS:
            world.add_server(host, up=NEAR)

    def bring_about(self, reason: EndReason, life: Life) -> None:
        """Have the source that was just created come to its end without ever having been answered."""
        life.world.servers[0].behave(DENYING if reason is EndReason.DEMOBILIZED else SILENT)
        if reason is EndReason.NETWORK_ISSUE:
            life.world.run(0.5)
            life.world.network.unrouted.add(HOSTS[0])

    @pytest.fixture
    def life(self) -> Iterator[Life]:
        """A spawner whose service is about to be started: ``life.daemon`` runs already."""
        world = World(1, offset=0.0)
        self.prepare(world)
        with VirtualDaemon(world, "") as daemon:
            told: list[tuple[SourceId, SourceEnd]] = []
            spawner = recorded(self.spawner(daemon.system, world.reactor), told)
            service = SpawnerService(spawner, daemon.system, world.reactor, "any")
            yield Life(world, daemon, service, told)

    @pytest.fixture
    def started(self, life: Life) -> Life:
        """The same, with its first source just created."""
        life.service.setServiceParent(life.daemon.system)
        life.daemon.run_until(lambda _: bool(life.sources), 10, step=0.001)
        return life

    def test_provides_the_interface(self, life: Life) -> None:
        """The spawner has everything that its service asks of it."""
        assert verifyObject(ISpawner, life.service.spawner)

    def test_the_first_source_is_answered(self, started: Life) -> None:
        """A source starts, is known to the system by its name and address, and is answered within seconds."""
        started.run_until_answered(10)
        (source,) = started.sources
        (row,) = started.daemon.rows()

        assert verifyObject(ISource, source)
        assert row.id == source.id
        assert row.observation.name.startswith(NAME)
        assert HOSTS[0] in row.observation.address
        assert row.estimate.measurements > 0
        assert started.told == []

    @pytest.mark.parametrize("reason", [EndReason.DEMOBILIZED, EndReason.NETWORK_ISSUE, EndReason.UNREACHABLE])
    def test_every_end_reaches_the_spawner(self, started: Life, reason: EndReason) -> None:
        """The spawner is told which source has ended and why, once, with an explanation for people."""
        (source,) = started.sources
        self.bring_about(reason, started)
        end = started.run_until_told()

        assert started.told == [(source.id, end)]
        assert end.reason is reason
        assert end.explanation

    @pytest.mark.parametrize("reason", [EndReason.DEMOBILIZED, EndReason.NETWORK_ISSUE, EndReason.UNREACHABLE])
    def test_every_end_leads_where_the_design_says(self, started: Life, reason: EndReason) -> None:
        """A source that has ended is replaced within a minute by one that is answered, or never."""
        self.bring_about(reason, started)
        started.run_until_told()
        if self.leads_to[reason] is Next.REPLACED:
            started.run_until_answered(60)
        else:
            sent = started.world.network.sent.copy()
            started.daemon.run(DAY)

            assert started.world.network.sent == sent
            assert started.sources == []
            assert started.daemon.troubles() == [started.told[0][1].explanation]

    def test_silence_after_answers(self, started: Life) -> None:
        """A server that answered and falls silent is given up after eight polls, and replaced."""
        started.run_until_answered()
        started.world.servers[0].behave(SILENT)
        end = started.run_until_told()
        started.run_until_answered(60)

        assert end.reason is EndReason.UNREACHABLE

    def test_an_ended_source_leaves_every_snapshot(self, started: Life) -> None:
        """What has ended is seen nowhere: not among the sources, not by the algorithm, not on the network."""
        started.run_until_answered()
        (source,) = started.sources
        started.world.servers[0].behave(SILENT)
        started.run_until_told()
        controller = started.daemon.system.controller

        assert source not in started.sources
        assert source.parent is None
        assert source.id not in [row.id for row in started.daemon.snapshot().sources]
        assert controller.estimate(source.id) == SourceEstimate()
        assert source.id not in controller.status().used
        assert source.id not in controller.rejected()
        assert open_ports(started.world) == []

    def test_stop_ends_the_source(self, started: Life) -> None:
        """A stopped service has told its spawner, has closed all ports and sends nothing more."""
        started.run_until_answered()
        (source,) = started.sources
        started.service.stopService()
        sent = started.world.network.sent[ADDRESSES[0]]
        started.daemon.run(DAY)

        assert started.told == [(source.id, SourceEnd(EndReason.STOPPED, "stopped"))]
        assert started.daemon.rows() == []
        assert open_ports(started.world) == []
        assert started.world.network.sent[ADDRESSES[0]] == sent

    @pytest.mark.parametrize("state", ["Resolving", "Waiting", "Running"])
    def test_stop_in_every_state(self, life: Life, state: str) -> None:
        """Wherever the service is, a stop leaves no timer, no look-up and no port; a start begins anew."""
        if state != "Running":
            life.world.names.add(NAME, delay=math.inf if state == "Resolving" else 0.0)
        life.service.setServiceParent(life.daemon.system)
        life.daemon.run(1.5)
        before = [source.id for source in life.sources]
        life.daemon.service.stopService()
        queries = len(life.world.names.queries)
        left = life.world.reactor.getDelayedCalls()
        life.world.run(DAY)

        assert left == []
        assert open_ports(life.world) == []
        assert len(life.world.names.queries) == queries
        assert len(before) == (1 if state == "Running" else 0)

        life.world.names.add(NAME, *HOSTS)
        for server in life.world.servers:
            server.behave(GOOD)
        life.daemon.service.startService()
        life.run_until_answered(10)

        assert [source.id for source in life.sources] != before

    def test_a_restart_forgets_what_was_measured(self, started: Life) -> None:
        """After a stop and a start of the whole daemon the algorithm knows the new source and no other."""
        started.run_until_answered()
        (source,) = started.sources
        started.daemon.service.stopService()
        started.daemon.service.startService()
        started.run_until_answered()

        assert started.daemon.system.controller.estimate(source.id) == SourceEstimate()
        assert source.id not in [row.id for row in started.daemon.rows()]
