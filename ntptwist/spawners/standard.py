"""
``mode = "server"``: one server, by name or address.

The name is resolved when a source is to be created, and the first address that this host has a way to is used until it
no longer answers; then the next one, since many resolvers give their answers in the same order each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.table import HostPort, Table
from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import ISource, ISystem
from ntptwist.net.resolver import first_reachable, resolve
from ntptwist.protocol.client import AssociationConfiguration
from ntptwist.sources.ntp import NTPSource, ServerAddress
from ntptwist.spawners.single import SingleSpawner

NTP_PORT = 123


@dataclass(frozen=True, slots=True)
class StandardConfiguration:
    """What one ``[[source]]`` with ``mode = "server"`` says."""

    address: HostPort
    limits: PollLimits
    version: int = 4
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 1


class StandardSpawner(SingleSpawner):
    """Keeps one source for one name alive."""

    description = "standard"

    def __init__(self, configuration: StandardConfiguration, system: ISystem, reactor: Any) -> None:
        super().__init__(configuration, system, reactor)
        self._configuration = configuration
        self._host = ""
        self._failed: set[str] = set()

    @staticmethod
    def configure(table: Table) -> StandardConfiguration:
        """Read the table of one source."""
        return StandardConfiguration(
            table.address("address", default_port=NTP_PORT),
            table.poll_limits(),
            table.ntp_version(),
            table.selection_options(),
        )

    async def make(self) -> ISource:
        """Resolve the name and make a source for its first reachable address."""
        configured = self._configuration
        addresses = await resolve(self._reactor, configured.address.host)
        self._failed.intersection_update(addresses)
        if self._failed.issuperset(addresses):
            self._failed.clear()
        addresses.sort(key=self._failed.__contains__)
        self._host = first_reachable(self._reactor, addresses, configured.address.port)
        server = ServerAddress(str(configured.address), self._host, configured.address.port)
        association = AssociationConfiguration(version=configured.version, limits=configured.limits)
        return NTPSource(server, association, self._system, self.id, self._reactor, options=configured.options)

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:
        """Note that it has ended, and that the next one should be at another address."""
        super().source_removed(source, end)
        if end.reason is not EndReason.STOPPED:
            self._failed.add(self._host)
