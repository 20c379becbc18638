"""
A source that waits for a device which blocks.

It is waited for in a thread of its own, 1.5 s at a time: longer than a second, so that no time-out falls between two
events of a clock that ticks each second, and short enough that the daemon stops within two.  Only ``wait`` runs in that
thread; everything else runs in the reactor, and ``close`` when the thread is idle, so no kind of it needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ntptwist.errors import NTPTwistError
from ntptwist.identifiers import EndReason, SpawnerId
from ntptwist.interfaces import ISystem
from ntptwist.sources.oneway import OneWaySettings, OneWaySource

WAIT_TIMEOUT = 1.5
"""Seconds."""


def own_thread(name: str) -> ThreadPool:
    """Give a started pool of one thread."""
    pool = ThreadPool(1, 1, name)
    pool.threadFactory = _daemonic  # type: ignore[assignment]  # a factory of threads, where a class is declared
    pool.start()
    return pool


def _daemonic(*args: Any, **kwargs: Any) -> Thread:
    """Make a thread that does not keep a process alive whose reactor has died."""
    return Thread(*args, **{**kwargs, "daemon": True})


class BlockingSource(OneWaySource):
    """
    A clock whose events are waited for; each kind says how, and what to make of one.

    ``threads`` gives a pool for the wait, which is stopped in the end.
    """

    def __init__(
        self,
        name: str,
        address: str,
        mode: str,
        settings: OneWaySettings,
        system: ISystem,
        spawner: SpawnerId,
        reactor: Any,
        threads: Callable[[str], Any] = own_thread,
    ) -> None:
        super().__init__(name, address, mode, settings, system, spawner, reactor)
        self._threads = threads
        self._pool: Any = None
        self._idle: Deferred[None] | None = None

    # what the kinds of it say

    def wait(self, timeout: float) -> Any:
        """
        Wait for an event, at most ``timeout`` seconds; what is returned is handed to ``came``, None too.

        It runs in the thread and may block.  NTPTwistError when the device is gone: that ends the source.  Where
        threads are run inline, in a virtual world, it returns a Deferred.
        """
        raise NotImplementedError

    def came(self, event: Any) -> None:
        """Take what ``wait`` returned, with ``happened`` or ``drop``; runs in the reactor, not after the end."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the device; called once, when nobody waits any more."""

    # what the spawner service calls

    def startService(self) -> None:
        """Register, and begin to wait."""
        super().startService()
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
        waiting = deferToThreadPool(self._reactor, self._pool, self.wait, WAIT_TIMEOUT)
        waiting.addCallbacks(self._came, self._failed)
        waiting.addErrback(lambda failure: self.log.failure("{source}: an event was lost", failure, source=self.label))
        waiting.addCallback(self._next)

    def _came(self, event: Any) -> None:
        if not self.ended:
            self.came(event)

    def _failed(self, failure: Failure) -> None:
        """The device is gone."""
        if failure.check(NTPTwistError) is None:
            self.log.failure("{source}: the device failed", failure, source=self.label)
        self.finish(EndReason.UNREACHABLE, failure.getErrorMessage())

    def _next(self, _: object) -> None:
        """Wait for the next event, or put everything away: the thread is idle now."""
        if not self.ended:
            self._wait()
            return
        closing = maybeDeferred(self.close)
        closing.addErrback(lambda failure: self.log.failure("{source}: can't be closed", failure, source=self.label))
        closing.addCallback(self._put_away)

    def _put_away(self, _: object) -> None:
        pool, self._pool = self._pool, None
        pool.stop()
        if self._idle is not None:
            self._idle.callback(None)
