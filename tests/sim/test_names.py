"""Names in a virtual world."""

from __future__ import annotations

import math

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.errors import ResolutionError
from ntptwist.net.resolver import first_reachable, resolve
from ntptwist.sim.names import NameTable
from ntptwist.sim.timeline import Timeline
from tests.sim.machine import Machine


@implementer(IResolutionReceiver)
class Receiver:
    """Notes how a look-up goes."""

    def __init__(self) -> None:
        self.resolution: IHostResolution | None = None
        self.addresses: list[IAddress] = []
        self.complete = 0

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803 - Twisted's name
        """Note the beginning."""
        self.resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """Note an address."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """Note the end."""
        self.complete += 1


@pytest.fixture
def timeline() -> Timeline:
    """Give time."""
    return Timeline()


@pytest.fixture
def names(timeline: Timeline) -> NameTable:
    """Give a table with one name."""
    table = NameTable(timeline)
    table.add("ntp.example", "198.51.100.1", "2001:db8::7b", delay=0.05)
    return table


def test_provides_the_interface(names: NameTable) -> None:
    """Twisted's own code can use it."""
    receiver = Receiver()

    assert verifyObject(IHostnameResolver, names)
    assert verifyObject(IHostResolution, names.resolveHostName(receiver, "ntp.example"))


def test_answers_after_its_delay(timeline: Timeline, names: NameTable) -> None:
    """The addresses come in the table's order when the answer's time has come, with the port that was asked for."""
    receiver = Receiver()
    resolution = names.resolveHostName(receiver, "ntp.example", 123, transportSemantics="UDP")
    timeline.run_for(0.049)

    assert receiver.resolution is resolution
    assert resolution.name == "ntp.example"
    assert (receiver.addresses, receiver.complete) == ([], 0)

    timeline.run_for(0.001)

    assert receiver.addresses == [IPv4Address("UDP", "198.51.100.1", 123), IPv6Address("UDP", "2001:db8::7b", 123)]
    assert receiver.complete == 1


def test_gives_the_families_that_are_wanted(timeline: Timeline, names: NameTable) -> None:
    """Who asks for IPv6 only gets no IPv4 address; TCP is what is meant when nothing is said."""
    receiver = Receiver()
    names.resolveHostName(receiver, "ntp.example", addressTypes=[IPv6Address])
    timeline.run_for(1.0)

    assert receiver.addresses == [IPv6Address("TCP", "2001:db8::7b", 0)]


def test_an_unknown_name_has_no_address(timeline: Timeline, names: NameTable) -> None:
    """NXDOMAIN is an answer without addresses, in a later turn."""
    receiver = Receiver()
    names.resolveHostName(receiver, "nowhere.example")

    assert receiver.complete == 0

    timeline.run_for(0.0)

    assert (receiver.addresses, receiver.complete) == ([], 1)


def test_some_names_are_never_answered(timeline: Timeline, names: NameTable) -> None:
    """A resolver may hang for good."""
    receiver = Receiver()
    names.add("hangs.example", "198.51.100.1", delay=math.inf)
    names.resolveHostName(receiver, "hangs.example").cancel()
    timeline.run_for(1e6)

    assert receiver.complete == 0


def test_a_cancelled_look_up_brings_nothing(timeline: Timeline, names: NameTable) -> None:
    """Nothing comes for who has lost interest."""
    receiver = Receiver()
    names.resolveHostName(receiver, "ntp.example").cancel()
    timeline.run_for(1.0)

    assert (receiver.addresses, receiver.complete) == ([], 0)


@pytest.mark.parametrize("literal", ["203.0.113.5", "2001:db8::5"])
def test_a_literal_address_is_its_own_answer(timeline: Timeline, names: NameTable, literal: str) -> None:
    """An address needs no table."""
    receiver = Receiver()
    names.resolveHostName(receiver, literal)
    timeline.run_for(0.0)

    assert [address.host for address in receiver.addresses] == [literal]  # type: ignore[attr-defined]


def test_the_table_may_change(timeline: Timeline, names: NameTable) -> None:
    """A pool gives other addresses later; the queries that came are kept."""
    receiver = Receiver()
    names.resolveHostName(receiver, "ntp.example")
    names.add("ntp.example", "198.51.100.9")
    names.resolveHostName(receiver, "ntp.example")
    timeline.run_for(1.0)

    assert [address.host for address in receiver.addresses] == [  # type: ignore[attr-defined]
        "198.51.100.9",
        "198.51.100.1",
        "2001:db8::7b",
    ]
    assert names.queries == ["ntp.example", "ntp.example"]


def test_the_daemons_own_resolver_works_with_it() -> None:
    """The daemon's look-up, its time limit and its choice of an address with a route work in a virtual world."""
    machine = Machine()
    machine.names.add("ntp.example", "2001:db8::7b", "198.51.100.1")
    machine.names.add("hangs.example", delay=math.inf)
    machine.network.unrouted.add("2001:db8::7b")
    found: list[object] = []
    for name in ("ntp.example", "hangs.example"):
        Deferred.fromCoroutine(resolve(machine.reactor, name, 5.0)).addBoth(found.append)
    machine.timeline.run_for(4.9)

    assert found == [["2001:db8::7b", "198.51.100.1"]]
    assert first_reachable(machine.reactor, ["2001:db8::7b", "198.51.100.1"], 123) == "198.51.100.1"

    machine.timeline.run_for(0.2)
    failure = found.pop()

    assert failure.check(ResolutionError)  # type: ignore[attr-defined]
