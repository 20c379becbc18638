"""
What all sources have in common that are clocks of this machine: they speak without being asked.

An event has two times: the one that the kernel or gpsd took on CLOCK_REALTIME, and the true one.  The former is mapped
onto the clock that is kept (a virtual one has an axis of its own), and the measurement is true minus *that*, at that
very moment, however late the news of it came in.  So a stalled daemon loses events but no accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.table import Table
from ntptwist.identifiers import Leap, ReferenceId, SpawnerId
from ntptwist.interfaces import ISource, ISourceController, ISystem
from ntptwist.log import Logger
from ntptwist.measurement import OneWayMeasurement
from ntptwist.protocol.drops import Drops
from ntptwist.snapshot import SourceObservation
from ntptwist.sources.ending import EndingService
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

OLDEST = 10 * NANOSECONDS
"""An event that is further back tells nothing of the clock as it is now."""
EARLIEST = -NANOSECONDS // 1000
"""An event of the future crossed a step of the clock; a millisecond is what two readings may differ by."""
SETTLING = 2.0
"""Seconds after a step for which events are dropped: they may have happened before it, on the old axis."""
SHORTEST_SPACING = 0.05
"""Seconds between two events that count: no receiver makes more than 10 in a second, so more are a nuisance."""
NOTICE_INTERVAL = 60.0
"""Seconds: what is dropped is not logged above debug more often than this."""


@dataclass(frozen=True, slots=True)
class OneWaySettings:
    """
    What an operator says of such a clock; all durations are seconds.

    ``precision`` is the standard deviation of one event, ``accuracy`` what all of them may be wrong by together,
    ``offset`` is added to what it says: the delay of its cable or serial line.  ``reference_id`` is its name.
    ``period`` is that of a pulse, None where the time is told whole; ``lock`` names the source that numbers it.
    ``options`` is what the operator says of it beside others.
    """

    precision: float
    accuracy: float
    offset: float
    reference_id: ReferenceId
    period: float | None = None
    lock: ReferenceId | None = None
    options: SelectionOptions | None = None

    @classmethod
    def configure(
        cls,
        table: Table,
        reference_id: str,
        precision: float | None = None,
        accuracy: float = 0.0,
        prefix: str = "",
    ) -> OneWaySettings:
        """Read the keys from a ``[[source]]`` table; without a default the precision is required."""
        return cls(
            precision=_precision(table, f"{prefix}precision", precision),
            accuracy=table.number(f"{prefix}accuracy", accuracy, minimum=0.0, maximum=1.0),
            offset=table.number(f"{prefix}offset", 0.0, minimum=-1.0, maximum=1.0),
            reference_id=table.parsed(
                f"{prefix}reference-id", parse_reference_id, ReferenceId.of_text(reference_id), ReferenceId()
            ),
        )


def _precision(table: Table, key: str, default: float | None) -> float:
    """Read a precision, or what ntpd-rs called by another name and squared."""
    old = "measurement_noise_estimate"
    if old in table and key not in table:
        table.warning(old, f"is an old name: write {key}, its square root")
        return math.sqrt(table.number(old, positive=True))
    return table.number(key, ... if default is None else default, positive=True, maximum=1.0)


def parse_reference_id(given: Any) -> ReferenceId:
    """Accept the text of a reference id, for ``Table.parsed``."""
    if not isinstance(given, str) or not 0 < len(given) <= 4 or not (given.isascii() and given.isprintable()):
        raise ValueError("expected a text of one to four ASCII characters")
    return ReferenceId.of_text(given)


@implementer(ISource)
class OneWaySource(EndingService):
    """
    A clock of this machine, from ``startService`` until it is stopped or comes to its end.

    ``name`` and ``address`` are for people, ``mode`` is the configuration's word.  ``interval`` is the seconds from one
    event to the next, a pulse's period or a second where it is not given.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        address: str,
        mode: str,
        settings: OneWaySettings,
        system: ISystem,
        spawner: SpawnerId,
        reactor: Any,
        interval: float | None = None,
    ) -> None:
        super().__init__()
        self.id = system.new_source_id()
        self.label = name
        self._address = address
        self._mode = mode
        self._settings = settings
        self._system = system
        self._spawner = spawner
        self._reactor = reactor
        self._interval = interval or settings.period or 1.0
        exponent = max(round(math.log2(self._interval)), 0)
        self._limits = PollLimits(exponent, exponent)
        self._controller: ISourceController | None = None
        self._received = self._dropped = self._reach = 0
        self._drops = Drops()
        self._last: Monotonic | None = None
        self._reached = 0.0
        self._deaf_until = -math.inf
        self._trouble: str | None = "nothing was heard of it yet"
        self._noticed = -NOTICE_INTERVAL

    # what the spawner service and the system call

    def startService(self) -> None:
        """Register with the system."""
        super().startService()
        self._reached = self._reactor.seconds()
        self._controller = self._system.register(
            self, self._spawner, self._limits, self._settings.reference_id, self._settings.options
        )

    def clock_stepped(self, delta: int) -> None:  # noqa: ARG002 - whatever its size
        """Be deaf for a while: what comes in now may have happened before the step."""
        self._deaf_until = self._reactor.seconds() + SETTLING

    def observe(self) -> SourceObservation:
        """Say what this is and how it goes; the reach register counts the intervals at which it should have spoken."""
        missed = int((self._reactor.seconds() - self._reached) / self._interval)
        return SourceObservation(
            name=self.label,
            address=self._address,
            mode=self._mode,
            reach=self._reach << min(missed, 8) & 0xFF,
            poll=self._limits.minimum,
            trouble=self._trouble,
            received=self._received,
            dropped=self._dropped,
            drops=self._drops.counts(),
        )

    # what the kinds of it call

    def release(self) -> None:
        """Take nothing more."""
        self._controller = None

    def drop(self, reason: str) -> None:
        """Count an event that is of no use, and say why."""
        self._dropped += 1
        self._drops.add(reason.removeprefix("dropped: "))
        self.trouble(reason)

    def trouble(self, reason: str) -> None:
        """Say what is wrong; logged when it is new, and at most once a minute."""
        now = self._reactor.seconds()
        if reason != self._trouble and now - self._noticed >= NOTICE_INTERVAL:
            self._noticed = now
            self.log.info("{source}: {reason}", source=self.label, reason=reason)
        self._trouble = reason

    def happened(self, stamp: Timestamp, true: Timestamp | None, leap: Leap = Leap.NONE) -> None:
        """
        Hand in an event of ``stamp`` on this machine's CLOCK_REALTIME, whose true time was ``true``.

        None stands for a pulse, whose true time is the multiple of the period that is nearest.
        """
        if self._controller is None:
            return
        clock = self._system.clock
        now = clock.read()
        local = clock.from_kernel(stamp)
        age = now.local - local
        monotonic = Monotonic(now.monotonic - age)
        seconds = self._reactor.seconds()
        if seconds < self._deaf_until:
            self.drop("dropped: the clock was stepped just now")
        elif not EARLIEST <= age <= OLDEST:
            when = "past" if age > 0 else "future"
            self.drop(f"dropped: its time stamp is {abs(age) / NANOSECONDS:.3g} s in the {when}")
        elif self._last is not None and monotonic - self._last < SHORTEST_SPACING * NANOSECONDS:
            self.drop("dropped: too soon after the one before")
        else:
            self._last = monotonic
            self._hear(seconds)
            settings = self._settings
            self._controller.measured(
                OneWayMeasurement(
                    offset=self._offset(local, true) + settings.offset,
                    local=local,
                    monotonic=monotonic,
                    precision=settings.precision,
                    leap=leap,
                    period=settings.period,
                    accuracy=settings.accuracy,
                    lock=settings.lock,
                )
            )

    def _offset(self, local: Timestamp, true: Timestamp | None) -> float:
        """Give true minus local time, seconds."""
        if true is not None:
            return (true - local) / NANOSECONDS
        period = round((self._settings.period or 1.0) * NANOSECONDS)
        early = -local % period
        return (early if 2 * early < period else early - period) / NANOSECONDS

    def _hear(self, seconds: float) -> None:
        """Note that it has spoken."""
        missed = max(int((seconds - self._reached) / self._interval + 0.5), 0)
        self._reach = (self._reach << min(missed, 8) | 1) & 0xFF
        self._reached = seconds
        self._received += 1
        self._trouble = None
