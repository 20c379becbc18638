"""A driver of a server by address, as the built-in one reads it, without anything to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.table import HostPort, Table
from ntptwist.errors import DriverError
from ntptwist.interfaces import ISourceDriver, ISpawner, ISystem


@dataclass(frozen=True, slots=True)
class ServerConfiguration:
    """What a ``mode = "server"`` table says."""

    address: HostPort
    limits: PollLimits
    version: int


@dataclass(frozen=True, slots=True)
class CrowdConfiguration:
    """What a ``mode = "crowd"`` table says: a source that stands for several."""

    voting_sources: int


@implementer(ISourceDriver)
class ServerDriver:
    """The stand-in of the built-in driver."""

    name = "server"
    description = "one server"

    def configure(self, table: Table) -> ServerConfiguration:
        """Read an address, poll limits and a version."""
        return ServerConfiguration(table.address("address", default_port=123), table.poll_limits(), table.ntp_version())

    def spawner(self, configuration: Any, system: ISystem, reactor: Any) -> ISpawner:
        """Nobody spawns here."""
        raise NotImplementedError


class CrowdDriver(ServerDriver):
    """A driver whose sources have several votes."""

    name = "crowd"

    def configure(self, table: Table) -> Any:
        """Read the number of votes."""
        return CrowdConfiguration(table.integer("votes", minimum=0))


class BrokenDriver(ServerDriver):
    """A driver that can't be loaded."""

    name = "broken"

    def configure(self, table: Table) -> Any:
        """Fail as the stock driver does when its module is missing."""
        raise DriverError(f"driver 'broken' can't be loaded for {table.location}")


DRIVERS = {driver.name: driver for driver in (ServerDriver(), CrowdDriver(), BrokenDriver())}


def find_driver(mode: str) -> ISourceDriver:
    """Give one of the drivers of this module."""
    if mode not in DRIVERS:
        raise DriverError(f"no driver called {mode!r}; found: {', '.join(DRIVERS)}")
    return DRIVERS[mode]
