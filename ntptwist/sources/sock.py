"""
A source that gpsd, or any other program on this machine, writes samples to (chrony's SOCK protocol).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, SpawnerId
from ntptwist.interfaces import ISystem
from ntptwist.sources.oneway import OneWaySettings, OneWaySource
from ntptwist.timestamp import NANOSECONDS, Timestamp
from ntptwist.wire.sock import SockSample


class SockSource(OneWaySource, DatagramProtocol):
    """The samples that come in at one path; whoever opens the socket connects it to this protocol."""

    noisy = False
    transport: Any  # of ``net.unix.listen_feed``

    def __init__(self, path: str, settings: OneWaySettings, system: ISystem, spawner: SpawnerId, reactor: Any) -> None:
        super().__init__(path, path, "sock", settings, system, spawner, reactor)

    def stopService(self) -> None:
        """Close the socket and stop."""
        if self.transport is not None:
            self.transport.stopListening()
        super().stopService()

    def datagramReceived(self, datagram: bytes, addr: object) -> None:  # noqa: ARG002 - whoever may write is believed
        """Take a sample."""
        try:
            sample = SockSample.parse(datagram)
        except WireError as error:
            self.drop(f"malformed sample: {error.reason}")
            return
        if sample.leap is Leap.UNSYNCHRONIZED:
            self.drop("its feeder is not synchronized")
            return
        self.happened(sample.time, Timestamp(sample.time + round(sample.offset * NANOSECONDS)), sample.leap)
