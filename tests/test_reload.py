"""What an operator changes while the daemon runs, and what stays untouched meanwhile."""

from __future__ import annotations

from dataclasses import replace
from errno import EPERM
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyObject

from ntptwist.config.loader import loads
from ntptwist.control.report import Report
from ntptwist.errors import ClockError
from ntptwist.interfaces import IControl, ISpawnerService
from ntptwist.kernel.clock import KernelClock, ObservingClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.registry import SourceDriver, find_driver
from ntptwist.service import make_service
from ntptwist.serving import ServerService
from ntptwist.sim.replay import read_record, replay
from ntptwist.sim.server import NTP_PORT
from ntptwist.sim.world import ADDRESSES, World
from ntptwist.snapshot import SystemSnapshot
from ntptwist.timestamp import ClockReading
from tests.sim.daemon import NEAR, STEADY, VirtualDaemon

HOSTS = [f"198.51.100.{number}" for number in range(1, 5)]
SERVER = '[[server]]\nlisten = "192.0.2.1:{}"\nallowlist = {{ filter = ["0.0.0.0/0"] }}\n'


def source(host: str, more: str = "") -> str:
    """Give the table of one server."""
    return f'[[source]]\nmode = "server"\naddress = "{host}"\n{more}\n'


FOUR = STEADY + "".join(map(source, HOSTS))


def network(*hosts: str) -> World:
    """A world with servers that are near and right."""
    world = World(1)
    for host in hosts or HOSTS:
        world.add_server(host, up=NEAR)
    return world


def counts(snapshot: SystemSnapshot) -> dict[str, int]:
    """Give the samples that were taken of each source."""
    return {row.observation.name: row.estimate.measurements for row in snapshot.sources}


def ids(snapshot: SystemSnapshot) -> list[int | None]:
    """Give the numbers of the sources: one that was made anew has a new one."""
    return [row.id for row in snapshot.sources]


def test_provides_the_interface() -> None:
    """What the sockets and SIGHUP ask for is there."""
    with VirtualDaemon(network(), FOUR) as daemon:
        assert verifyObject(IControl, daemon.control)
        assert verifyObject(ISpawnerService, daemon.spawners[0])


def test_a_reload_leaves_what_did_not_change_untouched() -> None:
    """Of four sources one changes: the other three keep their samples, their numbers and the clock its state."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(1000)
        before = daemon.snapshot()
        changed = STEADY + source(HOSTS[0], "ntp-version = 3") + "".join(map(source, HOSTS[1:]))
        report = daemon.reload(changed)
        after = daemon.snapshot()
        daemon.run(300)
        later = daemon.snapshot()

    assert report == Report(changes=("source server 198.51.100.1:123 starts afresh: version: 4, now 3",))
    assert ids(after)[1:] == ids(before)[1:]
    assert list(counts(after).values())[1:] == list(counts(before).values())[1:]
    assert min(list(counts(before).values())) > 15
    assert ids(later)[0] not in ids(before)
    assert 5 <= counts(later)[f"{HOSTS[0]}:123"] < counts(later)[f"{HOSTS[1]}:123"] - 10
    assert [row.observation.name for row in later.sources] == [f"{host}:123" for host in HOSTS]
    assert all(snapshot.synchronized for snapshot in (before, after, later))


def test_a_reload_that_changes_nothing() -> None:
    """Comments, order and other words for the same are no change."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(100)
        before = daemon.snapshot()
        text = "# another comment\n" + STEADY + "".join(map(source, reversed(HOSTS)))
        report = daemon.reload(text.replace(f'"{HOSTS[2]}"', f'"{HOSTS[2]}:123"'))
        after = daemon.snapshot()

    assert report == Report()
    assert ids(after) == ids(before)[::-1]
    assert set(counts(after).items()) == set(counts(before).items())


def test_sources_come_and_go() -> None:
    """The number of sources that must agree follows their number, at once."""
    with VirtualDaemon(network(*HOSTS, "198.51.100.5"), STEADY + source(HOSTS[0])) as daemon:
        daemon.run(100)
        more = daemon.reload(FOUR + source("198.51.100.5"))
        daemon.run(100)
        together = daemon.snapshot()
        fewer = daemon.reload(STEADY + source(HOSTS[3]))
        daemon.run(100)
        alone = daemon.snapshot()

    assert more.changes[-1] == "sources that must agree: 1, now 3"
    assert len(more.changes) == 5
    assert (together.synchronized, together.state) == (True, "synchronized")
    assert sum(row.estimate.selected for row in together.sources) == 5
    assert len(fewer.changes) == 5
    assert [(row.observation.name, row.estimate.selected) for row in alone.sources] == [(f"{HOSTS[3]}:123", True)]


def test_a_file_with_mistakes_changes_nothing() -> None:
    """Every mistake is told, and the daemon goes on as it was."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(100)
        before = daemon.snapshot()
        report = daemon.reload("[sourc]\n[[source]]\nmode = 'servr'\n[clock]\ncontrol = 3\n")
        after = daemon.snapshot()

    assert [problem.split(":")[1] for problem in report.problems] == ["1", "3", "5"]
    assert report.changes == ()
    assert (ids(after), counts(after)) == (ids(before), counts(before))


def test_what_needs_a_restart_is_said() -> None:
    """What can't change while the daemon runs is named, the rest is done, and the next reload says it again."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(100)
        text = FOUR + "[clock]\ncontrol = 'observe'\n[synchronization]\nprofile = 'frugal'\nminimum-agreeing-sources=2"
        first = daemon.reload(text)
        second = daemon.reload(text)
        policy = daemon.system.controller.policy

    assert first.later == ("needs a restart: clock.control: system, now observe",)
    assert first.changes == (
        "synchronization.minimum-agreeing-sources: none, now 2",
        "synchronization.profile: balanced, now frugal",
    )
    assert (second.later, second.changes) == (first.later, ())
    assert (policy.agreeing, policy.profile.value) == (2, "frugal")


def test_the_last_source_may_go() -> None:
    """Without any source the clock runs on at its frequency, and the answer says so; a source may come again."""
    with VirtualDaemon(network(), STEADY + source(HOSTS[0])) as daemon:
        daemon.run(1000)
        frequency = daemon.snapshot().frequency
        report = daemon.done(daemon.control.remove([HOSTS[0]]))
        daemon.run(1000)
        alone = daemon.snapshot()
        again = daemon.done(daemon.control.add({"mode": "server", "address": HOSTS[1]}))
        daemon.run(100)
        found = daemon.snapshot()

    assert report.warnings[0] == (
        "no source is left: nobody tells the time, and the clock runs on at its latest frequency"
    )
    assert alone.sources == ()
    assert alone.frequency == pytest.approx(frequency, abs=0.01)
    assert again.problems == ()
    assert found.state == "synchronized"


class Elsewhere(DatagramProtocol):
    """Another program on the port."""


def servers(daemon: VirtualDaemon) -> dict[str, bool]:
    """Tell which servers there are, and whether they have their port."""
    return {child.listen: bool(child.server.running) for child in daemon.service if isinstance(child, ServerService)}


def test_servers_come_and_go() -> None:
    """A server that stays keeps its counters; the others are closed and opened."""
    with VirtualDaemon(network(), FOUR + SERVER.format(123) + SERVER.format(124)) as daemon:
        daemon.run(10)
        kept = next(child for child in daemon.service if isinstance(child, ServerService))
        report = daemon.reload(FOUR + SERVER.format(123) + SERVER.format(125))
        now = servers(daemon)
        still = kept in list(daemon.service)

    assert report.changes == ("server 192.0.2.1:124 goes", "server 192.0.2.1:125 is new")
    assert now == {"192.0.2.1:123": True, "192.0.2.1:125": True}
    assert still


def test_a_server_that_changes_takes_its_own_port_again() -> None:
    """What a server says with a local stratum is a part of it, so it is opened anew."""
    with VirtualDaemon(network(), FOUR + SERVER.format(123)) as daemon:
        report = daemon.reload(FOUR + SERVER.format(123) + "[synchronization]\nlocal-stratum = 10\n")
        now = servers(daemon)

    assert report.changes == (
        "server 192.0.2.1:123 starts afresh: what it serves",
        "synchronization.local-stratum: 16, now 10",
    )
    assert now == {"192.0.2.1:123": True}


def test_a_taken_port_takes_everything_back() -> None:
    """When one port can't be had the old servers serve again, no source has changed, and the answer says why."""
    world = network()
    taken = world.reactor.listen_udp("192.0.2.1", 125, Elsewhere())
    with VirtualDaemon(world, FOUR + SERVER.format(123) + SERVER.format(124)) as daemon:
        daemon.run(100)
        before = daemon.snapshot()
        wanted = SERVER.format(126) + SERVER.format(125) + SERVER.format(123)
        report = daemon.reload(STEADY + source(HOSTS[0]) + wanted)
        after = daemon.snapshot()
        now = servers(daemon)
        free = not any(world.network.is_bound((address, 126)) for address in ADDRESSES)
        taken.stopListening()
        again = daemon.reload(STEADY + source(HOSTS[0]) + wanted)
        finally_ = servers(daemon)

    assert report == Report(problems=("can't serve time on 192.0.2.1:125: Address already in use",))
    assert (ids(after), counts(after)) == (ids(before), counts(before))
    assert now == {"192.0.2.1:123": True, "192.0.2.1:124": True}
    assert free
    assert again.problems == ()
    assert finally_ == {f"192.0.2.1:{port}": True for port in (123, 125, 126)}


def test_a_source_added_by_hand_goes_with_the_next_reload() -> None:
    """The files have the last word, and the answer says so."""
    with VirtualDaemon(network(), STEADY + source(HOSTS[0])) as daemon:
        added = daemon.done(daemon.control.add({"mode": "server", "address": HOSTS[1]}))
        twice = daemon.done(daemon.control.add({"mode": "server", "address": HOSTS[1]}))
        daemon.run(200)
        polls = [row.observation.poll for row in daemon.rows()]
        reloaded = daemon.reload(STEADY + source(HOSTS[0]))

    assert added.changes == ("source server 198.51.100.2:123 is new", "sources that must agree: 1, now 2")
    assert added.warnings == ("it stays until the next reload or restart, unless it is written into a file",)
    assert twice.problems == ("source server 198.51.100.2:123 is there already",)
    assert polls == [6, 6]
    assert reloaded.changes[0] == "source server 198.51.100.2:123 goes"


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"mode": "server"}, ("address: required key is missing",)),
        ({"mode": "server", "addr": HOSTS[1], "version": 4}, None),
        ({"address": HOSTS[1]}, ("mode: required key is missing",)),
        ({"mode": "pps", "path": "relative", "precision": 1}, None),
    ],
)
def test_a_source_that_can_not_be_added(values: dict[str, Any], problems: tuple[str, ...] | None) -> None:
    """All that is wrong with it is told, and nothing changes."""
    with VirtualDaemon(network(), STEADY + source(HOSTS[0])) as daemon:
        report = daemon.done(daemon.control.add(values))
        rows = daemon.snapshot().sources

    assert report.problems
    assert problems is None or report.problems == problems
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "say which source is to be removed"),
        (["198.51.100.9"], "no source is called '198.51.100.9'"),
        ([""], "no source is called ''"),
        (["198.51.100.1", "99"], "no source is called '99'"),
    ],
)
def test_a_source_that_is_not_there(names: list[str], problem: str) -> None:
    """Every name must be one of a source, or nothing is done."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(10)
        report = daemon.done(daemon.control.remove(names))
        rows = daemon.rows()

    assert report.problems == (problem,)
    assert len(rows) == 4


def test_names_of_sources() -> None:
    """A source is found by its address with and without the port, and by its number."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(10)
        number = daemon.rows()[3].id
        report = daemon.done(daemon.control.remove([HOSTS[0], f"{HOSTS[1]}:{NTP_PORT}", str(number)]))
        left = daemon.hosts()

    assert left == [HOSTS[2]]
    assert report.warnings == ("what the files name comes back with the next reload or restart",)


POOL = STEADY + '[[source]]\nmode = "pool"\naddress = "pool.example"\ncount = 2\n'


def test_a_pool_is_one_source() -> None:
    """A member can't be taken away from a pool by hand; asking one quickly asks all."""
    world = network()
    world.names.add("pool.example", *HOSTS)
    with VirtualDaemon(world, POOL) as daemon:
        daemon.run(100)
        member = daemon.hosts()[0]
        refused = daemon.done(daemon.control.remove([member]))
        asked = daemon.done(daemon.control.burst([member]))
        gone = daemon.done(daemon.control.remove(["pool.example"]))
        rows = daemon.snapshot().sources

    assert refused.problems == (f"{member} is a member of source pool pool.example:123: name that",)
    assert asked.changes == ("source pool pool.example:123 is asked quickly a few times",)
    assert gone.problems == ()
    assert rows == ()


def test_an_offline_source_is_quiet() -> None:
    """It sends nothing and stays in the list with the reason; online again it is asked at once."""
    world = network()
    with VirtualDaemon(world, FOUR) as daemon:
        daemon.run(300)
        report = daemon.done(daemon.control.set_offline([HOSTS[0]], offline=True))
        twice = daemon.done(daemon.control.set_offline([HOSTS[0]], offline=True))
        asked = world.servers[0].requests
        daemon.run(600)
        quiet = world.servers[0].requests == asked
        row = daemon.snapshot().sources[0]
        reloaded = daemon.reload(FOUR)
        burst = daemon.done(daemon.control.burst([HOSTS[0]]))
        online = daemon.done(daemon.control.set_offline([], offline=False))
        daemon.run(20)
        again = daemon.snapshot().sources[0]

    assert report.changes == ("source server 198.51.100.1:123 is offline",)
    assert twice == Report()
    assert (row.id, row.observation.name, row.estimate.reason) == (
        None,
        "198.51.100.1:123",
        "taken offline by the operator",
    )
    assert reloaded == Report()
    assert burst.warnings == ("source server 198.51.100.1:123 is offline",)
    assert online.changes == ("source server 198.51.100.1:123 is online again",)
    assert again.observation.received >= 5
    assert quiet


def test_an_offline_source_stays_so_over_a_stop() -> None:
    """A daemon whose services are stopped and started in one process does not forget what the operator wants."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.done(daemon.control.set_offline([HOSTS[0]], offline=True))
        daemon.service.stopService()
        refused = daemon.done(daemon.control.add({"mode": "server", "address": "198.51.100.9"}))
        daemon.service.startService()
        daemon.run(20)
        rows = daemon.rows()

    assert refused.problems == ("the daemon is not running",)
    assert len(rows) == 3


def test_a_burst() -> None:
    """A source is asked four times within seconds, and then at its own pace again."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(1000)
        before = daemon.rows()
        report = daemon.done(daemon.control.burst([HOSTS[1]]))
        daemon.run(20)
        after = daemon.rows()
    polls = [late.observation.sent - early.observation.sent for early, late in zip(before, after, strict=True)]

    assert report.changes == ("source server 198.51.100.2:123 is asked quickly a few times",)
    assert 4 <= polls[1] <= 6
    assert max(polls[0], polls[2], polls[3]) <= 1


def test_a_step_that_the_operator_wants() -> None:
    """What is left to correct is stepped at once, although the policy only slews; the filters stay."""
    world = World(1, offset=0.1)
    for host in HOSTS:
        world.add_server(host, up=NEAR)
    never = FOUR + "[synchronization]\nstep-policy = 'never'\n"
    with VirtualDaemon(world, never) as daemon:
        daemon.run(20)
        before = daemon.snapshot()
        report = daemon.done(daemon.control.correct_now())
        after = daemon.snapshot()
        daemon.run(600)
        later = daemon.snapshot()
        error = world.clock.true_offset()

    assert before.steps == 0
    assert before.offset is not None
    assert before.offset > 0.05
    assert report.changes == ("the clock was stepped",)
    assert after.steps == 1
    assert after.offset is not None
    assert abs(after.offset) < 1e-4
    assert counts(after) == counts(before)
    assert abs(error) < 1e-3
    assert later.state == "synchronized"


def test_a_step_before_anybody_tells_the_time() -> None:
    """Where nothing is known nothing is stepped, and the answer says what is missing."""
    with VirtualDaemon(network(), FOUR) as daemon:
        report = daemon.done(daemon.control.correct_now())

    assert report.changes == ()
    assert len(report.problems) == 1
    assert report.problems[0].startswith("the clock is not stepped: ")


def test_a_wish_is_carried_out_although_its_sender_left() -> None:
    """A client that hangs up in the middle leaves no half of a change behind."""
    with VirtualDaemon(network(), FOUR) as daemon:
        daemon.run(10)
        daemon.text = STEADY + source(HOSTS[0])
        answer = daemon.control.reload()
        answer.addErrback(lambda _: None)
        answer.cancel()
        daemon.run(1)
        left = daemon.hosts()

    assert left == [HOSTS[0]]


def test_a_configuration_of_no_file() -> None:
    """There is nothing to read anew, and the answer says so."""
    world = network()
    config = loads(
        FOUR + "[control]\ndirectory = '/nonexistent/here'\n[state]\ndirectory = '/nonexistent'", find_driver
    )
    daemon = make_service(config, world.reactor, world.clock, world.randbytes)
    assert daemon.control is not None
    reports: list[Report] = []
    daemon.control.reload().addCallback(reports.append)
    world.run(0)

    assert reports == [Report(problems=("the configuration came from no file: there is nothing to read anew",))]


def test_a_port_that_is_tried_again() -> None:
    """Where it was configured so a taken port is no reason to refuse the rest."""
    world = network()
    taken = world.reactor.listen_udp("192.0.2.1", 125, Elsewhere())
    with VirtualDaemon(world, FOUR) as daemon:
        report = daemon.reload(FOUR + SERVER.format(125) + "on-port-taken = 'retry'\n")
        before = servers(daemon)
        taken.stopListening()
        daemon.run(2)
        after = servers(daemon)

    assert report == Report(changes=("server 192.0.2.1:125 is new",))
    assert (before, after) == ({"192.0.2.1:125": False}, {"192.0.2.1:125": True})


class Unprivileged(KernelClock):
    """The system's clock where this process may not change it."""

    def __init__(self) -> None:
        super().__init__(RealSystem())

    def take_over(self) -> ClockReading:
        """Refuse."""
        raise ClockError("adjtimex", EPERM, "Operation not permitted")


def test_the_first_source_needs_the_clock() -> None:
    """A daemon that kept no clock takes it over for its first source, or says why it can't; then no source is there."""
    world = network()
    config = replace(loads("", find_driver), control_directory=None, state_directory=None)
    daemon = make_service(config, world.reactor, Unprivileged(), world.randbytes)
    assert daemon.control is not None
    assert daemon.system is not None
    daemon.system.running = 1  # nothing else of it is asked
    reports: list[Report] = []
    daemon.control.add({"mode": "server", "address": HOSTS[0]}).addCallback(reports.append)
    world.run(0)

    assert len(reports) == 1
    assert "CAP_SYS_TIME is missing" in reports[0].problems[0]
    assert list(daemon.system) == []


def test_a_driver_that_can_not_be_loaded() -> None:
    """Nothing has changed when a driver fails, for spawners are made before anything else."""

    def failing(mode: str) -> Any:
        driver: Any = find_driver(mode)
        return SourceDriver("pool", "", "ntptwist.spawners.nowhere.Spawner") if mode == "pool" else driver

    world = network()
    config = replace(loads(FOUR, find_driver), control_directory=None, state_directory=None)
    wanted = replace(loads(POOL + SERVER.format(123), find_driver), control_directory=None, state_directory=None)
    daemon = make_service(
        config, world.reactor, world.clock, world.randbytes, list, find_driver=failing, read=lambda: wanted
    )
    assert daemon.control is not None
    assert daemon.system is not None
    world.start(daemon)
    reports: list[Report] = []
    daemon.control.reload().addCallback(reports.append)
    world.run(10)
    rows = daemon.system.snapshot().sources
    world.stop()

    assert reports[0].problems[0].startswith("driver 'pool' can't be loaded from ntptwist.spawners.nowhere.Spawner")
    assert len(rows) == 4


def test_what_an_operator_did_is_replayed(tmp_path: Path) -> None:
    """The record has a new policy, bursts and steps by hand, and its replay decides the very same."""
    world = World(1, offset=0.1)
    for host in HOSTS:
        world.add_server(host, up=NEAR)
    record = f'[observability]\nrecord = "{tmp_path}/record"\n'
    with VirtualDaemon(world, FOUR + record + "[synchronization]\nstep-policy = 'never'\n") as daemon:
        daemon.run(20)
        daemon.done(daemon.control.correct_now())
        daemon.run(500)
        daemon.done(daemon.control.burst([]))
        daemon.reload(FOUR + record + "[synchronization]\nprofile = 'frugal'\n")
        daemon.done(daemon.control.remove([HOSTS[0]]))
        daemon.run(2000)
        steps = daemon.snapshot().steps
    (run,) = read_record(f"{tmp_path}/record")
    outcome = replay(run)

    assert steps == 1
    assert outcome.differing is None
    assert outcome.course.steps == 1


def test_too_few_are_left() -> None:
    """Where fewer sources are left than must agree the answer says that the clock is not kept any more."""
    text = STEADY + source(HOSTS[0]) + source(HOSTS[1]) + "[synchronization]\nminimum-agreeing-sources = 2\n"
    with VirtualDaemon(network(), text) as daemon:
        daemon.run(100)
        report = daemon.done(daemon.control.remove([HOSTS[0]]))

    assert report.warnings[0] == "2 sources must agree but only 1 can vote"


def test_an_observed_clock_is_not_stepped() -> None:
    """A daemon that may only look refuses to step."""
    world = network()
    config = replace(loads(FOUR, find_driver), control_directory=None, state_directory=None)
    daemon = make_service(config, world.reactor, ObservingClock(RealSystem()), world.randbytes, list)
    assert daemon.control is not None
    reports: list[Report] = []
    daemon.control.correct_now().addCallback(reports.append)
    world.run(0)

    assert reports == [Report(problems=("the clock is only observed: it is not stepped",))]


def test_a_clock_of_this_machine_can_not_be_asked() -> None:
    """What speaks without being asked is left out of a burst of all, and named when it is asked for."""
    text = FOUR + '[[source]]\nmode = "sock"\npath = "/run/gps.sock"\nprecision = 1e-3\n'
    with VirtualDaemon(network(), text) as daemon:
        daemon.run(10)
        everybody = daemon.done(daemon.control.burst([]))
        alone = daemon.done(daemon.control.burst(["/run/gps.sock"]))

    assert (len(everybody.changes), everybody.warnings) == (4, ())
    assert alone.warnings == ("source sock /run/gps.sock can not be asked now",)
