"""The daemon as a server: where it listens, what it says of its clock, and how it starts and stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface import implementer

from ntptwist.config.loader import loads
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import IClock, ITimestampedDatagramReceiver
from ntptwist.kernel.clock import KernelClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.registry import find_driver
from ntptwist.server.workers import WorkerServer
from ntptwist.service import Daemon, make_service
from ntptwist.serving import EX_UNAVAILABLE, LocalTime, ServerService, make_server
from ntptwist.sim.server import SILENT
from ntptwist.sim.world import World
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp
from ntptwist.wire.header import Header
from tests.server.processes import Processes

REQUEST = bytes([0x23]).ljust(40, b"\0") + b"\1\2\3\4\5\6\7\x08"
ALLOWED = 'allowlist = { filter = ["192.0.2.0/24"] }'
SERVER = f'[[server]]\nlisten = "192.0.2.1:123"\n{ALLOWED}\n'
SOURCE = '[[source]]\nmode = "server"\naddress = "198.51.100.1"\n'


@implementer(ITimestampedDatagramReceiver)
class Asking(DatagramProtocol):
    """A client that keeps the replies."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []

    def datagram_received(self, data: bytes, address: Any, stamp: Timestamp) -> None:
        """Keep a reply."""
        self.replies.append(data)

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Not needed."""

    def network_error(self, errno: int) -> None:
        """Not needed."""


def ask(world: World, request: bytes = REQUEST) -> list[Header]:
    """Send a request from another port of the same machine."""
    asking = Asking()
    port = world.reactor.connect_udp("192.0.2.1", 123, asking)
    port.write(request)
    world.run(1)
    port.stopListening()
    return [Header.parse(reply) for reply in asking.replies]


class KeptClock(KernelClock):
    """The system's clock, as another daemon keeps it."""

    def __init__(self) -> None:
        super().__init__(RealSystem())
        self.taken_over = False

    def take_over(self) -> ClockReading:
        """Note that it was taken over."""
        self.taken_over = True
        return self.read()


def built(text: str, world: World, clock: IClock | None = None) -> Daemon:
    """Build the daemon of a configuration in a world."""
    config = loads(
        f"{text}\n[control]\ndirectory = '/nonexistent/here'\n[state]\ndirectory = '/nonexistent'", find_driver
    )
    return make_service(config, world.reactor, clock or world.clock, world.randbytes)


def servers(daemon: Daemon) -> list[ServerService]:
    """Give the servers of a daemon."""
    return [child for child in daemon if isinstance(child, ServerService)]


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Give the texts that are logged about servers meanwhile."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        if isinstance(event.get("log_source"), ServerService):
            texts.append(str(event["log_format"]).format(**event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield texts
    publisher.removeObserver(observe)


def test_servers_are_the_last_children() -> None:
    """What starts last stops first: nobody is told the time of a clock that is not looked after any more."""
    daemon = built(SOURCE + SERVER + SERVER.replace("192.0.2.1", "[2001:db8::1]"), World())
    children: list[Any] = list(daemon)

    assert children[-2:] == servers(daemon)
    assert children[-3] is daemon.system
    assert [server.listen for server in servers(daemon)] == ["192.0.2.1:123", "[2001:db8::1]:123"]


def test_the_daemon_serves_the_systems_time() -> None:
    """Before the clock is set clients are told that it is not, afterwards they are told the time and its quality."""
    world = World(offset=0.3)
    world.add_server("198.51.100.1")
    world.start(built(SOURCE + SERVER, world))
    (before,) = ask(world)
    world.run(600)
    (after,) = ask(world)

    assert (before.leap, before.stratum) == (Leap.UNSYNCHRONIZED, 16)
    assert (after.leap, after.stratum) == (Leap.NONE, 2)
    assert after.reference_id == ReferenceId.of_address("198.51.100.1")
    assert 0 < after.root_dispersion < 0x1000
    world.stop()


def test_the_time_that_is_served_grows_less_certain() -> None:
    """Without its sources a daemon says with every reply that it knows less."""
    world = World(offset=0.0)
    source = world.add_server("198.51.100.1")
    world.start(built(SOURCE + SERVER, world))
    world.run(3600)
    source.behave(SILENT)
    world.run(3600)
    (early,) = ask(world)
    world.run(86_400)
    (late,) = ask(world)

    assert early.root_dispersion < late.root_dispersion
    assert (early.leap, late.leap) == (Leap.NONE, Leap.NONE)
    world.stop()


def test_strangers_get_nothing() -> None:
    """A server without an allow list answers loopback only."""
    world = World()
    daemon = built('[[server]]\nlisten = "192.0.2.1:123"', world)
    world.start(daemon)

    assert ask(world) == []
    assert servers(daemon)[0].observe().counters["ignored"] == 1
    world.stop()


def test_an_own_clock_is_served() -> None:
    """With a local stratum a machine without sources serves its own clock, and the system still says what is true."""
    world = World()
    daemon = built(f"[synchronization]\nlocal-stratum = 5\nreference-id = 'HERE'\n{SERVER}", world)
    world.start(daemon)
    (reply,) = ask(world)
    assert daemon.system is not None

    assert (reply.leap, reply.stratum, reply.reference_id) == (Leap.NONE, 5, ReferenceId(b"HERE"))
    assert reply.root_dispersion == 0
    assert not daemon.system.time().synchronized
    assert not daemon.system.snapshot().synchronized
    world.stop()


def test_the_systems_time_comes_before_an_own_clock() -> None:
    """A local stratum is for the time in which there is no better one."""
    world = World()
    system = TimeSnapshot()
    local = LocalTime(lambda: system, world.clock, 10, ReferenceId.of_text("HERE"))
    first = local()

    assert first.stratum == 10
    assert local() is first
    system = TimeSnapshot(Leap.NONE, 2, monotonic=Monotonic(5))
    assert local() is system
    system = TimeSnapshot()
    world.run(10)
    again = local()
    assert again.stratum == 10
    assert again.reference_time > first.reference_time


def test_ports_are_opened_while_privileges_last() -> None:
    """A server has its port before the daemon gives its privileges up, and keeps it."""
    world = World()
    daemon = built(SERVER, world)
    daemon.privilegedStartService()
    (server,) = servers(daemon)

    assert server.server.running
    daemon.startService()
    assert len(ask(world)) == 1
    world.reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    world.stop()


def test_a_server_can_be_started_without_privileges() -> None:
    """Where nobody calls the privileged start the port is opened at the start."""
    world = World()
    daemon = built(SERVER, world)
    daemon.startService()

    assert len(ask(world)) == 1
    daemon.stopService()
    assert ask(world) == []
    world.stop()


def test_a_taken_port_ends_the_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error and exit status 69, before the clock was taken over from whoever has the port."""
    world = World()
    clock = KeptClock()
    other = world.reactor.listen_udp("192.0.2.1", 123, Asking())
    with pytest.raises(SystemExit) as caught:
        built(SOURCE + SERVER, world, clock).privilegedStartService()

    assert caught.value.code == EX_UNAVAILABLE
    assert capsys.readouterr().err == "ntptwist: can't serve time on 192.0.2.1:123: Address already in use\n"
    assert not clock.taken_over
    other.stopListening()


def test_a_taken_port_is_tried_again(said: list[str]) -> None:
    """Where it was configured so the daemon says once that the port is taken, and serves when it is free."""
    world = World()
    other = world.reactor.listen_udp("192.0.2.1", 123, Asking())
    daemon = built(f'{SERVER}on-port-taken = "retry"\n', world)
    world.start(daemon)
    world.run(10)
    (server,) = servers(daemon)
    trouble = server.observe().trouble
    other.stopListening()
    world.run(1.5)

    assert trouble == "Address already in use"
    assert server.observe().trouble is None
    assert len(ask(world)) == 1
    assert said == [
        "can't serve time on 192.0.2.1:123, tried again each second: Address already in use",
        "serving time on 192.0.2.1:123",
    ]
    world.stop()


def test_a_daemon_that_still_tries_can_be_stopped() -> None:
    """Nothing is left behind by a server that never had its port."""
    world = World()
    other = world.reactor.listen_udp("192.0.2.1", 123, Asking())
    daemon = built(f'{SERVER}on-port-taken = "retry"\n', world)
    world.start(daemon)
    world.run(3)
    daemon.stopService()

    assert servers(daemon)[0].server.running == 0
    assert world.reactor.getDelayedCalls() == []
    other.stopListening()
    world.stop()


def test_a_virtual_machine_has_no_workers() -> None:
    """Where no processes can be started the daemon answers itself, whatever was asked for."""
    world = World()
    daemon = built(f"{SERVER}workers = 2\n", world)
    world.start(daemon)

    assert len(ask(world)) == 1
    world.stop()


def test_workers_answer_where_there_are_processes() -> None:
    """With more than one worker the daemon leaves the answering to them; nothing is opened before the start."""
    world = World()
    config = loads(f"{SERVER}workers = 2\n", find_driver)
    server = make_server(config.servers[0], TimeSnapshot, world.clock, Processes())
    shown = server.observe()

    assert isinstance(server.server, WorkerServer)
    assert (shown.counters["received"], shown.clients) == (0, ())


def test_what_a_server_shows() -> None:
    """Its address, its counters and its clients are there for the operator's tool."""
    world = World()
    daemon = built(SERVER, world)
    world.start(daemon)
    ask(world)
    shown = servers(daemon)[0].observe()

    assert (shown.address, shown.trouble) == ("192.0.2.1:123", None)
    assert (shown.counters["received"], shown.counters["accepted"]) == (1, 1)
    assert [(client.address, client.packets, client.version) for client in shown.clients] == [("192.0.2.1", 1, 4)]
    world.stop()
