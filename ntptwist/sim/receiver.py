"""
A GPS receiver beside a virtual machine: a feeder that writes samples to a socket as gpsd does, and a pulse.

Both begin with time and go on for ever; ``feeds`` and ``pulses`` say what comes of a second, so a test can have the one
or the other fall silent, stammer or err.  All chance is drawn from the receiver's own seed, a sample and a pulse for
every second whether they are sent or not, so what is switched off changes nothing of the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from errno import ENODEV
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ntptwist.errors import DeviceError
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IPPSDevice
from ntptwist.kernel.pps import Edge, Pulse
from ntptwist.sim.world import World
from ntptwist.timestamp import NANOSECONDS, Timestamp
from ntptwist.wire.sock import SockSample

SERIAL_DELAY = NANOSECONDS // 10
"""Nanoseconds from a second to the sample that tells of it."""

ON_TIME: Sequence[float] = (0.0,)
NOTHING: Sequence[float] = ()


def noise(seed: int | str, sample_sigma: float, pulse_sigma: float) -> Iterator[tuple[float, float]]:
    """Draw, second by second, how wrong a sample and how late a pulse is."""
    random = Random(f"{seed}/receiver")  # noqa: S311 - no secrets here
    while True:
        yield random.gauss(0.0, sample_sigma), random.gauss(0.0, pulse_sigma)


class Receiver:
    """
    The receiver of a ``world``, whose feeder writes to ``path``.

    ``feeds(second)`` gives what the samples of a second are wrong by, ``pulses(second)`` by how much the pulses of a
    second are late, both in seconds and beyond the noise of their standard deviations.  ``lost`` counts the samples
    that nobody took.
    """

    def __init__(
        self,
        world: World,
        path: str = "/run/gps.sock",
        sample_sigma: float = 1e-3,
        pulse_sigma: float = 1e-6,
        seed: int | str = 1,
    ) -> None:
        self.path = path
        self.leap = Leap.NONE
        self.lost = 0
        self.feeds: Callable[[int], Sequence[float]] = lambda _: ON_TIME
        self.pulses: Callable[[int], Sequence[float]] = lambda _: ON_TIME
        self.plugged = True
        self._world = world
        self._noise = noise(seed, sample_sigma, pulse_sigma)
        self._sequence = 0
        self._second = 0
        self._waiting: list[Deferred[Pulse | None]] = []
        world.timeline.at(world.timeline.now, self._prepare)

    def open_device(self, path: str, edge: Edge) -> VirtualPulseDevice:  # noqa: ARG002 - there is one of each
        """Open the device, as ``kernel.pps.open_pulse_device`` does; DeviceError while it is not plugged in."""
        if not self.plugged:
            raise DeviceError(f"{path}: can't be opened: {os.strerror(ENODEV)}")
        return VirtualPulseDevice(self)

    def threads(self, name: str) -> VirtualThread:  # noqa: ARG002 - nobody sees it
        """Give what stands for the thread that waits, as ``sources.blocking.own_thread`` does."""
        return VirtualThread(self._world.reactor.getThreadPool())

    def wait(self, timeout: float) -> Deferred[Pulse | None]:
        """Give a Deferred of the next pulse; None after so many seconds."""
        waiting: Deferred[Pulse | None] = Deferred()
        self._waiting.append(waiting)
        timeline = self._world.timeline
        timeline.at(timeline.now + round(timeout * NANOSECONDS), self._timed_out, waiting)
        return waiting

    def _timed_out(self, waiting: Deferred[Pulse | None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            if self.plugged:
                waiting.callback(None)
            else:
                waiting.errback(DeviceError(f"the pulse device: {os.strerror(ENODEV)}: it is gone"))

    def _prepare(self) -> None:
        """Queue what belongs to the next second."""
        timeline = self._world.timeline
        self._second += 1
        start = timeline.start + self._second * NANOSECONDS
        sample_noise, pulse_noise = next(self._noise)
        for late in self.pulses(self._second):
            timeline.at(start + round((late + pulse_noise) * NANOSECONDS), self._pulse)
        for error in self.feeds(self._second):
            timeline.at(start + SERIAL_DELAY, self._feed, error + sample_noise)
        timeline.at(start + NANOSECONDS // 2, self._prepare)

    def _pulse(self) -> None:
        if not self.plugged or self._world.clock.sleeping:
            return
        self._sequence += 1
        pulse = Pulse(self._sequence, self._world.clock.read().local)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(pulse)

    def _feed(self, error: float) -> None:
        if self._world.clock.sleeping:
            return
        local = self._world.clock.read().local
        true = self._world.timeline.utc
        # gpsd's time stamp is cut to the microsecond, and its offset belongs to the stamp that is written
        stamp = Timestamp(local - local % 1000)
        sample = SockSample(stamp, (true - local) / NANOSECONDS + error, self.leap)
        with suppress(OSError):
            self._world.reactor.feed(self.path, sample.serialize())
            return
        self.lost += 1


@implementer(IPPSDevice)
class VirtualPulseDevice:
    """The receiver's device, opened."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def wait(self, timeout: float) -> Any:
        """Give a Deferred of the next pulse."""
        return self._receiver.wait(timeout)

    def close(self) -> None:
        """There is nothing to close."""


class VirtualThread:
    """A pool of one thread that is run inline."""

    def __init__(self, pool: Any) -> None:
        self.callInThreadWithCallback = pool.callInThreadWithCallback

    def stop(self) -> None:
        """There is nothing to stop."""
