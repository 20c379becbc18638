"""
What outlives a filter: what was known of the oscillator, and of the path to each server.

A restart, or a server that comes back, need not learn anew what has not changed.  What may have changed becomes less
certain with age, so old knowledge helps as far as it deserves and never stands in the way; and a path that the first
exchange contradicts is not resumed at all (filter.py).

Offsets are only worth anything as long as nobody moved the clock meanwhile.  Over a restart that can be told: local
minus monotonic time, the time asleep and the correction in force must be what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ntptwist.algorithm.config import BASE_MEMORY, FOREIGN_THRESHOLD, REMEMBERED_PATHS, RESTART_DOUBT
from ntptwist.identifiers import ReferenceId
from ntptwist.timestamp import NANOSECONDS, ClockReading


class KnownOffset(NamedTuple):
    """An offset, seconds, with its variance and its covariance with the frequency."""

    offset: float
    variance: float
    covariance: float


class NoiseMemory(NamedTuple):
    """What the noise scales of both paths are made of: weighted sums over the residuals, seconds."""

    total: float
    weight: float
    outward: float
    homeward: float


@dataclass(frozen=True, slots=True)
class PathMemory:
    """
    What was known of one server and the path to it; the numbers are those of ``filter.TwoWayFilter``.

    ``offset`` is None where the clock may have been moved since.
    """

    frequency: float
    frequency_variance: float
    wander: float
    shape: float
    base: float
    base_variance: float
    asymmetry: float
    noise: NoiseMemory
    offset: KnownOffset | None = None

    def aged(self, elapsed: float, corrected: float | None) -> PathMemory:
        """
        Carry this ``elapsed`` seconds on, in which ``corrected`` seconds of correction were applied.

        Without the latter the offset is forgotten.  After a day the base delay is known no better than after a change
        of route.
        """
        noise = self.wander * elapsed
        offset = None
        if self.offset is not None and corrected is not None:
            known, variance, covariance = self.offset
            offset = KnownOffset(
                known + elapsed * self.frequency - corrected,
                variance + elapsed * (2.0 * covariance + elapsed * (self.frequency_variance + noise / 3.0)),
                covariance + elapsed * (self.frequency_variance + noise / 2.0),
            )
        spread = self.noise.total / self.noise.weight
        return replace(
            self,
            frequency_variance=self.frequency_variance + noise,
            base_variance=self.base_variance + spread * spread / 8.0 * min(elapsed / BASE_MEMORY, 1.0),
            offset=offset,
        )


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """
    What was known of a clock at ``reading``, while it ran ``rate`` faster than its oscillator.

    ``frequency`` is the correction that the oscillator needs, with its variance and wander; ``paths`` are those to the
    servers, by the reference ids of their addresses.
    """

    reading: ClockReading
    rate: float
    frequency: float
    frequency_variance: float
    wander: float
    paths: Mapping[ReferenceId, PathMemory]

    def at(self, reading: ClockReading, rate: float) -> ClockMemory:
        """
        Give what is still known when a daemon starts at ``reading`` on a clock that runs ``rate`` faster.

        An oscillator that was switched off comes back at another temperature.
        """
        moved = (reading.local - reading.monotonic) - (self.reading.local - self.reading.monotonic)
        elapsed = (reading.monotonic - self.reading.monotonic) / NANOSECONDS
        untouched = (
            abs(moved) <= FOREIGN_THRESHOLD
            and elapsed >= 0.0
            and reading.asleep == self.reading.asleep
            and rate == self.rate
        )
        if untouched:
            corrected, doubt = rate * elapsed + moved / NANOSECONDS, 0.0
        else:
            elapsed = max((reading.local - self.reading.local) / NANOSECONDS, 0.0)
            corrected, doubt = None, RESTART_DOUBT * RESTART_DOUBT
        paths = {address: path.aged(elapsed, corrected) for address, path in self.paths.items()}
        return replace(
            self,
            reading=reading,
            rate=rate,
            frequency_variance=self.frequency_variance + self.wander * elapsed + doubt,
            paths={a: replace(p, frequency_variance=p.frequency_variance + doubt) for a, p in paths.items()},
        )


class _Entry(NamedTuple):
    """A path, and when that was known of it, on the book's axis."""

    path: PathMemory
    time: float
    integral: float


class RememberedPaths:
    """The paths to servers that were there once: those remembered last, by the reference id of their address."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[ReferenceId, _Entry] = {}

    def keep(self, address: ReferenceId, path: PathMemory, time: float, integral: float) -> None:
        """Remember what is known of a path at ``time``, where the integral of the correction is ``integral``."""
        self._entries.pop(address, None)
        self._entries[address] = _Entry(path, time, integral)
        if len(self._entries) > REMEMBERED_PATHS:
            del self._entries[next(iter(self._entries))]

    def recall(self, address: ReferenceId, time: float, integral: float) -> PathMemory | None:
        """Give what is known of a path at a later time; None for nothing."""
        entry = self._entries.get(address)
        return None if entry is None else entry.path.aged(max(time - entry.time, 0.0), integral - entry.integral)

    def recall_all(self, time: float, integral: float) -> dict[ReferenceId, PathMemory]:
        """Give what is known of all paths."""
        paths = {address: self.recall(address, time, integral) for address in self._entries}
        return {address: path for address, path in paths.items() if path is not None}

    def forget_offsets(self) -> None:
        """The clock was moved: what was known of its offset counts no more."""
        for address, entry in self._entries.items():
            self._entries[address] = entry._replace(path=replace(entry.path, offset=None))
