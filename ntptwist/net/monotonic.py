"""
Timers that no step of the clock moves.

Twisted's reactors, the one on asyncio among them, schedule delayed calls on the wall clock.  A daemon that steps this
clock back by an hour would be silent for an hour; stepped forward, all its timers fire at once.  So the daemon's
reactor counts on CLOCK_MONOTONIC instead.  Its origin is arbitrary and may be 0.0: no reading may stand for "never".
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase


def schedule_on_monotonic_time(reactor: Any) -> None:
    """
    Make a reactor's delayed calls independent of the wall clock; to be called before the first of them.

    A reactor that already counts so is left alone, and so is one that is not Twisted's and keeps a time of its own
    (``task.Clock``, a virtual reactor).  RuntimeError when delayed calls exist: they stand on the wall clock's axis and
    would fire decades late.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is monotonic:
        return
    waiting = reactor.getDelayedCalls()
    if waiting:
        raise RuntimeError(f"the reactor has delayed calls on the wall clock already: {waiting[0]}")
    reactor.seconds = monotonic
