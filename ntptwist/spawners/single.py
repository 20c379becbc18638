"""
The books of a spawner that keeps one source for one server.

A server that has denied service is left alone until the daemon is restarted (RFC 5905, section 7.4); after any other
end the source is wanted again.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ntptwist.config.table import HostPort
from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import ISource, ISpawner, ISystem


class Addressed(Protocol):
    """A configuration that names its server."""

    @property
    def address(self) -> HostPort:
        """Where the server is."""


@implementer(ISpawner)
class SingleSpawner:
    """Keeps one source for one configured address alive; each kind says how it is made."""

    description: str

    def __init__(self, configuration: Addressed, system: ISystem, reactor: Any) -> None:
        self.id = system.new_spawner_id()
        self.address_description = str(configuration.address)
        self._system = system
        self._reactor = reactor
        self._source: SourceId | None = None
        self._denied = False

    async def make(self) -> ISource:
        """Make the source; fails with NTPTwistError when that is not possible now."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Tell whether the source exists, or must not exist."""
        return self._denied or self._source is not None

    def try_spawn(self) -> Deferred[list[ISource]]:
        """Make the source."""
        return Deferred.fromCoroutine(self._spawn())

    async def _spawn(self) -> list[ISource]:
        return [await self.make()]

    def source_registered(self, source: ISource) -> None:
        """Note the source."""
        self._source = source.id

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:  # noqa: ARG002 - there is only one
        """Note that it has ended."""
        self._source = None
        self._denied = end.reason is EndReason.DEMOBILIZED
