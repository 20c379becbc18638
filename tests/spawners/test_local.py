"""The spawners of clocks of this machine: sockets, pulses and gpsd, and what their configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ntptwist.config.loader import loads
from ntptwist.errors import ConfigError
from ntptwist.interfaces import ISpawner
from ntptwist.registry import find_driver
from ntptwist.sim.receiver import NOTHING, Receiver
from ntptwist.sim.world import World
from ntptwist.spawners.gpsd import GpsdSpawner
from ntptwist.spawners.pps import PPSSpawner
from ntptwist.spawners.sock import SockSpawner
from tests.contract.local import EndingLifecycleContract, LocalLifecycleContract
from tests.sim.daemon import VirtualDaemon
from tests.sources.gpsd import VirtualGpsd


def configured(text: str) -> Any:
    """Give what one table of a source says."""
    return loads(f"[[source]]\n{text}", find_driver).sources[0].configuration


SOCK = 'mode = "sock"\npath = "/run/gps.sock"\nprecision = 1e-3\n'
PPS = 'mode = "pps"\npath = "/dev/pps0"\nprecision = 1e-6\n'
GPSD = 'mode = "gpsd"\n'


class TestSock(LocalLifecycleContract):
    """A socket that a feeder writes to: it ends only when it is stopped."""

    def spawner(self, daemon: VirtualDaemon) -> ISpawner:
        """Make a spawner and a feeder."""
        self._daemon = daemon
        self._receiver = Receiver(daemon.world)
        self._other: Any = None
        return SockSpawner(configured(SOCK), daemon.system, daemon.world.reactor)

    def hinder(self) -> None:
        """Take the path."""

        class Other:
            """Somebody else at the path."""

            def makeConnection(self, transport: Any) -> None:
                """Be connected."""

            def datagramReceived(self, data: bytes, address: object) -> None:
                """Take what was meant for us."""

            def doStop(self) -> None:  # noqa: N802 - Twisted's name
                """Be stopped."""

        self._other = self._daemon.world.reactor.listen_unix_datagram("/run/gps.sock", Other())

    def allow(self) -> None:
        """Leave the path."""
        if self._other is not None:
            self._other.stopListening()

    def silence(self) -> None:
        """Feed nothing."""
        self._receiver.feeds = lambda _: NOTHING


class TestPPS(EndingLifecycleContract):
    """A pulse device, which can be pulled out."""

    def spawner(self, daemon: VirtualDaemon) -> ISpawner:
        """Make a spawner of the receiver's device."""
        self._receiver = Receiver(daemon.world)
        make = self._receiver.open_device, self._receiver.threads
        return PPSSpawner(configured(PPS), daemon.system, daemon.world.reactor, *make)

    def hinder(self) -> None:
        """Pull the device out."""
        self._receiver.plugged = False

    def allow(self) -> None:
        """Plug the device in."""
        self._receiver.plugged = True

    cut = hinder

    def silence(self) -> None:
        """Make no pulses."""
        self._receiver.pulses = lambda _: NOTHING


class TestGpsd(EndingLifecycleContract):
    """A gpsd that is connected to, with two sources in one connection."""

    wanted = 2

    def spawner(self, daemon: VirtualDaemon) -> ISpawner:
        """Make a spawner that connects to a gpsd."""
        self._gpsd = VirtualGpsd(daemon.world)
        return GpsdSpawner(configured(GPSD), daemon.system, daemon.world.reactor, self._gpsd)

    def hinder(self) -> None:
        """Refuse connections."""
        self._gpsd.answers = False

    def allow(self) -> None:
        """Take connections."""
        self._gpsd.answers = True
        self._gpsd.hangs = False

    def cut(self) -> None:
        """Stop the gpsd."""
        self.hinder()
        self._gpsd.hang_up()

    def silence(self) -> None:
        """Report nothing."""
        self._gpsd.reports = False

    def hang(self) -> None:
        """Let connections wait."""
        self._gpsd.hangs = True


def test_everything_that_can_be_said() -> None:
    """Every key of the three modes arrives where it belongs."""
    sock = configured(
        SOCK
        + 'accuracy = 1e-4\noffset = 0.08\nreference-id = "GPS"\n'
        + 'socket-mode = 0o660\nsocket-owner = "gpsd"\nsocket-group = 20\n'
    )
    pps = configured(PPS + 'period = 0.2\nedge = "clear"\nlock = "GPS"\noffset = -1e-7\n')
    gpsd = configured(
        GPSD
        + 'address = "gps.example:2948"\ndevice = "/dev/ttyS0"\nprecision = 0.05\noffset = 0.1\n'
        + 'pps-precision = 1e-7\npps-offset = 1e-8\npps-reference-id = "ATOM"\n'
    )

    assert (0o660, "gpsd", 20) == (sock.access.mode, sock.access.owner, sock.access.group)
    assert (1e-3, 1e-4, 0.08, b"GPS\0") == (
        sock.settings.precision,
        sock.settings.accuracy,
        sock.settings.offset,
        sock.settings.reference_id,
    )
    assert ("clear", 0.2, b"GPS\0", -1e-7) == (
        pps.edge,
        pps.settings.period,
        pps.settings.lock,
        pps.settings.offset,
    )
    assert ("gps.example", 2948, "/dev/ttyS0") == (gpsd.address.host, gpsd.address.port, gpsd.device)
    assert (0.05, 0.1, 1e-7, 1e-8, b"ATOM", 1.0) == (
        gpsd.serial.precision,
        gpsd.serial.offset,
        gpsd.pulse.precision,
        gpsd.pulse.offset,
        gpsd.pulse.reference_id,
        gpsd.pulse.period,
    )


def test_what_is_assumed() -> None:
    """What is not said has a default: a gpsd of this machine, a socket for its owner alone, a pulse each second."""
    sock, pps, gpsd = (configured(text) for text in (SOCK, PPS, GPSD))

    assert (0o600, None, None, b"SOCK", 1) == (
        sock.access.mode,
        sock.access.owner,
        sock.access.group,
        sock.settings.reference_id,
        sock.voting_sources,
    )
    assert ("assert", 1.0, None, b"PPS\0", 0) == (
        pps.edge,
        pps.settings.period,
        pps.settings.lock,
        pps.settings.reference_id,
        pps.voting_sources,
    )
    assert ("127.0.0.1:2947", None, b"GPS\0", 1) == (
        str(gpsd.address),
        gpsd.device,
        gpsd.serial.reference_id,
        gpsd.voting_sources,
    )
    assert (0.2, 0.0) == (gpsd.serial.accuracy, gpsd.pulse.accuracy)


def test_ntpd_rs_old_name_of_the_precision() -> None:
    """ntpd-rs once wanted the square of the precision; its key is taken, with a warning."""
    config = loads(
        '[[source]]\nmode = "sock"\npath = "/run/gps.sock"\nmeasurement_noise_estimate = 1e-6\n', find_driver
    )

    assert config.sources[0].configuration.settings.precision == pytest.approx(1e-3)
    assert "measurement_noise_estimate: is an old name: write precision, its square root" in config.warnings[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('mode = "sock"\nprecision = 1e-3\n', "path: required key is missing"),
        ('mode = "sock"\npath = "/run/gps.sock"\n', "precision: required key is missing"),
        ('mode = "sock"\npath = "gps.sock"\nprecision = 1e-3\n', "path: expected an absolute path"),
        (f'mode = "sock"\npath = "/{"x" * 107}"\nprecision = 1e-3\n', "path: is longer than the 107 octets"),
        (SOCK + "socket-mode = 0o1777\n", "socket-mode: expected a whole number from 0 to 511"),
        (SOCK + "socket-owner = true\n", "socket-owner: expected a name or a number"),
        (SOCK + "socket-group = -1\n", "socket-group: expected a name or a number"),
        (SOCK + "accuracy = -1\n", "accuracy: expected a number from 0 to 1"),
        (SOCK + 'reference-id = "LONGER"\n', "reference-id: expected a text of one to four ASCII characters"),
        (SOCK + "period = 1\n", "period: unknown key"),
        (PPS + 'edge = "both"\n', "edge: expected one of 'assert', 'clear'"),
        (PPS + "period = 0\n", "period: expected a number from 0.1 to 1024"),
        (PPS + 'lock = ""\n', "lock: expected a text of one to four ASCII characters"),
        (GPSD + 'address = "gps:0"\n', "address: 'gps:0' does not end in a port"),
        (GPSD + "pps-precision = 0\n", "pps-precision: expected a number greater than 0"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    """Whatever can't be right is told with its key."""
    with pytest.raises(ConfigError) as caught:
        configured(text)

    assert problem in str(caught.value)


def test_a_socket_for_everybody_is_a_warning() -> None:
    """Whoever may write to the socket sets the clock."""
    config = loads(f"[[source]]\n{SOCK}socket-mode = 0o666\n", find_driver)

    assert "everybody on this machine may write to the socket" in config.warnings[0]


def test_a_pulse_alone_is_a_warning() -> None:
    """A configuration with nothing but a pulse leaves the clock alone, and says so."""
    config = loads(f"[synchronization]\nminimum-agreeing-sources = 1\n[[source]]\n{PPS}", find_driver)

    assert "1 must agree but only 0 can vote" in config.warnings[0]


def test_the_reason_stands_among_the_sources(tmp_path: Path) -> None:
    """A device that can't be opened does not stop the daemon: the reason is shown."""
    with VirtualDaemon(World(1), f'[[source]]\nmode = "pps"\npath = "{tmp_path}/pps0"\nprecision = 1e-6\n') as daemon:
        daemon.run(1)

        assert f"{tmp_path}/pps0: can't be opened: No such file or directory" in daemon.troubles()[0]
