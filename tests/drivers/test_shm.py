"""``mode = "shm"``: what its configuration says, its source in a virtual world, and what it is made of."""

from __future__ import annotations

import ast
import inspect
import os
from typing import Any

import pytest

from ntptwist.config.loader import loads
from ntptwist.drivers import shm
from ntptwist.drivers.shm import SharedMemorySpawner
from ntptwist.errors import ConfigError
from ntptwist.interfaces import ISpawner
from ntptwist.kernel.shm import FIRST_KEY, MemorySegments, SharedTime
from ntptwist.registry import find_driver
from ntptwist.sim.world import World
from ntptwist.spawners.service import SpawnerService
from ntptwist.timestamp import NANOSECONDS
from tests.contract.local import EndingLifecycleContract
from tests.sim.daemon import VirtualDaemon

SHM = 'mode = "shm"\nunit = 2\nprecision = 1e-6\n'
KEY = FIRST_KEY + 2


def configured(text: str) -> Any:
    """Give what one table of a source says."""
    return loads(f"[[source]]\n{text}", find_driver).sources[0].configuration


class Feeder:
    """What writes a sample each second, as gpsd does, wherever there is a segment."""

    def __init__(self, world: World) -> None:
        self.calls = MemorySegments()
        self.silent = False
        self.leap = 0
        self.mode = 1
        self._world = world
        self._write()

    def segment(self) -> SharedTime | None:
        """Give the segment of the unit."""
        try:
            return self.calls.attach(self.calls.find(KEY))
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        timeline = self._world.timeline
        timeline.at(timeline.now + NANOSECONDS, self._write)
        memory = self.segment()
        if memory is None or self.silent:
            return
        memory.valid = 0
        memory.mode, memory.leap = self.mode, self.leap
        memory.count += 1
        true, local = timeline.utc, self._world.clock.read().local
        memory.clock_seconds, memory.clock_nanoseconds = divmod(true, NANOSECONDS)
        memory.receive_seconds, memory.receive_nanoseconds = divmod(local, NANOSECONDS)
        memory.clock_microseconds = memory.clock_nanoseconds // 1000
        memory.receive_microseconds = memory.receive_nanoseconds // 1000
        memory.count += 1
        memory.valid = 1


class TestSharedMemory(EndingLifecycleContract):
    """A unit of shared memory, whose segment can be removed."""

    def spawner(self, daemon: VirtualDaemon) -> ISpawner:
        """Make a spawner and a feeder."""
        self._feeder = Feeder(daemon.world)
        return SharedMemorySpawner(configured(SHM), daemon.system, daemon.world.reactor, self._feeder.calls)

    def hinder(self) -> None:
        """Let a stranger have the segment."""
        calls = self._feeder.calls
        if self._feeder.segment() is not None:
            calls.remove(calls.find(KEY))
        calls.user = 54_321
        calls.create(KEY, 0o600)

    cut = hinder

    def allow(self) -> None:
        """Take the stranger's segment away."""
        calls = self._feeder.calls
        if self._feeder.segment() is not None and calls.ownership(calls.find(KEY)).owner == 54_321:
            calls.remove(calls.find(KEY))
        calls.user = 0

    def silence(self) -> None:
        """Write nothing."""
        self._feeder.silent = True


@pytest.mark.parametrize("mode", [0, 1])
def test_a_clock_is_kept_by_shared_memory(mode: int) -> None:
    """Samples from shared memory bring a clock that is 0.3 s fast to the truth."""
    world = World(1, offset=-0.3)
    feeder = Feeder(world)
    feeder.mode = mode
    with VirtualDaemon(world, "") as daemon:
        spawner = SharedMemorySpawner(configured(SHM), daemon.system, world.reactor, feeder.calls)
        SpawnerService(spawner, daemon.system, world.reactor, "shm").setServiceParent(daemon.system)
        daemon.run(600)
        (row,) = daemon.rows()
        right = abs(world.clock.true_offset())
        feeder.leap = 3
        daemon.run(2)
        (unsure,) = daemon.rows()
        feeder.silent = True
        daemon.run(10)
        (silent,) = daemon.rows()

    assert right < 1e-5
    assert (row.observation.name, row.observation.mode, row.observation.reach) == ("shm unit 2", "shm", 0xFF)
    assert row.estimate.reason == "used"
    assert unsure.observation.trouble == "its feeder is not synchronized"
    assert (silent.observation.trouble or "").startswith("nothing new for ")


def test_everything_that_can_be_said() -> None:
    """Every key arrives where it belongs, and what is not said has a default."""
    full = configured(SHM + 'segment-mode = 0o660\nsegment-owner = "gpsd"\nreference-id = "GPS"\noffset = 0.1\n')
    bare = configured(SHM)

    assert (full.unit, full.segment_mode, full.owner) == (2, 0o660, "gpsd")
    assert (full.settings.reference_id, full.settings.offset, full.voting_sources) == (b"GPS\0", 0.1, 1)
    assert (bare.segment_mode, bare.owner, bare.settings.reference_id) == (0o600, None, b"SHM\0")
    assert configured(SHM + "segment-owner = 20\n").owner == 20


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('mode = "shm"\nprecision = 1e-3\n', "unit: required key is missing"),
        ('mode = "shm"\nunit = 0\n', "precision: required key is missing"),
        ('mode = "shm"\nunit = 256\nprecision = 1e-3\n', "unit: expected a whole number from 0 to 255"),
        (SHM + "segment-mode = 0o400\n", "segment-mode: expected a whole number from 384 to 511"),
        (SHM + "segment-owner = true\n", "segment-owner: expected a name or a number"),
        (SHM + "path = '/dev/shm'\n", "path: unknown key"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    """Whatever can't be right is told with its key."""
    with pytest.raises(ConfigError) as caught:
        configured(text)

    assert problem in str(caught.value)


def test_a_segment_for_everybody_is_a_warning() -> None:
    """Whoever may write to the segment sets the clock."""
    config = loads(f"[[source]]\n{SHM}segment-mode = 0o666\n", find_driver)

    assert "everybody on this machine may write to the segment" in config.warnings[0]


@pytest.mark.parametrize(("owner", "trouble"), [("nobody-of-that-name", "there is no user"), (os.geteuid(), None)])
def test_the_owner_is_looked_up(owner: str | int, trouble: str | None) -> None:
    """A user that does not exist is shown as the reason, and the attempt is repeated."""
    world = World(1)
    text = f"{SHM}segment-owner = {owner!r}\n"
    with VirtualDaemon(world, "") as daemon:
        spawner = SharedMemorySpawner(configured(text), daemon.system, world.reactor, MemorySegments())
        SpawnerService(spawner, daemon.system, world.reactor, "shm").setServiceParent(daemon.system)
        daemon.run(1)

        assert [each for each in daemon.troubles() if trouble and trouble in each] == daemon.troubles()
        assert len(daemon.rows()) == (0 if trouble else 1)


def test_it_uses_nothing_that_an_outside_driver_could_not() -> None:
    """Of the daemon it imports the public face alone, beside the system calls that are its own."""
    tree = ast.parse(inspect.getsource(shm))
    imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}

    assert {each for each in imports if each.startswith("ntptwist")} == {"ntptwist.driver", "ntptwist.kernel.shm"}
