"""
``mode = "shm"``: samples that gpsd, or any other feeder, writes to NTP's shared memory.

A segment is read each second; whoever starts first makes it, so the order does not matter.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass, replace
from typing import Any

from ntptwist.driver import (
    DeviceError,
    ISource,
    ISystem,
    Leap,
    LocalSpawner,
    NTPTwistError,
    OneWaySettings,
    PolledSource,
    Reading,
    SelectionOptions,
    SpawnerId,
    Table,
)
from ntptwist.kernel.shm import LARGEST_UNIT, KernelSegments, SegmentCalls, SharedClock

INTERVAL = 1.0
"""Seconds; feeders write once a second."""


@dataclass(frozen=True, slots=True)
class SharedMemoryConfiguration:
    """What one ``[[source]]`` with ``mode = "shm"`` says; ``owner`` is a name or a number."""

    unit: int
    segment_mode: int
    owner: str | int | None
    settings: OneWaySettings
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 1


class SharedMemorySource(PolledSource):
    """The samples of one unit, which it lets go at its end."""

    def __init__(
        self, name: str, clock: SharedClock, settings: OneWaySettings, system: ISystem, spawner: SpawnerId, reactor: Any
    ) -> None:
        super().__init__(name, name, "shm", settings, system, spawner, reactor, INTERVAL)
        self._clock = clock

    def read(self) -> Reading | None:
        """Take the sample that waits."""
        sample = self._clock.take()
        if sample is None:
            return None
        if sample.leap is Leap.UNSYNCHRONIZED:
            raise NTPTwistError("its feeder is not synchronized")
        return Reading(sample.stamp, sample.true, sample.leap)

    def close(self) -> None:
        """Let go of the segment."""
        self._clock.close()


class SharedMemorySpawner(LocalSpawner):
    """Keeps a segment attached, and the source behind it; ``calls`` is for segments that are not this machine's."""

    description = "shm"

    def __init__(
        self,
        configuration: SharedMemoryConfiguration,
        system: ISystem,
        reactor: Any,
        calls: SegmentCalls | None = None,
    ) -> None:
        super().__init__(system)
        self.address_description = f"shm unit {configuration.unit}"
        self._configuration = configuration
        self._reactor = reactor
        self._calls = calls or KernelSegments()

    @staticmethod
    def configure(table: Table) -> SharedMemoryConfiguration:
        """Read the table of one source."""
        unit = table.integer("unit", minimum=0, maximum=LARGEST_UNIT)
        mode = table.integer("segment-mode", 0o600, minimum=0o600, maximum=0o777)
        if mode & 0o002:
            table.warning("segment-mode", "everybody on this machine may write to the segment, and so set the clock")
        owner = table.parsed("segment-owner", _account, None, None)
        options = table.selection_options()
        settings = replace(OneWaySettings.configure(table, "SHM"), options=options)
        return SharedMemoryConfiguration(unit, mode, owner, settings, options)

    async def make(self) -> list[ISource]:
        """Attach the segment; DeviceError when it can't be had, or when it is a stranger's."""
        configured = self._configuration
        clock = SharedClock(self._calls, configured.unit, configured.segment_mode, _number(configured.owner))
        name, settings = self.address_description, configured.settings
        return [SharedMemorySource(name, clock, settings, self._system, self.id, self._reactor)]


def _account(given: Any) -> str | int:
    """Accept a user, by name or number."""
    if isinstance(given, str) and given:
        return given
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise ValueError("expected a name or a number")


def _number(owner: str | int | None) -> int | None:
    """Give the number of a user; DeviceError when there is none of that name."""
    if not isinstance(owner, str):
        return owner
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise DeviceError(f"there is no user {owner!r}") from None
