"""The daemon's core for once, in a virtual world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.python.components import proxyForInterface

from ntptwist.cli.once import LONGEST, Looking, correct, is_enough, main, observing
from ntptwist.config.loader import loads
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.world import World
from ntptwist.snapshot import SystemSnapshot
from tests.sim.daemon import NEAR

HOSTS = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
SOURCES = "".join(f'[[source]]\nmode = "server"\naddress = "{host}"\n' for host in HOSTS)


Proxy: Any = proxyForInterface(IClock)


class Watched(Proxy):  # type: ignore[misc]  # the base is made of an interface
    """A world's clock that is only observed."""

    control = "observe"
    steerable = False


def looked(world: World) -> Looking:
    """Let the core look as long as it wants."""
    daemon = make_service(
        observing(loads(SOURCES, find_driver)), world.reactor, Watched(world.clock), world.randbytes, list
    )
    world.start(daemon)
    looking = Looking(daemon, world.reactor, daemon.stopService)
    looking.look()
    world.run(LONGEST + 1)
    return looking


def found_in(world: World) -> SystemSnapshot:
    """Give what it finds."""
    found = looked(world).found
    assert found is not None
    return found


def world(offset: float = 0.25, hosts: tuple[str, ...] = HOSTS) -> World:
    """A machine that is slow, and servers that are right."""
    made = World(1, offset=offset)
    for host in hosts:
        made.add_server(host, up=NEAR)
    return made


def test_the_offset_is_found_and_stepped(capsys: pytest.CaptureFixture[str]) -> None:
    """Within a minute of the start it is known how far the clock is off; a step makes it right, and nothing else."""
    machine = world()
    found = found_in(machine)
    before = (machine.clock.frequency(), machine.clock.true_offset())
    ended = correct(found, machine.clock, yes=True)

    assert found.offset == pytest.approx(0.25, abs=1e-3)
    assert before[1] == pytest.approx(0.25, abs=1e-2)
    assert ended == 0
    assert abs(machine.clock.true_offset()) < 5e-3
    assert machine.clock.frequency() == before[0]
    said, done = capsys.readouterr().out.splitlines()
    assert said.startswith("the clock is 250 ms slow, certain to within ")
    assert done == "the clock was stepped"


def test_nothing_is_left_behind() -> None:
    """When it is known the services have stopped."""
    machine = world()
    found_in(machine)

    assert machine.reactor.getDelayedCalls() == []


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a majority it is given up after a minute, with the reason."""
    looking = looked(world(hosts=HOSTS[:1]))

    assert looking.found is None
    assert capsys.readouterr().err.startswith("nobody has told the time in 60 s: waiting for ")


def test_enough() -> None:
    """Before its sources were asked four times the time is not known well, unless they let wait."""
    found = found_in(world())
    row = found.sources[0]
    early = replace(found, sources=(replace(row, estimate=replace(row.estimate, selected=True, measurements=3)),))

    assert is_enough(found, 1.0)
    assert not is_enough(early, 1.0)
    assert is_enough(early, 13.0)
    assert not is_enough(replace(found, sources=()), 13.0)
    assert not is_enough(replace(found, synchronized=False), 13.0)


def test_a_clock_that_is_not_to_be_steered(capsys: pytest.CaptureFixture[str]) -> None:
    """Who has configured that the clock is only observed is not asked to step it."""
    ended = correct(found_in(world()), ObservingClock(RealSystem()), yes=True)

    assert ended == 1
    assert capsys.readouterr().err == "not stepped: the configuration says control = 'observe'\n"


def test_a_clock_that_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the privilege it is one line and 70."""
    machine = world()
    found = found_in(machine)
    machine.clock.refuses = True
    ended = correct(found, machine.clock, yes=True)

    assert ended == 70
    assert "CAP_SYS_TIME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "ended", "said"),
    [("x = 1\n", 78, "x: unknown key"), ("", 1, "no source is configured: nobody can tell the time")],
)
def test_configurations_that_tell_nothing(
    tmp_path: Path, text: str, ended: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with mistakes, or without sources, ends it before anything is asked."""
    file = tmp_path / "ntptwist.toml"
    file.write_text(text)
    status = main(["-c", str(file), "--yes"])

    assert status == ended
    assert said in capsys.readouterr().err
