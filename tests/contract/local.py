"""
What every spawner of clocks of this machine keeps to: sock, pps and gpsd alike.

The counterpart of ``lifecycle``, which is about servers: here nobody denies service, and what ends a source is a device
that was pulled out or a daemon that hung up.  A test module subclasses ``LocalLifecycleContract`` and says how its kind
is made and hindered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import ISource, ISpawner
from ntptwist.sim.world import World
from ntptwist.snapshot import SourceEstimate
from ntptwist.spawners.service import SpawnerService
from tests.contract.lifecycle import recorded
from tests.sim.daemon import VirtualDaemon

DAY = 86_400.0


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

    def run_until_heard(self, seconds: float = 60.0) -> None:
        """Let time pass until every source has been heard of."""
        self.daemon.run_until(
            lambda _: bool(self.sources) and all(each.observe().received for each in self.sources), seconds, step=0.1
        )


class LocalLifecycleContract:
    """What holds for every spawner of clocks of this machine."""

    wanted = 1
    """The number of sources of one entry."""

    def spawner(self, daemon: VirtualDaemon) -> ISpawner:
        """Make a spawner whose receiver is at work."""
        raise NotImplementedError

    def hinder(self) -> None:
        """Let no attempt succeed."""
        raise NotImplementedError

    def allow(self) -> None:
        """Let attempts succeed again."""
        raise NotImplementedError

    @pytest.fixture
    def life(self) -> Iterator[Life]:
        """A spawner whose service is about to be started: ``life.daemon`` runs already."""
        world = World(1, offset=0.0)
        with VirtualDaemon(world, "") as daemon:
            told: list[tuple[SourceId, SourceEnd]] = []
            spawner = recorded(self.spawner(daemon), told)
            yield Life(world, daemon, SpawnerService(spawner, daemon.system, world.reactor, "any"), told)

    @pytest.fixture
    def started(self, life: Life) -> Life:
        """The same, with its sources at work."""
        life.service.setServiceParent(life.daemon.system)
        life.run_until_heard(10)
        return life

    def test_provides_the_interfaces(self, started: Life) -> None:
        """The spawner and its sources have everything that is asked of them."""
        assert verifyObject(ISpawner, started.service.spawner)
        assert all(verifyObject(ISource, source) for source in started.sources)
        assert self.wanted == len(started.sources)

    def test_sources_are_known(self, started: Life) -> None:
        """The system shows each source under a name of its own, and the algorithm knows it by its reference id."""
        rows = started.daemon.rows()

        assert [row.id for row in rows] == [source.id for source in started.sources]
        assert self.wanted == len({row.observation.name for row in rows})
        assert started.daemon.troubles() == []

    def test_an_attempt_that_fails_is_repeated(self, life: Life) -> None:
        """While there can be no source the reason is shown and attempts are made again, ever more rarely."""
        self.hinder()
        life.service.setServiceParent(life.daemon.system)
        life.daemon.run(5)
        (early,) = life.daemon.troubles()
        life.daemon.run(4000)
        (late,) = life.daemon.troubles()
        self.allow()
        life.run_until_heard(1200)

        assert "next attempt in" in early
        assert float(late.rpartition(" in ")[2].removesuffix(" s")) > 0
        assert life.told == []

    def test_a_stopped_source_leaves_every_snapshot(self, started: Life) -> None:
        """What was stopped is seen nowhere: not among the sources, not by the algorithm."""
        before = started.sources
        started.service.stopService()

        gone(started, before)

    def test_silence_is_no_end(self, started: Life) -> None:
        """A source that hears nothing any more is still there, and its register tells."""
        self.silence()
        started.daemon.run(DAY / 24)

        assert started.told == []
        assert all(row.observation.reach == 0 for row in started.daemon.rows())
        assert not any(row.estimate.selected for row in started.daemon.rows())

    def silence(self) -> None:
        """Let the sources hear nothing more, while everything is there."""
        raise NotImplementedError

    def test_stop_ends_the_sources(self, started: Life) -> None:
        """A stopped service has told its spawner, and nothing is left of its sources in less than two seconds."""
        before = [source.id for source in started.sources]
        done: list[object] = []
        stopped = started.service.stopService()
        stopped.addCallback(done.append)
        started.world.run(2.0)

        assert len(done) == 1
        assert sorted(before) == sorted(source for source, _ in started.told)
        assert all(end == SourceEnd(EndReason.STOPPED, "stopped") for _, end in started.told)
        assert started.daemon.rows() == []

    @pytest.mark.parametrize("state", ["Resolving", "Waiting", "Running"])
    def test_stop_in_every_state(self, life: Life, state: str) -> None:
        """Wherever the service is, a stop takes less than two seconds and leaves no timer; a start begins anew."""
        if state == "Waiting":
            self.hinder()
        elif state == "Resolving":
            self.hang()
        life.service.setServiceParent(life.daemon.system)
        life.daemon.run(1.5)
        before = [source.id for source in life.sources]
        done: list[object] = []
        life.daemon.service.stopService().addCallback(done.append)
        left = life.world.reactor.getDelayedCalls()
        life.world.run(2.0)
        stopped = len(done)
        life.world.run(100.0)
        self.allow()
        life.daemon.service.startService()
        life.run_until_heard(10)

        assert left == []
        assert stopped == 1
        assert not {source.id for source in life.sources} & set(before)

    def hang(self) -> None:
        """Let attempts neither succeed nor fail, where that is possible."""

    def test_a_restart_forgets_what_was_measured(self, started: Life) -> None:
        """After a stop and a start of the whole daemon the algorithm knows the new sources and no other."""
        before = [source.id for source in started.sources]
        started.daemon.service.stopService()
        started.daemon.service.startService()
        started.run_until_heard(10)

        assert all(started.daemon.system.controller.estimate(source) == SourceEstimate() for source in before)
        assert not set(before) & {row.id for row in started.daemon.rows()}


class EndingLifecycleContract(LocalLifecycleContract):
    """What holds for those of them whose sources can come to an end by themselves."""

    def cut(self) -> None:
        """Take away what the sources that there are depend on; attempts are hindered too."""
        raise NotImplementedError

    def test_every_end_reaches_the_spawner(self, started: Life) -> None:
        """When its device or daemon goes away each source ends, once, with an explanation for people."""
        before = [source.id for source in started.sources]
        self.cut()
        started.daemon.run(5)

        assert sorted(before) == sorted(source for source, _ in started.told)
        assert all(end.reason is EndReason.UNREACHABLE and end.explanation for _, end in started.told)

    def test_an_end_leads_to_a_new_source(self, started: Life) -> None:
        """When the device or daemon is back there are new sources, within the back-off."""
        before = [source.id for source in started.sources]
        self.cut()
        started.daemon.run(30)
        self.allow()
        started.run_until_heard(60)

        assert self.wanted == len(started.sources)
        assert not {source.id for source in started.sources} & set(before)

    def test_an_ended_source_leaves_every_snapshot(self, started: Life) -> None:
        """What has ended is seen nowhere: not among the sources, not by the algorithm."""
        before = started.sources
        self.cut()
        started.daemon.run(5)

        gone(started, before)


def gone(life: Life, sources: list[Any]) -> None:
    """Assert that nothing is left of sources."""
    controller = life.daemon.system.controller

    assert sources
    assert all(source.parent is None for source in sources)
    assert life.daemon.rows() == []
    for source in sources:
        assert controller.estimate(source.id) == SourceEstimate()
        assert source.id not in controller.status().used
