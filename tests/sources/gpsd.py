"""A gpsd in a virtual world, behind an endpoint: it greets, reports the time each second, and hangs up when told."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.sim.world import World
from ntptwist.timestamp import NANOSECONDS

DEVICE = "/dev/ttyS0"


class VirtualTransport:
    """The client's end of a connection."""

    def __init__(self, gpsd: VirtualGpsd) -> None:
        self.written = b""
        self.keeps_alive = False
        self.disconnecting = False
        self._gpsd = gpsd

    def write(self, data: bytes) -> None:
        """Note what is sent."""
        self.written += data

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Note it."""
        self.keeps_alive = enabled

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Nobody waits."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Lose the connection in the next turn."""
        self.disconnecting = True
        self._gpsd.world.timeline.at(self._gpsd.world.timeline.now, self._gpsd.hang_up)


@implementer(IStreamClientEndpoint)
class VirtualGpsd:
    """
    A gpsd with one receiver, whose serial line is ``late`` seconds late.

    ``answers`` False refuses connections, ``hangs`` leaves them waiting; ``greets`` and ``reports`` say whether it
    does.
    """

    def __init__(self, world: World, late: float = 0.05) -> None:
        self.world = world
        self.late = late
        self.answers = self.greets = self.reports = self.pulses = True
        self.hangs = False
        self.attempts = 0
        self.cancelled = 0
        self.protocol: Any = None
        self.transport: VirtualTransport | None = None
        self._second = 0
        world.timeline.at(world.timeline.now, self._tick)

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803 - Twisted's name
        """Connect a client."""
        self.attempts += 1
        if self.hangs:
            return Deferred(self._cancel)
        if not self.answers:
            return fail(error.ConnectionRefusedError())
        self.protocol = protocolFactory.buildProtocol(None)
        self.transport = VirtualTransport(self)
        self.protocol.makeConnection(self.transport)
        if self.greets:
            self.world.timeline.at(self.world.timeline.now, self.send, {"class": "VERSION", "release": "3.27"})
        return succeed(self.protocol)

    def _cancel(self, _: Deferred[Any]) -> None:
        self.cancelled += 1

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(error.ConnectionDone()))

    def send(self, report: object) -> None:
        """Send a report."""
        self.send_line(json.dumps(report).encode())

    def send_line(self, line: bytes) -> None:
        """Send a line."""
        if self.protocol is not None:
            self.protocol.dataReceived(line + b"\r\n")

    def report(self, kind: str, device: str = DEVICE, **more: object) -> dict[str, object]:
        """Give a report of this moment, as good as it gets."""
        now, true = self.world.clock.read().local, self.world.timeline.utc
        real = {"real_sec": true // NANOSECONDS, "real_nsec": true % NANOSECONDS}
        clock = {"clock_sec": now // NANOSECONDS, "clock_nsec": now % NANOSECONDS}
        return {"class": kind, "device": device, **real, **clock, **more}

    def _tick(self) -> None:
        """Report the pulse at each second, and its time a little later."""
        self._second += 1
        start = self.world.timeline.start + self._second * NANOSECONDS
        self.world.timeline.at(start, self._pulse)
        self.world.timeline.at(start + round(self.late * NANOSECONDS), self._serial, start)
        self.world.timeline.at(start + NANOSECONDS // 2, self._tick)

    def _pulse(self) -> None:
        if self.reports and self.pulses:
            self.send(self.report("PPS", precision=-20))

    def _serial(self, start: int) -> None:
        if self.reports:
            self.send(self.report("TOFF") | {"real_sec": start // NANOSECONDS, "real_nsec": start % NANOSECONDS})
