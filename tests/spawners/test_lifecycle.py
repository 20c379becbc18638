"""The life of sources, from their spawner's side: one contract, every spawner of network sources."""

from __future__ import annotations

from typing import Any, ClassVar

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.value import HostPort
from ntptwist.identifiers import EndReason
from ntptwist.interfaces import ISpawner
from ntptwist.spawners.pool import PoolConfiguration, PoolSpawner
from ntptwist.spawners.standard import StandardConfiguration, StandardSpawner
from ntptwist.system import System
from tests.contract.lifecycle import NAME, Next, SpawnerLifecycleContract

ADDRESS = HostPort(NAME, 123)
LIMITS = PollLimits(6, 6)


class TestStandard(SpawnerLifecycleContract):
    """A single server: replaced for everything but its own wish to be left alone."""

    leads_to: ClassVar[dict[EndReason, Next]] = {
        EndReason.DEMOBILIZED: Next.AWAY,
        EndReason.NETWORK_ISSUE: Next.REPLACED,
        EndReason.UNREACHABLE: Next.REPLACED,
    }

    def spawner(self, system: System, reactor: Any) -> ISpawner:
        """Make one."""
        return StandardSpawner(StandardConfiguration(ADDRESS, LIMITS), system, reactor)


class TestPool(SpawnerLifecycleContract):
    """A pool of one: always replaced, by another address."""

    leads_to: ClassVar[dict[EndReason, Next]] = {
        EndReason.DEMOBILIZED: Next.REPLACED,
        EndReason.NETWORK_ISSUE: Next.REPLACED,
        EndReason.UNREACHABLE: Next.REPLACED,
    }

    def spawner(self, system: System, reactor: Any) -> ISpawner:
        """Make one."""
        return PoolSpawner(PoolConfiguration(ADDRESS, LIMITS, count=1), system, reactor)
