"""SIGHUP while the daemon runs, and before and after."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twisted.internet.task import Clock

from ntptwist.net.hangup import HangUp


class Turns(Clock):
    """A reactor whose next turn comes when the test says so."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """Keep it for the next turn."""
        self.callLater(0, function, *arguments)


def test_hang_up() -> None:
    """The signal leads to the call in a turn of the reactor; when the service ends, it means what it meant before."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append(0))
    reactor = Turns()
    service = HangUp(lambda: heard.append(1), reactor)
    try:
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        early = list(heard)
        reactor.advance(0)
        service.stopService()
        service.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert early == []
    assert heard == [1, 0]
