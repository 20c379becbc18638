"""Whatever is changed in whatever order, what stays is untouched, and what is refused leaves no trace."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import DatagramProtocol

from ntptwist.serving import ServerService
from ntptwist.sim.world import World
from tests.sim.daemon import NEAR, STEADY, VirtualDaemon

HOSTS = [f"198.51.100.{number}" for number in range(1, 6)]
TAKEN = 127
SOURCE = '[[source]]\nmode = "server"\naddress = "{}"\n'
SERVER = '[[server]]\nlisten = "192.0.2.1:{}"\nallowlist = {{ filter = ["0.0.0.0/0"] }}\n'

configurations = st.tuples(
    st.lists(st.sampled_from(HOSTS), unique=True), st.sets(st.sampled_from([123, 124, 125, TAKEN]), max_size=3)
)


def text(hosts: list[str], ports: set[int]) -> str:
    """Give a configuration."""
    return STEADY + "".join(map(SOURCE.format, hosts)) + "".join(map(SERVER.format, sorted(ports)))


@settings(max_examples=15)
@given(st.lists(configurations, min_size=1, max_size=5))
def test_any_reloads(wishes: list[tuple[list[str], set[int]]]) -> None:
    """A reload is done as a whole or not at all; what stands in both keeps its numbers, its samples and its socket."""
    world = World(1)
    for host in HOSTS:
        world.add_server(host, up=NEAR)
    world.reactor.listen_udp("192.0.2.1", TAKEN, DatagramProtocol())
    hosts, ports = HOSTS[:2], {123}
    with VirtualDaemon(world, text(hosts, ports)) as daemon:
        daemon.run(100)
        for wanted, opened in wishes:
            before = {row.observation.name: (row.id, row.estimate.measurements) for row in daemon.rows()}
            serving = servers(daemon)
            report = daemon.reload(text(wanted, opened))
            possible = TAKEN not in opened
            hosts, ports = (wanted, opened) if possible else (hosts, ports)
            after = {row.observation.name: (row.id, row.estimate.measurements) for row in daemon.rows()}
            now = servers(daemon)
            names = [f"{host}:123" for host in hosts]

            assert bool(report.problems) == (not possible)
            assert [row.observation.name for row in daemon.snapshot().sources] == names
            assert {name: after[name] for name in before if name in names} == {
                name: before[name] for name in before if name in names
            }
            assert set(now) == {f"192.0.2.1:{port}" for port in ports}
            assert all(server.server.running for server in now.values())
            assert possible <= all(now[listen] is server for listen, server in serving.items() if listen in now)
            assert daemon.system.controller.policy.voting_sources == len(hosts)
            daemon.run(30)


def servers(daemon: VirtualDaemon) -> dict[str, ServerService]:
    """Give the servers by their addresses."""
    return {child.listen: child for child in daemon.service if isinstance(child, ServerService)}
