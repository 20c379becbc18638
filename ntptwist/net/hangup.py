"""
SIGHUP, by which daemons are told to read their configuration anew.
"""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGHUP, signal
from typing import Any

from twisted.application.service import Service


class HangUp(Service):
    """Calls ``act`` in a turn of the reactor at each SIGHUP, from the start of the service to its end."""

    def __init__(self, act: Callable[[], None], reactor: Any) -> None:
        self._act = act
        self._reactor = reactor
        self._before: Any = None

    def startService(self) -> None:
        """Take the signal."""
        super().startService()
        self._before = signal(SIGHUP, lambda *_: self._reactor.callFromThread(self._act))

    def stopService(self) -> None:
        """Give it back."""
        if self.running:
            signal(SIGHUP, self._before)
        super().stopService()
