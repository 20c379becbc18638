"""
Run the daemon on a virtual clock and print, each second, how far that clock really is from the system's.

``python virtual_daemon.py CONFIGURATION SECONDS`` prints JSON lines with ``time`` (s since the start), ``error``
(reference minus local, s; the reference is this machine's clock, which the peers serve) and ``synchronized``.
"""

from __future__ import annotations

import json
import sys

from twisted.internet import reactor, task

from ntptwist.config.loader import load
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.net.monotonic import schedule_on_monotonic_time
from ntptwist.registry import find_driver
from ntptwist.service import make_service


def main(path: str, seconds: float) -> None:
    """Run for so many seconds."""
    schedule_on_monotonic_time(reactor)
    config = load(path, find_driver)
    clock = VirtualClock(RealSystem(), config.clock.virtual_offset, config.clock.virtual_frequency)
    daemon = make_service(config, reactor, clock)
    daemon.privilegedStartService()
    daemon.startService()
    start = reactor.seconds()

    def show() -> None:
        assert daemon.system is not None
        line = {
            "time": reactor.seconds() - start,
            "error": clock.offset(),
            "synchronized": daemon.system.snapshot().synchronized,
        }
        print(json.dumps(line), flush=True)

    task.LoopingCall(show).start(1.0)
    reactor.callLater(seconds, reactor.stop)
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
