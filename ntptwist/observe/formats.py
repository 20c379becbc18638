"""
Lines of statistics files, as ntpd and chrony write them, so that the tools made for those read ours.

Each file keeps the signs that its readers know: an offset of loopstats, peerstats and measurements.log is positive when
the local clock is slow, one of tracking.log and statistics.log when it is fast; the frequency of loopstats is the
correction in force, that of tracking.log what it corrects.  Inside the daemon an offset is reference minus local.

The formats are described in ntpd's "Monitoring Options" and in chrony.conf(5), section "log".  What this daemon has no
notion of is 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ntptwist.algorithm.update import ControllerStatus
from ntptwist.identifiers import Leap, SourceId
from ntptwist.measurement import Measurement, TwoWayMeasurement
from ntptwist.snapshot import SourceEstimate, TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

SECONDS_A_DAY = 86_400
EPOCH = 40_587
"""The Modified Julian Date of 1970-01-01."""

SYSTEM_PEER, CANDIDATE, FALSETICKER, REJECTED = 6, 4, 1, 0
"""Selections in a peer status word: RFC 9327, section 3.2."""
_CONFIGURED_REACHABLE = 0x9014
"""That word otherwise: configured, reachable, and one event, which was that it became reachable."""


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One measurement, and what was thought after it.

    ``name`` is the address of the source, or what stands for it; without blanks.  ``poll`` is in log2 seconds.
    """

    source: SourceId
    name: str
    measurement: Measurement
    estimate: SourceEstimate
    status: ControllerStatus
    time: TimeSnapshot
    poll: int

    @property
    def local(self) -> Timestamp:
        """When it was measured."""
        return self.measurement.t4 if isinstance(self.measurement, TwoWayMeasurement) else self.measurement.local

    @property
    def monotonic(self) -> Monotonic:
        """The same on the other axis."""
        return self.measurement.monotonic

    @property
    def disciplines(self) -> bool:
        """Whether the clock follows this source, so that its measurement was an update of the clock."""
        return self.status.synchronized and self.estimate.selected and self.status.offset is not None


Lines = Callable[[Sample], Iterator[tuple[str, str]]]
"""From a sample to its lines, each with the name of its file."""


def ntpd_lines(sample: Sample) -> Iterator[tuple[str, str]]:
    """Give a line of peerstats, and one of loopstats where the clock was updated."""
    seconds, part = divmod(sample.local, NANOSECONDS)
    day, second = divmod(seconds, SECONDS_A_DAY)
    moment = f"{day + EPOCH} {second}.{part // 1_000_000:03d}"
    known, measured = sample.estimate, sample.measurement
    delay = measured.delay if isinstance(measured, TwoWayMeasurement) else 0.0
    yield (
        "peerstats",
        (
            f"{moment} {sample.name} {_CONFIGURED_REACHABLE | _selection(sample) << 8:x}"
            f" {measured.offset:.9f} {delay:.9f} {known.uncertainty or 0.0:.9f} {known.jitter or 0.0:.9f}"
        ),
    )
    if sample.disciplines:
        status = sample.status
        yield (
            "loopstats",
            (
                f"{moment} {status.offset:.9f} {status.frequency:.3f} {known.jitter or 0.0:.9f}"
                f" {status.frequency_error or 0.0:.6f} {sample.poll}"
            ),
        )


def _selection(sample: Sample) -> int:
    if sample.estimate.selected:
        return SYSTEM_PEER if sample.source == sample.status.used[0] else CANDIDATE
    return FALSETICKER if sample.estimate.reason.startswith("falseticker") else REJECTED


LEAPS = {Leap.NONE: "N", Leap.INSERT: "+", Leap.DELETE: "-", Leap.UNSYNCHRONIZED: "?"}

CHRONY_HEADERS: Mapping[str, str] = {
    "measurements.log": "   Date (UTC) Time     IP Address   L St 123 567 ABCD  LP RP Score    Offset  Peer del."
    " Peer disp.  Root del. Root disp. Refid     MTxRx",
    "statistics.log": "   Date (UTC) Time     IP Address    Std dev'n Est offset  Offset sd  Diff freq   Est skew"
    "  Stress  Ns  Bs  Nr  Asym",
    "tracking.log": "   Date (UTC) Time     IP Address   St   Freq ppm   Skew ppm     Offset L Co  Offset sd Rem. corr."
    " Root delay Root disp. Max. error",
}
"""What stands above the columns of each file; it starts with a blank, so that programs pass it over."""


def chrony_lines(sample: Sample) -> Iterator[tuple[str, str]]:
    """Give a line of measurements.log (two-way sources), of statistics.log, and of tracking.log at an update."""
    known, status, measured = sample.estimate, sample.status, sample.measurement
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sample.local // NANOSECONDS))
    skew = (status.frequency_error or 0.0) * 1e-6
    if isinstance(measured, TwoWayMeasurement):
        mode = "I" if measured.interleaved else "B"
        yield (
            "measurements.log",
            (
                f"{moment} {sample.name:<15} {LEAPS[measured.leap]} {measured.stratum:2d} 111 111 1111 "
                f" {sample.poll:2d} {sample.poll:2d} {0.0:4.2f} {measured.offset:10.3e} {measured.delay:10.3e}"
                f" {2.0**measured.precision:10.3e} {measured.root_delay:10.3e} {measured.root_dispersion:10.3e}"
                f" {measured.reference_id.hex().upper()} 4{mode} K K"
            ),
        )
    yield (
        "statistics.log",
        (
            f"{moment} {sample.name:<15} {known.jitter or 0.0:10.3e} {-(known.offset or 0.0):10.3e}"
            f" {known.uncertainty or 0.0:10.3e} {-(known.frequency or 0.0) * 1e-6:10.3e} {skew:10.3e} {0.0:7.1e}"
            f" {min(known.measurements, 999):3d} {0:3d} {0:3d} {0.0:5.2f}"
        ),
    )
    if sample.disciplines:
        clock = sample.time
        yield (
            "tracking.log",
            (
                f"{moment} {sample.name:<15} {clock.stratum:2d} {-status.frequency:10.3f} {skew * 1e6:10.3f}"
                f" {-(status.offset or 0.0):10.3e} {LEAPS[clock.leap]} {len(status.used):2d}"
                f" {math.sqrt(clock.base):10.3e} {0.0:10.3e} {clock.root_delay:10.3e}"
                f" {clock.root_dispersion(sample.monotonic):10.3e} {status.error_bound or 0.0:10.3e}"
            ),
        )
