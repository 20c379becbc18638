"""
The last 24 hours in memory: what the plots show.

Every 64 s the sampler pulls a snapshot and keeps a row of the clock, and one of each source that has measured something
since: a source that is polled less often has fewer.  Columns are arrays of numbers, so a row of a source takes 28
octets and a source with a full day 37,800; the rows of all refer to one axis of ticks.

Points on the axis are kept on the monotonic axis and become UTC when somebody asks, by the clock as it is then: so the
axis never runs backwards, and what was sampled before a step stands where it really happened.
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.application.service import Service

from ntptwist.identifiers import SourceId
from ntptwist.interfaces import ISystem
from ntptwist.snapshot import ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import NANOSECONDS, seconds_between

INTERVAL = 64.0
"""Seconds between two samples."""

CAPACITY = 1350
"""Samples of 24 h."""

SOURCE_LIMIT = 256
"""Sources kept at most, 9.7 MB; in their place one is forgotten that has ended, the longest ago first."""

_FOREVER = 1 << 62

CLOCK_COLUMNS = ("offset", "error_bound", "frequency", "requests", "nts_share")
SOURCE_COLUMNS = ("offset", "uncertainty", "delay")


class Ring:
    """
    The latest rows of one table: a whole number that only grows, and some numbers; NaN where one is not known.

    The numbers are rounded to six digits, more than a plot shows: they are written out much faster.
    ``kind`` is the array's code for the whole number.
    """

    __slots__ = ("_capacity", "_columns", "_keys", "_rows")

    def __init__(self, kind: str, columns: int, capacity: int) -> None:
        self._capacity = capacity
        self._rows = 0
        self._keys: array[int] = array(kind)
        self._columns = [array("d") for _ in range(columns)]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def octets(self) -> int:
        """The octets that the rows take."""
        return sum(len(column) * column.itemsize for column in self._arrays())

    @property
    def latest(self) -> int | None:
        """The key of the latest row."""
        return int(self._keys[(self._rows - 1) % self._capacity]) if self._rows else None

    def append(self, key: int, values: Iterable[float | None]) -> None:
        """Add a row; the oldest makes room."""
        row = [math.nan if value is None or not math.isfinite(value) else float(f"{value:.6g}") for value in values]
        if len(self._keys) < self._capacity:
            self._keys.append(key)
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
        else:
            at = self._rows % self._capacity
            self._keys[at] = key
            for column, value in zip(self._columns, row, strict=True):
                column[at] = value
        self._rows += 1

    def _arrays(self) -> list[array[Any]]:
        return [self._keys, *self._columns]

    def between(self, first: int, last: int) -> list[array[Any]]:
        """Give the keys and the columns of the rows whose keys lie between two, both included: the oldest first."""
        start = self._rows % self._capacity if len(self._keys) == self._capacity else 0
        ordered = [column[start:] + column[:start] if start else column for column in self._arrays()]
        low, high = bisect_left(ordered[0], first), bisect_right(ordered[0], last)
        return [column[low:high] for column in ordered]


class _Kept:
    """What is kept of one source; ``measurements`` is what it had counted at its latest row."""

    __slots__ = ("label", "measurements", "ring", "seen")

    def __init__(self, row: SourceSnapshot, capacity: int) -> None:
        self.label = {"name": row.observation.name, "address": row.observation.address, "mode": row.observation.mode}
        self.ring = Ring("I", len(SOURCE_COLUMNS), capacity)
        self.measurements = 0
        self.seen = 0


class History:
    """The samples of a day; ``sample`` adds one of everything, ``pieces`` gives them as JSON."""

    def __init__(self, capacity: int = CAPACITY, source_limit: int = SOURCE_LIMIT) -> None:
        self._capacity = capacity
        self._source_limit = source_limit
        self._ticks = 0
        self._times = Ring("q", 0, capacity)
        self._clock = Ring("I", len(CLOCK_COLUMNS), capacity)
        self._sources: dict[SourceId, _Kept] = {}
        self._served: dict[str, tuple[int, int]] = {}

    @property
    def octets(self) -> int:
        """The octets that all rows take."""
        return self._times.octets + self._clock.octets + sum(each.ring.octets for each in self._sources.values())

    @property
    def sources(self) -> tuple[SourceId, ...]:
        """The sources of which something is kept."""
        return tuple(self._sources)

    def sample(self, snapshot: SystemSnapshot, servers: Iterable[ServerSnapshot] = ()) -> None:
        """Take one sample of everything."""
        tick = self._ticks
        self._ticks += 1
        before = self._times.latest
        elapsed = INTERVAL if before is None else seconds_between(snapshot.monotonic, before)
        requests, share = self._load(servers)
        self._times.append(snapshot.monotonic, ())
        self._clock.append(
            tick,
            (
                snapshot.offset,
                snapshot.error_bound,
                snapshot.frequency,
                requests / elapsed if elapsed > 0 and before is not None else None,
                share,
            ),
        )
        for row in snapshot.sources:
            if row.id is not None:
                self._sample_source(tick, row.id, row)
        oldest = tick - self._capacity
        for source in [source for source, kept in self._sources.items() if kept.seen <= oldest]:
            del self._sources[source]

    def _sample_source(self, tick: int, source: SourceId, row: SourceSnapshot) -> None:
        known = row.estimate
        kept = self._sources.get(source)
        if kept is None and known.offset is not None:
            kept = self._room_for(tick, source, row)
        if kept is None:
            return
        kept.seen = tick
        if known.offset is not None and known.measurements != kept.measurements:
            kept.measurements = known.measurements
            kept.ring.append(tick, (known.offset, known.uncertainty, known.delay))

    def _room_for(self, tick: int, source: SourceId, row: SourceSnapshot) -> _Kept | None:
        """Begin with a source; None while there are as many as can be kept and none of them has ended."""
        if len(self._sources) >= self._source_limit:
            longest = min(self._sources, key=lambda each: self._sources[each].seen)
            if self._sources[longest].seen >= tick - 1:
                return None
            del self._sources[longest]
        kept = self._sources[source] = _Kept(row, self._capacity)
        return kept

    def _load(self, servers: Iterable[ServerSnapshot]) -> tuple[int, float | None]:
        """Count the requests since the last sample, and give the share of them that had NTS."""
        requests = with_nts = 0
        served = {}
        for server in servers:
            now = (server.counters.get("received", 0), server.counters.get("nts_received", 0))
            before = self._served.get(server.address, (0, 0))
            served[server.address] = now
            requests += max(now[0] - before[0], 0)
            with_nts += max(now[1] - before[1], 0)
        self._served = served
        return requests, with_nts / requests if requests else None

    def axis(self, snapshot: SystemSnapshot, after: int = -1) -> dict[str, Any]:
        """
        Give the ticks later than ``after``: their ``times`` in Unix seconds, and the numbers ``first`` and ``next``.

        ``next`` is that of the tick which has not been sampled yet; ``snapshot`` says what UTC is.
        """
        first = max(after + 1, self._ticks - len(self._times), 0)
        ahead = snapshot.now - snapshot.monotonic
        wanted = max(self._ticks - first, 0)
        (moments,) = self._times.between(0, _FOREVER)
        times = [(moment + ahead) // NANOSECONDS for moment in moments[len(moments) - wanted :]]
        return {"interval": INTERVAL, "first": first, "next": self._ticks, "times": times}

    def clock(self, axis: dict[str, Any]) -> dict[str, list[float | None]]:
        """Give the columns of the clock: a value for each time of an axis, None where one was not known."""
        _, *columns = self._clock.between(axis["first"], axis["next"] - 1)
        return _named(CLOCK_COLUMNS, columns)

    def source(self, source: SourceId, axis: dict[str, Any]) -> dict[str, Any] | None:
        """Give the rows of a source, ``at`` which places of the axis they stand, and its name; None if not kept."""
        kept = self._sources.get(source)
        if kept is None:
            return None
        first = axis["first"]
        ticks, *columns = kept.ring.between(first, axis["next"] - 1)
        return {"id": source, **kept.label, "at": [tick - first for tick in ticks], **_named(SOURCE_COLUMNS, columns)}

    def pieces(self, snapshot: SystemSnapshot, after: int = -1) -> Iterator[str]:
        """
        Give the axis, the clock and all sources as JSON: a piece for each, so that none takes long to make.

        What is sampled while the pieces are being taken is not among them.
        """
        axis = self.axis(snapshot, after)
        yield f'{json.dumps(axis)[:-1]}, "clock": {json.dumps(self.clock(axis))}, "sources": ['
        separator = ""
        for source in self.sources:
            data = self.source(source, axis)
            if data is not None:
                yield separator + json.dumps(data)
                separator = ", "
        yield "]}"


def _named(names: Iterable[str], columns: Iterable[array[float]]) -> dict[str, list[float | None]]:
    """Give columns by name, with None for NaN, which JSON does not have."""
    return {
        name: [None if value != value else value for value in column]
        for name, column in zip(names, columns, strict=True)
    }


class Sampler(Service):
    """Samples the system into a History by a timer of its own."""

    def __init__(
        self, history: History, system: ISystem, servers: Callable[[], Iterable[ServerSnapshot]], reactor: Any
    ) -> None:
        self.history = history
        self._system = system
        self._servers = servers
        self._reactor = reactor
        self._timer: Any = None

    def startService(self) -> None:
        """Begin; the first sample is taken an interval from now, when there is something to sample."""
        super().startService()
        self._timer = self._reactor.callLater(INTERVAL, self._due)

    def stopService(self) -> None:
        """Stop the timer; what was sampled is kept."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = self._reactor.callLater(INTERVAL, self._due)
        self.history.sample(self._system.snapshot(), self._servers())
