"""How late the reactor's timers come."""

from __future__ import annotations

from twisted.internet.task import Clock

from ntptwist.observe.latency import WINDOW, Latency


def test_the_longest_of_the_last_minute() -> None:
    """A timer that comes late is remembered for a minute."""
    reactor = Clock()
    latency = Latency(reactor)
    latency.startService()
    before = latency.longest()
    reactor.advance(1.25)
    late = latency.longest()
    reactor.pump([1.0] * WINDOW)
    forgotten = latency.longest()
    latency.stopService()
    latency.stopService()

    assert (before, late, forgotten) == (None, 0.25, 0.0)
    assert reactor.getDelayedCalls() == []
