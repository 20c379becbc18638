"""A whole virtual world, with a minimal client in the daemon's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path as FilePath
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed

from ntptwist.identifiers import Leap
from ntptwist.sim.network import Path, exponential
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.server import Behaviour
from ntptwist.sim.world import World
from ntptwist.timestamp import NANOSECONDS
from tests.sim.machine import Stamped
from tests.sim.polling import PollingClient, digest_of_a_run

STEADY = OscillatorModel(frequency=0.0, wander=0.0)
DAY = 86_400
ROOT = FilePath(__file__).parents[2]


@pytest.mark.parametrize("host", ["198.51.100.1", "2001:db8::7b"])
def test_a_client_measures_what_was_set_up(host: str) -> None:
    """Offset and delay of an exchange are those of the world: clock 0.25 s slow, 3 ms there, 5 ms back."""
    world = World(oscillator=STEADY, offset=0.25)
    world.add_server(host, up=Path(0.003), down=Path(0.005))
    client = PollingClient(world, host).start()
    world.run(300)

    assert len(client.measurements) == 5
    assert [m.offset for m in client.measurements] == pytest.approx([0.25 - 0.001] * 5, abs=2e-9)
    assert [m.delay for m in client.measurements] == pytest.approx([0.008] * 5, abs=3e-9)


def test_the_servers_own_time_is_not_part_of_the_delay() -> None:
    """A server that takes 20 ms to answer adds nothing to the delay."""
    world = World(oscillator=STEADY, offset=0.0)
    world.add_server("198.51.100.1", Behaviour(processing=0.02), Path(0.003))
    client = PollingClient(world, "198.51.100.1").start()
    world.run(100)

    assert [m.delay for m in client.measurements] == pytest.approx([0.006] * 2, abs=3e-9)


def test_a_measurement_shows_the_error_of_the_clock() -> None:
    """What the client measures over perfect paths is what the trace says, for a fast and wandering clock too."""
    world = World(oscillator=OscillatorModel(100e-6, 1e-8), offset=-0.1)
    world.add_server("198.51.100.1", up=Path(1e-4))
    client = PollingClient(world, "198.51.100.1").start()
    world.run(10_000)
    errors = [
        measurement.offset - world.clock.trace.offsets[measurement.monotonic // NANOSECONDS]
        for measurement in client.measurements
    ]

    assert len(errors) == 157
    assert max(map(abs, errors)) < 2e-4


def test_a_wrong_server_is_wrong() -> None:
    """A false server's error goes into the measurement."""
    world = World(oscillator=STEADY, offset=0.0)
    world.add_server("198.51.100.1", Behaviour(offset=0.1))
    client = PollingClient(world, "198.51.100.1").start()
    world.run(10)

    assert client.measurements[0].offset == pytest.approx(0.1, abs=2e-9)


def test_steering_reaches_the_measurements() -> None:
    """A client that corrects the clock finds it corrected."""
    world = World(oscillator=OscillatorModel(50e-6, 0.0), offset=0.5)
    world.add_server("198.51.100.1")
    client = PollingClient(world, "198.51.100.1").start()
    world.at(100, world.clock.step, 495_000_000)
    world.at(100, world.clock.set_frequency, -50.0)
    world.run(1000)

    assert client.measurements[0].offset == pytest.approx(0.5 - 25e-6, abs=1e-8)
    assert client.measurements[-1].offset == pytest.approx(0.0, abs=1e-5)
    assert world.statistics().steps == 1
    assert world.statistics(first=101).maximum < 1e-5


def test_statistics_of_a_run() -> None:
    """The figures count the packets of the machine and the seconds of the window."""
    world = World(oscillator=OscillatorModel(1e-6, 0.0), offset=0.0)
    world.add_server("198.51.100.1")
    PollingClient(world, "198.51.100.1", interval=16.0).start()
    world.run(1600)
    figures = world.statistics(first=1000)

    assert figures.seconds == 601
    assert figures.packets == 100
    assert figures.mean == pytest.approx(-1.3e-3, abs=1e-9)
    assert figures.frequency_rms == pytest.approx(1e-6)
    assert figures.below_10ms == 0


def test_a_lossy_path_loses() -> None:
    """Of 1,000 requests over a path that loses 30 % each way, about half are answered."""
    world = World()
    world.add_server("198.51.100.1", up=Path(1e-3, 1e-4, exponential, loss=0.3))
    client = PollingClient(world, "198.51.100.1", interval=10.0).start()
    world.run(10_000)

    assert len(client.sent) == 1000
    assert len(client.replies) == pytest.approx(490, abs=50)


def test_same_seed_same_bytes() -> None:
    """Two runs of one world agree in every stamp, reply and sample; another seed gives another run."""
    first = digest_of_a_run(1)

    assert digest_of_a_run(1) == first
    assert digest_of_a_run(2) != first


def test_same_bytes_in_every_process() -> None:
    """Nothing depends on the order of hashes, which differs from process to process."""
    program = "import sys; sys.path.insert(0, '.'); from tests.sim.polling import digest_of_a_run as d; print(d(1))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert digests == {digest_of_a_run(1) + "\n"}


def test_runs_in_pieces_are_one_run() -> None:
    """It does not matter how often a run is interrupted to look at it."""
    whole, pieces = World(3), World(3)
    for world in (whole, pieces):
        world.add_server("198.51.100.1", up=Path(1e-3, 1e-3))
        PollingClient(world, "198.51.100.1").start()
    whole.run(2000)
    for _ in range(200):
        pieces.run(10)
        pieces.statistics()

    assert list(pieces.clock.trace.offsets) == pytest.approx(list(whole.clock.trace.offsets), abs=1e-12)
    assert pieces.statistics().packets == whole.statistics().packets


def test_chance_for_others_comes_from_the_seed() -> None:
    """The random octets that a world hands out are the same for the same seed."""
    assert World(1).randbytes(8) == World(1).randbytes(8)
    assert World(1).randbytes(8) != World(2).randbytes(8)


class Notebook(Service):
    """Notes what is done to it."""

    def __init__(self, stopped: Deferred[None] | None = None) -> None:
        self.life: list[str] = []
        self.stopped = stopped or succeed(None)

    def privilegedStartService(self) -> None:
        """Note the first start."""
        self.life.append("privileged")

    def startService(self) -> None:
        """Note the start."""
        self.life.append("started")

    def stopService(self) -> Deferred[None]:
        """Note the stop."""
        self.life.append("stopped")
        return self.stopped


def test_services_start_and_stop_with_the_machine() -> None:
    """A service is started as twistd starts it, and stopped by a shutdown; then the next one can run."""
    world = World()
    first, second = Notebook(), Notebook()
    world.start(first)
    world.run(10)

    assert first.life == ["privileged", "started"]

    old = world.reactor
    old.listen_udp("0.0.0.0", 123, Stamped())
    world.stop()

    assert first.life == ["privileged", "started", "stopped"]
    assert not old.running

    world.start(second)
    world.reactor.listen_udp("0.0.0.0", 123, Stamped())
    world.run(10)

    assert world.reactor.running
    assert world.reactor.seconds() > 19.0
    assert second.life == ["privileged", "started"]


def test_a_daemon_that_has_ended_can_be_replaced() -> None:
    """A daemon that stopped its own reactor, as after a panic, leaves a machine on which time goes on."""
    world = World(oscillator=STEADY)
    service = Notebook()
    world.start(service)
    world.reactor.callLater(5.0, world.reactor.stop)
    world.run(10)
    world.stop()
    world.run(10)

    assert service.life == ["privileged", "started", "stopped"]
    assert world.reactor.running
    assert world.reactor.seconds() == 20.0


def test_a_suspended_machine_polls_on_when_it_wakes() -> None:
    """In suspend nothing is sent; after it the client goes on where it was, and its clock has made up for the sleep."""
    world = World(oscillator=STEADY, offset=0.0)
    world.add_server("198.51.100.1")
    client = PollingClient(world, "198.51.100.1").start()
    world.at(100, world.clock.suspend, 7200.0, 0.125)
    world.run(7500)

    assert len(client.sent) == 5
    assert client.measurements[1].offset == 0.0
    assert client.measurements[2].offset == -0.125
    assert world.clock.read().asleep == 7_200_125_000_000


@pytest.mark.parametrize(("leap", "change"), [(Leap.INSERT, -1.0), (Leap.DELETE, 1.0)])
@pytest.mark.parametrize("told", [True, False])
def test_leap_seconds(leap: Leap, change: float, told: bool) -> None:
    """Servers follow a leap second; so does the machine if its kernel was told, else it is wrong by that second."""
    world = World(oscillator=STEADY, offset=0.0)
    world.add_server("198.51.100.1", Behaviour(leap=leap))
    client = PollingClient(world, "198.51.100.1").start()
    world.leap_second(DAY, leap)
    if told:
        world.at(1000, world.clock.set_status, leap, 0.0, 0.0)
    world.run(DAY + 1000)
    expected = 0.0 if told else change

    assert client.measurements[0].offset == 0.0
    assert client.measurements[-1].offset == pytest.approx(expected, abs=2e-9)
    assert world.clock.true_offset() == expected
    assert list(world.clock.trace.offsets[DAY + 1 :]) == [expected] * 1000
    assert set(world.clock.trace.offsets[: DAY - 1]) == {0.0}


def test_names_are_the_worlds() -> None:
    """The names of the world are those that the machine's reactor resolves, after a restart too."""
    world = World()
    world.run(0)
    world.stop()
    resolver: Any = world.reactor.nameResolver

    assert resolver is world.names


def test_the_machine_can_lose_the_network() -> None:
    """Without the network nothing is sent; when it is back, the client is served."""
    world = World(oscillator=STEADY)
    world.add_server("198.51.100.1")
    client = PollingClient(world, "198.51.100.1", interval=10.0)
    world.reactor.connect_udp("198.51.100.1", 123, client)
    world.network.connected = False
    client.transport.write(b"")

    assert len(client.errors) == 1

    world.network.connected = True
    client.start(1.0)
    world.run(5)

    assert len(client.replies) == 1
