"""
A source that waits for the pulses of a device.

The device blocks, so it is waited for in a thread of its own, 1.5 s at a time: longer than a second, so that no
time-out falls between two pulses, and short enough that the daemon stops within two.  The pulse's time is the
kernel's; when the news of it comes in is of no importance.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ntptwist.errors import NTPTwistError
from ntptwist.identifiers import EndReason, SpawnerId
from ntptwist.interfaces import IPPSDevice, ISystem
from ntptwist.kernel.pps import Pulse
from ntptwist.sources.oneway import OneWaySettings, OneWaySource
from ntptwist.timestamp import NANOSECONDS

FETCH_TIMEOUT = 1.5
"""Seconds."""
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


def own_thread(name: str) -> ThreadPool:
    """Give a started pool of one thread."""
    pool = ThreadPool(1, 1, name)
    pool.threadFactory = _daemonic  # type: ignore[assignment]  # a factory of threads, where a class is declared
    pool.start()
    return pool


def _daemonic(*args: Any, **kwargs: Any) -> Thread:
    """Make a thread that does not keep a process alive whose reactor has died."""
    return Thread(*args, **{**kwargs, "daemon": True})


class PPSSource(OneWaySource):
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
        super().__init__(path, path, "pps", settings, system, spawner, reactor)
        self._device = device
        self._threads = threads
        self._pool: Any = None
        self._rhythm = Rhythm(self._interval)
        self._sequence: int | None = None
        self._last_pulse = 0.0
        self._idle: Deferred[None] | None = None

    def startService(self) -> None:
        """Register, and begin to wait."""
        super().startService()
        self._last_pulse = self._reactor.seconds()
        self._pool = self._threads(self.label)
        self._wait()

    def stopService(self) -> Deferred[None] | None:
        """Stop at once; the Deferred fires when the thread has come back from the device, after 1.5 s at most."""
        super().stopService()
        if self._pool is None:
            return None
        self._idle = self._idle or Deferred()
        return self._idle

    def _wait(self) -> None:
        waiting = deferToThreadPool(self._reactor, self._pool, self._device.wait, FETCH_TIMEOUT)
        waiting.addCallbacks(self._came, self._failed)
        waiting.addErrback(lambda failure: self.log.failure("{source}: a pulse was lost", failure, source=self.label))
        waiting.addCallback(self._next)

    def _came(self, pulse: Pulse | None) -> None:
        """Take a pulse, or that there was none."""
        now = self._reactor.seconds()
        if self.ended:
            return
        if pulse is None or pulse.sequence == self._sequence:
            if now - self._last_pulse > 3 * self._interval:
                self.trouble(f"no pulse for {now - self._last_pulse:.0f} s")
            return
        self._last_pulse = now
        before, self._sequence = self._sequence, pulse.sequence
        in_time = self._rhythm.keeps(pulse.stamp)
        if before is None:
            self.trouble("waiting for a second pulse")
        elif in_time:
            self.happened(pulse.stamp, None)
            missed = (pulse.sequence - before - 1) & 0xFFFFFFFF
            if missed:
                self.trouble(f"{missed} pulses were missed")
        else:
            self.drop("dropped: a pulse out of time")

    def _failed(self, failure: Failure) -> None:
        """The device is gone."""
        if failure.check(NTPTwistError) is None:
            self.log.failure("{source}: the device failed", failure, source=self.label)
        self.finish(EndReason.UNREACHABLE, failure.getErrorMessage())

    def _next(self, _: object) -> None:
        """Wait for the next pulse, or put everything away: the thread is idle now."""
        if not self.ended:
            self._wait()
            return
        pool, self._pool = self._pool, None
        self._device.close()
        pool.stop()
        if self._idle is not None:
            self._idle.callback(None)
