"""
What a source measures: the four timestamps of an exchange, or the offset of one event.

``t1`` and ``t4`` are on the local clock, ``t2`` and ``t3`` on the server's (RFC 5905, figure 14).  An offset is
*reference minus local* everywhere in this daemon: positive means that the local clock is slow.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp


@dataclass(frozen=True, slots=True)
class TwoWayMeasurement:
    """
    One exchange with a server.

    ``monotonic`` is the local clock's monotonic time at ``t4``.  ``root_delay`` and ``root_dispersion`` are the
    server's own, in seconds.  ``precision`` is the server's, log2 seconds.
    """

    t1: Timestamp
    t2: Timestamp
    t3: Timestamp
    t4: Timestamp
    monotonic: Monotonic
    leap: Leap
    stratum: int
    reference_id: ReferenceId
    root_delay: float
    root_dispersion: float
    precision: int
    interleaved: bool = False

    @property
    def offset(self) -> float:
        """Server minus local, seconds (RFC 5905, section 8)."""
        return ((self.t2 - self.t1) + (self.t3 - self.t4)) / (2 * NANOSECONDS)

    @property
    def delay(self) -> float:
        """Round-trip delay without the server's own time, seconds; may be negative if a clock was stepped."""
        return ((self.t4 - self.t1) - (self.t3 - self.t2)) / NANOSECONDS


@dataclass(frozen=True, slots=True)
class OneWayMeasurement:
    """
    One event whose true time is known: a pulse, or a sample from gpsd.

    ``offset`` is true minus local time of the event in seconds, known modulo ``period`` seconds where that is given.
    ``local`` and ``monotonic`` are the local clock at the event.  ``precision`` is one standard deviation, seconds;
    ``accuracy`` is what all offsets may be wrong by together, which no number of them averages out.  ``lock`` is the
    reference id of the one-way source that numbers the pulse; None leaves that to whoever agrees.
    """

    offset: float
    local: Timestamp
    monotonic: Monotonic
    precision: float
    leap: Leap = Leap.NONE
    period: float | None = None
    accuracy: float = 0.0
    lock: ReferenceId | None = None


Measurement = TwoWayMeasurement | OneWayMeasurement
