"""
The books of a spawner whose sources are clocks of this machine.

There are always the same sources, made together by one attempt.  Whatever ends them, a device that was pulled out or a
gpsd that hung up, they are wanted again: the back-off is the SpawnerService's.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ntptwist.identifiers import SourceEnd, SourceId
from ntptwist.interfaces import ISource, ISpawner, ISystem


@implementer(ISpawner)
class LocalSpawner:
    """Keeps the sources of one entry alive; each kind says how they are made."""

    description: str
    address_description: str

    def __init__(self, system: ISystem) -> None:
        self.id = system.new_spawner_id()
        self._system = system
        self._complete = False

    async def make(self) -> list[ISource]:
        """Make all sources; fails with NTPTwistError when that is not possible now."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Tell whether all sources exist: when one has ended its siblings are about to."""
        return self._complete

    def try_spawn(self) -> Deferred[list[ISource]]:
        """Make the sources."""
        return Deferred.fromCoroutine(self.make())

    def source_registered(self, source: ISource) -> None:  # noqa: ARG002 - its siblings follow at once
        """Note that they exist."""
        self._complete = True

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:  # noqa: ARG002 - whatever it was
        """Note that they are no longer complete."""
        self._complete = False
