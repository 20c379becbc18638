"""
How a source comes to its end: once, for one reason, and whoever waits for it is told.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from ntptwist.identifiers import EndReason, SourceEnd


class EndingService(Service):
    """
    A service that ends by itself or by being stopped; the base of every source.

    ``release`` is called once, at the end, to let go of timers and sockets.
    """

    def __init__(self) -> None:
        self.end: SourceEnd | None = None
        self._waiters: list[Deferred[SourceEnd]] = []

    def stopService(self) -> Any:
        """Stop at once."""
        super().stopService()
        self.finish(EndReason.STOPPED, "stopped")

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.end is not None

    def when_ended(self) -> Deferred[SourceEnd]:
        """Return a Deferred that fires with the end of this source."""
        deferred: Deferred[SourceEnd] = Deferred()
        if self.end is not None:
            deferred.callback(self.end)
        else:
            self._waiters.append(deferred)
        return deferred

    def finish(self, reason: EndReason, explanation: str) -> None:
        """Come to the end; what comes later changes nothing."""
        if self.end is not None:
            return
        self.end = SourceEnd(reason, explanation)
        self.release()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.end)

    def release(self) -> None:
        """Let go of everything."""
