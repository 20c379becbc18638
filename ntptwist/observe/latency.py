"""
How late the reactor's timers come: whatever blocks it, delays everything that the daemon does.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.application.service import Service

INTERVAL = 1.0
WINDOW = 60
"""Timers that are remembered."""


class Latency(Service):
    """Sets a timer each second, and notes by how much it came late."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._late: deque[float] = deque(maxlen=WINDOW)
        self._timer: Any = None
        self._due_at = 0.0

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._set()

    def stopService(self) -> None:
        """Stop the timer."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def longest(self) -> float | None:
        """Give the longest delay of the last minute in seconds; None before the first timer."""
        return max(self._late, default=None)

    def _set(self) -> None:
        self._due_at = self._reactor.seconds() + INTERVAL
        self._timer = self._reactor.callLater(INTERVAL, self._due)

    def _due(self) -> None:
        self._late.append(max(self._reactor.seconds() - self._due_at, 0.0))
        self._set()
