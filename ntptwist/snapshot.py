"""
Frozen views that servers and observers read.

Nobody subscribes to anything: whoever wants to know pulls the newest snapshot.  All offsets are reference minus local,
all durations are seconds, and what is not known is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ntptwist.identifiers import NO_REFERENCE, Leap, ReferenceId, SourceId
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

MAXIMUM_DISPERSION = 16.0
"""Seconds; MAXDISP of RFC 5905, figure 6."""


@dataclass(frozen=True, slots=True)
class TimeSnapshot:
    """
    What a server says of the time it serves.

    The variance of the clock's error grows as the third-degree polynomial that the filter's covariance gives:
    ``base + 2 linear d + quadratic d^2 + wander d^3 / 3``, ``d`` seconds after ``monotonic``.  ``dispersion`` is the
    servers' own, seconds.
    """

    leap: Leap = Leap.UNSYNCHRONIZED
    stratum: int = 16
    reference_id: ReferenceId = NO_REFERENCE
    reference_time: Timestamp = Timestamp(0)
    monotonic: Monotonic = Monotonic(0)
    precision: int = -20
    root_delay: float = 0.0
    dispersion: float = MAXIMUM_DISPERSION
    base: float = 0.0
    linear: float = 0.0
    quadratic: float = 0.0
    wander: float = 0.0

    @property
    def synchronized(self) -> bool:
        """Whether this clock may be used by others."""
        return self.leap is not Leap.UNSYNCHRONIZED

    def root_dispersion(self, monotonic: Monotonic) -> float:
        """
        Give the root dispersion at a later time, in seconds, at most 16.

        One standard deviation of our own is in it, as RFC 5905 (section 11.2) adds the system jitter and other servers
        do: clients square it to weigh us by, and those who chain servers add their own.  Three of them are in the
        ``error_bound`` that operators and the kernel are told.
        """
        d = max(monotonic - self.monotonic, 0) / NANOSECONDS
        variance = self.base + d * (2 * self.linear + d * (self.quadratic + d * self.wander / 3))
        return min(self.dispersion + math.sqrt(max(variance, 0.0)), MAXIMUM_DISPERSION)


@dataclass(frozen=True, slots=True)
class SourceEstimate:
    """
    What the algorithm thinks of one source; ``reason`` says in words why it is used or not.

    ``standing`` is the same for programs.  ``distance`` is the root distance: truth is within that of ``offset``, if
    the source is right.  ``skew`` (ppm) is how well ``frequency`` is known, ``span`` for how long it has measured
    without starting afresh.  ``last_offset`` is what the last measurement says alone, ``precision`` what that server
    says of its clock (log2 seconds).
    """

    selected: bool = False
    reason: str = "no measurement yet"
    standing: str = "new"
    offset: float | None = None
    uncertainty: float | None = None
    delay: float | None = None
    jitter: float | None = None
    frequency: float | None = None
    stratum: int | None = None
    reference_id: ReferenceId | None = None
    leap: Leap | None = None
    root_delay: float | None = None
    root_dispersion: float | None = None
    measurements: int = 0
    last_measurement: Monotonic | None = None
    distance: float | None = None
    skew: float | None = None
    span: float | None = None
    last_offset: float | None = None
    precision: int | None = None
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class SourceObservation:
    """What a source tells of itself: who it is, and how its conversation goes; ``trouble`` is the latest trouble."""

    name: str
    address: str
    mode: str
    reach: int = 0
    poll: int = 0
    trouble: str | None = None
    nts_cookies: int | None = None
    sent: int = 0
    received: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """One row of ``ntptwist-ctl sources``; ``id`` is None while a spawner is still looking for a source."""

    id: SourceId | None
    observation: SourceObservation
    estimate: SourceEstimate


@dataclass(frozen=True, slots=True)
class ClientSnapshot:
    """A client of a server; of its ``packets`` as many as ``error`` may have been others'."""

    address: str
    packets: int
    error: int
    last_seen: Monotonic
    version: int
    interleaved: bool
    nts: bool


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """
    One server: its address, why it is not served (None: it is), its counters and the clients that ask most.

    The counters are those of ``protocol.server.ServerCounters``.
    """

    address: str
    trouble: str | None
    counters: Mapping[str, int]
    clients: tuple[ClientSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyServerSnapshot:
    """
    One key exchange server: its address, why it is not served (None: it is), and how its connections ended.

    The keys of ``outcomes`` are the names of ``ntske.server.Outcome`` in lower case.
    """

    address: str
    trouble: str | None
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CorrectionsSnapshot:
    """
    The offsets that were corrected: the latest (reference minus local), their root mean square, and the ``interval``.

    All in seconds; the interval is that between the last two corrections, 0 before there were two.
    """

    latest: float = 0.0
    typical: float = 0.0
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class SystemSnapshot:
    """
    The state of the daemon at one moment.

    ``offset`` is what is left to correct (seconds, reference minus local), ``error_bound`` the largest error: |offset|,
    three standard deviations, and what dispersion and half the delay of the sources may hide, ``frequency`` the
    correction in force (ppm), ``control`` one of system, observe, virtual.  ``used`` are the selected sources, the one
    that gives stratum and reference id first.  ``oscillator_frequency`` is the correction that the oscillator needs,
    without what an offset is being slewed by (ppm).
    """

    now: Timestamp
    monotonic: Monotonic
    time: TimeSnapshot
    control: str
    synchronized: bool
    state: str
    offset: float | None = None
    error_bound: float | None = None
    frequency: float = 0.0
    frequency_error: float | None = None
    steps: int = 0
    accumulated_steps: float = 0.0
    since: Timestamp | None = None
    sources: tuple[SourceSnapshot, ...] = field(default=())
    used: tuple[SourceId, ...] = ()
    oscillator_frequency: float = 0.0
    corrections: CorrectionsSnapshot = CorrectionsSnapshot()
