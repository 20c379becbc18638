"""Names become addresses that can be used, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EHOSTUNREACH, ENETUNREACH
from os import strerror
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.errors import ResolutionError
from ntptwist.interfaces import IReactorTimestampedUDP
from ntptwist.net.resolver import first_reachable, resolve


@implementer(IHostResolution)
class Resolution:
    """A look-up under way; as with Twisted's own, it can't be stopped."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Refuse."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class Names(Clock):
    """A reactor whose look-ups the test answers itself; ``asked`` are the names."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.asked: list[str] = []
        self._receiver: Any = None

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Begin a look-up."""
        resolution = Resolution(hostName)
        self.asked.append(hostName)
        self._receiver = resolutionReceiver
        resolutionReceiver.resolutionBegan(resolution)
        return resolution

    def answer(self, *addresses: IAddress) -> None:
        """Complete the look-up."""
        for address in addresses:
            self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()


@pytest.fixture
def names() -> Names:
    """Give a reactor with names."""
    return Names()


def four(host: str) -> IPv4Address:
    """Give an address as Twisted's resolvers do."""
    return IPv4Address("UDP", host, 0)


def start(names: Names, name: str, timeout: float = 5.0) -> Deferred[list[str]]:
    """Begin to resolve."""
    return Deferred.fromCoroutine(resolve(names, name, timeout))


def outcome(deferred: Deferred[Any]) -> Any:
    """Give what a Deferred has fired with, raised if it failed."""
    fired: list[Any] = []
    deferred.addBoth(fired.append)
    [result] = fired
    if isinstance(result, Failure):
        result.raiseException()
    return result


@pytest.mark.parametrize(
    ("name", "address"),
    [("192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1"), ("fe80::1%lo", "fe80::1%lo")],
)
def test_literal_address_is_not_looked_up(names: Names, name: str, address: str) -> None:
    """An address stands for itself; nobody is asked, and no time passes."""
    assert outcome(start(names, name)) == [address]
    assert names.asked == []


def test_addresses_are_given_once_and_in_order(names: Names) -> None:
    """The resolver's order counts (RFC 6724), duplicates don't."""
    resolved = start(names, "ntp.example")
    names.answer(
        four("192.0.2.2"), IPv6Address("UDP", "2001:db8::1", 0), four("192.0.2.1"), four("192.0.2.2"), four("192.0.2.1")
    )

    assert outcome(resolved) == ["192.0.2.2", "2001:db8::1", "192.0.2.1"]
    assert names.asked == ["ntp.example"]
    assert names.getDelayedCalls() == []


def test_scope_of_a_resolved_address_is_kept(names: Names) -> None:
    """A link-local address from /etc/hosts comes with its interface, or its number when that has gone."""
    resolved = start(names, "neighbour.example")
    names.answer(IPv6Address("UDP", "fe80::1", 0, 0, 1), IPv6Address("UDP", "fe80::1", 0, 0, 99999))

    assert outcome(resolved) == ["fe80::1%lo", "fe80::1%99999"]


def test_addresses_of_other_kinds_are_left_out(names: Names) -> None:
    """What is no internet address is of no use."""
    resolved = start(names, "ntp.example")
    names.answer(UNIXAddress("/run/ntp"), four("192.0.2.1"))

    assert outcome(resolved) == ["192.0.2.1"]


def test_name_without_addresses_does_not_resolve(names: Names) -> None:
    """The error says so, with the name."""
    resolved = start(names, "ntp.example")
    names.answer()
    with pytest.raises(ResolutionError, match=r"^'ntp\.example' does not resolve$"):
        outcome(resolved)


def test_resolver_that_does_not_answer_is_given_up(names: Names) -> None:
    """After the time limit there is an error, and an answer that comes later is ignored."""
    resolved = start(names, "ntp.example", timeout=2.5)
    names.advance(2.5)
    names.answer(four("192.0.2.1"))
    with pytest.raises(ResolutionError, match=r"^'ntp\.example': no answer from the resolver within 2\.5 s$"):
        outcome(resolved)

    assert names.getDelayedCalls() == []


def test_cancelling_leaves_nothing_behind(names: Names) -> None:
    """A look-up that nobody wants any more ends at once, its timer with it; the answer is ignored."""
    resolved = start(names, "ntp.example")
    resolved.cancel()
    names.answer(four("192.0.2.1"))
    with pytest.raises(CancelledError):
        outcome(resolved)

    assert names.getDelayedCalls() == []


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".example", "ntp\0.example", "ntp.example\n"])
def test_what_can_be_no_name_is_refused(names: Names, name: str) -> None:
    """Twisted's resolver would never answer for these, since getaddrinfo raises."""
    with pytest.raises(ResolutionError, match="is neither a name nor an address"):
        outcome(start(names, name))

    assert names.asked == []


async def test_the_reactors_own_resolver_is_asked() -> None:
    """With a real reactor the hosts file is read."""
    from twisted.internet import reactor

    addresses = await resolve(reactor, "localhost")

    assert set(addresses) & {"127.0.0.1", "::1"}


@implementer(IReactorTimestampedUDP)
class Routes(Clock):
    """A reactor with a route to some addresses; ``opened`` are the sockets that were opened, by address."""

    def __init__(self, *reachable: str) -> None:
        super().__init__()
        self._reachable = reachable
        self.opened: list[str] = []
        self.closed = 0

    def connect_udp(self, host: str, port: int, protocol: Any) -> Any:
        """Open, or refuse."""
        if host not in self._reachable:
            errno = EHOSTUNREACH if ":" in host else ENETUNREACH
            raise OSError(errno, strerror(errno))
        self.opened.append(f"{host} {port}")
        return self

    def listen_udp(self, host: str, port: int, protocol: Any) -> Any:
        """Open nothing."""

    def stopListening(self) -> None:
        """Close."""
        self.closed += 1


def test_first_address_with_a_route_is_taken() -> None:
    """Addresses that this host can't reach are passed over; the socket that found out is closed."""
    routes = Routes("192.0.2.2", "192.0.2.3")

    assert first_reachable(routes, ["2001:db8::1", "192.0.2.2", "192.0.2.3"], 123) == "192.0.2.2"
    assert (routes.opened, routes.closed) == (["192.0.2.2 123"], 1)


def test_unreachable_addresses_are_named_with_their_errors() -> None:
    """Without any route the error says for each address why."""
    with pytest.raises(ResolutionError, match=r"2001:db8::1: No route to host; 192\.0\.2\.1: Network is unreachable"):
        first_reachable(Routes(), ["2001:db8::1", "192.0.2.1"], 123)


def test_no_address_at_all_is_an_error() -> None:
    """An empty list gives a sentence too."""
    with pytest.raises(ResolutionError, match="there is none"):
        first_reachable(Routes(), [], 123)


@pytest.fixture
def real() -> Iterator[Any]:
    """Give a real reactor of the test's own."""
    reactor = SelectReactor()
    yield reactor
    reactor.removeReader(reactor.waker)
    reactor.waker.connectionLost(Failure(ConnectionError()))


def test_real_kernel_is_asked_for_its_routes(real: Any) -> None:
    """With a real reactor the kernel decides: there is no interface of that name, and loopback is there."""
    readers = real.getReaders()
    reached = first_reachable(real, ["fe80::1%nonesuch0", "127.0.0.1"], 123)

    assert reached == "127.0.0.1"
    assert real.getReaders() == readers


def test_missing_interface_is_told(real: Any) -> None:
    """A scope that no interface has is the reason that is given."""
    with pytest.raises(ResolutionError, match=r"fe80::1%nonesuch0: No such device"):
        first_reachable(real, ["fe80::1%nonesuch0"], 123)
