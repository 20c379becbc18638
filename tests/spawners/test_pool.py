"""``mode = "pool"`` in a virtual world: which servers it ends up with, what it asks DNS, and what it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from zope.interface.verify import verifyObject

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.loader import loads
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError
from ntptwist.interfaces import IPoolSpawner
from ntptwist.observe.screens import sources_lines, status_lines
from ntptwist.observe.state import status_data
from ntptwist.registry import find_driver
from ntptwist.sim.server import DENYING, GOOD, SILENT, UNSYNCHRONIZED, Behaviour
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.spawners.pool import PoolConfiguration
from tests.sim.daemon import NEAR, STEADY, VirtualDaemon, open_ports

NAME = "pool.example"
GOODS = tuple(f"198.51.100.{n}" for n in range(1, 9))
DEAD, DENIES, LIES = "203.0.113.1", "203.0.113.2", "203.0.113.3"
LYING = Behaviour(offset=1.0)
POOL = f'[[source]]\nmode = "pool"\naddress = "{NAME}"\n'
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def world() -> World:
    """A world with eight good servers, a dead, a denying and a lying one, and no names."""
    world = World(1, offset=0.0)
    behaviours = dict.fromkeys(GOODS, GOOD) | {DEAD: SILENT, DENIES: DENYING, LIES: LYING}
    for host, behaviour in behaviours.items():
        world.add_server(host, behaviour, up=NEAR)
    return world


@pytest.fixture
def pool(world: World) -> Iterator[VirtualDaemon]:
    """The daemon with one pool whose name has the first five good servers."""
    world.names.add(NAME, *GOODS[:5])
    with VirtualDaemon(world, POOL) as daemon:
        yield daemon


def behave(world: World, host: str, behaviour: Behaviour) -> None:
    """Change a server."""
    (server,) = [server for server in world.servers if server.endpoint[0] == host]
    server.behave(behaviour)


def requests(world: World, host: str) -> int:
    """Give how many requests a server has got."""
    (server,) = [server for server in world.servers if server.endpoint[0] == host]
    return server.requests


def configured(text: str) -> PoolConfiguration:
    """Give what the driver makes of a table."""
    configuration: PoolConfiguration = loads(POOL + text, find_driver).sources[0].configuration
    return configuration


# What it makes of its configuration


def test_defaults() -> None:
    """Four servers, nothing ignored; each has a vote."""
    configuration = configured("")

    assert configuration == PoolConfiguration(HostPort(NAME, 123), PollLimits(6, 10), 4, frozenset(), 4)
    assert loads(POOL, find_driver).policy.voting_sources == 4


def test_configuration() -> None:
    """Number and ignored addresses are the operator's."""
    configuration = configured('count = 7\nignore = ["192.0.2.9", "2001:DB8::1", "::ffff:192.0.2.9"]\nntp-version = 3')

    assert configuration.count == 7
    assert configuration.ignored == {"192.0.2.9", "2001:db8::1"}
    assert configuration.version == 3


def test_wrong_configuration() -> None:
    """An address that is none, and a number that nobody should want, are problems with their lines."""
    with pytest.raises(ConfigError) as caught:
        configured('count = 100\nignore = ["ntp.example", "224.0.1.1"]')

    assert caught.value.problems == (
        "<text>:4: source[1].count: expected a whole number from 1 to 16, not 100",
        "<text>:5: source[1].ignore: 'ntp.example' is not the address of a host",
        "<text>:5: source[1].ignore: '224.0.1.1' is not the address of a host",
    )


# Which servers it uses


def test_fills_itself_with_one_look_up(pool: VirtualDaemon, world: World) -> None:
    """A pool of four has four servers at once, each named by the pool's name and its own address."""
    pool.run(10)
    rows = pool.rows()

    assert verifyObject(IPoolSpawner, pool.spawners[0].spawner)
    assert pool.hosts() == list(GOODS[:4])
    assert {row.observation.name for row in rows} == {f"{NAME}:123"}
    assert rows[0].observation.address == f"{GOODS[0]}:123"
    assert rows[0].observation.mode == "pool"
    assert pool.snapshot().synchronized
    assert pool.troubles() == []
    assert world.names.queries == [NAME]


def test_settles_on_good_members(world: World) -> None:
    """
    One dead, one denying and one lying member are replaced by good ones, with two look-ups in two hours.

    The dead and the denying one go within a quarter of a minute, the liar when it has lied for an hour.
    """
    world.names.add(NAME, DEAD, DENIES, LIES, *GOODS[:4])
    with VirtualDaemon(world, POOL) as daemon:
        first = daemon.run(2).hosts()
        seconds = daemon.run_until(lambda _: daemon.hosts() == [LIES, *GOODS[:3]], 30)
        daemon.run(HOUR)
        after_an_hour = daemon.hosts()
        daemon.run_until(lambda _: daemon.hosts() == list(GOODS[:4]), HOUR)
        reasons = [row.estimate.selected for row in daemon.run(HOUR / 2).rows()]

        assert first == [DEAD, DENIES, LIES, GOODS[0]]
        assert seconds < 15
        assert after_an_hour == [LIES, *GOODS[:3]]
        assert reasons == [True] * 4
        assert len(world.names.queries) <= 2
        assert requests(world, DENIES) == 3


@pytest.mark.lengthy
@pytest.mark.parametrize(("age", "look_ups"), [(60, 1), (2 * HOUR, 2)])
def test_a_lost_member_is_replaced_within_seconds(pool: VirtualDaemon, world: World, age: float, look_ups: int) -> None:
    """When it is known that a member is lost its place is taken at once; DNS is asked if it was not within the hour."""
    pool.run(age)
    behave(world, GOODS[1], SILENT)
    pool.run_until(lambda _: GOODS[1] not in pool.hosts(), 5 * HOUR)
    seconds = pool.run_until(lambda _: GOODS[4] in pool.hosts(), 60)

    assert seconds <= 2
    assert pool.hosts() == [GOODS[0], GOODS[2], GOODS[3], GOODS[4]]
    assert len(world.names.queries) == look_ups


def test_own_and_ignored_addresses_are_left_out(world: World) -> None:
    """This host does not follow itself, nor whom the operator does not want."""
    world.names.add(NAME, *ADDRESSES, *GOODS)
    with VirtualDaemon(world, POOL + f'ignore = ["{GOODS[0]}"]') as daemon:
        assert daemon.run(10).hosts() == list(GOODS[1:5])


def test_addresses_without_a_route_are_left_out(world: World) -> None:
    """On a host without IPv6 the AAAA records of a pool are no sources, and IPv4 is used at once."""
    sixes = [f"2001:db8:1::{n}" for n in range(1, 5)]
    world.network.unrouted.update(sixes)
    world.names.add(NAME, *sixes, *GOODS[:4])
    with VirtualDaemon(world, POOL) as daemon:
        assert daemon.run(10).hosts() == list(GOODS[:4])
        assert world.names.queries == [NAME]


def test_ipv6_members(world: World) -> None:
    """A pool uses servers of both families."""
    world.add_server("2001:db8:1::1", up=NEAR)
    world.names.add(NAME, "2001:db8:1::1", *GOODS[:3])
    with VirtualDaemon(world, POOL) as daemon:
        assert daemon.run(10).hosts() == ["2001:db8:1::1", *GOODS[:3]]
        assert daemon.rows()[0].observation.address == "[2001:db8:1::1]:123"


def test_two_pools_do_not_share_a_server(world: World) -> None:
    """A server that two names have votes once."""
    world.names.add(NAME, *GOODS[:6])
    world.names.add("other.example", *GOODS[:6])
    other = '[[source]]\nmode = "pool"\naddress = "other.example"\ncount = 2\n'
    with VirtualDaemon(world, POOL + other) as daemon:
        assert sorted(daemon.run(10).hosts()) == list(GOODS[:6])


@pytest.mark.parametrize("behaviour", [UNSYNCHRONIZED, Behaviour(stratum=15, root_dispersion=8.0), LYING])
def test_a_useless_member_is_replaced(pool: VirtualDaemon, world: World, behaviour: Behaviour) -> None:
    """A member that answers but can't be used, for whatever reason, is replaced after an hour or so."""
    pool.run(600)
    behave(world, GOODS[2], behaviour)
    pool.run(HOUR)
    early = pool.hosts()
    pool.run(3 * HOUR)

    assert GOODS[2] in early
    assert pool.hosts() == [GOODS[0], GOODS[1], GOODS[3], GOODS[4]]


@pytest.mark.lengthy
def test_without_a_majority_nobody_is_replaced(world: World) -> None:
    """While two pairs contradict each other nobody knows who lies, so nobody goes."""
    world.names.add(NAME, LIES, "203.0.113.4", *GOODS)
    world.add_server("203.0.113.4", LYING, up=NEAR)
    with VirtualDaemon(world, POOL) as daemon:
        assert daemon.run(DAY).hosts() == [LIES, "203.0.113.4", *GOODS[:2]]


def test_a_moment_of_error_is_forgiven(world: World) -> None:
    """A member that is wrong for half an hour, twice, and right between, stays."""
    jumps = ((2000.0, 1.0), (3800.0, -1.0), (7400.0, 1.0), (9200.0, -1.0))
    behave(world, GOODS[0], Behaviour(jumps=jumps))
    world.names.add(NAME, *GOODS[:5])
    with VirtualDaemon(world, POOL + STEADY) as daemon:
        wrong = daemon.run(3700).rows()[0].estimate.reason
        daemon.run(4 * HOUR)

        assert wrong.startswith("falseticker")
        assert daemon.hosts() == list(GOODS[:4])


# Change for the sake of change


@pytest.mark.lengthy
def test_every_two_days_the_oldest_member_goes(pool: VirtualDaemon, world: World) -> None:
    """After days the member used longest makes room for one that DNS names now, and only when that one answers."""
    pool.run(DAY)
    world.names.add(NAME, *GOODS[4:8])
    before = pool.hosts()
    counts = {len(pool.run(60).rows()) for _ in range(int(1.2 * DAY / 60))}

    assert before == list(GOODS[:4])
    assert pool.hosts() == [*GOODS[1:4], GOODS[4]]
    assert counts == {4, 5}
    assert len(world.names.queries) == 2


@pytest.mark.lengthy
def test_a_pool_without_other_addresses_stays(world: World) -> None:
    """A name with just four servers keeps them, at one look-up in two days."""
    world.names.add(NAME, *GOODS[:4])
    with VirtualDaemon(world, POOL) as daemon:
        first = [row.id for row in daemon.run(10).rows()]
        daemon.run(7 * DAY)

        assert [row.id for row in daemon.rows()] == first
        assert len(world.names.queries) == 4
        assert daemon.troubles() == []


@pytest.mark.lengthy
@pytest.mark.parametrize("newcomer", [DEAD, LIES])
def test_a_bad_newcomer_is_not_kept(pool: VirtualDaemon, world: World, newcomer: str) -> None:
    """A newcomer that does not answer or lies drives nobody out."""
    pool.run(DAY)
    world.names.add(NAME, newcomer)
    pool.run(1.2 * DAY)

    assert requests(world, newcomer) > 0
    assert pool.hosts() == list(GOODS[:4])


# What it asks DNS


def test_a_small_name_is_looked_up_less_and_less(world: World) -> None:
    """A name with too few servers is asked four times at once, ten times in the first two hours, then hourly."""
    world.names.add(NAME, *GOODS[:3])
    with VirtualDaemon(world, POOL) as daemon:
        early = len(daemon.run(30).world.names.queries)
        daemon.run(2 * HOUR)
        later = len(world.names.queries)
        daemon.run(DAY)

        assert early == 4
        assert later <= 10
        assert len(world.names.queries) - later <= 24
        assert daemon.hosts() == list(GOODS[:3])
        assert daemon.troubles()[0].startswith(
            f"3 of 4 members; {NAME!r} has no further address that can be used: 3 known; next attempt in "
        )


@pytest.mark.lengthy
def test_a_pool_of_dead_servers_asks_dns_hourly(world: World) -> None:
    """When all servers of a name are dead they are asked again less and less often, and DNS once an hour at most."""
    dead = [f"203.0.113.{n}" for n in range(10, 14)]
    for host in dead:
        world.add_server(host, SILENT, up=NEAR)
    world.names.add(NAME, *dead)
    with VirtualDaemon(world, POOL) as daemon:
        early = requests(daemon.run(60).world, dead[0])
        daemon.run(DAY)

        assert 3 * 4 <= early <= 3 * 6
        assert len(world.names.queries) <= 25
        assert requests(world, dead[0]) <= 3 * (11 + DAY / 900)
        assert len(open_ports(world)) <= 4


def test_comes_back_after_a_long_outage(pool: VirtualDaemon, world: World) -> None:
    """When the network was away for hours and every member was lost, they are back soon after it is."""
    pool.run(600)
    for host in GOODS[:5]:
        behave(world, host, SILENT)
    pool.run(6 * HOUR)
    during = [row.estimate.selected for row in pool.rows()]
    for host in GOODS[:5]:
        behave(world, host, GOOD)
    seconds = pool.run_until(lambda state: sum(row.estimate.selected for row in state.sources) == 4, HOUR, step=10)

    assert not any(during)
    assert seconds <= 1024 * 1.1 + 60


@pytest.mark.parametrize(("delay", "words"), [(math.inf, "no answer from the resolver"), (0.0, "does not resolve")])
def test_a_dead_resolver_is_asked_with_back_off(world: World, delay: float, words: str) -> None:
    """While names can't be resolved the wait doubles up to 17 minutes; when they can, the pool fills."""
    world.names.add(NAME, delay=delay)
    with VirtualDaemon(world, POOL) as daemon:
        asked: list[float] = []
        for second in range(int(HOUR)):
            while len(world.names.queries) > len(asked):
                asked.append(second)
            daemon.run(1)
        waits = [b - a for a, b in pairwise(asked)]
        trouble = daemon.troubles()[0]
        world.names.add(NAME, *GOODS)
        daemon.run(1024 * 1.1 + 20)

        assert sorted(waits) == waits
        assert len(asked) <= 13
        assert trouble.startswith("0 of 4 members; ")
        assert words in trouble
        assert daemon.hosts() == list(GOODS[:4])


@pytest.mark.lengthy
def test_a_dead_resolver_does_not_stop_a_replacement(pool: VirtualDaemon, world: World) -> None:
    """A lost member is replaced by an address that is known from before when names can't be resolved any more."""
    pool.run(2 * HOUR)
    world.names.add(NAME, delay=math.inf)
    behave(world, GOODS[0], SILENT)
    pool.run_until(lambda _: GOODS[0] not in pool.hosts(), 4 * HOUR)

    assert pool.run_until(lambda _: GOODS[4] in pool.hosts(), 60) <= 8


def test_a_name_server_that_lies(world: World) -> None:
    """A hundred addresses of nobody, multicast and ourselves among them, are tried a few at a time, never all."""
    nobody = [f"100.64.{n}.1" for n in range(100)]
    world.names.add(NAME, "224.0.1.1", "0.0.0.0", *ADDRESSES, *nobody)
    with VirtualDaemon(world, POOL) as daemon:
        most = 0
        for _ in range(600):
            most = max(most, len(daemon.run(2).rows()))

        assert most == 4
        assert len(world.names.queries) == 1
        assert world.network.sent[ADDRESSES[0]] < 1000


# What it says


def test_says_why_the_last_member_was_dropped(world: World) -> None:
    """For an hour ``sources`` shows which member was dropped last and why, as well as where the others came from."""
    world.names.add(NAME, DENIES, *GOODS[:4])
    with VirtualDaemon(world, POOL) as daemon:
        daemon.run(60)
        status = status_data(daemon.snapshot())
        lines = sources_lines(status, 200)
        daemon.run(HOUR)

        assert [line[2:30].strip() for line in lines[2:]] == [
            *(f"{host} ({NAME})" for host in GOODS[:4]),
            f"{NAME}:123",
        ]
        assert lines[-1].endswith(
            f"4 of 4 members; last dropped: {DENIES} (the server denied us access (kiss code DENY) and answers no more)"
        )
        assert "4 of 4 sources usable" in "\n".join(status_lines(status))
        assert daemon.troubles() == []


def test_says_how_far_it_is(world: World) -> None:
    """While the name is being resolved, and while members are missing, that is what is shown."""
    world.names.add(NAME, *GOODS[:3], delay=2.0)
    with VirtualDaemon(world, POOL) as daemon:
        resolving = daemon.run(1).troubles()
        partly = daemon.run(1.5).troubles()

        assert resolving == ["0 of 4 members; resolving"]
        assert partly[0].startswith("3 of 4 members")


def test_no_route_is_said(world: World) -> None:
    """A name with IPv6 addresses only, on a host without IPv6, is no riddle."""
    world.network.unrouted.add("2001:db8:1::1")
    world.names.add(NAME, "2001:db8:1::1")
    with VirtualDaemon(world, POOL) as daemon:
        assert (
            f"{NAME!r} has no further address that can be used: 1 known; no route to 2001:db8:1::1"
            in (daemon.run(1).troubles()[0])
        )
