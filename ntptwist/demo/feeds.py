"""
The local clocks of the demo: a feeder that writes gpsd's samples to the daemon's socket, and a pulse a second.

Both tell this machine's own time, the samples with the scatter of a serial line, the pulses with that of an interrupt.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from ntptwist.interfaces import IPPSDevice, ISpawner, ISystem
from ntptwist.kernel.pps import Edge, EmulatedPPS, PulseDevice
from ntptwist.registry import SourceDriver, find_driver
from ntptwist.spawners.pps import PPSSpawner
from ntptwist.timestamp import Timestamp
from ntptwist.wire.sock import SockSample

SERIAL_SCATTER = 1e-3
"""Standard deviation of a serial line's samples, seconds."""
PULSE_SCATTER_NS = 1000
DEVICE = "/dev/pps.demo"


class GpsdFeed(Service):
    """Writes a sample a second to a socket, as gpsd does."""

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = str(path)
        self._random = Random(1)  # noqa: S311 - scatter, no secret
        self._call = LoopingCall(self._write)
        self._call.clock = reactor

    def startService(self) -> None:
        """Begin to write."""
        super().startService()
        self._call.start(1.0, now=False)

    def stopService(self) -> None:
        """Stop writing."""
        super().stopService()
        if self._call.running:
            self._call.stop()

    def _write(self) -> None:
        sample = SockSample(Timestamp(time.time_ns()), self._random.gauss(0.0, SERIAL_SCATTER)).serialize()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as feeding:
            feeding.settimeout(0.0)
            with suppress(OSError):  # the daemon is not listening (yet): gpsd would try again with its next fix too
                feeding.sendto(sample, self._path)


def open_emulated(path: str, edge: Edge) -> IPPSDevice:
    """Open a device that ticks at the seconds of this machine's clock."""
    random = Random(2)  # noqa: S311 - scatter, no secret
    scatter: dict[int, int] = {}

    def late(second: int) -> int:
        if second not in scatter:
            scatter.clear() if len(scatter) > 100 else None
            scatter[second] = round(random.gauss(0.0, PULSE_SCATTER_NS))
        return scatter[second]

    return PulseDevice(EmulatedPPS(time.time_ns, time.sleep, late), path, edge)


class EmulatedPPSDriver(SourceDriver):
    """``mode = "pps"`` on the emulated device."""

    def spawner(self, configuration: Any, system: ISystem, reactor: Any) -> ISpawner:
        """Make the spawner."""
        return PPSSpawner(configuration, system, reactor, open_device=open_emulated)


def demo_driver(mode: str) -> Any:
    """Find drivers as ever, but for the pulse."""
    found = find_driver(mode)
    if mode == "pps" and isinstance(found, SourceDriver):
        return EmulatedPPSDriver(found.name, found.description, found.spawner_class)
    return found
