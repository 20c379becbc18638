"""
The account of one source: its filter, its polls, its latest measurement, and what is thought of it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.combine import Combination, Contribution
from ntptwist.algorithm.config import (
    FARTHEST_OFFSET,
    INTERVAL_SIGMAS,
    LARGEST_ROOT,
    LIVE_GRACE,
    LIVE_POLLS,
    LONGEST_PERIOD,
    NUMBERING,
    REMEMBERED_AFTER,
    SHORTEST_PERIOD,
    SUSPICION_POLL,
    PollLimits,
    SelectionOptions,
)
from ntptwist.algorithm.filter import Outcome, TwoWayFilter, plausible
from ntptwist.algorithm.memory import RememberedPaths
from ntptwist.algorithm.poll import PollSchedule
from ntptwist.algorithm.pulse import OneWayFilter
from ntptwist.algorithm.select import Standing, Verdict
from ntptwist.algorithm.update import Decision, DecisionKind
from ntptwist.algorithm.words import duration
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.measurement import Measurement, OneWayMeasurement, TwoWayMeasurement
from ntptwist.snapshot import SourceEstimate
from ntptwist.timestamp import NANOSECONDS, Monotonic, seconds_between

_SANE = 1 << 62
"""Nanoseconds; no two stamps of one exchange are further apart (146 years), and a float holds the difference."""


class TrackedSource:
    """
    What the algorithm knows of one source.

    ``heard`` is when it last measured, on the book's axis, and ``begun`` since when its filter knows it; ``delay`` the
    last round trip, seconds: 0 of a source that ``is_one_way`` and measures without being asked.  ``period`` is that of
    a pulse; ``lock`` names the source that numbers it, and ``near`` is where that says the first one is.
    """

    __slots__ = (
        "_latest",
        "_refused",
        "address",
        "begun",
        "delay",
        "filter",
        "heard",
        "id",
        "is_one_way",
        "lock",
        "measurements",
        "monotonic",
        "near",
        "options",
        "period",
        "poll",
        "root_delay",
        "root_dispersion",
        "verdict",
    )

    def __init__(
        self,
        source: SourceId,
        limits: PollLimits,
        address: ReferenceId,
        options: SelectionOptions | None = None,
    ) -> None:
        self.id = source
        self.options = options or SelectionOptions()
        self.address = address
        self.poll = PollSchedule(limits)
        self.filter: TwoWayFilter | OneWayFilter | None = None
        self.verdict = Verdict(Standing.NEW)
        self.heard = -math.inf
        self.begun = -math.inf
        self.monotonic: Monotonic | None = None
        self.measurements = 0
        self.delay = 0.0
        self.root_delay = 0.0
        self.root_dispersion = 0.0
        self._latest: Measurement | None = None
        self._refused = False
        self.period: float | None = None
        self.lock: ReferenceId | None = None
        self.near = 0.0
        self.is_one_way = False

    @property
    def is_pulse(self) -> bool:
        """Whether only fractions of a period are known of this source."""
        return self.period is not None

    @property
    def vote(self) -> Hashable:
        """Which vote this source is a part of: its group's, or its own."""
        return self.options.group or self.id

    @property
    def leap(self) -> Leap:
        """What the source says of the leap second."""
        return self._latest.leap if self._latest is not None else Leap.UNSYNCHRONIZED

    @property
    def stratum(self) -> int:
        """The source's stratum: 0 for clocks of our own."""
        return self._latest.stratum if isinstance(self._latest, TwoWayMeasurement) else 0

    @property
    def sample_variance(self) -> float:
        """The variance of one offset."""
        if isinstance(self.filter, TwoWayFilter):
            return self.filter.noise.offset_variance
        return self.filter.offset_variance if self.filter is not None else 0.0

    def recognize(self, measurement: Measurement) -> None:
        """Take note of what kind of source this is."""
        one_way = measurement if isinstance(measurement, OneWayMeasurement) else None
        self.is_one_way = one_way is not None
        self.period, self.lock = (one_way.period, one_way.lock) if one_way is not None else (None, None)

    def crossed_step(self, measurement: Measurement, stepped: Monotonic | None) -> bool:
        """Tell whether the local clock was stepped while this was measured: the stamps then don't fit together."""
        if stepped is None:
            return False
        if isinstance(measurement, OneWayMeasurement):
            return measurement.monotonic <= stepped
        sent = self.poll.sent_before if measurement.interleaved else self.poll.sent
        if sent is not None and sent <= stepped:
            return True
        return measurement.monotonic - (measurement.t4 - measurement.t1) <= stepped

    def take(
        self,
        measurement: Measurement,
        book: ClockBook,
        frequency: float,
        frequency_sigma: float,
        remembered: RememberedPaths,
    ) -> Outcome:
        """
        Take a measurement into the filter; what can't be one is refused.

        ``frequency`` is the correction that the oscillator is so far thought to need, and how well a new filter may
        take that as known.
        """
        afresh = self.filter is None
        if isinstance(measurement, TwoWayMeasurement):
            outcome = self._take_exchange(measurement, book, frequency, frequency_sigma, remembered)
        else:
            outcome = self._take_event(measurement, book, frequency, frequency_sigma)
        self._refused = outcome is Outcome.REFUSED
        if not self._refused:
            self._latest = measurement
            self.measurements += 1
            self.monotonic = measurement.monotonic
            self.heard = book.seconds(measurement.monotonic)
            if afresh or outcome is Outcome.AFRESH:
                self.begun = self.heard
        return outcome

    def _take_exchange(
        self,
        m: TwoWayMeasurement,
        book: ClockBook,
        frequency: float,
        frequency_sigma: float,
        remembered: RememberedPaths,
    ) -> Outcome:
        if max(abs(m.t2 - m.t1), abs(m.t3 - m.t4), abs(m.t4 - m.t1), abs(m.monotonic)) > _SANE:
            return Outcome.REFUSED
        if not (0.0 <= m.root_delay <= LARGEST_ROOT and 0.0 <= m.root_dispersion <= LARGEST_ROOT):
            return Outcome.REFUSED
        outward, homeward, delay = seconds_between(m.t2, m.t1), seconds_between(m.t4, m.t3), m.delay
        time = book.seconds(m.monotonic)
        integral = book.integral(time)
        if isinstance(self.filter, TwoWayFilter):
            outcome = self.filter.update(outward, homeward, delay, time, integral, book.rate_at(time))
        elif plausible(outward, homeward, delay):
            known = remembered.recall(self.address, time, integral)
            self.filter = TwoWayFilter(outward, homeward, delay, time, integral, frequency, frequency_sigma, known)
            outcome = Outcome.ABSORBED
        else:
            outcome = Outcome.REFUSED
        if outcome is not Outcome.REFUSED:
            self.delay = max(delay, 0.0)
            self.root_delay, self.root_dispersion = m.root_delay, m.root_dispersion
        return outcome

    def _take_event(self, m: OneWayMeasurement, book: ClockBook, frequency: float, frequency_sigma: float) -> Outcome:
        if not (abs(m.monotonic) <= _SANE and m.precision > 0.0 and abs(m.offset) < FARTHEST_OFFSET):
            return Outcome.REFUSED
        if m.period is not None and not SHORTEST_PERIOD <= m.period <= LONGEST_PERIOD:
            return Outcome.REFUSED
        if not 0.0 <= m.accuracy <= LARGEST_ROOT:
            return Outcome.REFUSED
        self.root_dispersion = m.accuracy
        time = book.seconds(m.monotonic)
        integral = book.integral(time)
        if isinstance(self.filter, OneWayFilter) and self.filter.period == m.period:
            return self.filter.update(m.offset, time, integral)
        known = frequency, frequency_sigma
        self.filter = OneWayFilter(m.offset, m.precision, m.period, time, integral, *known, self.near)
        return Outcome.ABSORBED

    def news(self, outcome: Outcome) -> list[Decision]:
        """Tell what people should know of a measurement that was taken."""
        if outcome is Outcome.AFRESH:
            reason = "its measurements contradicted what was known of it: its filter starts afresh"
        elif outcome is Outcome.NEW_ROUTE:
            reason = f"the route to it changed: its delay is now about {duration(self.delay)}"
        else:
            return []
        return [Decision(DecisionKind.RESET, reason, source=self.id)]

    def numbers(self, lock: ReferenceId) -> bool:
        """Tell whether this is the source that pulses are locked to."""
        return self.is_one_way and not self.is_pulse and self.address == lock

    def number_by(self, other: TrackedSource | None, period: float, time: float, integral: float) -> bool:
        """
        Have the pulses numbered by one other source alone; tell whether they are.

        While that is silent or too uncertain, pulses that are numbered stay so.
        """
        if other is None or other.filter is None or not other.is_live(time):
            return self.filter is not None
        offset, variance = other.filter.at(time, integral)
        if not other.distance(variance) < NUMBERING * period:
            return self.filter is not None
        if self.filter is not None and abs(self.filter.at(time, integral)[0] - offset) > period / 2.0:
            self.number_again()
        self.near = offset
        return True

    def number_by_clock(self, clock: Combination, period: float, time: float, integral: float) -> bool:
        """Have the pulses numbered by what is known of the ``clock`` now; tell whether they are."""
        offset, variance = clock.offset, clock.p00
        if self.filter is not None:
            offset, variance = self.filter.at(time, integral)
        if abs(offset) + INTERVAL_SIGMAS * math.sqrt(max(variance, 0.0)) < NUMBERING * period:
            return True
        self.number_again()
        return False

    def remember(self, remembered: RememberedPaths) -> None:
        """Put what is known of the path, if it is worth it, where it outlives this source."""
        if isinstance(self.filter, TwoWayFilter) and self.measurements >= REMEMBERED_AFTER:
            remembered.keep(self.address, self.filter.remember(), self.filter.time, self.filter.integral)

    def fade(self, ahead: float) -> None:
        """The others say that this source is ahead by so many seconds: what it has learnt of its route may be wrong."""
        assert isinstance(self.filter, TwoWayFilter)  # noqa: S101 - no other learns an asymmetry
        self.filter.fade(ahead)

    def number_again(self) -> None:
        """The pulses were numbered wrongly: the next one starts afresh."""
        self.filter = None

    def shift(self, delta: int) -> None:
        """The local clock was moved by ``delta`` nanoseconds."""
        if self.filter is not None:
            self.filter.shift(delta / NANOSECONDS)

    def doubt(self, sigma: float) -> None:
        """The local clock may have moved by something of standard deviation ``sigma``."""
        if self.filter is not None:
            self.filter.doubt(sigma)

    @property
    def silent_after(self) -> float:
        """Until when this source counts as alive if it does not answer any more, on the book's axis."""
        return self.heard + LIVE_POLLS * self.poll.interval + LIVE_GRACE

    def is_live(self, time: float) -> bool:
        """Tell whether this source has answered lately."""
        return self.filter is not None and time <= self.silent_after

    def refusal(self, time: float, highest: int, own: frozenset[ReferenceId]) -> Verdict | None:
        """
        Say why this source can't be used at all, before it is compared with others; None if it can.

        Strata from ``highest`` on are of no use.
        """
        latest = self._latest
        if latest is None or self.filter is None:
            if self._refused:
                return Verdict(Standing.IMPLAUSIBLE)
            return Verdict(Standing.UNNUMBERED if self.is_pulse else Standing.NEW)
        if time > self.silent_after:
            if self._refused:
                return Verdict(Standing.IMPLAUSIBLE)
            if self.is_one_way:
                return Verdict(Standing.QUIET, amount=time - self.heard)
            return Verdict(Standing.SILENT, number=LIVE_POLLS)
        if latest.leap is Leap.UNSYNCHRONIZED:
            return Verdict(Standing.UNSYNCHRONIZED)
        if isinstance(latest, TwoWayMeasurement):
            if not 0 < latest.stratum < highest:
                return Verdict(Standing.STRATUM, number=latest.stratum, needed=highest)
            if latest.stratum > 1 and latest.reference_id in own:
                return Verdict(Standing.LOOP)
        return Verdict(Standing.NOSELECT) if self.options.noselect else None

    @property
    def _path(self) -> float:
        """The largest error that asymmetric paths up to the root may cause, with what was learnt of them, seconds."""
        return (self.delay + self.root_delay) / 2.0 + abs(self.asymmetry)

    @property
    def asymmetry(self) -> float:
        """What changes of the route have shown of the path's asymmetry, which may be wrong, seconds."""
        return self.filter.asymmetry if isinstance(self.filter, TwoWayFilter) else 0.0

    def distance(self, variance: float) -> float:
        """Give the root distance: how far this source may be from the truth, seconds."""
        return self._path + self.root_dispersion + INTERVAL_SIGMAS * math.sqrt(max(variance, 0.0))

    def reach(self, time: float, integral: float) -> tuple[float, float]:
        """Give offset and root distance at ``time``: what truth is, and within which; it must have measured."""
        assert self.filter is not None  # noqa: S101 - asked only of sources that are not refused
        offset, variance = self.filter.at(time, integral)
        return offset, self.distance(variance)

    @property
    def wants_proof(self) -> bool:
        """Whether something seems to have happened to the path that waiting for the next polls would show too late."""
        two_way = self.filter if isinstance(self.filter, TwoWayFilter) else None
        return two_way is not None and two_way.suspects_route and self.poll.exponent >= SUSPICION_POLL

    @property
    def frequency(self) -> tuple[float, float]:
        """The frequency correction that the oscillator needs according to this source, and its variance."""
        assert self.filter is not None  # noqa: S101 - asked only of sources that agree
        return self.filter.frequency, self.filter.p11

    def contribution(self) -> Contribution:
        """Give what this source brings to the combined estimate; it must have measured."""
        assert self.filter is not None  # noqa: S101 - asked only of selected sources
        return Contribution(self.filter, self.filter.base, self.root_dispersion, self._path)

    def estimate(self, time: float, integral: float) -> SourceEstimate:
        """Give what is thought of this source now, for people."""
        standing = self.verdict.standing.name.lower()
        if self.filter is None or self._latest is None:
            return SourceEstimate(reason=self.verdict.words(), standing=standing)
        offset, variance = self.filter.at(time, integral)
        two_way = self._latest if isinstance(self._latest, TwoWayMeasurement) else None
        return SourceEstimate(
            selected=self.verdict.used,
            reason=self.verdict.words(),
            standing=standing,
            offset=offset,
            uncertainty=math.sqrt(max(variance, 0.0)),
            delay=self.delay,
            jitter=math.sqrt(self.sample_variance),
            frequency=self.filter.frequency * 1e6,
            stratum=self.stratum,
            reference_id=two_way.reference_id if two_way else self.address,
            leap=self._latest.leap,
            root_delay=self.root_delay,
            root_dispersion=self.root_dispersion,
            measurements=self.measurements,
            last_measurement=self.monotonic,
            distance=self.distance(variance),
            skew=math.sqrt(max(self.filter.p11, 0.0)) * 1e6,
            span=self.heard - self.begun,
            last_offset=self._latest.offset,
            precision=two_way.precision if two_way else None,
            interleaved=two_way is not None and two_way.interleaved,
        )
