"""A source that asks one NTP server, in a virtual world: its polls, its ports, its troubles and its end."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EHOSTUNREACH, EMFILE, ENETUNREACH
from os import strerror
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import EndReason, KissCode, SourceEnd, SpawnerId
from ntptwist.interfaces import IReactorTimestampedUDP, ISource, ITimestampedDatagramReceiver
from ntptwist.log import set_log_level
from ntptwist.protocol.client import AssociationConfiguration
from ntptwist.sim.network import Endpoint, Path
from ntptwist.sim.server import DENYING, GOOD, SILENT, Behaviour, ReferenceServer
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.sources.ntp import NTPSource, ServerAddress
from tests.sim.daemon import NEAR, VirtualDaemon, open_ports

HOST = "198.51.100.1"
SERVER = ServerAddress("ntp.example:123", HOST, 123)
LIMITS = PollLimits(6, 6)


class NotingServer(ReferenceServer):
    """A good server that notes where its requests come from."""

    clients: list[Endpoint]

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Note and answer a request."""
        self.clients.append(source)
        super().arrived(data, source)


@pytest.fixture
def world() -> World:
    """A world without a server."""
    return World(1, offset=0.0)


@pytest.fixture
def server(world: World) -> NotingServer:
    """The server at HOST."""
    for ends in ((ADDRESSES[0], HOST), (HOST, ADDRESSES[0])):
        world.network.set_path(*ends, NEAR)
    server = NotingServer(world.timeline, world.network, (HOST, 123), GOOD)
    server.clients = []
    return server


@pytest.fixture
def daemon(world: World) -> Iterator[VirtualDaemon]:
    """A daemon without sources of its own."""
    with VirtualDaemon(world, "") as daemon:
        yield daemon


@pytest.fixture
def source(daemon: VirtualDaemon, server: NotingServer) -> Iterator[NTPSource]:
    """A source that was just started."""
    source = made(daemon)
    source.startService()
    yield source
    if source.running:
        source.stopService()


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What sources log at all levels."""
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == NTPSource.log.namespace:
            events.append(event)

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    set_log_level("debug")
    yield events
    set_log_level("info")
    publisher.removeObserver(observe)


def loud(events: list[LogEvent]) -> list[str]:
    """Give what was logged above debug."""
    return [formatEvent(event) for event in events if event["log_level"] > LogLevel.debug]


def made(daemon: VirtualDaemon, server: ServerAddress = SERVER, reactor: Any = None) -> NTPSource:
    """Make a source of the daemon's system."""
    association = AssociationConfiguration(limits=LIMITS)
    return NTPSource(server, association, daemon.system, SpawnerId(1), reactor or daemon.world.reactor)


def end_of(source: NTPSource) -> SourceEnd | None:
    """Give the end of a source, if it has come."""
    ends: list[SourceEnd] = []
    source.when_ended().addCallback(ends.append)
    return ends[0] if ends else None


def test_provides_the_interfaces(source: NTPSource) -> None:
    """A source is what spawners, the system and its transport expect."""
    assert verifyObject(ISource, source)
    assert verifyObject(ITimestampedDatagramReceiver, source)


@pytest.mark.parametrize(("host", "text"), [("192.0.2.9", "192.0.2.9:123"), ("2001:db8::9", "[2001:db8::9]:123")])
def test_address_as_people_write_it(host: str, text: str) -> None:
    """An IPv6 address is set apart from its port by brackets."""
    assert str(ServerAddress("any", host, 123)) == text


def test_measures(source: NTPSource, daemon: VirtualDaemon) -> None:
    """Replies become measurements of the clock, and the counts tell of them."""
    daemon.run(600)
    seen = source.observe()
    estimate = daemon.system.controller.estimate(source.id)

    assert estimate.measurements > 8
    assert estimate.offset == pytest.approx(0.0, abs=1e-3)
    assert seen.name == "ntp.example:123"
    assert seen.address == f"{HOST}:123"
    assert seen.reach == 0xFF
    assert seen.poll == 6
    assert seen.sent == seen.received
    assert seen.dropped == 0
    assert seen.trouble is None


def test_each_request_leaves_from_a_fresh_port(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World
) -> None:
    """No two requests share a port, and between polls none is open (RFC 9109)."""
    daemon.run(600)

    assert len(server.clients) > 8
    assert len(set(server.clients)) == len(server.clients)
    assert open_ports(world) == []


def test_ipv6(daemon: VirtualDaemon, world: World) -> None:
    """An IPv6 server is asked like any other."""
    world.add_server("2001:db8::7b", up=NEAR)
    source = made(daemon, ServerAddress("six.example:123", "2001:db8::7b", 123))
    source.startService()
    daemon.run(10)
    received = source.observe().received
    source.stopService()

    assert received >= 3


def test_a_reply_that_is_too_late_finds_nobody(source: NTPSource, daemon: VirtualDaemon, world: World) -> None:
    """When the next request has left, the reply to the one before meets a closed port."""
    for ends in ((ADDRESSES[0], HOST), (HOST, ADDRESSES[0])):
        world.network.set_path(*ends, Path(2.5))
    daemon.run(4.9)
    seen = source.observe()

    assert seen.sent >= 2
    assert (seen.received, seen.dropped) == (0, 0)


def test_what_is_no_reply_is_counted_and_dropped(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World, logged: list[LogEvent]
) -> None:
    """Datagrams that answer nothing are counted, and logged for those who debug only."""
    server.behave(SILENT)
    daemon.run(0.5)
    for _ in range(100):
        world.network.send((HOST, 123), server.clients[-1], b"no NTP")
    daemon.run(0.5)

    assert source.observe().dropped == 100
    assert len(logged) == 101
    assert len(loud(logged)) == 1


def test_a_step_drops_the_request_under_way(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World
) -> None:
    """T1 and T4 must lie on one side of a step, so the reply to a request from before it is not used."""
    for ends in ((ADDRESSES[0], HOST), (HOST, ADDRESSES[0])):
        world.network.set_path(*ends, Path(0.2))
    daemon.run(0.3)
    source.clock_stepped(1_000_000)
    daemon.run(0.5)
    seen = source.observe()

    assert (seen.received, seen.dropped) == (0, 1)
    assert daemon.run(10) and source.observe().received > 0


# Kisses


def test_rate_slows_the_polls_down(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, logged: list[LogEvent]
) -> None:
    """A server that asks for fewer requests gets fewer, at once, and the reason is shown and logged once."""
    server.behave(Behaviour(kiss=KissCode.RATE, kiss_within=30.0))
    daemon.run(30)
    seen = source.observe()
    asked = server.requests
    daemon.run(600)

    assert asked == 2
    assert seen.trouble is not None and seen.trouble.startswith("kiss-o'-death RATE: the server wants fewer requests")
    assert source.observe().trouble is None
    assert source.observe().reach & 1
    assert len(loud(logged)) == 1


def test_deny_ends_it_when_nothing_else_comes(source: NTPSource, daemon: VirtualDaemon, server: NotingServer) -> None:
    """A server that denies service and answers no more is not asked again."""
    server.behave(DENYING)
    daemon.run(30)
    end = end_of(source)

    assert end is not None
    assert end.reason is EndReason.DEMOBILIZED
    assert "kiss code DENY" in end.explanation
    assert server.requests == 3


def test_a_forged_deny_ends_nothing(source: NTPSource, daemon: VirtualDaemon, server: NotingServer) -> None:
    """A denial among good replies is believed no more than the replies."""
    daemon.run(600)
    server.behave(DENYING)
    daemon.run(80)
    server.behave(GOOD)
    daemon.run(3000)

    assert end_of(source) is None
    assert source.observe().reach == 0xFF


# The network


def test_a_closed_port_is_told(source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World) -> None:
    """A host on which no server runs is shown as such, and given up after three requests."""
    world.network.unbind(server.endpoint)
    daemon.run(1)
    trouble = source.observe().trouble
    daemon.run(10)

    assert trouble == "Connection refused"
    assert end_of(source) == SourceEnd(EndReason.UNREACHABLE, "Connection refused")


def test_no_route_while_it_answers(source: NTPSource, daemon: VirtualDaemon, world: World) -> None:
    """A server that answered is not given up for a route that is away for a moment, and the trouble passes."""
    daemon.run(300)
    world.network.connected = False
    daemon.run(70)
    during = source.observe().trouble
    world.network.connected = True
    daemon.run(140)

    assert during == "Network is unreachable"
    assert source.observe().trouble is None
    assert end_of(source) is None


def test_no_route_while_it_does_not_answer(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World
) -> None:
    """A server that never answered is left for another when this host has no way to it any more."""
    server.behave(SILENT)
    daemon.run(1)
    world.network.connected = False
    daemon.run(2)

    assert end_of(source) == SourceEnd(EndReason.NETWORK_ISSUE, "Network is unreachable")
    assert open_ports(world) == []


def test_a_network_that_goes_away_for_good(source: NTPSource, daemon: VirtualDaemon, world: World) -> None:
    """A server that answered and can't be reached any more is given up when eight polls have failed."""
    daemon.run(300)
    world.network.connected = False
    daemon.run(7 * 64)
    before = end_of(source)
    daemon.run(2 * 64)

    assert before is None
    assert end_of(source) == SourceEnd(EndReason.NETWORK_ISSUE, "Network is unreachable")


@implementer(IReactorTimestampedUDP, IReactorTime)
class Exhausted:
    """A reactor of a process that has no descriptors left."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connect_udp(self, host: str, port: int, protocol: Any) -> Any:
        """Refuse."""
        raise OSError(EMFILE, strerror(EMFILE))


def test_our_own_shortage_is_no_network_issue(daemon: VirtualDaemon, world: World) -> None:
    """Without descriptors nothing can be sent; that is said, and no other address is looked for at once."""
    source = made(daemon, reactor=Exhausted(world.reactor))
    source.startService()
    daemon.run(1)
    trouble, early = source.observe().trouble, end_of(source)
    daemon.run(10)

    assert trouble == strerror(EMFILE)
    assert early is None
    assert end_of(source) == SourceEnd(EndReason.UNREACHABLE, strerror(EMFILE))


def test_troubles_are_logged_once_a_minute(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, logged: list[LogEvent]
) -> None:
    """Whatever the network says, and however often, there is one line a minute above debug."""
    daemon.run(10)
    for second in range(600):
        source.network_error((EHOSTUNREACH, ENETUNREACH)[second % 2])
        daemon.run(1)

    assert 8 <= len(loud(logged)) <= 11
    assert loud(logged)[0] == f"{HOST}:123: {strerror(EHOSTUNREACH)}"


# The end


def test_stop_with_a_request_under_way(
    source: NTPSource, daemon: VirtualDaemon, server: NotingServer, world: World
) -> None:
    """A stop closes the port, cancels the timer and tells whoever waits; a reply to come meets nobody."""
    server.behave(SILENT)
    daemon.run(0.5)
    ports = open_ports(world)
    ends: list[SourceEnd] = []
    source.when_ended().addCallback(ends.append)
    source.stopService()
    requests = server.requests
    daemon.run(1000)

    assert len(ports) == 1
    assert open_ports(world) == []
    assert ends == [SourceEnd(EndReason.STOPPED, "stopped")]
    assert server.requests == requests


def test_stop_before_the_first_request(source: NTPSource, daemon: VirtualDaemon, server: NotingServer) -> None:
    """A source that is stopped in the turn in which it was started sends nothing."""
    source.stopService()
    daemon.run(1000)

    assert server.requests == 0


def test_the_first_end_counts(source: NTPSource, daemon: VirtualDaemon, server: NotingServer) -> None:
    """A source that has come to its end stays so when it is stopped too."""
    server.behave(SILENT)
    daemon.run(30)
    before = end_of(source)
    source.stopService()

    assert before is not None
    assert before.reason is EndReason.UNREACHABLE
    assert end_of(source) == before
