"""The sources behind a connection to a gpsd: serial time and pulse, and everything a peer may do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet import reactor

from ntptwist.config.loader import loads
from ntptwist.errors import DeviceError
from ntptwist.identifiers import EndReason, SourceEnd
from ntptwist.registry import find_driver
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.world import World
from ntptwist.snapshot import SourceSnapshot
from ntptwist.spawners.gpsd import GpsdSpawner
from ntptwist.spawners.service import SpawnerService
from ntptwist.wire.gpsd import LONGEST_LINE
from tests.sim.daemon import VirtualDaemon
from tests.sources.gpsd import DEVICE, VirtualGpsd


@dataclass
class Receiver:
    """A daemon that is connected to a gpsd."""

    daemon: VirtualDaemon
    gpsd: VirtualGpsd
    service: SpawnerService

    @property
    def serial(self) -> SourceSnapshot:
        """The source of the serial line."""
        return self.daemon.rows()[0]

    @property
    def pulse(self) -> SourceSnapshot:
        """The source of the pulse."""
        return self.daemon.rows()[1]

    def ended(self) -> list[SourceEnd]:
        """Give a list into which the ends of both sources will come."""
        ends: list[SourceEnd] = []
        for source in list(self.service):
            source.when_ended().addCallback(ends.append)
        return ends


def connected(text: str = "", world: World | None = None, late: float = 0.05) -> Receiver:
    """Give a daemon that has connected, and has been greeted."""
    world = world or World(1, oscillator=OscillatorModel(frequency=0.0), offset=0.0)
    daemon = VirtualDaemon(world, "")
    gpsd = VirtualGpsd(world, late)
    configuration = loads(f'[[source]]\nmode = "gpsd"\n{text}', find_driver).sources[0].configuration
    spawner = GpsdSpawner(configuration, daemon.system, world.reactor, gpsd)
    service = SpawnerService(spawner, daemon.system, world.reactor, "gpsd")
    service.setServiceParent(daemon.system)
    daemon.run(0.2)
    return Receiver(daemon, gpsd, service)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A daemon and a gpsd whose reports the test itself makes."""
    made = connected()
    made.gpsd.reports = False
    with made.daemon:
        yield made


def test_a_receiver_drives_the_clock() -> None:
    """Serial time brings the clock near, and the pulse of the same receiver to the truth."""
    world = World(1, oscillator=OscillatorModel(frequency=20e-6), offset=-0.3)
    receiver = connected("offset = 0.05\n", world)
    with receiver.daemon as daemon:
        daemon.run(1000)

        assert world.statistics(first=600).rms < 1e-6
        assert (receiver.serial.observation.mode, receiver.pulse.observation.mode) == ("gpsd", "gpsd")
        assert receiver.serial.estimate.reason == "agrees with the pulses that are used"
        assert receiver.pulse.estimate.reason == "used"
        assert daemon.snapshot().time.reference_id.text(0) == "PPS"


def test_serial_time_without_a_pulse() -> None:
    """A receiver without a pulse is used all the same, and its delay is made good by the offset."""
    receiver = connected("offset = 0.05\n")
    receiver.gpsd.pulses = False
    with receiver.daemon as daemon:
        daemon.run(600)

        assert abs(daemon.world.clock.true_offset()) < 1e-4
        assert receiver.serial.estimate.reason == "used"
        assert receiver.pulse.observation.trouble == "nothing was heard of it yet"


def test_what_is_asked_for(receiver: Receiver) -> None:
    """The reports of the time are asked for, and a connection that has died is noticed."""
    transport = receiver.gpsd.transport
    assert transport is not None

    assert b'?WATCH={"enable":true,"json":true,"pps":true}\n' == transport.written
    assert transport.keeps_alive


def test_reports_become_measurements(receiver: Receiver) -> None:
    """Each kind of report is a sample of its own source."""
    receiver.gpsd.send(receiver.gpsd.report("TOFF"))
    receiver.gpsd.send(receiver.gpsd.report("PPS", qErr=-1000))
    receiver.gpsd.send({"class": "TPV", "lat": 51.5})
    counts = [row.observation.received for row in (receiver.serial, receiver.pulse)]

    assert counts == [1, 1]
    assert receiver.serial.observation.dropped == 0


def test_a_device_is_chosen_by_its_path() -> None:
    """Of several receivers only the configured one counts, and one that gpsd does not have is told."""
    receiver = connected('device = "/dev/ttyS1"\n')
    receiver.gpsd.reports = False
    with receiver.daemon:
        receiver.gpsd.send({"class": "DEVICES", "devices": [{"path": DEVICE}]})
        told = receiver.serial.observation.trouble
        receiver.gpsd.send(receiver.gpsd.report("TOFF"))
        before = receiver.serial.observation.received
        receiver.gpsd.send(receiver.gpsd.report("TOFF", device="/dev/ttyS1"))

        assert told == "gpsd has no /dev/ttyS1; it has /dev/ttyS0"
        assert (before, receiver.serial.observation.received) == (0, 1)
        assert receiver.serial.observation.name == "/dev/ttyS1 at 127.0.0.1:2947 serial"


def test_no_device_at_all() -> None:
    """A gpsd without receivers is told too."""
    receiver = connected('device = "/dev/ttyS1"\n')
    with receiver.daemon:
        receiver.gpsd.send({"class": "DEVICES", "devices": []})

        assert receiver.serial.observation.trouble == "gpsd has no /dev/ttyS1; it has no device"


def test_what_gpsd_complains_of(receiver: Receiver) -> None:
    """An error that gpsd reports is shown."""
    receiver.gpsd.send({"class": "ERROR", "message": "no such request"})

    assert receiver.serial.observation.trouble == "gpsd says: no such request"


def test_a_malformed_report_is_dropped(receiver: Receiver) -> None:
    """A line that can't be read costs only itself."""
    receiver.gpsd.send_line(b"{")
    receiver.gpsd.send(receiver.gpsd.report("TOFF", clock_nsec=-1) | {"clock_nsec": -1})
    receiver.gpsd.send(receiver.gpsd.report("TOFF"))

    assert (receiver.serial.observation.dropped, receiver.serial.observation.received) == (2, 1)


def test_a_line_that_never_ends(receiver: Receiver) -> None:
    """A peer that sends more than any report has is hung up on."""
    ends = receiver.ended()
    for _ in range(2):
        receiver.gpsd.protocol.dataReceived(b"x" * LONGEST_LINE)
    receiver.daemon.run(0.1)

    assert [end.explanation for end in ends] == [f"gpsd sent a line of more than {LONGEST_LINE} octets"] * 2
    assert receiver.gpsd.protocol is None


def test_a_peer_that_is_no_gpsd() -> None:
    """A server of another kind is told from a gpsd at its first line."""
    receiver = connected()
    receiver.gpsd.greets = False
    receiver.gpsd.hang_up()
    with receiver.daemon as daemon:
        daemon.run(2.5)
        ends = receiver.ended()
        receiver.gpsd.reports = False
        receiver.gpsd.send_line(b"SSH-2.0-OpenSSH_9.2")
        daemon.run(0.5)

        assert [end.explanation for end in ends] == ["gpsd is no gpsd: not JSON"] * 2
        assert "gpsd is no gpsd: not JSON" in daemon.troubles()[0]


def test_a_peer_that_does_not_greet() -> None:
    """A server that says nothing at all is given up after 10 s."""
    receiver = connected()
    receiver.gpsd.greets = receiver.gpsd.reports = False
    receiver.gpsd.hang_up()
    with receiver.daemon as daemon:
        daemon.run(2.5)
        ends = receiver.ended()
        daemon.run(8)
        patient = list(ends)
        daemon.run(3)

        assert patient == []
        assert [end.explanation for end in ends] == ["gpsd does not greet as a gpsd does"] * 2


def test_a_gpsd_that_is_restarted() -> None:
    """When gpsd hangs up both sources end, and a few seconds after it is back there are new ones that are used."""
    receiver = connected()
    with receiver.daemon as daemon:
        daemon.run(60)
        ends = receiver.ended()
        receiver.gpsd.answers = False
        receiver.gpsd.hang_up()
        gone = daemon.rows()
        daemon.run(20)
        attempts = receiver.gpsd.attempts
        troubles = daemon.troubles()
        receiver.gpsd.answers = True
        daemon.run(60)

        assert [end.reason for end in ends] == [EndReason.UNREACHABLE] * 2
        assert ends[0].explanation.startswith("gpsd hung up")
        assert gone == []
        assert 3 <= attempts - 1 <= 6
        assert troubles[0].startswith("no connection to gpsd at 127.0.0.1:2947: Connection was refused")
        assert receiver.pulse.estimate.selected


def test_both_stop_before_the_connection_is_closed(receiver: Receiver) -> None:
    """While one of both is wanted the connection stays."""
    serial, pulse = list(receiver.service)
    serial.stopService()
    receiver.daemon.run(0.1)
    still = receiver.gpsd.protocol is not None
    pulse.stopService()
    receiver.daemon.run(0.1)

    assert still
    assert receiver.gpsd.protocol is None


async def test_nobody_listens() -> None:
    """On the real network a gpsd that is not there is an error of the attempt, with its reason."""
    world = World(1)
    with VirtualDaemon(world, "") as daemon:
        text = '[[source]]\nmode = "gpsd"\naddress = "127.0.0.1:1"\n'
        spawner = GpsdSpawner(loads(text, find_driver).sources[0].configuration, daemon.system, reactor)
        with pytest.raises(DeviceError, match="Connection was refused"):
            await spawner.try_spawn()


async def test_a_name_that_does_not_exist() -> None:
    """A host whose name gives no address is an error of the attempt too."""
    world = World(1)
    with VirtualDaemon(world, "") as daemon:
        text = '[[source]]\nmode = "gpsd"\naddress = "gps.invalid"\n'
        configuration = loads(text, find_driver).sources[0].configuration
        attempt: Any = GpsdSpawner(configuration, daemon.system, world.reactor).try_spawn()
        failures: list[Any] = []
        attempt.addErrback(failures.append)
        daemon.run(30)

        assert failures[0].check(DeviceError)
        assert "no connection to gpsd at gps.invalid:2947" in failures[0].getErrorMessage()
