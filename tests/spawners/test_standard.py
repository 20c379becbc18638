"""``mode = "server"`` in a virtual world: one name, its addresses, and when it is asked again."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.loader import loads
from ntptwist.config.value import HostPort
from ntptwist.registry import find_driver
from ntptwist.sim.server import DENYING, GOOD, SILENT
from ntptwist.sim.world import World
from ntptwist.spawners.standard import StandardConfiguration
from tests.sim.daemon import NEAR, VirtualDaemon, open_ports

NAME = "ntp.example"
A, B, C, SIX = "198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8:1::1"
SOURCE = f'[[source]]\nmode = "server"\naddress = "{NAME}"\n'
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def world() -> World:
    """A world with four good servers and no names."""
    world = World(1, offset=0.0)
    for host in (A, B, C, SIX):
        world.add_server(host, up=NEAR)
    return world


def look_ups(daemon: VirtualDaemon, seconds: int, step: Callable[[], None] = lambda: None) -> list[float]:
    """Let time pass and give the times at which the name was looked up, to the second."""
    queries = daemon.world.names.queries
    known = len(queries)
    times: list[float] = []
    for second in range(seconds):
        daemon.run(1)
        step()
        times += [second] * (len(queries) - known)
        known = len(queries)
    return times


def test_configuration() -> None:
    """Address, poll limits and version are the operator's; what is missing has a default."""
    text = SOURCE + '[[source]]\nmode = "server"\naddress = "[2001:db8::1]:1123"\nntp-version = 3\n'
    given = loads(text + "poll-interval-limits = { min = 4 }", find_driver)

    assert [entry.configuration for entry in given.sources] == [
        StandardConfiguration(HostPort(NAME, 123), PollLimits(6, 10)),
        StandardConfiguration(HostPort("2001:db8::1", 1123), PollLimits(4, 10), 3),
    ]
    assert given.policy.voting_sources == 2


def test_votes_of_groups_and_of_those_that_are_only_measured() -> None:
    """All sources of a group have one vote, one with noselect has none; a required source is waited for."""
    sources = ['group = "a"', 'group = "a"', "noselect = true", "require = true", 'group = "b"', ""]
    given = loads("".join(f"{SOURCE}{options}\n" for options in sources), find_driver)

    assert given.policy.voting_sources == 4
    assert given.policy.needs_required
    assert not loads(SOURCE, find_driver).policy.needs_required


def test_options_reach_the_choice_of_sources(world: World) -> None:
    """What the operator says of a source decides whether it is followed."""
    world.names.add(NAME, A)
    with VirtualDaemon(world, f"{SOURCE}noselect = true\n") as daemon:
        (row,) = daemon.run(30).rows()

    assert row.estimate.reason == "only measured (noselect)"
    assert row.estimate.measurements > 0


def test_the_first_address_is_used(world: World) -> None:
    """Of several addresses one is used, the first that the resolver gives, and shown beside the name."""
    world.names.add(NAME, A, B, delay=1.5)
    with VirtualDaemon(world, SOURCE) as daemon:
        resolving = daemon.run(1).troubles()
        (row,) = daemon.run(10).rows()

        assert resolving == ["resolving"]
        assert row.observation.name == f"{NAME}:123"
        assert row.observation.address == f"{A}:123"
        assert row.estimate.measurements > 0
        assert daemon.troubles() == []


def test_an_address_without_a_route_is_passed_over(world: World) -> None:
    """On a host without IPv6 the AAAA record that comes first does no harm."""
    world.network.unrouted.add(SIX)
    world.names.add(NAME, SIX, A)
    with VirtualDaemon(world, SOURCE) as daemon:
        assert daemon.run(5).hosts() == [A]


def test_ipv6(world: World) -> None:
    """Where there is IPv6 it is used like IPv4."""
    world.names.add(NAME, SIX, A)
    with VirtualDaemon(world, SOURCE) as daemon:
        (row,) = daemon.run(5).rows()

        assert row.observation.address == f"[{SIX}]:123"
        assert row.observation.received > 0


def test_a_literal_address_needs_no_resolver(world: World) -> None:
    """A server given by its address is never looked up."""
    with VirtualDaemon(world, SOURCE.replace(NAME, A)) as daemon:
        assert daemon.run(5).hosts() == [A]
        assert world.names.queries == []


@pytest.mark.parametrize(("delay", "reason"), [(math.inf, "no answer from the resolver"), (0.0, "does not resolve")])
def test_a_name_that_does_not_resolve(world: World, delay: float, reason: str) -> None:
    """The wait doubles up to 17 minutes, the reason and the time of the next attempt are shown; then it resolves."""
    world.names.add(NAME, delay=delay)
    with VirtualDaemon(world, SOURCE) as daemon:
        times = look_ups(daemon, int(2 * HOUR))
        waits = [b - a for a, b in pairwise(times)]
        (trouble,) = daemon.troubles()
        world.names.add(NAME, A)
        daemon.run(1024 * 1.1 + 10)

        assert waits[:3] == sorted(waits[:3])
        assert max(waits) <= 1024 * 1.1 + 5
        assert len(times) <= 17
        assert reason in trouble
        assert "; next attempt in " in trouble
        assert daemon.hosts() == [A]


def test_no_address_has_a_route(world: World) -> None:
    """Without a network the reason is given for each address, and it works as soon as there is one."""
    world.names.add(NAME, A, SIX)
    world.network.connected = False
    with VirtualDaemon(world, SOURCE) as daemon:
        (trouble,) = daemon.run(2).troubles()
        world.network.connected = True
        daemon.run(5)

        assert trouble.startswith(
            f"no address can be reached ({A}: Network is unreachable; {SIX}: Network is unreachable); next attempt in "
        )
        assert daemon.hosts() == [A]


def test_a_server_that_never_answers_is_asked_less_and_less(world: World) -> None:
    """Each round of three requests is followed by a longer wait, and the name is looked up for each round."""
    world.servers[0].behave(SILENT)
    world.names.add(NAME, A)
    with VirtualDaemon(world, SOURCE) as daemon:
        times = look_ups(daemon, int(2 * HOUR))
        waits = [b - a for a, b in pairwise(times)]

        assert max(waits) > 900
        assert len(times) <= 17
        assert world.servers[0].requests <= 3 * len(world.names.queries)


def test_the_next_address_is_tried(world: World) -> None:
    """When the first addresses are dead the others are tried in turn, although the resolver's order stays the same."""
    for server in world.servers[:2]:
        server.behave(SILENT)
    world.names.add(NAME, A, B, C)
    with VirtualDaemon(world, SOURCE) as daemon:
        seen: list[str] = []
        for _ in range(60):
            seen += daemon.run(1).hosts()
        used = list(dict.fromkeys(seen))

        assert used == [A, B, C]
        assert daemon.rows()[0].observation.received > 0


def test_begins_anew_when_every_address_has_failed(world: World) -> None:
    """After the last of its addresses the first one is tried again."""
    for server in world.servers:
        server.behave(SILENT)
    world.names.add(NAME, A, B)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(20)
        world.servers[0].behave(GOOD)
        daemon.run(60)

        assert daemon.hosts() == [A]
        assert daemon.rows()[0].observation.received > 0


def test_a_new_address_is_found_when_the_server_moves(world: World) -> None:
    """After a server has fallen silent its name is looked up again, at once."""
    world.names.add(NAME, A)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(600)
        world.servers[0].behave(SILENT)
        world.names.add(NAME, B)
        daemon.run_until(lambda _: daemon.hosts() != [A], HOUR)
        seconds = daemon.run_until(lambda _: daemon.hosts() == [B], 60)

        assert seconds <= 2
        assert len(world.names.queries) == 2


def test_an_answer_resets_the_back_off(world: World) -> None:
    """A server that answered after many failures, and got lost, is looked for within seconds."""
    world.names.add(NAME)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(300)
        world.names.add(NAME, A)
        daemon.run_until(lambda _: bool(daemon.rows()) and daemon.rows()[0].observation.received > 5, 600)
        world.servers[0].behave(SILENT)
        world.names.add(NAME)
        daemon.run_until(lambda _: daemon.rows() == [], HOUR)
        times = look_ups(daemon, 10)

        assert times[:3] == pytest.approx([1, 2, 4], abs=1)


def test_a_server_that_denies_is_left_alone(world: World) -> None:
    """After a denial there is no request and no look-up until the daemon is started anew; the reason stays in sight."""
    world.servers[0].behave(DENYING)
    world.names.add(NAME, A, B)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(DAY)

        assert world.servers[0].requests == 3
        assert world.servers[1].requests == 0
        assert world.names.queries == [NAME]
        assert daemon.troubles() == ["the server denied us access (kiss code DENY) and answers no more"]
        assert open_ports(world) == []


def test_a_restart_keeps_to_the_address(world: World) -> None:
    """A source that was stopped has not failed: after a start the same address is used."""
    world.names.add(NAME, A, B)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(10)
        daemon.service.stopService()
        daemon.service.startService()

        assert daemon.run(10).hosts() == [A]


def test_one_line_for_each_trouble(world: World) -> None:
    """A day without an answer from the resolver is one line in the log, not hundreds."""
    lines: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            lines.append(event)

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    with VirtualDaemon(world, SOURCE) as daemon:
        daemon.run(DAY)
    publisher.removeObserver(observe)

    assert len(lines) == 1
