"""A source of pulses, from the device to the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ntptwist.errors import DeviceError
from ntptwist.identifiers import EndReason, ReferenceId
from ntptwist.interfaces import IPPSDevice
from ntptwist.kernel.pps import EmulatedPPS, Pulse, PulseDevice
from ntptwist.kernel.timex import MemorySystem
from ntptwist.sim.receiver import NOTHING, ON_TIME
from ntptwist.sim.world import World
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.sources.pps import PPSSource, Rhythm
from ntptwist.timestamp import NANOSECONDS
from tests.conftest import Failures
from tests.sources.gps import PPS, SOCK, GPSMachine

SETTINGS = OneWaySettings(1e-6, 0.0, 0.0, ReferenceId.of_text("PPS"), 1.0)


def test_a_pulse_refines_what_samples_have_numbered() -> None:
    """Samples of 1 ms number the second, and pulses of 1 us take the clock to 0.3 us and better."""
    with GPSMachine() as machine:
        machine.run(4000)
        sock, pps = machine.row(0), machine.row(1)
        state = machine.snapshot()

        assert machine.world.statistics(first=600).rms <= 0.3e-6
        assert machine.world.statistics().steps == 1
        assert (sock.estimate.reason, pps.estimate.reason) == ("agrees with the pulses that are used", "used")
        assert pps.observation.reach == 0xFF
        assert (state.time.stratum, state.time.reference_id.text(0)) == (1, "PPS")


def test_a_pulse_alone_is_never_followed() -> None:
    """Pulses do not vote: without anybody who tells the time the clock is left alone."""
    with GPSMachine("") as machine:
        machine.run(300)

        assert not machine.snapshot().synchronized
        assert machine.row().estimate.reason == "waiting for other sources to number its pulses"
        assert machine.error == pytest.approx(-0.3 - 300 * 20e-6, abs=1e-4)


@pytest.mark.lengthy
def test_losing_the_pulse_falls_back_without_a_jump() -> None:
    """When the pulses end the clock stays where they have brought it, and passes over to the samples by and by."""
    with GPSMachine() as machine:
        machine.run(3000)
        machine.receiver.pulses = lambda _: NOTHING
        machine.run(3600)
        lost, sock = machine.row(1), machine.row(0)
        minutes = [machine.world.statistics(first=3000, last=3000 + seconds) for seconds in (60, 300, 3600)]

        assert lost.estimate.reason.startswith("no sample for 3")
        assert lost.observation.trouble is not None
        assert lost.observation.trouble.startswith("no pulse for 3")
        assert sock.estimate.selected
        assert machine.world.clock.steps == 1
        assert minutes[0].maximum < 3e-6
        assert minutes[1].maximum < 20e-6
        assert minutes[2].maximum < 500e-6
        assert machine.snapshot().time.root_dispersion(machine.snapshot().monotonic) > 1e-5


def test_losing_the_device_falls_back_without_a_jump() -> None:
    """A device that is pulled out is gone from the sources, and the clock does not jump either."""
    with GPSMachine() as machine:
        machine.run(3000)
        machine.receiver.plugged = False
        machine.run(300)

        assert machine.world.statistics(first=3000, last=3300).maximum < 20e-6
        assert [row.observation.name for row in machine.rows()] == ["/run/gps.sock"]
        assert "can't be opened: No such device; next attempt in" in machine.troubles()[0]


def test_a_device_that_comes_back_is_used_again() -> None:
    """Once the device is plugged in again its pulses steer, without anybody's doing."""
    with GPSMachine() as machine:
        machine.run(1000)
        machine.receiver.plugged = False
        machine.run(20)
        machine.receiver.plugged = True
        back = machine.run_until(lambda state: state.time.reference_id.text(0) == "PPS", 60)
        machine.run(300)

        assert back <= 40
        assert machine.row(1).estimate.reason == "used"
        assert machine.world.statistics(first=1200).rms <= 0.3e-6


def test_losing_the_samples_goes_on_by_the_pulses() -> None:
    """Pulses that are numbered keep the clock alone; when they end too it holds over and is honest about it."""
    with GPSMachine() as machine:
        machine.run(1000)
        machine.receiver.feeds = lambda _: NOTHING
        machine.run(3600)
        alone = machine.snapshot()
        machine.receiver.pulses = lambda _: NOTHING
        machine.run(7200)
        state = machine.snapshot()
        bound = state.time.root_dispersion(state.monotonic)

        assert alone.state == "synchronized"
        assert machine.world.statistics(first=1200, last=4600).rms <= 0.3e-6
        assert state.state.startswith("holding over for 71")
        assert abs(machine.error) < 3 * bound
        assert bound > 1e-5


@pytest.mark.parametrize(
    ("name", "pulses"),
    [
        ("missed", lambda second: NOTHING if second % 3 == 0 else ON_TIME),
        ("doubled", lambda second: (0.0, 0.001)),
        ("spikes", lambda second: (0.0, 0.3) if second % 5 == 0 else ON_TIME),
        ("early spikes", lambda second: (-0.4, 0.0) if second % 5 == 0 else ON_TIME),
        ("early", lambda second: (-0.005,) if second % 50 == 0 else ON_TIME),
    ],
)
def test_pulses_that_misbehave(name: str, pulses: Any) -> None:
    """Pulses that are missed, doubled or early, and spikes between them, cost nothing: the good ones count."""
    with GPSMachine() as machine:
        machine.receiver.pulses = pulses
        machine.run(3000)

        assert machine.world.statistics(first=600).rms <= 0.5e-6
        assert machine.row(1).estimate.selected


def test_missed_pulses_are_told() -> None:
    """A gap in the numbers of the pulses is seen."""
    with GPSMachine() as machine:
        machine.run(100)
        machine.receiver.pulses = lambda second: NOTHING if second < 105 else ON_TIME
        machine.run(20)

        assert machine.row(1).observation.trouble is None
        assert machine.row(1).estimate.selected


class Numbered:
    """A device that gives what it is told; then nothing more."""

    def __init__(self, *results: Pulse | Exception | None) -> None:
        self.results = list(results)
        self.closed = False

    def wait(self, timeout: float) -> Any:
        """Give the next."""
        if not self.results:
            return Deferred()
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Note it."""
        self.closed = True


def pulses(machine: GPSMachine, *numbers: int) -> list[Pulse]:
    """Give pulses that came just now, in the rhythm of their numbers."""
    now = machine.world.clock.read().local
    start = now - now % NANOSECONDS - numbers[-1] * NANOSECONDS
    return [Pulse(number, type(now)(start + number * NANOSECONDS)) for number in numbers]


def source_of(machine: GPSMachine, device: Any) -> PPSSource:
    """Give a source of a device, that has taken everything that the device has to give."""
    spawner = machine.system.new_spawner_id()
    world = machine.world
    source = PPSSource("/dev/pps0", device, SETTINGS, machine.system, spawner, world.reactor, machine.receiver.threads)
    source.startService()
    machine.run(0)
    return source


@pytest.fixture
def machine() -> Any:
    """A machine whose clock is right, with a daemon that has no sources."""
    with GPSMachine("", pps=None, world=World(1, offset=0.0)) as made:
        made.run(10.3)
        yield made


@pytest.mark.parametrize(
    ("numbers", "received", "trouble"),
    [
        ([1, 2, 3], 2, None),
        ([1, 2, 2, 2, 3], 2, None),
        ([1, 2, 5], 2, "2 pulses were missed"),
        ([1], 0, "waiting for a second pulse"),
    ],
)
def test_numbers_of_pulses(machine: GPSMachine, numbers: list[int], received: int, trouble: str | None) -> None:
    """By their numbers a pulse that was told before is left out, and those that nobody saw are counted."""
    source = source_of(machine, Numbered(*pulses(machine, *numbers)))
    seen = source.observe()

    assert (received, trouble) == (seen.received, seen.trouble)

    source.stopService()


def test_the_number_wraps(machine: GPSMachine) -> None:
    """After 2^32 pulses, 136 years, the numbers begin again."""
    first, second = pulses(machine, 1, 2)
    source = source_of(machine, Numbered(Pulse(0xFFFFFFFF, first.stamp), Pulse(0, second.stamp)))

    assert (1, None) == (source.observe().received, source.observe().trouble)

    source.stopService()


def test_a_device_that_fails_in_an_unknown_way(machine: GPSMachine, logged_failures: Failures) -> None:
    """An error that nobody foresaw ends the source, is logged, and closes the device."""
    device = Numbered(ZeroDivisionError("odd"))
    source = source_of(machine, device)
    ends: list[Any] = []
    source.when_ended().addCallback(ends.append)

    assert (EndReason.UNREACHABLE, "odd") == (ends[0].reason, ends[0].explanation)
    assert device.closed
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_a_locked_pulse_is_numbered_by_its_source() -> None:
    """A pulse that is locked to a named source is used by a clock that must not be stepped and is far off."""
    never = "\n[synchronization]\nstep-policy = 'never'\n"
    text = f'{SOCK}reference-id = "GPS"\n{never}'
    with (
        GPSMachine(text, PPS + 'lock = "GPS"\n', World(1, offset=-0.4)) as locked,
        GPSMachine(text, PPS, World(1, offset=-0.4)) as free,
        GPSMachine(text, PPS + 'lock = "DCF"\n', World(1, offset=-0.4)) as lost,
    ):
        for machine in (locked, free, lost):
            machine.run(60)
        reasons = [machine.row(1).estimate.reason for machine in (locked, free, lost)]
        assert locked.row(1).estimate.offset == pytest.approx(locked.error, abs=1e-5)
        locked.run(1500)

        waits = "waiting for other sources to number its pulses"
        assert ["used", waits, waits] == reasons
        assert abs(locked.error) < 1e-6


def test_a_lock_follows_its_source_to_another_second() -> None:
    """When the source that numbers it has moved by a second, the pulse goes with it."""
    text = f'{SOCK}reference-id = "GPS"\n[synchronization]\nstep-policy = "always"\n'
    with GPSMachine(text, PPS + 'lock = "GPS"\n') as machine:
        machine.run(300)
        machine.receiver.feeds = lambda _: [1.0]
        machine.run(300)

        assert machine.row(1).estimate.selected
        assert machine.error == pytest.approx(-1.0, abs=1e-5)


def test_an_inaccurate_pulse_does_not_overrule_good_samples() -> None:
    """A pulse that may be wrong by 50 ms leaves the clock to samples that are good to a millisecond."""
    with GPSMachine(SOCK, PPS + "accuracy = 0.05\n") as machine:
        machine.receiver.pulses = lambda _: (0.01,)
        machine.run(2000)

        assert machine.world.statistics(first=1000).rms < 2e-4
        assert machine.row(0).estimate.reason.startswith("used, best")


def test_offset_and_edge_of_a_pulse() -> None:
    """What a cable delays is made good by the offset that is configured."""
    with GPSMachine(SOCK, PPS + "offset = 0.001\n") as machine:
        machine.receiver.pulses = lambda _: (0.001,)
        machine.run(1000)

        assert machine.world.statistics(first=600).rms < 1e-6


@pytest.mark.parametrize(
    ("period", "stamps", "kept"),
    [
        (1.0, [0.0, 1.0, 2.0], [False, True, True]),
        (1.0, [0.0, 1.0, 5.0], [False, True, True]),
        (1.0, [0.0, 1.0, 1.3, 2.0], [False, True, False, True]),
        (1.0, [0.0, 1.0, 1.6, 2.0], [False, True, False, True]),
        (1.0, [0.0, 1.0, 1.001, 2.0], [False, True, False, True]),
        (1.0, [0.0, 1.0, 2.4, 3.4, 4.4], [False, True, False, True, True]),
        (1.0, [0.0, 1.0, 0.5, 1.5], [False, True, False, True]),
        (0.2, [0.0, 0.2, 0.3, 0.4], [False, True, False, True]),
    ],
)
def test_rhythm(period: float, stamps: Sequence[float], kept: list[bool]) -> None:
    """Pulses a whole number of periods after a good one are kept; a new place counts from its second pulse on."""
    rhythm = Rhythm(period)

    assert kept == [rhythm.keeps(round(stamp * NANOSECONDS)) for stamp in stamps]


@implementer(IPPSDevice)
class BlockingDevice:
    """A device that really blocks its thread, and never has a pulse."""

    def __init__(self) -> None:
        self.waiting = Event()
        self.closed = False

    def wait(self, timeout: float) -> None:
        """Block as the kernel does."""
        self.waiting.set()
        time.sleep(timeout)

    def close(self) -> None:
        """Note it."""
        self.closed = True


def real_source(device: Any) -> PPSSource:
    """Give a source on the real reactor, with a thread of its own."""
    machine = GPSMachine("", pps=None)
    return PPSSource("/dev/pps0", device, SETTINGS, machine.system, machine.system.new_spawner_id(), reactor)


async def test_a_stop_takes_less_than_two_seconds() -> None:
    """While a thread waits for a pulse that does not come, the reactor runs on, and a stop takes 1.5 s at most."""
    device = BlockingDevice()
    source = real_source(device)
    source.startService()
    await task.deferLater(reactor, 0.05)
    waiting = device.waiting.is_set()
    start = time.monotonic()
    stopped = source.stopService()
    assert stopped is not None
    again = source.stopService()
    await stopped
    took = time.monotonic() - start

    assert waiting
    assert again is stopped
    assert 0.5 < took < 2.0
    assert device.closed
    assert source.stopService() is None


async def test_an_emulated_device_drives_a_source() -> None:
    """The device in memory ticks on the machine's own clock: what a demonstration uses where there is no receiver."""
    calls = EmulatedPPS(time.time_ns, time.sleep)
    source = real_source(PulseDevice(calls, "emulated"))
    source.startService()
    for _ in range(60):
        await task.deferLater(reactor, 0.05)
        if source.observe().dropped or source.observe().received:
            break
    seen = source.observe()
    stopped = source.stopService()
    if stopped is not None:
        await stopped

    assert seen.dropped + seen.received == 1


def test_the_other_edge_ends_a_wait_too() -> None:
    """A device that captures both edges tells each pulse twice, and needs nothing but a clock."""
    system = MemorySystem()
    device = PulseDevice(EmulatedPPS(system.realtime, lambda s: system.advance(round(s * NANOSECONDS))), "emulated")

    pulses = [device.wait(1.5) for _ in range(5)]

    assert [None, 1, 1, 2, 2] == [pulse and pulse.sequence for pulse in pulses]


def test_a_device_that_is_not_there() -> None:
    """A device that can't be opened is an error of the attempt, which is repeated."""
    with GPSMachine() as machine:
        machine.receiver.plugged = False
        with pytest.raises(DeviceError, match="/dev/pps9: can't be opened: No such device"):
            machine.receiver.open_device("/dev/pps9", "assert")
