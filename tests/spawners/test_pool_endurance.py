"""A pool that only fails, for months: no memory is lost, and it is no busy loop."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.task import Clock

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.value import HostPort
from ntptwist.identifiers import ReferenceId, SourceId, SpawnerId
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.spawners.pool import PoolConfiguration, PoolSpawner
from ntptwist.spawners.service import REVIEW_INTERVAL, SpawnerService
from tests.sim.daemon import VirtualDaemon

pytestmark = pytest.mark.lengthy

NAME = "pool.example"
POOL = f'[[source]]\nmode = "pool"\naddress = "{NAME}"\ncount = 16\n'
HOUR = 3600.0


class StubSystem:
    """What a pool without members needs of the system."""

    def new_spawner_id(self) -> SpawnerId:
        """Give the only id."""
        return SpawnerId(1)

    def randbytes(self, count: int) -> bytes:
        """Give octets in the middle: hardly any jitter."""
        return bytes([127] * count)

    def taken(self) -> frozenset[ReferenceId]:
        """Nobody is there."""
        return frozenset()

    def rejected(self) -> dict[SourceId, str]:
        """Nobody is there."""
        return {}


def objects() -> int:
    """Give how many objects there are."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.nightly
def test_ten_thousand_failed_sources_leave_memory_as_it_was() -> None:
    """Servers that never answer, others each hour and ten thousand in all, leave nothing behind."""
    world = World(1, offset=0.0)
    with VirtualDaemon(world, POOL) as daemon:

        def let_fail(count: int) -> int:
            target = world.network.sent[ADDRESSES[0]] + 3 * count
            for _ in range(count // 20):  # some sixty end in an hour
                if world.network.sent[ADDRESSES[0]] >= target:
                    break
                number = world.network.sent[ADDRESSES[0]] // 3
                world.names.add(NAME, *(f"100.{64 + number // 250 % 64}.{number % 250}.{n}" for n in range(200)))
                daemon.run(HOUR)
            assert world.network.sent[ADDRESSES[0]] >= target
            return objects()

        before = let_fail(2000)
        after = let_fail(10_000)

        assert after - before < 500
        assert len(daemon.rows()) <= 16


class NoNames(Clock):
    """A reactor whose resolver knows no name."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.queries = 0

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, transportSemantics: str) -> None:
        """Give the empty answer, at once."""
        self.queries += 1
        resolutionReceiver.resolutionComplete()


def test_ten_thousand_failed_look_ups_leave_memory_as_it_was() -> None:
    """A name that does not resolve for months leaves nothing behind and is no busy loop."""
    reactor = NoNames()
    system = StubSystem()
    spawner = PoolSpawner(PoolConfiguration(HostPort(NAME, 123), PollLimits()), system, reactor)  # type: ignore[arg-type]
    service: Any = SpawnerService(spawner, system, reactor, "pool")  # type: ignore[arg-type]
    service.startService()

    def let_fail(count: int) -> int:
        target = reactor.queries + count
        for _ in range(6 * count):  # four or five make the longest wait
            if reactor.queries >= target:
                break
            reactor.advance(REVIEW_INTERVAL)
        assert reactor.queries >= target
        return objects()

    before = let_fail(100)
    after = let_fail(10_000)
    service.stopService()

    assert after - before < 100
    assert reactor.seconds() > 10_000 * 900
    assert reactor.getDelayedCalls() == []
