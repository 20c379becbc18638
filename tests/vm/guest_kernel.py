"""
The contracts of the clock over a real kernel, whose clock is ours to spoil.

Not collected with the other tests: ``tests/vm/run.py`` runs this file in its virtual machine, and anywhere else it
refuses to be imported.
"""

from __future__ import annotations

import calendar
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntptwist.identifiers import Leap
from ntptwist.kernel import timex
from ntptwist.kernel.clock import KernelClock
from ntptwist.kernel.timex import RealSystem, Timex
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.contract.clock import ClockWorld, SteerableClockContract
from tests.contract.timex import DAY, Machine, WritingContract
from tests.vm.machine import PARAMETER

if PARAMETER not in Path("/proc/cmdline").read_text(encoding="ascii").split():
    raise SystemExit("these tests change the clock, and run in tests/vm/run.py only")

TOLERANCE = 20_000
"""Nanoseconds; an instruction takes four here, so two readings are microseconds apart."""


def raw() -> int:
    """Read the time that nothing steers, ns."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Give this machine with its clock as a kernel has it after its start, and leave it so."""
    machine = Machine(RealSystem(), time.sleep, raw, TOLERANCE)
    _reset(machine)
    yield machine
    _reset(machine)


def _reset(machine: Machine) -> None:
    """End every slew, and set everything to what a kernel starts with."""
    machine.system.adjtimex(Timex(modes=timex.ADJ_OFFSET_SINGLESHOT))
    off = timex.ADJ_STATUS | timex.ADJ_OFFSET
    machine.system.adjtimex(Timex(modes=off, status=timex.STA_PLL | timex.STA_FREQHOLD))
    modes = timex.ADJ_STATUS | timex.ADJ_FREQUENCY | timex.ADJ_TICK | timex.ADJ_MAXERROR | timex.ADJ_ESTERROR
    errors = timex.ERROR_LIMIT
    machine.system.adjtimex(
        Timex(modes=modes, status=timex.STA_UNSYNC, tick=timex.NOMINAL_TICK, maxerror=errors, esterror=errors)
    )
    time.sleep(1.1)  # what is slewed in a second is decided when the second begins


class TestRealSystem(WritingContract):
    """The system calls, over a real kernel."""


class TestKernelClock(SteerableClockContract):
    """The clock, over a real kernel."""

    @pytest.fixture
    def world(self, machine: Machine) -> ClockWorld:
        """Give the clock, taken over."""
        clock = KernelClock(machine.system)
        clock.take_over()
        return ClockWorld(
            clock=clock,
            advance=machine.advance,
            reference=raw,
            kernel_stamp=lambda: Timestamp(time.time_ns()),
            tolerance=TOLERANCE,
        )


def test_take_over_leaves_nothing_behind(machine: Machine) -> None:
    """Tick, adjtime(3) and PLL of another daemon end at the take-over, and the rate is what frequency and tick were."""
    leftovers = timex.ADJ_STATUS | timex.ADJ_NANO | timex.ADJ_OFFSET | timex.ADJ_TIMECONST
    machine.system.adjtimex(Timex(modes=leftovers, status=timex.STA_PLL, offset=300_000_000, constant=6))
    machine.system.adjtimex(Timex(modes=timex.ADJ_OFFSET_SINGLESHOT, offset=900_000))
    tick = timex.ADJ_TICK | timex.ADJ_FREQUENCY
    machine.system.adjtimex(Timex(modes=tick, tick=10_002, freq=-20 * timex.FREQUENCY_UNIT))
    machine.advance(1.5)
    before = machine.gain(2.0)
    clock = KernelClock(machine.system)
    clock.take_over()
    machine.advance(1.5)
    now = machine.state()

    assert before > 1_000_000
    assert machine.gain(2.0) == pytest.approx(180_000, abs=TOLERANCE)
    assert clock.frequency() == 180.0
    assert (now.tick, now.status) == (timex.NOMINAL_TICK, timex.STA_UNSYNC | timex.STA_NANO)


@pytest.mark.parametrize(("leap", "moved"), [(Leap.INSERT, -1), (Leap.DELETE, 1)])
@pytest.mark.parametrize("stepped", [False, True], ids=["at rest", "stepped meanwhile"])
def test_a_leap_second_ends_the_year(machine: Machine, leap: Leap, moved: int, stepped: bool) -> None:
    """The kernel leaps at the end of the year, once, also when the clock was stepped after the announcement."""
    clock = KernelClock(machine.system)
    clock.take_over()
    year = time.gmtime().tm_year
    clock.step(calendar.timegm((year, 12, 31, 23, 59, 52)) * NANOSECONDS - time.time_ns())
    clock.set_status(leap, 1e-3, 1e-3)
    machine.advance(1.5)
    if stepped:
        clock.step(NANOSECONDS // 4)
        clock.set_status(leap, 1e-3, 1e-3)
    lead = machine.lead()
    for _ in range(14):
        clock.set_status(leap, 1e-3, 1e-3)
        machine.advance(1.0)
    after = machine.lead()
    clock.step((DAY - 30) * NANOSECONDS)
    for _ in range(30):
        clock.set_status(leap, 1e-3, 1e-3)
        machine.advance(1.0)

    assert after - lead == pytest.approx(moved * NANOSECONDS, abs=TOLERANCE)
    assert machine.lead() - after == pytest.approx((DAY - 30) * NANOSECONDS, abs=TOLERANCE)
    clock.step(-2 * DAY * NANOSECONDS)


def test_take_over_needs_the_capability() -> None:
    """Without CAP_SYS_TIME the take-over fails, and says so in one line."""
    script = """if True:
        from ntptwist.errors import ClockError
        from ntptwist.kernel.clock import KernelClock, explain
        from ntptwist.kernel.timex import RealSystem
        try:
            KernelClock(RealSystem()).take_over()
        except ClockError as error:
            print(error.errno, explain(error))
    """
    command = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-all", sys.executable, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said.startswith("1 can't steer the system clock: CAP_SYS_TIME is missing")
