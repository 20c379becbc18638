"""
A source whose value is read at an interval: a register, a shared memory, a file, a small question to a device.

``read`` may return at once, return a Deferred, or block, in which case it runs in a thread of its own.  There is never
more than one under way: a read that has not come back when the next is due is counted as late, and that one is left
out.  A read that fails is counted too, and the next one is made all the same; only a DeviceError, which says that the
device is gone, ends the source, so that its spawner opens it anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from ntptwist.errors import DeviceError, NTPTwistError
from ntptwist.identifiers import EndReason, Leap, SpawnerId
from ntptwist.interfaces import ISystem
from ntptwist.sources.blocking import own_thread
from ntptwist.sources.oneway import OneWaySettings, OneWaySource
from ntptwist.timestamp import Timestamp

STOP_LIMIT = 1.5
"""Seconds that a stop waits for a read that blocks; the thread is then left behind."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What was read: at ``stamp`` on this machine's CLOCK_REALTIME the true time was ``true``.

    None stands for a pulse, whose true time is the multiple of the period that is nearest.
    """

    stamp: Timestamp
    true: Timestamp | None
    leap: Leap = Leap.NONE


class PolledSource(OneWaySource):
    """
    A clock that is read every ``interval`` seconds; each kind says how.

    ``threads`` gives a pool for the reads that block, which is stopped in the end.
    """

    blocking: ClassVar[bool] = False
    """Whether ``read`` blocks and wants a thread of its own."""

    def __init__(
        self,
        name: str,
        address: str,
        mode: str,
        settings: OneWaySettings,
        system: ISystem,
        spawner: SpawnerId,
        reactor: Any,
        interval: float = 1.0,
        threads: Callable[[str], Any] = own_thread,
    ) -> None:
        super().__init__(name, address, mode, settings, system, spawner, reactor, interval)
        self._threads = threads
        self._pool: Any = None
        self._timer: Any = None
        self._reading: Deferred[Any] | None = None
        self._closed = True
        self._idle: Deferred[None] | None = None

    # what the kinds of it say

    def read(self) -> Reading | Deferred[Reading | None] | None:
        """
        Read once; None when there is nothing new.

        NTPTwistError or OSError, whose text is shown, when that failed; DeviceError when the device is gone.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close what was opened; called once, when nothing is being read any more."""

    # what the spawner service calls

    def startService(self) -> None:
        """Register, and read at once."""
        super().startService()
        self._closed = False
        if self.blocking:
            self._pool = self._threads(self.label)
        self._poll()

    def stopService(self) -> Deferred[None] | None:
        """Stop at once; the Deferred fires when a read that blocks has come back, after 1.5 s at most."""
        super().stopService()
        if self._closed or self._idle is not None:
            return self._idle
        idle: Deferred[None] = Deferred()
        self._idle = idle
        timer = self._reactor.callLater(STOP_LIMIT, idle.callback, None)
        idle.addCallback(lambda _: timer.cancel() if timer.active() else None)
        return idle

    def release(self) -> None:
        """Read nothing more."""
        super().release()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._reading is None:
            self._put_away()
        elif not self.blocking:
            self._reading.cancel()

    def _poll(self) -> None:
        """Read, unless the last read is still under way."""
        self._timer = self._reactor.callLater(self._interval, self._poll)
        if self._reading is not None:
            self.drop(f"late: a read takes longer than the {self._interval:g} s from one to the next")
            return
        reading: Deferred[Any]
        reading = deferToThreadPool(self._reactor, self._pool, self.read) if self.blocking else maybeDeferred(self.read)
        self._reading = reading
        reading.addCallback(self._came)
        reading.addErrback(self._failed)
        reading.addCallback(self._done)

    def _came(self, reading: Reading | None) -> None:
        """Take what was read, or that there was nothing new."""
        if self.ended:
            return
        if reading is not None:
            self.happened(reading.stamp, reading.true, reading.leap)
            return
        silent = self._reactor.seconds() - self._reached
        if silent > 3 * self._interval:
            self.trouble(f"nothing new for {silent:.0f} s")

    def _failed(self, failure: Failure) -> None:
        """Count a read that failed."""
        if self.ended:
            return
        text = failure.getErrorMessage()
        if failure.check(DeviceError) is not None:
            self.finish(EndReason.UNREACHABLE, text)
            return
        if failure.check(NTPTwistError, OSError) is None:
            text = f"{type(failure.value).__name__}: {text}"
            if text != self._trouble:
                self.log.failure("{source}: a read failed", failure, source=self.label)
        self.drop(text)

    def _done(self, _: object) -> None:
        self._reading = None
        if self.ended:
            self._put_away()

    def _put_away(self) -> None:
        """Close everything; nothing is under way."""
        if self._closed:
            return
        self._closed = True
        closing = maybeDeferred(self.close)
        closing.addErrback(lambda failure: self.log.failure("{source}: can't be closed", failure, source=self.label))
        if self._pool is not None:
            self._pool.stop()
        if self._idle is not None and not self._idle.called:
            self._idle.callback(None)
