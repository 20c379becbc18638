"""
One request, its reply, and what can be measured with their four timestamps (RFC 5905, section 8).

``flaw_of_header`` and ``flaw_of_measurement`` are the packet tests of RFC 5905, section 9.2, that need no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ntptwist.measurement import TwoWayMeasurement
from ntptwist.snapshot import MAXIMUM_DISPERSION
from ntptwist.timestamp import Monotonic, Timestamp, decode_short, decode_timestamp, seconds_between
from ntptwist.wire.header import Header

MAXIMUM_PROCESSING_TIME: Final = 4.0
"""Seconds between a server's receiving and replying; with more, frequency errors spoil offset and delay."""

COARSEST_PRECISION: Final = -6
"""Log2 seconds (a clock that ticks at 64 Hz): a server that claims less does not make a negative delay right."""

LOCAL_PRECISION: Final = 1e-6
"""Seconds by which our own stamps may be wrong against each other."""


@dataclass(slots=True)
class Exchange:
    """
    One request and what is known of its reply.

    ``nonce`` is the request's transmit timestamp; ``second_nonce`` its receive timestamp, None in a basic request.
    ``sent`` is when it was made, in monotonic seconds.  ``receive_timestamp`` is T2 as it stood in the reply.
    """

    nonce: int
    second_nonce: int | None
    sent: float
    t1: Timestamp | None = None
    kissed: bool = False
    answered: bool = False
    measured: bool = False
    receive_timestamp: int = 0
    t4: Timestamp = Timestamp(0)
    monotonic: Monotonic = Monotonic(0)

    def measure(self, header: Header, t1: Timestamp, *, interleaved: bool) -> TwoWayMeasurement:
        """Complete the measurement with T3 and the server's state from a reply: our own, or the one after it."""
        return TwoWayMeasurement(
            t1=t1,
            t2=decode_timestamp(self.receive_timestamp, self.t4),
            t3=decode_timestamp(header.transmit_timestamp, self.t4),
            t4=self.t4,
            monotonic=self.monotonic,
            leap=header.leap,
            stratum=header.stratum,
            reference_id=header.reference_id,
            root_delay=decode_short(header.root_delay),
            root_dispersion=decode_short(header.root_dispersion),
            precision=header.precision,
            interleaved=interleaved,
        )


def flaw_of_header(header: Header) -> str | None:
    """Say what is wrong with what a synchronized server says of itself; None when nothing is."""
    if header.stratum == 0:
        return f"the server sent the kiss code {header.reference_id.text(0)}"
    distance = decode_short(header.root_delay) / 2 + decode_short(header.root_dispersion)
    if distance >= MAXIMUM_DISPERSION:
        return f"the server's root distance is {distance:.1f} s"
    if header.receive_timestamp == 0 or header.transmit_timestamp == 0:
        return "the reply lacks a timestamp"
    return None


def flaw_of_measurement(measurement: TwoWayMeasurement) -> str | None:
    """Say what can't be true of four timestamps; None when nothing is."""
    processing = seconds_between(measurement.t3, measurement.t2)
    if processing < 0:
        return "the server replied before it received: transmit timestamp before receive timestamp"
    if processing > MAXIMUM_PROCESSING_TIME:
        return f"the server took {processing:.1f} s to reply"
    precision = 2.0 ** min(measurement.precision, COARSEST_PRECISION)
    if measurement.delay < -(precision + LOCAL_PRECISION):
        return f"the delay is negative: {measurement.delay:.6f} s"
    return None
