"""Pulse-per-second devices: the one in memory keeps the contract, and the layouts are the kernel's on every machine."""

from __future__ import annotations

import ctypes
import os
from errno import EINTR, EIO, ENOTTY, ETIMEDOUT
from pathlib import Path

import pytest

from ntptwist.errors import DeviceError
from ntptwist.kernel.pps import (
    PPS_CANWAIT,
    PPS_CAPTUREASSERT,
    PPS_CAPTURECLEAR,
    PPS_FETCH,
    PPS_GETCAP,
    PPS_GETPARAMS,
    PPS_OFFSETASSERT,
    PPS_SETPARAMS,
    EmulatedPPS,
    Events,
    FetchData,
    KTime,
    Parameters,
    PulseDevice,
    Setting,
    ioctl_number,
    open_pulse_device,
)
from ntptwist.kernel.timex import MemorySystem
from ntptwist.timestamp import NANOSECONDS
from tests.contract.pps import Bench, PPSContract


class Machine:
    """A machine in memory with a device."""

    def __init__(self, **device: object) -> None:
        self.system = MemorySystem()
        self.device = EmulatedPPS(self.system.realtime, self.sleep, **device)  # type: ignore[arg-type]  # as it wants them

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.system.advance(round(seconds * NANOSECONDS))


class TestEmulatedPPS(PPSContract):
    """The device in memory."""

    @pytest.fixture
    def bench(self) -> Bench:
        """Give the device."""
        machine = Machine()
        return Bench(machine.device, machine.system.realtime, machine.sleep, tolerance=1)


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="of a machine with 64 bits")
def test_numbers_and_sizes() -> None:
    """The numbers of the requests and the sizes of the structures are those of linux/pps.h."""
    numbers = [PPS_GETPARAMS, PPS_SETPARAMS, PPS_GETCAP, PPS_FETCH]

    assert [0x800870A1, 0x400870A2, 0x800870A3, 0xC00870A4] == numbers
    assert [16, 40, 64] == [ctypes.sizeof(each) for each in (KTime, Parameters, FetchData)]
    assert (48, 8, 24) == (
        FetchData.timeout.offset,
        FetchData.Info.assert_time.offset,
        FetchData.Info.clear_time.offset,
    )


def test_numbers_on_a_machine_with_32_bits() -> None:
    """The requests encode the size of a pointer, so they have other numbers there."""
    numbers = [ioctl_number(0xA1 + number, way, pointer=4) for number, way in enumerate((2, 1, 2, 3))]

    assert [0x800470A1, 0x400470A2, 0x800470A3, 0xC00470A4] == numbers


def test_jitter_and_pulses_that_do_not_come() -> None:
    """A pulse is as late or as early as it is told, and one that does not come is no event."""
    late = {0: 250, 1: -300, 2: None}
    machine = Machine(jitter=lambda second: late[second % 3], setting=Setting(PPS_CAPTUREASSERT))
    machine.sleep(0.5)
    start = machine.system.realtime() // NANOSECONDS
    pulses = [machine.device.fetch(2.5).assertion for _ in range(4)]
    moments = [(second * NANOSECONDS, late[second % 3]) for second in range(start + 1, start + 8)]
    expected = [moment + lateness for moment, lateness in moments if lateness is not None]

    assert expected[:4] == [pulse.stamp for pulse in pulses]
    assert [1, 2, 3, 4] == [pulse.sequence for pulse in pulses]


def test_without_the_capability() -> None:
    """A device that is in the right mode already needs no privilege; one that is not says which it needs."""
    PulseDevice(Machine(privileged=False).device, "/dev/pps0")
    off = Machine(privileged=False, setting=Setting(PPS_CAPTURECLEAR))
    corrected = Machine(privileged=False, setting=Setting(PPS_CAPTUREASSERT | PPS_OFFSETASSERT, 1000))
    with pytest.raises(DeviceError, match="its assert edge is off, and to change that needs CAP_SYS_TIME"):
        PulseDevice(off.device, "/dev/pps0")
    with pytest.raises(DeviceError, match="its stamps are corrected by somebody"):
        PulseDevice(corrected.device, "/dev/pps0")


@pytest.mark.parametrize(
    ("capabilities", "reason"),
    [
        (PPS_CAPTUREASSERT, "can't wait for a pulse"),
        (PPS_CANWAIT | PPS_CAPTURECLEAR, "has no assert edge; it has clear"),
        (PPS_CANWAIT, "has no assert edge; it has none"),
    ],
)
def test_devices_that_are_of_no_use(capabilities: int, reason: str) -> None:
    """A device that can't be waited for, or has no such edge, is refused with its reason."""
    with pytest.raises(DeviceError, match=reason):
        PulseDevice(Machine(capabilities=capabilities).device, "/dev/pps0")


def test_an_edge_that_is_off_is_switched_on() -> None:
    """The edge that is wanted is captured from then on, the other as before."""
    machine = Machine(setting=Setting(PPS_CAPTURECLEAR))
    PulseDevice(machine.device, "/dev/pps0")

    assert PPS_CAPTUREASSERT | PPS_CAPTURECLEAR == machine.device.parameters().mode & 3


def test_a_clear_only_device() -> None:
    """A device with a clear edge only is used by it."""
    machine = Machine(capabilities=PPS_CANWAIT | PPS_CAPTURECLEAR, setting=Setting(PPS_CAPTURECLEAR))
    pulse = PulseDevice(machine.device, "/dev/pps0", "clear").wait(1.5)

    assert pulse is not None
    assert 100_000_000 == pulse.stamp % NANOSECONDS


def test_an_unplugged_device_is_gone() -> None:
    """A device that was pulled out only times out; that it is gone is found out then."""
    machine = Machine()
    device = PulseDevice(machine.device, "/dev/pps0")
    device.wait(1.5)
    machine.device.unplug()
    with pytest.raises(DeviceError, match="/dev/pps0: No such device: it is gone"):
        device.wait(1.5)


class Broken(EmulatedPPS):
    """A device whose fetch fails."""

    def __init__(self, errno: int) -> None:
        machine = Machine()
        super().__init__(machine.system.realtime, machine.sleep)
        self._errno = errno

    def fetch(self, timeout: float) -> Events:
        """Fail."""
        raise OSError(self._errno, os.strerror(self._errno))


@pytest.mark.parametrize("errno", [ETIMEDOUT, EINTR])
def test_no_pulse(errno: int) -> None:
    """A wait that a signal has cut short is one without a pulse."""
    assert PulseDevice(Broken(errno), "/dev/pps0").wait(1.5) is None


def test_a_broken_device() -> None:
    """Any other error of a device is its end, in the kernel's words."""
    with pytest.raises(DeviceError, match="/dev/pps0: Input/output error"):
        PulseDevice(Broken(EIO), "/dev/pps0").wait(1.5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "can't be opened: No such file or directory"),
        ("file", "is no PPS device"),
        ("/dev/null", "is no PPS"),
    ],
)
def test_what_is_no_device(tmp_path: Path, name: str, reason: str) -> None:
    """A path without a device, or of something else, is refused, and nothing stays open."""
    (tmp_path / "file").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DeviceError, match=reason):
        open_pulse_device(str(tmp_path / name), "assert")

    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_a_device_that_is_no_longer_what_it_was() -> None:
    """An error of the very first question is told as it is."""

    class Odd(Broken):
        def capabilities(self) -> int:
            raise OSError(EIO, os.strerror(EIO))

    with pytest.raises(DeviceError, match="can't be used: Input/output error"):
        PulseDevice(Odd(ENOTTY), "/dev/pps0")
