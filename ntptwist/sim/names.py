"""
The names of a virtual world: a table in the place of DNS.

A name may have any number of addresses (none: NXDOMAIN, as for any name that is not in the table), may take a while to
be answered, or may never be.  A literal address is its own answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from ntptwist.sim.timeline import Call, Timeline
from ntptwist.timestamp import NANOSECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses of a name, and the seconds until they come; infinity for never."""

    addresses: tuple[str, ...] = ()
    delay: float = 0.0


NXDOMAIN = Answer()


@implementer(IHostResolution)
class Resolution:
    """A look-up under way."""

    __slots__ = ("_call", "_timeline", "name")

    def __init__(self, name: str, timeline: Timeline) -> None:
        self.name = name
        self._timeline = timeline
        self._call: Call | None = None

    def expect(self, call: Call) -> None:
        """Note the call that will bring the answer."""
        self._call = call

    def cancel(self) -> None:
        """Let nothing more come."""
        if self._call is not None:
            self._timeline.cancel(self._call)


@implementer(IHostnameResolver)
class NameTable:
    """Answers from a table; the answer counts that stands there when the question is asked."""

    def __init__(self, timeline: Timeline) -> None:
        self.queries: list[str] = []
        self._timeline = timeline
        self._answers: dict[str, Answer] = {}

    def add(self, name: str, *addresses: str, delay: float = 0.0) -> None:
        """Let a name have these addresses from now on."""
        self._answers[name] = Answer(addresses, delay)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look a name up; the receiver is told of the beginning at once and of the rest in a later turn."""
        self.queries.append(hostName)
        resolution = Resolution(hostName, self._timeline)
        resolutionReceiver.resolutionBegan(resolution)
        answer = self._answers.get(hostName, NXDOMAIN)
        if _is_literal(hostName):
            answer = Answer((hostName,))
        if math.isinf(answer.delay):
            return resolution
        kind: Literal["TCP", "UDP"] = "UDP" if transportSemantics == "UDP" else "TCP"
        addresses = [_address(kind, literal, portNumber) for literal in answer.addresses]
        wanted = tuple(addressTypes) if addressTypes is not None else (IPv4Address, IPv6Address)
        due = self._timeline.now + round(answer.delay * NANOSECONDS)
        found = [address for address in addresses if isinstance(address, wanted)]
        resolution.expect(self._timeline.at(due, _deliver, resolutionReceiver, found))
        return resolution


def _is_literal(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _address(kind: Literal["TCP", "UDP"], literal: str, port: int) -> IPv4Address | IPv6Address:
    return IPv6Address(kind, literal, port) if ":" in literal else IPv4Address(kind, literal, port)


def _deliver(receiver: IResolutionReceiver, addresses: list[IPv4Address | IPv6Address]) -> None:
    for address in addresses:
        receiver.addressResolved(address)
    receiver.resolutionComplete()
