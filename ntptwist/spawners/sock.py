"""
``mode = "sock"``: samples that gpsd writes to a socket of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ntptwist.algorithm.config import SelectionOptions
from ntptwist.config.table import Table
from ntptwist.interfaces import ISource, ISystem
from ntptwist.kernel.unixsocket import LONGEST_PATH, Access
from ntptwist.net.unix import listen_feed
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.sources.sock import SockSource
from ntptwist.spawners.local import LocalSpawner

_LARGEST_ID = (1 << 32) - 2


@dataclass(frozen=True, slots=True)
class SockConfiguration:
    """What one ``[[source]]`` with ``mode = "sock"`` says."""

    path: str
    access: Access
    settings: OneWaySettings
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 1


class SockSpawner(LocalSpawner):
    """Keeps a socket open, and the source behind it."""

    description = "sock"

    def __init__(self, configuration: SockConfiguration, system: ISystem, reactor: Any) -> None:
        super().__init__(system)
        self.address_description = configuration.path
        self._configuration = configuration
        self._reactor = reactor

    @staticmethod
    def configure(table: Table) -> SockConfiguration:
        """Read the table of one source."""
        path = table.path("path")
        if len(path.encode()) > LONGEST_PATH:
            table.problem("path", f"is longer than the {LONGEST_PATH} octets that the path of a socket can have")
        access = Access(
            table.integer("socket-mode", 0o600, minimum=0, maximum=0o777),
            table.parsed("socket-owner", _account, None, None),
            table.parsed("socket-group", _account, None, None),
        )
        if access.mode & 0o002:
            table.warning("socket-mode", "everybody on this machine may write to the socket, and so set the clock")
        settings = OneWaySettings.configure(table, "SOCK")
        options = table.selection_options()
        return SockConfiguration(path, access, replace(settings, options=options), options)

    async def make(self) -> list[ISource]:
        """Open the socket; DeviceError when there can be none."""
        configured = self._configuration
        source = SockSource(configured.path, configured.settings, self._system, self.id, self._reactor)
        listen_feed(self._reactor, configured.path, configured.access, source)
        return [source]


def _account(given: Any) -> str | int:
    """Accept a user or a group, by name or number."""
    if isinstance(given, str) and given:
        return given
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _LARGEST_ID:
        return given
    raise ValueError("expected a name or a number")
