"""The composition root: the tree of services, the choice of the clock, and how the daemon fails."""

from __future__ import annotations

from dataclasses import replace
from errno import EPERM
from pathlib import Path
from typing import Any

import pytest

from ntptwist.config.loader import loads
from ntptwist.config.model import ClockSettings, Config, Control, SourceEntry
from ntptwist.control.server import ControlServer
from ntptwist.errors import ClockError, DriverError
from ntptwist.kernel.clock import KernelClock, ObservingClock, VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.observe.chronyc import ChronycServer
from ntptwist.observe.ntpd_rs import ObservationServer
from ntptwist.observe.observer import Observer
from ntptwist.registry import find_driver
from ntptwist.service import EX_SOFTWARE, Daemon, make_clock, make_service
from ntptwist.serving import ServerService
from ntptwist.sim.world import World
from ntptwist.spawners.service import SpawnerService
from ntptwist.state import ClockState
from ntptwist.system import System
from ntptwist.timestamp import ClockReading

SOURCES = """
[[source]]
mode = "server"
address = "first.example"

[[source]]
mode = "pool"
address = "pool.example"

[[source]]
mode = "server"
address = "last.example"
"""


def built(text: str = SOURCES, **changes: Any) -> tuple[Daemon, World]:
    """Build the daemon of a configuration in a virtual world."""
    world = World(1)
    config = replace(loads(text, find_driver), **{"state_directory": None, **changes})
    return make_service(config, world.reactor, world.clock, world.randbytes), world


def test_the_tree(tmp_path: Path) -> None:
    """Observers start first and stop last; spawners stand in the order of the configuration, with their modes."""
    daemon, _ = built(control_directory=str(tmp_path))
    observer, _, control, system = list(daemon)
    spawners: list[Any] = list(system)

    assert isinstance(observer, Observer)
    assert isinstance(control, ControlServer)
    assert isinstance(system, System)
    assert system is daemon.system
    assert all(isinstance(each, SpawnerService) for each in spawners)
    assert [each.spawner.address_description for each in spawners] == [
        "first.example:123",
        "pool.example:123",
        "last.example:123",
    ]
    assert [each.mode for each in spawners] == ["server", "pool", "server"]


def test_the_state_of_the_clock_is_kept(tmp_path: Path) -> None:
    """With a state directory the algorithm's memory is restored before the first source starts."""
    daemon, _ = built(control_directory=None, state_directory=str(tmp_path))

    assert [type(child) for child in daemon] == [ClockState, System]


def test_a_virtual_clock_leaves_no_memory(tmp_path: Path) -> None:
    """The oscillator of a virtual clock ends with the process, so nothing of it is kept."""
    config = Config(clock=ClockSettings("virtual"), control_directory=None, state_directory=str(tmp_path))
    daemon = make_service(config, World(1).reactor)

    assert [type(child) for child in daemon] == [System]


def test_without_a_control_directory() -> None:
    """A daemon that nobody may ask has no observer."""
    daemon, _ = built(control_directory=None)

    assert [type(child) for child in daemon] == [System]


def test_the_tools_of_other_daemons(tmp_path: Path) -> None:
    """Whoever answers chronyc and ntp-ctl starts before the system; ntpq asks the servers."""
    text = f"""
        [[server]]
        listen = "127.0.0.1:123"
        [observability]
        chronyc-listen = "{tmp_path}/chronyd.sock"
        observation-path = "{tmp_path}/observe"
        mode6 = true
    """
    daemon, _ = built(SOURCES + text, control_directory=None)
    (service,) = [child for child in daemon if isinstance(child, ServerService)]
    server: Any = service.server
    question = bytes.fromhex("160200010000000000000000")

    assert [type(child) for child in daemon] == [ChronycServer, ObservationServer, System, ServerService]
    assert server.responder.answer_control(question, bytes([127, 0, 0, 1]))
    assert server.responder.answer_control(question, bytes([192, 0, 2, 1])) == []


def test_nothing_happens_before_the_start() -> None:
    """Building the daemon touches no clock, sends nothing and looks nothing up."""
    _, world = built(control_directory=None)
    world.run(100)

    assert world.clock.status is None
    assert world.names.queries == []
    assert world.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("control", "kind"), [("system", KernelClock), ("observe", ObservingClock), ("virtual", VirtualClock)]
)
def test_the_clock_is_the_configured_one(control: Control, kind: type) -> None:
    """``[clock] control`` decides which clock is kept; making it changes nothing."""
    clock = make_clock(ClockSettings(control=control))

    assert type(clock) is kind
    assert clock.control == control


def test_the_configured_clock_is_used_unless_another_is_given() -> None:
    """A virtual world brings its own clock, a process takes the configured one."""
    daemon = make_service(Config(clock=ClockSettings(control="virtual"), control_directory=None), World().reactor)

    assert isinstance(daemon.clock, VirtualClock)


def test_a_virtual_clock_starts_where_it_is_told() -> None:
    """Offset and frequency of a virtual clock are the configured ones."""
    clock = make_clock(ClockSettings("virtual", virtual_offset=0.3, virtual_frequency=40.0))

    assert isinstance(clock, VirtualClock)
    assert clock.offset() == pytest.approx(0.3, abs=1e-3)


def test_a_mode_that_no_driver_knows() -> None:
    """A configuration that was made by other drivers than are installed is refused by name."""
    config = Config(sources=(SourceEntry("sundial", None),), control_directory=None)
    with pytest.raises(DriverError, match="no driver called 'sundial'"):
        make_service(config, World().reactor, World().clock)


class RefusingClock(KernelClock):
    """The system's clock where this process has no privilege."""

    def __init__(self) -> None:
        super().__init__(RealSystem())
        self.asked = 0

    def take_over(self) -> ClockReading:
        """Refuse."""
        self.asked += 1
        raise ClockError("adjtimex", EPERM, "Operation not permitted")


def test_a_take_over_that_is_refused_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the privilege the daemon does not start: one line on standard error, exit status 70."""
    clock = RefusingClock()
    config = replace(loads(SOURCES, find_driver), control_directory=None)
    daemon = make_service(config, World().reactor, clock)
    with pytest.raises(SystemExit) as caught:
        daemon.privilegedStartService()
    printed = capsys.readouterr()

    assert caught.value.code == EX_SOFTWARE
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "CAP_SYS_TIME" in printed.err


def test_without_sources_no_privilege_is_needed() -> None:
    """A daemon that has no source to follow leaves the clock to whoever keeps it."""
    clock = RefusingClock()
    make_service(Config(control_directory=None), World().reactor, clock).privilegedStartService()

    assert clock.asked == 0


def test_the_first_failure_ends_the_daemon() -> None:
    """A clock that is not safe any more ends the process with 70, once, whatever else fails meanwhile."""
    daemon, world = built("", control_directory=None)
    world.start(daemon)
    world.run(1)
    daemon.fail("the first reason")
    daemon.fail("another reason")
    world.run(1)

    assert daemon.exit_status == EX_SOFTWARE
    assert not world.reactor.running
    assert not daemon.running


def test_own_addresses_are_the_given_worlds() -> None:
    """A virtual world's addresses, not this machine's, are what the daemon takes for its own."""
    world = World(1)
    config = replace(loads("", find_driver), control_directory=None)
    daemon = make_service(config, world.reactor, world.clock, world.randbytes, own_addresses=list)
    assert daemon.system is not None

    assert daemon.system.taken() == frozenset()
