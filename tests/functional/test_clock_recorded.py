"""What the daemon's clock asks of the kernel, recorded system call by system call while this machine's clock stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ntptwist.kernel.clock import SystemAxes
from ntptwist.kernel.timex import ERROR_LIMIT, NOMINAL_TICK, STA_FREQHOLD, STA_NANO, STA_PLL, STA_UNSYNC, RealSystem

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
CLOCKTRAP = Path(__file__).with_name("clocktrap")
# No time server may run with the power to change this machine's clock; who is not root has none.
WITHOUT_CAPABILITY = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-all"] if os.geteuid() == 0 else []


def run(script: str, *wrapper: str | Path) -> str:
    """Run a Python script of the daemon's own under a wrapper, and give what it says."""
    command = [*wrapper, sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, env=environment).stdout


def recorded(tmp_path: Path, script: str) -> tuple[list[dict[str, Any]], str]:
    """Run a script in the trap; give the changes that it asked for, and what it said."""
    log = tmp_path / "calls"
    said = run(script, *WITHOUT_CAPABILITY, sys.executable, CLOCKTRAP, "--log", log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{key: line[key] for key in line.keys() - {"t", "wall", "call", "pid"}} for line in lines], said


STEERING = """if True:
    from ntptwist.identifiers import Leap
    from ntptwist.kernel.clock import KernelClock
    from ntptwist.kernel.timex import RealSystem
    clock = KernelClock(RealSystem())
    clock.take_over()
    clock.set_frequency(-12.5)
    print(clock.frequency())
    clock.step(1_500_000_000)
    clock.step(-250_000_000)
    clock.set_status(Leap.NONE, 1.25e-6, 2e-3)
    clock.set_status(Leap.UNSYNCHRONIZED, 16.0, 16.0)
    clock.set_tai_offset(37)
"""


def test_every_change_reaches_the_kernel_as_intended(tmp_path: Path) -> None:
    """Take-over, frequency, steps both ways, status and TAI are the calls that the kernel's manual asks for."""
    pll_off = {"status": STA_UNSYNC, "nano": True}
    errors = {"maxerror": ERROR_LIMIT, "esterror": ERROR_LIMIT}

    calls, said = recorded(tmp_path, STEERING)

    assert calls == [
        {"offset": 0.0},
        {"offset": 0.0, "status": STA_PLL | STA_FREQHOLD | STA_UNSYNC, "nano": True},
        {"freq": 0.0, "tick": NOMINAL_TICK, **errors, **pll_off},
        {"freq": -12.5},
        {"setoffset": 1.5, "status": STA_PLL | STA_UNSYNC, "nano": True},
        pll_off,
        {"setoffset": -0.25, "status": STA_PLL | STA_UNSYNC, "nano": True},
        pll_off,
        {"status": 0, "esterror": 2, "maxerror": 2_000},
        {"status": STA_UNSYNC, **errors},
        {"tai": 37},
    ]
    assert said == "-12.5\n"


def test_nothing_that_is_recorded_happens(tmp_path: Path) -> None:
    """In the trap a daemon steps a clock by more than a second, and the machine's own clock does not move."""
    axes = SystemAxes(RealSystem())
    before = axes.read()
    recorded(tmp_path, STEERING)
    after = axes.read()

    assert abs((after.local - after.monotonic) - (before.local - before.monotonic)) < 1_000_000


def test_the_trap_answers_as_the_kernel_does(tmp_path: Path) -> None:
    """What was set is read back, silently clamped where the kernel clamps, and refused where it refuses."""
    script = """if True:
        from ntptwist.kernel import timex
        from ntptwist.kernel.timex import RealSystem, Timex
        system = RealSystem()
        answer = Timex(modes=timex.ADJ_FREQUENCY, freq=10**9)
        print(system.adjtimex(answer), answer.freq // timex.FREQUENCY_UNIT, answer.tick)
        for bad in (Timex(modes=timex.ADJ_TICK, tick=1), Timex(modes=timex.ADJ_SETOFFSET, time_usec=-1)):
            try:
                system.adjtimex(bad)
            except OSError as error:
                print(error)
    """
    calls, said = recorded(tmp_path, script)

    assert said.splitlines() == ["5 500 10000", *["[Errno 22] Invalid argument"] * 2]
    assert calls == [{"freq": 10**9 / 65536}, {"refused": ["tick"]}, {"refused": ["setoffset"]}]


def test_take_over_without_the_capability_says_what_to_do() -> None:
    """Without CAP_SYS_TIME the real kernel refuses the take-over, and the error is one line that helps."""
    script = """if True:
        from ntptwist.errors import ClockError
        from ntptwist.kernel.clock import KernelClock, explain
        from ntptwist.kernel.timex import RealSystem
        try:
            KernelClock(RealSystem()).take_over()
        except ClockError as error:
            print(error.errno, explain(error))
    """
    said = run(script, *WITHOUT_CAPABILITY)

    assert said == "1 can't steer the system clock: CAP_SYS_TIME is missing; use --no-clock-control to run without it\n"


def test_the_kernel_counts_in_nanoseconds_afterwards(tmp_path: Path) -> None:
    """The kernel counts in nanoseconds from the take-over on."""
    script = (
        STEERING
        + """
    from ntptwist.kernel.timex import Timex
    now = Timex()
    RealSystem().adjtimex(now)
    print(now.status)
"""
    )
    _, said = recorded(tmp_path, script)

    assert int(said.split()[-1]) == STA_UNSYNC | STA_NANO
