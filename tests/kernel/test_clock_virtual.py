"""The daemon's own clock, as a demonstration uses it."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest

from ntptwist.kernel import timex
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timex import MemorySystem, RealSystem, Timex
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.contract.clock import ClockWorld, SteerableClockContract


class TestVirtualClock(SteerableClockContract):
    """The contract, over a machine in memory, with an error to find."""

    @pytest.fixture
    def world(self) -> ClockWorld:
        """Give a clock that is 250 ms slow and runs 40 ppm fast."""
        system = MemorySystem()
        return ClockWorld(
            clock=VirtualClock(system, offset_s=0.25, frequency_ppm=40.0),
            advance=lambda seconds: system.advance(round(seconds * NANOSECONDS)),
            reference=lambda: system.raw,
            kernel_stamp=lambda: Timestamp(system.realtime()),
            tolerance=1,
        )


def test_starts_with_the_error_that_was_asked_for() -> None:
    """A clock that is made 250 ms slow says so: reference minus local is positive."""
    assert VirtualClock(MemorySystem(), offset_s=0.25).offset() == 0.25
    assert VirtualClock(MemorySystem(), offset_s=-1.5).offset() == -1.5


def test_drifts_at_the_oscillators_rate() -> None:
    """An oscillator that is 50 ppm fast gains 50 microseconds a second, so the offset falls."""
    system = MemorySystem()
    clock = VirtualClock(system, frequency_ppm=50.0)
    system.advance(100 * NANOSECONDS)

    assert clock.offset() == -0.005


def test_a_correction_works_on_top_of_the_oscillator() -> None:
    """Oscillator and correction multiply, as they do in a real machine."""
    system = MemorySystem()
    clock = VirtualClock(system, frequency_ppm=500.0)
    clock.set_frequency(500.0)
    system.advance(4_000 * NANOSECONDS)

    assert clock.offset() == pytest.approx(-4_000 * (1.0005**2 - 1), abs=1e-9)


def test_no_number_of_corrections_adds_up_an_error() -> None:
    """After 20,000 changes of the frequency the clock shows, to the nanosecond, what the rates add up to."""
    system = MemorySystem(monotonic=0)
    clock = VirtualClock(system, frequency_ppm=3.0)
    expected = Fraction(0)
    for turn in range(20_000):
        clock.set_frequency((turn * 7919) % 1_001 / 2 - 250.0)
        system.advance(1_003)
        expected += 1_003 * (1 + Fraction(3, 10**6)) * (1 + Fraction(clock.frequency()) / 10**6)

    assert clock.read().monotonic == floor(expected)


def test_steering_does_not_touch_the_machine() -> None:
    """Whatever is done to a virtual clock, the machine's own clock is not asked to change."""
    system = MemorySystem(privileged=False)
    clock = VirtualClock(system, 0.25, 40.0)
    clock.step(NANOSECONDS)
    clock.set_frequency(-40.0)
    answer = Timex()
    system.adjtimex(answer)

    assert (answer.freq, answer.status) == (0, timex.STA_UNSYNC)


def test_a_step_of_the_machines_clock_spoils_no_later_stamp() -> None:
    """When someone steps the machine's clock, later stamps still map onto the right moment."""
    system = MemorySystem()
    clock = VirtualClock(system, offset_s=0.25)
    system.adjtimex(Timex(modes=timex.ADJ_SETOFFSET, time_sec=-5))
    before = clock.read()
    stamp = Timestamp(system.realtime())
    system.advance(1_000_000)

    assert clock.from_kernel(stamp) == before.local


def test_a_stamp_keeps_its_distance() -> None:
    """A stamp of 300 microseconds ago maps onto what the clock said 300 microseconds ago."""
    system = MemorySystem()
    clock = VirtualClock(system, offset_s=0.25, frequency_ppm=100.0)
    then = clock.read().local
    stamp = Timestamp(system.realtime())
    system.advance(300_000)

    assert abs(clock.from_kernel(stamp) - then) <= 1


def test_a_suspend_moves_the_local_time() -> None:
    """After a suspend the virtual clock has moved on as the machine's own has: its error is what it was."""
    system = MemorySystem(asleep=7 * NANOSECONDS)
    clock = VirtualClock(system, offset_s=0.25)
    before = clock.read()
    system.suspend(600 * NANOSECONDS)
    after = clock.read()

    assert after == (before.local + 600 * NANOSECONDS, before.monotonic, 607 * NANOSECONDS)
    assert clock.from_kernel(Timestamp(system.realtime())) == after.local
    assert clock.offset() == 0.25


def test_maps_this_machines_stamps() -> None:
    """Over this machine's own clocks, a stamp lies between what the virtual clock said before and after it."""
    system = RealSystem()
    clock = VirtualClock(system, offset_s=-3.0, frequency_ppm=-15.0)
    before = clock.read().local
    stamp = Timestamp(system.realtime())
    after = clock.read().local

    assert before - 1_000 <= clock.from_kernel(stamp) <= after + 1_000
    assert abs(clock.offset() + 3.0) < 0.01


def test_another_process_reads_the_same_clock() -> None:
    """A clock that follows shows the same at every moment, whatever was done to the one it follows."""
    system = MemorySystem()
    clock, other = VirtualClock(system, offset_s=0.25, frequency_ppm=40.0), VirtualClock(system)
    system.advance(NANOSECONDS)
    clock.set_frequency(-33.3)
    system.advance(7 * NANOSECONDS + 11)
    clock.step(-12_345)
    other.follow(clock.state())
    system.advance(1000 * NANOSECONDS + 1)
    stamp = Timestamp(system.realtime())

    assert (clock.read(), clock.from_kernel(stamp)) == (other.read(), other.from_kernel(stamp))
    assert clock.frequency() == other.frequency()
