"""A source that gpsd writes samples to, from the datagram to the clock."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from twisted.internet.task import Clock

from ntptwist.config.loader import loads
from ntptwist.identifiers import Leap
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timex import MemorySystem
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.receiver import NOTHING, ON_TIME
from ntptwist.sim.world import World
from ntptwist.sources.sock import SockSource
from ntptwist.timestamp import NANOSECONDS, Timestamp
from ntptwist.wire.sock import MAGIC, SockSample
from tests.sim.daemon import NEAR
from tests.sources.gps import SOCK, GPSMachine

SERVERS = "".join(f'\n[[source]]\nmode = "server"\naddress = "198.51.100.{number}"\n' for number in (1, 2))


def feed(machine: GPSMachine, data: bytes) -> None:
    """Write a datagram to the socket."""
    machine.world.reactor.feed("/run/gps.sock", data)


def sample(machine: GPSMachine, age: float = 0.0, **changed: Any) -> bytes:
    """Give a good sample of a moment that is ``age`` seconds past, but for what is changed."""
    now = machine.world.clock.read().local - round(age * NANOSECONDS)
    fields = {
        "sec": now // NANOSECONDS,
        "usec": now % NANOSECONDS // 1000,
        "offset": 0.0,
        "pulse": 0,
        "leap": 0,
        "pad": 0,
        "magic": MAGIC,
    }
    return struct.pack("=qqdiiii", *(fields | changed).values())


def silent() -> GPSMachine:
    """Give a machine whose clock is right and whose receiver is silent."""
    machine = GPSMachine(pps=None, world=World(1, offset=0.0))
    machine.receiver.feeds = lambda _: NOTHING
    machine.run(5)
    return machine


def test_samples_drive_the_clock() -> None:
    """Samples with a noise of 1 ms bring a clock that is 0.3 s and 20 ppm off to 0.1 ms."""
    with GPSMachine(pps=None) as machine:
        machine.run(2000)
        state = machine.snapshot()

        assert machine.world.statistics(first=600).rms < 1.5e-4
        assert state.time.stratum == 1
        assert state.time.reference_id.text(0) == "SOCK"
        assert machine.row().observation.reach == 0xFF
        assert machine.row().observation.dropped <= 3


def test_the_time_of_a_sample_is_its_own() -> None:
    """A sample that comes in half a second late tells what the clock was half a second ago, and is as good."""
    with silent() as machine:
        feed(machine, sample(machine, age=0.5, offset=0.25))
        estimate = machine.row().estimate

        assert machine.error == pytest.approx(-0.25, abs=1e-3)
        assert estimate.last_measurement is not None
        assert machine.snapshot().monotonic - estimate.last_measurement == pytest.approx(0.5 * NANOSECONDS, abs=1e4)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": 0}, "malformed sample: magic"),
        ({"offset": math.nan}, "malformed sample: an offset of nan s"),
        ({"offset": math.inf}, "malformed sample: an offset of inf s"),
        ({"pulse": 1}, "malformed sample: a pulse"),
        ({"leap": 3}, "its feeder is not synchronized"),
        ({"leap": 7}, "malformed sample: leap 7"),
        ({"sec": 0}, "s in the past"),
        ({"sec": 1 << 33}, "s in the future"),
    ],
)
def test_what_is_dropped(changed: dict[str, Any], reason: str) -> None:
    """A sample that is malformed, of another time or not trusted by gpsd itself counts for nothing, and says why."""
    with silent() as machine:
        feed(machine, sample(machine, **changed))
        row = machine.row()

        assert row.observation.trouble is not None
        assert reason in row.observation.trouble
        assert (row.observation.dropped, row.observation.received, row.estimate.measurements) == (1, 0, 0)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 39, 41, 256])
def test_wrong_sizes_are_dropped(size: int) -> None:
    """A datagram that is too short or too long is no sample."""
    with silent() as machine:
        feed(machine, (sample(machine) * 7)[:size])

        assert machine.row().observation.trouble == f"malformed sample: {size} octets, a sample has 32 or 40"


def test_duplicates_and_echoes_are_dropped() -> None:
    """The same sample twice, and one of an earlier time, are dropped."""
    with silent() as machine:
        data = sample(machine)
        early = sample(machine, age=0.01)
        for each in (data, data, early):
            feed(machine, each)
        machine.run(1)
        feed(machine, data)
        row = machine.row()

        assert (row.observation.received, row.observation.dropped) == (1, 3)
        assert row.observation.trouble == "dropped: too soon after the one before"


def test_ten_thousand_samples_in_a_burst() -> None:
    """A feeder that has gone mad costs no more than it takes to look at its samples: one counts."""
    with silent() as machine:
        for number in range(10_000):
            feed(machine, sample(machine, age=1e-6 * (10_000 - number)))
        row = machine.row()

        assert (row.observation.received, row.observation.dropped) == (1, 9_999)
        assert machine.error == pytest.approx(0.0, abs=1e-3)


def test_samples_around_a_step_are_dropped() -> None:
    """A sample from before a step of the clock does not pull it back."""
    with GPSMachine(pps=None) as machine:
        machine.run_until(lambda state: state.steps == 1, 10, step=0.01)
        feed(machine, sample(machine, age=0.1, offset=-0.3))

        assert machine.row().observation.trouble == "dropped: the clock was stepped just now"
        assert machine.run(60).snapshot().steps == 1
        assert abs(machine.error) < 1e-3


def test_a_feeder_that_dies_becomes_unusable_and_says_so() -> None:
    """A minute after its last sample the source is not used any more, tells since when, and comes back by itself."""
    with GPSMachine(pps=None) as machine:
        machine.run(100)
        machine.receiver.feeds = lambda _: NOTHING
        machine.run(60)
        dead = machine.row()
        machine.receiver.feeds = lambda _: ON_TIME
        machine.run(5)
        back = machine.row()

        assert not dead.estimate.selected
        assert dead.estimate.reason.startswith("no sample for 5")
        assert dead.observation.reach == 0
        assert back.estimate.selected
        assert back.observation.reach & 0b111 == 0b111


@pytest.mark.lengthy
def test_holding_over_is_honest() -> None:
    """When the samples end the clock goes on, and what it tells of its error grows with the error, for a day."""
    with GPSMachine(pps=None) as machine:
        machine.run(3000)
        machine.receiver.feeds = lambda _: NOTHING
        told: list[tuple[float, float]] = []
        for _ in range(96):
            state = machine.run(900).snapshot()
            told.append((abs(machine.error), state.time.root_dispersion(state.monotonic)))

        assert all(error < 3 * dispersion for error, dispersion in told)
        assert [dispersion for _, dispersion in told] == sorted(dispersion for _, dispersion in told)
        assert machine.snapshot().state.startswith("holding over for 8")
        assert told[-1][1] > 1e-3


def test_leap_seconds_of_a_receiver_are_announced() -> None:
    """What gpsd says of a leap second is what the daemon says."""
    with GPSMachine(pps=None) as machine:
        machine.receiver.leap = Leap.INSERT
        machine.run(20)

        assert machine.snapshot().time.leap is Leap.INSERT


def test_offset_corrects_a_serial_line() -> None:
    """What a serial line delays is made good by the offset that is configured."""
    with GPSMachine(SOCK + "offset = 0.08\n", pps=None, world=World(1, offset=0.0)) as machine:
        machine.receiver.feeds = lambda _: [-0.08]
        machine.run(600)

        assert abs(machine.error) < 5e-4


def with_servers(text: str, error: float = 1e-4) -> GPSMachine:
    """Give a machine with two good servers, and a receiver that is steady and wrong, after an hour."""
    world = World(1, offset=0.0)
    for number in (1, 2):
        world.add_server(f"198.51.100.{number}", up=NEAR)
    machine = GPSMachine(text + SERVERS, pps=None, world=world, sample_sigma=1e-5)
    machine.receiver.feeds = lambda _: [error]
    machine.run(3000)
    return machine


def test_accuracy_lowers_the_influence_of_a_source() -> None:
    """A source that may be wrong by 10 ms as a whole is believed less than its steadiness suggests, and still votes."""
    precise = '[[source]]\nmode = "sock"\npath = "/run/gps.sock"\nprecision = 1e-5\n'
    with with_servers(precise + "accuracy = 0.00005\n") as some, with_servers(precise + "accuracy = 0.01\n") as little:
        errors = [machine.world.statistics(first=1000).rms for machine in (some, little)]
        uncertain = little.row()

        assert errors[1] < errors[0] / 2
        assert uncertain.estimate.selected
        assert uncertain.estimate.root_dispersion == 0.01


def test_without_an_accuracy_a_wrong_source_is_a_falseticker() -> None:
    """A source that claims to be exact and is not is outvoted."""
    precise = '[[source]]\nmode = "sock"\npath = "/run/gps.sock"\nprecision = 1e-5\n'
    with with_servers(precise, error=0.01) as machine:
        said = machine.row().estimate.reason

    assert said.startswith("falseticker: ")
    assert float(said.split()[1]) == pytest.approx(10.0, abs=0.05)
    assert said.endswith(" ms from the majority")


def test_a_virtual_clock_is_measured_on_its_own_axis() -> None:
    """gpsd measures the machine's clock; what counts is how far the clock is off that is kept."""
    machine, reactor = MemorySystem(), Clock()
    clock = VirtualClock(machine, 0.5)
    config = loads("", find_driver).without_clock_control()
    daemon = make_service(config, reactor, clock, own_addresses=list)
    assert daemon.system is not None
    daemon.system.startService()
    settings = loads(SOCK, find_driver).sources[0].configuration.settings
    source = SockSource("/run/gps.sock", settings, daemon.system, daemon.system.new_spawner_id(), reactor)
    source.startService()
    stamp = Timestamp(machine.realtime() - 300_000_000)
    source.datagramReceived(SockSample(stamp, 0.125).serialize(), "")

    assert clock.offset() == pytest.approx(-0.125, abs=1e-6)

    daemon.system.stopService()
