"""
The contract of a pulse device over a real /dev/pps0: the kernel's pps_parport, with real interrupts.

Not collected with the other tests: ``tests/vm/run.py`` runs this file in its virtual machine.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ntptwist.errors import DeviceError
from ntptwist.kernel.pps import KernelPPS, PulseDevice, open_pulse_device
from tests.contract.pps import Bench, PPSContract
from tests.vm.machine import PARAMETER
from tests.vm.reference import Reference

if PARAMETER not in Path("/proc/cmdline").read_text(encoding="ascii").split():
    raise SystemExit("these tests need the devices of the machine that tests/vm/run.py starts")

TOLERANCE = 500_000
"""Nanoseconds; waking up takes some 200,000 here."""
LONGEST_START = 120
"""Seconds."""
TIOCSETD, N_PPS = 0x5423, 18


@pytest.fixture(scope="module", autouse=True)
def pulses() -> Iterator[None]:
    """Pulses at the whole seconds of this machine's clock, which nobody steers."""
    Reference.create(0.0, 0.0)
    calls = KernelPPS("/dev/pps0")
    with subprocess.Popen([sys.executable, "-m", "tests.vm.pulses"]) as pulsing:
        # to begin takes many seconds of this machine's time: it reads files of the host's
        for _ in range(LONGEST_START):
            if calls.fetch(0.0).assertion.sequence > 3:
                break
            time.sleep(1.0)
        yield
        pulsing.terminate()
    calls.close()


class TestKernelPPS(PPSContract):
    """A device of the kernel's; it promises a clear edge and has none."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        """Give the device."""
        calls = KernelPPS("/dev/pps0")
        yield Bench(calls, time.time_ns, time.sleep, TOLERANCE, has_clear_edge=False)
        calls.close()


def test_stamps_are_steady() -> None:
    """The kernel's stamps are good to a microsecond, whenever we wake up."""
    device = open_pulse_device("/dev/pps0", "assert")
    stamps = [pulse.stamp for _ in range(12) if (pulse := device.wait(1.5)) is not None]
    device.close()
    steps = [later - earlier - 10**9 for earlier, later in pairwise(stamps)]

    assert len(stamps) == 12
    assert max(map(abs, steps)) < 5_000


SCRIPT = """if True:
    from ntptwist.kernel.pps import KernelPPS, PulseDevice, Setting
    calls = KernelPPS("/dev/pps0")
    print(PulseDevice(calls, "/dev/pps0").wait(1.5) is not None)
    try:
        calls.set_parameters(Setting(1))
    except PermissionError as error:
        print(error.strerror)
"""


def test_without_the_capability() -> None:
    """A process that may not set the clock may read pulses, and not change how they are taken."""
    command = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-all", sys.executable, "-c", SCRIPT]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said.splitlines() == ["True", "Operation not permitted"]


def test_a_device_that_never_fires_and_then_vanishes() -> None:
    """A line discipline on a terminal makes a device without pulses; when the terminal goes, so does the device."""
    before = set(Path("/dev").glob("pps*"))
    master, slave = os.openpty()
    fcntl.ioctl(slave, TIOCSETD, struct.pack("=i", N_PPS))
    deadline = time.monotonic() + 5
    while not (made := set(Path("/dev").glob("pps*")) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    (path,) = made
    device = PulseDevice(KernelPPS(str(path)), str(path))
    silent = device.wait(0.3)
    os.close(slave)
    os.close(master)
    time.sleep(0.3)
    with pytest.raises(DeviceError, match=f"{path}: "):
        device.wait(0.3)
    device.close()

    assert silent is None
    assert not path.exists()
