"""
Threads that a stop does not wait for.

A reactor that stops joins the threads of its pool, and a look-up that hangs in getaddrinfo holds the process for as
long as the resolver takes: half a minute and more.  Nobody wants its answer by then, so such a thread is left behind;
it ends with the process.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.internet.interfaces import IReactorThreads
from twisted.python.threadpool import ThreadPool

PATIENCE = 0.2
"""Seconds that a thread is given to end by itself."""


class AbandonableThread(Thread):
    """A thread that neither the end of the process nor a ``join`` waits for any longer than PATIENCE."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "daemon": True})

    def join(self, timeout: float | None = None) -> None:
        """Wait a moment."""
        super().join(PATIENCE if timeout is None else timeout)


def abandon_threads_on_stop(reactor: Any) -> None:
    """Let the threads that this reactor's pool makes from now on be abandoned; harmless when done twice."""
    pool = reactor.getThreadPool() if IReactorThreads.providedBy(reactor) else None
    if isinstance(pool, ThreadPool):
        pool.threadFactory = AbandonableThread
