"""
Servers of a virtual world.

They answer with the very bytes that the daemon's own server would send (``protocol.server.respond``); what differs is
their clock and what they say of it.  Their stamps are true UTC plus their error, to the nanosecond.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.nts.responder import ServerProtection
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.server import respond
from ntptwist.sim.network import Endpoint, Network
from ntptwist.sim.timeline import Timeline
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

NTP_PORT = 123
_HEADER = 48


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    What a server is like; without arguments a good one of stratum 1.

    Its clock is off by ``offset`` (positive: fast) plus ``frequency``, fractional, times the time since the start, plus
    the ``jumps`` (from, seconds) so far.  It takes ``processing`` seconds to answer.  With ``kiss`` it answers so to a
    request that comes less than ``kiss_within`` seconds after the previous one from the same address (infinity: to
    all).  A ``silent`` one does not answer.
    """

    offset: float = 0.0
    frequency: float = 0.0
    jumps: tuple[tuple[float, float], ...] = ()
    leap: Leap = Leap.NONE
    stratum: int = 1
    reference_id: ReferenceId = ReferenceId.of_text("GPS")
    root_delay: float = 0.0
    root_dispersion: float = 0.0
    precision: int = -25
    processing: float = 0.0
    kiss: KissCode | None = None
    kiss_within: float = math.inf
    silent: bool = False

    def error(self, elapsed: int) -> int:
        """Give the server's time minus true time, nanoseconds, so many nanoseconds after the start."""
        seconds = elapsed / NANOSECONDS
        error = self.offset + self.frequency * seconds
        for since, jump in self.jumps:
            if seconds >= since:
                error += jump
        return round(error * NANOSECONDS)


GOOD = Behaviour()
UNSYNCHRONIZED = Behaviour(leap=Leap.UNSYNCHRONIZED, stratum=16)
SILENT = Behaviour(silent=True)
DENYING = Behaviour(kiss=KissCode.DENY)


def kiss_of_death(request: bytes, code: KissCode) -> bytes:
    """Build the kiss packet that answers a request (RFC 5905, section 7.4): stratum 0, origin copied, no time."""
    version = request[0] & 0b00_111_000
    first = Leap.UNSYNCHRONIZED << 6 | version | 4
    return struct.pack(">BBB9x4s8x8s16x", first, 0, request[2], code.value, request[40:48])


class ReferenceServer:
    """
    One server; ``behaviour`` may be changed at any time.

    ``requests`` counts what arrived, answered or not.  With ``nts`` it answers those who use NTS in kind.
    """

    def __init__(self, timeline: Timeline, network: Network, endpoint: Endpoint, behaviour: Behaviour = GOOD) -> None:
        self.behaviour = behaviour
        self.endpoint = endpoint
        self.requests = 0
        self.nts: ServerProtection | None = None
        self._timeline = timeline
        self._network = network
        self._last: dict[str, int] = {}
        network.bind(endpoint, self)

    def behave(self, behaviour: Behaviour) -> None:
        """Be like that from now on."""
        self.behaviour = behaviour

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Answer a request."""
        self.requests += 1
        behaviour = self.behaviour
        before, self._last[source[0]] = self._last.get(source[0]), self._timeline.elapsed
        if behaviour.silent or len(data) < _HEADER:
            return
        if behaviour.kiss is not None and self._hurried(before):
            self._network.send(self.endpoint, source, self._kiss(data, behaviour.kiss))
            return
        received = self._now()
        if behaviour.processing:
            due = self._timeline.now + round(behaviour.processing * NANOSECONDS)
            self._timeline.at(due, self._answer, data, source, received)
        else:
            self._answer(data, source, received)

    def refused(self, source: Endpoint) -> None:
        """Take no notice: the client has gone."""

    def _kiss(self, request: bytes, code: KissCode) -> bytes:
        """Give a kiss, authenticated for those who use NTS."""
        protected = self.nts.read(request) if self.nts is not None else None
        kiss = kiss_of_death(request, code)
        return kiss if self.nts is None or protected is None else self.nts.seal(kiss, protected)

    def _hurried(self, before: int | None) -> bool:
        if math.isinf(self.behaviour.kiss_within):
            return True
        return before is not None and self._timeline.elapsed - before < self.behaviour.kiss_within * NANOSECONDS

    def _now(self) -> Timestamp:
        return Timestamp(self._timeline.utc + self.behaviour.error(self._timeline.elapsed))

    def _answer(self, request: bytes, source: Endpoint, received: Timestamp) -> None:
        behaviour = self.behaviour
        now = self._now()
        monotonic = Monotonic(self._timeline.elapsed)
        time = TimeSnapshot(
            leap=behaviour.leap,
            stratum=behaviour.stratum,
            reference_id=behaviour.reference_id,
            reference_time=Timestamp(now - now % (16 * NANOSECONDS)),
            monotonic=monotonic,
            precision=behaviour.precision,
            root_delay=behaviour.root_delay,
            dispersion=behaviour.root_dispersion,
        )
        response = respond(request, received, now, time, monotonic, self.nts)
        if not isinstance(response, Dropped):
            self._network.send(self.endpoint, source, response)
