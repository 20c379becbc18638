"""
What the service manager is told: systemd's notification protocol, sd_notify(3).

One datagram each for what has begun (ready, reloading, stopping), for the state of the clock in words, and, where the
unit has a watchdog, for being alive.  That last one is sent by the reactor, so a daemon whose reactor is blocked is
started again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service

from ntptwist.log import Logger

INTERVAL = 10.0
"""Seconds between two looks at the state, where no watchdog wants them more often."""


class Notifier(Service):
    """
    Tells systemd, from the start of the service to its stop.

    As the last child of the daemon it starts last, so what it says is true of all; ``status`` gives the state in words.
    Nothing is said where ``environment`` names no socket.  What can't be sent is one line in the log, and no more.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        status: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._reactor = reactor
        self._status = status
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        limit = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watched = mine and limit.isdecimal() and int(limit) > 0
        self._interval = min(int(limit) / 2e6, INTERVAL) if self._watched else INTERVAL
        self._told = ""
        self._failed = False
        self._timer: Any = None

    def startService(self) -> None:
        """Be ready when the reactor runs, and go on from there."""
        super().startService()
        if self._address:
            self._timer = self._reactor.callLater(0, self._ready)

    def stopService(self) -> None:
        """Say that the daemon stops."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._send("STOPPING=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again; ``reloaded`` has to follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """Say that it was, with whatever outcome."""
        self._send("READY=1")

    def _ready(self) -> None:
        self._send("READY=1")
        self._tell()

    def _tell(self) -> None:
        self._timer = self._reactor.callLater(self._interval, self._tell)
        status = self._status().replace("\n", " ")
        alive = ["WATCHDOG=1"] if self._watched else []
        if status != self._told:
            self._told = status
            alive.append(f"STATUS={status}")
        self._send(*alive)

    def _send(self, *words: str) -> None:
        if not self._address or not words:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
                connection.sendto("\n".join(words).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                self.log.error("the service manager can't be told: {reason}", reason=str(error))
