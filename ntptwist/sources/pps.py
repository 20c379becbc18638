"""
A source that waits for the pulses of a device.

The wait is ``sources.blocking``'s; what is ours is which pulses count.  The pulse's time is the kernel's; when the news
of it comes in is of no importance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ntptwist.identifiers import SpawnerId
from ntptwist.interfaces import IPPSDevice, ISystem
from ntptwist.kernel.pps import Pulse
from ntptwist.sources.blocking import BlockingSource, own_thread
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.timestamp import NANOSECONDS

IRREGULARITY = 0.01
"""Share of the period by which a pulse may miss its place: a clock is slewed by less, a bounce or a spike misses it."""


class Rhythm:
    """
    Tells the pulses that keep time from those that come in between.

    A pulse keeps time when it is a whole number of periods after the last one that did, or after the last one of all:
    so a spike is left out, and when the pulse has moved its second one at the new place counts.
    """

    __slots__ = ("_kept", "_period", "_seen")

    def __init__(self, period: float) -> None:
        self._period = round(period * NANOSECONDS)
        self._kept: int | None = None
        self._seen: int | None = None

    def keeps(self, stamp: int) -> bool:
        """Tell whether a pulse keeps time; the very first one does not, for there is nothing to compare it with."""
        regular = any(self._fits(stamp, other) for other in (self._kept, self._seen))
        self._seen = stamp
        if regular:
            self._kept = stamp
        return regular

    def _fits(self, stamp: int, other: int | None) -> bool:
        if other is None:
            return False
        periods, away = divmod(stamp - other + self._period // 2, self._period)
        return periods > 0 and abs(away - self._period // 2) <= IRREGULARITY * self._period


class PPSSource(BlockingSource):
    """
    The pulses of one device, which it closes at its end.

    ``threads`` gives a pool for the wait, which is stopped in the end.
    """

    def __init__(
        self,
        path: str,
        device: IPPSDevice,
        settings: OneWaySettings,
        system: ISystem,
        spawner: SpawnerId,
        reactor: Any,
        threads: Callable[[str], Any] = own_thread,
    ) -> None:
        super().__init__(path, path, "pps", settings, system, spawner, reactor, threads)
        self._device = device
        self._rhythm = Rhythm(self._interval)
        self._sequence: int | None = None
        self._last_pulse = 0.0

    def startService(self) -> None:
        """Register, and begin to wait."""
        self._last_pulse = self._reactor.seconds()
        super().startService()

    def wait(self, timeout: float) -> Any:
        """Wait for a pulse."""
        return self._device.wait(timeout)

    def came(self, event: Pulse | None) -> None:
        """Take a pulse, or that there was none."""
        now = self._reactor.seconds()
        if event is None or event.sequence == self._sequence:
            if now - self._last_pulse > 3 * self._interval:
                self.trouble(f"no pulse for {now - self._last_pulse:.0f} s")
            return
        self._last_pulse = now
        before, self._sequence = self._sequence, event.sequence
        in_time = self._rhythm.keeps(event.stamp)
        if before is None:
            self.trouble("waiting for a second pulse")
        elif in_time:
            self.happened(event.stamp, None)
            missed = (event.sequence - before - 1) & 0xFFFFFFFF
            if missed:
                self.trouble(f"{missed} pulses were missed")
        else:
            self.drop("dropped: a pulse out of time")

    def close(self) -> None:
        """Close the device."""
        self._device.close()
