"""A name that hangs in the resolver does not hold up the end of the daemon."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from ntptwist.net.threads import PATIENCE, AbandonableThread, abandon_threads_on_stop
from ntptwist.sim.world import World

HANGING = """
import time
from twisted.internet import reactor, threads
from ntptwist.net.threads import abandon_threads_on_stop
abandon_threads_on_stop(reactor)
abandon_threads_on_stop(reactor)
hanging = threads.deferToThread(time.sleep, 60)
reactor.callLater(0.2, reactor.stop)
reactor.run()
print("stopped")
"""


def test_stop_does_not_wait_for_a_hanging_thread() -> None:
    """The reactor stops, and the process ends, although a thread of its pool is busy for a minute."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout == "stopped\n"
    assert time.monotonic() - start < 20


def test_join_is_impatient() -> None:
    """Waiting for the end of such a thread takes a moment; asking for longer is possible."""
    end = Event()
    thread = AbandonableThread(target=end.wait)
    thread.start()
    start = time.monotonic()
    thread.join()
    waited = time.monotonic() - start
    end.set()
    thread.join(5)

    assert PATIENCE / 2 < waited < 5
    assert not thread.is_alive()
    assert thread.daemon


def test_other_reactors_are_left_alone() -> None:
    """A reactor whose threads are no Twisted pool is not touched."""
    reactor = World().reactor
    abandon_threads_on_stop(reactor)

    assert not hasattr(reactor.getThreadPool(), "threadFactory")
