"""The sockets of a virtual machine."""

from __future__ import annotations

from errno import EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, ENOENT
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import InvalidAddressError

from ntptwist.interfaces import IReactorTimestampedUDP
from ntptwist.net.port import timestamped_udp
from ntptwist.sim.network import Path
from ntptwist.sim.port import FIRST_EPHEMERAL, LAST_EPHEMERAL
from tests.sim.machine import PEER, Machine, Plain, Stamped


def test_the_daemon_finds_it() -> None:
    """The daemon takes a virtual machine's own UDP in the place of the kernel's."""
    reactor = Machine().reactor

    assert IReactorTimestampedUDP.providedBy(reactor)
    assert timestamped_udp(reactor) is reactor


def test_stamps_are_the_machines_clock_when_packets_pass() -> None:
    """A packet is stamped when it leaves and the answer when it arrives, by a clock that is slow and runs fast."""
    machine = Machine(frequency=1e-3, with_peer=True)
    machine.clock.foreign_step(-5_000_000)
    machine.network.set_path("192.0.2.1", PEER[0], Path(0.010))
    machine.network.set_path(PEER[0], "192.0.2.1", Path(0.020))
    machine.timeline.run_for(1.0)
    protocol = Stamped()
    port = machine.reactor.connect_udp(*PEER, protocol)
    port.write(b"request")

    assert protocol.departures == [machine.timeline.start + 1_001_000_000 - 5_000_000]

    machine.timeline.run_for(0.010)

    assert machine.peer.received == [(b"request", (port.getHost().host, port.getHost().port))]

    machine.network.send(PEER, port.local, b"reply")
    machine.timeline.run_for(0.020)

    assert protocol.received == [(b"reply", PEER)]
    assert protocol.arrivals == [machine.timeline.start + round(1.030 * 1.001e9) - 5_000_000]


def test_each_connection_has_a_fresh_port() -> None:
    """Ports are not used again soon, and in the end only where they are free."""
    machine = Machine(with_peer=True)
    first, kept = Plain(), Plain()
    used = [machine.reactor.connect_udp(*PEER, first).local[1]]
    first.transport.stopListening()
    used.append(machine.reactor.connect_udp(*PEER, kept).local[1])
    for _ in range(LAST_EPHEMERAL - FIRST_EPHEMERAL):
        port = machine.reactor.connect_udp(*PEER, first)
        used.append(port.local[1])
        port.stopListening()

    assert used[:3] == [FIRST_EPHEMERAL, FIRST_EPHEMERAL + 1, FIRST_EPHEMERAL + 2]
    assert used[-1] == FIRST_EPHEMERAL
    assert machine.reactor.connect_udp(*PEER, first).local[1] == FIRST_EPHEMERAL + 2


def test_a_connected_socket_hears_its_peer_only() -> None:
    """A datagram from elsewhere, even from another port of the peer, is not for a connected socket."""
    machine = Machine(with_peer=True)
    protocol = Stamped()
    port = machine.reactor.connect_udp(*PEER, protocol)
    machine.network.send(("203.0.113.1", 123), port.local, b"forged")
    machine.network.send((PEER[0], 124), port.local, b"forged")
    machine.network.send(PEER, port.local, b"true")
    machine.timeline.run_for(1.0)

    assert protocol.received == [(b"true", PEER)]


def test_a_protocol_without_interest_in_stamps_gets_none() -> None:
    """Any DatagramProtocol can be used: it gets its datagrams as from any other transport."""
    machine = Machine(with_peer=True)
    protocol = Plain()
    port = machine.reactor.connect_udp(*PEER, protocol)
    machine.network.send(PEER, port.local, b"reply")
    machine.timeline.run_for(1.0)

    assert protocol.received == [(b"reply", PEER)]


def test_a_closed_port_is_an_error() -> None:
    """An ICMP port-unreachable is told as ECONNREFUSED, and the socket stays open."""
    machine = Machine()
    machine.network.add_host(PEER[0])
    stamped, plain = Stamped(), Plain()
    for protocol in (stamped, plain):
        machine.reactor.connect_udp(*PEER, protocol).write(b"request")
    machine.timeline.run_for(1.0)

    assert stamped.errors == [ECONNREFUSED]
    assert plain.life == ["started", "refused"]

    stamped.transport.write(b"again")
    machine.timeline.run_for(1.0)

    assert stamped.errors == [ECONNREFUSED, ECONNREFUSED]


def test_no_route_refuses_a_connection() -> None:
    """Without a route, or without an address of that family, a socket can't be connected."""
    machine = Machine()
    machine.network.unrouted.add(PEER[0])
    only_ipv4 = machine.boot(("192.0.2.1",))
    with pytest.raises(OSError, match="unreachable") as refused:
        machine.reactor.connect_udp(*PEER, Stamped())
    with pytest.raises(OSError, match="unreachable") as no_family:
        only_ipv4.connect_udp("2001:db8::7b", 123, Stamped())

    assert refused.value.errno == no_family.value.errno == ENETUNREACH


def test_a_route_that_is_lost_is_an_error_at_the_next_write() -> None:
    """A write without a route is told to the protocol and nothing is sent; without stamps nobody is told."""
    machine = Machine(with_peer=True)
    stamped, plain = Stamped(), Plain()
    ports = [machine.reactor.connect_udp(*PEER, protocol) for protocol in (stamped, plain)]
    machine.network.connected = False
    for port in ports:
        port.write(b"request")
    machine.timeline.run_for(1.0)

    assert stamped.errors == [ENETUNREACH]
    assert stamped.departures == []
    assert plain.life == ["started"]
    assert machine.peer.received == []


def test_life_of_a_protocol() -> None:
    """A protocol is started before connect_udp returns and stopped before stopListening does, each once."""
    machine = Machine(with_peer=True)
    protocol = Stamped()
    port = machine.reactor.connect_udp(*PEER, protocol)
    port.write(b"request")

    assert protocol.life == ["started"]
    assert protocol.transport is port

    machine.network.send(PEER, port.local, b"late")
    port.stopListening()
    port.stopListening()

    assert protocol.life == ["started", "stopped"]

    machine.timeline.run_for(1.0)

    assert protocol.received == []
    assert protocol.errors == []


def test_a_protocol_may_be_connected_again_at_once() -> None:
    """One protocol can use one socket after the other."""
    machine = Machine(with_peer=True)
    protocol = Stamped()
    for _ in range(3):
        machine.reactor.connect_udp(*PEER, protocol).stopListening()

    assert protocol.life == ["started", "stopped"] * 3


def test_a_closed_socket_sends_nothing() -> None:
    """To write to a closed socket is an error of the program."""
    machine = Machine(with_peer=True)
    port = machine.reactor.connect_udp(*PEER, Stamped())
    port.stopListening()
    with pytest.raises(RuntimeError, match="closed"):
        port.write(b"request")


def test_an_unconnected_socket_needs_an_address() -> None:
    """A server says to whom it answers; a connected socket sends to its peer only."""
    machine = Machine(with_peer=True)
    server = machine.reactor.listen_udp("192.0.2.1", 123, Stamped())
    client = machine.reactor.connect_udp(*PEER, Stamped())
    server.write(b"answer", PEER)
    client.write(b"request", PEER)
    machine.timeline.run_for(0.0)

    assert [data for data, _ in machine.peer.received] == [b"answer", b"request"]
    with pytest.raises(InvalidAddressError):
        server.write(b"answer")
    with pytest.raises(InvalidAddressError):
        client.write(b"request", ("203.0.113.1", 123))


@pytest.mark.parametrize(
    ("host", "own"), [("0.0.0.0", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"), ("::", "2001:db8::1")]
)
def test_listens_on_its_own_addresses(host: str, own: str) -> None:
    """A server's socket hears everybody, at the address or at all addresses of its family."""
    machine = Machine()
    protocol = Stamped()
    machine.reactor.listen_udp(host, 123, protocol)
    machine.network.send(("203.0.113.1", 9), (own, 123), b"one")
    machine.network.send(("203.0.113.2", 9), (own, 123), b"two")
    machine.timeline.run_for(0.0)

    assert [data for data, _ in protocol.received] == [b"one", b"two"]


def test_listens_on_no_other_address() -> None:
    """A socket can't be bound to an address of another machine, nor twice to the same; port 0 stands for any."""
    machine = Machine()
    machine.reactor.listen_udp("0.0.0.0", 123, Stamped())
    with pytest.raises(OSError, match="assign") as foreign:
        machine.reactor.listen_udp("192.0.2.99", 123, Stamped())
    with pytest.raises(OSError, match="in use") as taken:
        machine.reactor.listen_udp("192.0.2.1", 123, Stamped())

    assert (foreign.value.errno, taken.value.errno) == (EADDRNOTAVAIL, EADDRINUSE)
    assert machine.reactor.listen_udp("0.0.0.0", 0, Stamped()).local == ("192.0.2.1", FIRST_EPHEMERAL)


def test_a_server_is_not_told_of_closed_clients() -> None:
    """The kernel tells only connected sockets of a port-unreachable."""
    machine = Machine()
    machine.network.add_host("203.0.113.1")
    protocol = Stamped()
    machine.reactor.listen_udp("0.0.0.0", 123, protocol).write(b"answer", ("203.0.113.1", 9))
    machine.timeline.run_for(1.0)

    assert protocol.errors == []


def test_a_sleeping_machine_hears_nothing() -> None:
    """What arrives while the machine sleeps is lost, refusals too."""
    machine = Machine(with_peer=True)
    protocol = Stamped()
    port = machine.reactor.connect_udp(*PEER, protocol)
    deaf = machine.reactor.connect_udp(PEER[0], 7, protocol2 := Stamped())
    deaf.write(b"request")
    machine.network.send(PEER, port.local, b"lost")
    machine.clock.suspend(10.0)
    machine.timeline.run_for(20.0)
    machine.network.send(PEER, port.local, b"heard")
    machine.timeline.run_for(1.0)

    assert protocol.received == [(b"heard", PEER)]
    assert protocol2.errors == []


def test_addresses_are_told_in_twisteds_form() -> None:
    """A transport tells its own address, of either family."""
    reactor = Machine().reactor

    assert reactor.connect_udp("198.51.100.1", 123, Stamped()).getHost() == IPv4Address("UDP", "192.0.2.1", 32_768)
    assert reactor.connect_udp("2001:db8::7b%eth0", 123, Stamped()).getHost() == IPv6Address(
        "UDP", "2001:db8::1", 32_769
    )


class Broken(Stamped):
    """Fails at everything but the start."""

    def fail(self, *_: object) -> None:
        """Fail."""
        raise LookupError("broken")

    datagram_received: Any = fail
    datagram_transmitted: Any = fail
    network_error: Any = fail
    stopProtocol: Any = fail


def test_a_broken_protocol_harms_nobody(logged_failures: Any) -> None:
    """What a protocol raises is logged, and the socket goes on."""
    machine = Machine(with_peer=True)
    protocol = Broken()
    port = machine.reactor.connect_udp(*PEER, protocol)
    port.write(b"request")
    machine.network.send(PEER, port.local, b"reply")
    machine.timeline.run_for(1.0)
    machine.network.connected = False
    port.write(b"request")
    port.stopListening()

    assert len(logged_failures.flush(LookupError)) == 4
    assert not machine.network.is_bound(port.local)


class Unwilling(Stamped):
    """Fails at the start."""

    def startProtocol(self) -> None:
        """Fail."""
        raise LookupError("no")


class Hasty(Stamped):
    """Closes its socket at once."""

    def startProtocol(self) -> None:
        """Close."""
        super().startProtocol()
        self.transport.stopListening()


class HastyAndUnwilling(Hasty):
    """Closes its socket at once and fails."""

    def startProtocol(self) -> None:
        """Close and fail."""
        super().startProtocol()
        raise LookupError("no")


def test_a_protocol_that_does_not_start_leaves_no_socket() -> None:
    """When a protocol fails at its start the error is raised and the port is free again."""
    machine = Machine()
    for protocol in (Unwilling(), HastyAndUnwilling()):
        with pytest.raises(LookupError, match="no"):
            machine.reactor.listen_udp("0.0.0.0", 123, protocol)

    assert not machine.network.is_bound(("192.0.2.1", 123))


def test_a_protocol_may_close_its_socket_at_the_start() -> None:
    """A protocol that changes its mind in startProtocol is stopped in good order."""
    machine = Machine()
    protocol = Hasty()
    machine.reactor.listen_udp("0.0.0.0", 123, protocol)

    assert protocol.life == ["started", "stopped"]
    assert not machine.network.is_bound(("192.0.2.1", 123))


def test_feeds() -> None:
    """Another program of the machine sends datagrams to a path that the daemon has bound."""
    machine = Machine()
    protocol = Plain()
    socket = machine.reactor.listen_unix_datagram("/run/gps.sock", protocol)
    machine.reactor.feed("/run/gps.sock", b"sample")

    assert socket.getHost() == UNIXAddress(b"/run/gps.sock")
    assert protocol.received == [(b"sample", "")]
    with pytest.raises(OSError, match="in use") as taken:
        machine.reactor.listen_unix_datagram("/run/gps.sock", Plain())

    assert taken.value.errno == EADDRINUSE

    machine.clock.suspend(10.0)
    machine.reactor.feed("/run/gps.sock", b"asleep")
    machine.timeline.run_for(20.0)
    socket.stopListening()
    socket.stopListening()

    assert protocol.life == ["started", "stopped"]
    assert protocol.received == [(b"sample", "")]
    with pytest.raises(OSError, match="No such file") as gone:
        machine.reactor.feed("/run/gps.sock", b"sample")

    assert gone.value.errno == ENOENT
