"""
Selection, combination and steering as ntpd-rs 1.9 has them, restated: the rest of ``ntpd_rs_filter``.

Left out is what no scenario of the table asks for: panic thresholds, leap seconds, pulses, stratum and loops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Protocol

from bench.ntpd_rs_filter import Estimate, Sample, Snapshot, SourceFilter
from ntptwist.algorithm.config import PollLimits

LARGEST_RADIUS = 0.25
STEP = 0.01
SLEW = 200e-6
SHORTEST_SLEW = 8.0
LARGEST_FREQUENCY = 495e-6
TRIES = 3
"""After so many polls a source that has not answered for eight is begun anew."""
PACE = 1.03
"""Mean of the random factor, 1.01 to 1.05, by which a poll is late; the world adds randomness of its own."""


class Host(Protocol):
    """The world as the clock sees it; times and offsets in seconds, frequencies as fractions."""

    @property
    def mono(self) -> float: ...
    def now(self) -> float: ...
    def step(self, x: float) -> None: ...
    def set_freq(self, f: float) -> None: ...
    def timer(self, dt: float) -> None: ...


@dataclass(slots=True)
class Source:
    """One server: its filter, what that said last, and the register of the last eight polls."""

    filter: SourceFilter
    snapshot: Snapshot | None = None
    reach: int = 0
    polls: int = 0


@dataclass(slots=True)
class NTPDRSClock:
    """
    The clock of ntpd-rs in a world: the discipline of a simulation (``simulate.Side``).

    ``root_dispersion`` is what every server says of itself, ``slewing`` the frequency, negated, of the slew under way.
    """

    host: Host
    servers: int
    limits: PollLimits
    agreeing: int
    root_dispersion: float = 0.0
    watch: float | None = field(init=False, default=None)
    correction: float = field(init=False, default=0.0)
    slewing: float = field(init=False, default=0.0)
    _sources: list[Source] = field(init=False)

    def __post_init__(self) -> None:
        self._sources = [Source(SourceFilter(self.limits)) for _ in range(self.servers)]

    def sent(self, source: int) -> float:
        """A request is sent; give the seconds until the next."""
        asked = self._sources[source]
        if asked.polls >= TRIES and not asked.reach:
            asked = self._sources[source] = Source(SourceFilter(self.limits))
        asked.reach = asked.reach << 1 & 0xFF
        asked.polls += 1
        return PACE * 2.0**asked.filter.desired

    def sample(self, source: int, t1: float, t2: float, t3: float, t4: float) -> None:
        """A reply has come."""
        answered = self._sources[source]
        answered.reach |= 1
        sample = Sample(((t2 - t1) + (t3 - t4)) / 2.0, (t4 - t1) - (t3 - t2), (t1 + t4) / 2.0, self.host.mono)
        snapshot = answered.filter.measured(sample)
        if snapshot is not None:
            answered.snapshot = snapshot
            self._update(snapshot.updated)

    def pulse(self, offset: float) -> None:
        """Pulses are not understood."""

    def on_timer(self) -> None:
        """A slew has come to its end."""
        self._set_slew(0.0, 0.0)

    def on_watch(self) -> None:
        """Nobody looks for foreign steps."""

    def _update(self, time: float) -> None:
        """Bring all sources to one time and steer; none of them may know more than that time yet."""
        known = [(source, source.snapshot) for source in self._sources if source.snapshot is not None]
        if any(snapshot.estimate.time > time for _, snapshot in known):
            return
        for source, snapshot in known:
            source.snapshot = replace(snapshot, estimate=snapshot.estimate.at(time))
        usable = [source.snapshot for source in self._sources if source.snapshot is not None and source.reach]
        selected = select(usable, self.agreeing)
        if selected:
            extra = self.root_dispersion**2
            self._steer(merge(replace(each.estimate, p00=each.estimate.p00 + extra) for each in selected))

    def _steer(self, merged: Estimate) -> None:
        sigma = math.sqrt(merged.p00)
        if self.slewing == 0.0 and abs(merged.offset) > 2.0 * sigma:
            excess = merged.offset - math.copysign(sigma, merged.offset)
            if abs(excess) > STEP:
                self._step(excess)
            else:
                slew = min(SLEW, abs(excess) / SHORTEST_SLEW)
                self._set_slew(-math.copysign(slew, excess), merged.frequency)
                self.host.timer(abs(excess) / slew)
        elif (frequency := merged.frequency - self.slewing) != 0.0:
            self._change_frequency(frequency)

    def _step(self, delta: float) -> None:
        self.host.step(delta)
        for source in self._sources:
            source.filter.stepped(delta)
            if (snapshot := source.snapshot) is not None:
                source.snapshot = replace(snapshot, estimate=snapshot.estimate.stepped(delta))

    def _set_slew(self, slewing: float, frequency: float) -> None:
        change = self.slewing - slewing + frequency
        self.slewing = slewing
        self._change_frequency(change)

    def _change_frequency(self, change: float) -> None:
        wanted = (1.0 + self.correction) * (1.0 + change) - 1.0
        wanted = max(-LARGEST_FREQUENCY, min(LARGEST_FREQUENCY, wanted))
        change = (1.0 + wanted) / (1.0 + self.correction) - 1.0
        self.correction = wanted
        self.host.set_freq(wanted)
        time = self.host.now()
        for source in self._sources:
            source.filter.steered(change, time)
            if (snapshot := source.snapshot) is not None:
                source.snapshot = replace(snapshot, estimate=snapshot.estimate.steered(change, time))


def select(candidates: Sequence[Snapshot], agreeing: int) -> list[Snapshot]:
    """Give those whose intervals touch the part that most intervals cover, if that is a majority."""
    voters = [(each, radius) for each in candidates if (radius := _radius(each)) <= LARGEST_RADIUS]
    starts = [(each.estimate.offset - radius, True) for each, radius in voters]
    ends = [(each.estimate.offset + radius, False) for each, radius in voters]
    count = most = most_at_end = 0
    low = high = 0.0
    for position, starting in sorted(starts + ends, key=itemgetter(0)):
        if starting:
            count += 1
            if count > most:
                most, low = count, position
        else:
            if count > most_at_end:
                most_at_end, high = count, position
            count -= 1
    if most < agreeing or 2 * most <= len(voters):
        return []
    return [each for each, r in voters if each.estimate.offset - r <= high and each.estimate.offset + r >= low]


def merge(estimates: Iterable[Estimate]) -> Estimate:
    """Combine one after the other, each by the inverse of its covariance."""
    first, *others = estimates
    for other in others:
        s00, s01, s11 = first.p00 + other.p00, first.p01 + other.p01, first.p11 + other.p11
        determinant = s00 * s11 - s01 * s01
        k00 = (first.p00 * s11 - first.p01 * s01) / determinant
        k01 = (first.p01 * s00 - first.p00 * s01) / determinant
        k10 = (first.p01 * s11 - first.p11 * s01) / determinant
        k11 = (first.p11 * s00 - first.p01 * s01) / determinant
        offset, frequency = other.offset - first.offset, other.frequency - first.frequency
        first = replace(
            first,
            offset=first.offset + k00 * offset + k01 * frequency,
            frequency=first.frequency + k10 * offset + k11 * frequency,
            p00=k00 * other.p00 + k01 * other.p01,
            p01=k00 * other.p01 + k01 * other.p11,
            p11=k10 * other.p01 + k11 * other.p11,
        )
    return first


def _radius(snapshot: Snapshot) -> float:
    return 2.0 * math.sqrt(snapshot.estimate.p00) + 0.25 * snapshot.delay
