"""The kernel's clock as the daemon steers it, over a kernel in memory."""

from __future__ import annotations

import calendar
from errno import EINVAL, EPERM

import pytest

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.kernel import timex
from ntptwist.kernel.clock import KernelClock, ObservingClock, SystemAxes, explain
from ntptwist.kernel.timex import MemorySystem, Timex
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.contract.clock import ClockWorld, ObservingClockContract, SteerableClockContract

DAY_BEFORE_NEW_YEAR = calendar.timegm((2026, 12, 31, 12, 0, 0)) * NANOSECONDS
ORDINARY_DAY = calendar.timegm((2026, 12, 30, 12, 0, 0)) * NANOSECONDS


def world(system: MemorySystem, clock: KernelClock | ObservingClock) -> ClockWorld:
    """Give the world of a clock over memory, where nothing is noisy."""
    return ClockWorld(
        clock=clock,
        advance=lambda seconds: system.advance(round(seconds * NANOSECONDS)),
        reference=lambda: system.raw,
        kernel_stamp=lambda: Timestamp(system.realtime()),
        tolerance=1,
    )


class TestKernelClock(SteerableClockContract):
    """The contract, over a kernel in memory."""

    @pytest.fixture
    def world(self) -> ClockWorld:
        """Give a clock that was taken over."""
        system = MemorySystem()
        clock = KernelClock(system)
        clock.take_over()
        return world(system, clock)


class TestObservingClock(ObservingClockContract):
    """The contract, over a kernel in memory that refuses every change."""

    @pytest.fixture
    def world(self) -> ClockWorld:
        """Give a clock that is only looked at."""
        system = MemorySystem(privileged=False)
        return world(system, ObservingClock(system))


def state(system: MemorySystem) -> Timex:
    """Read what the kernel says of its clock."""
    answer = Timex()
    system.adjtimex(answer)
    return answer


def taken_over(realtime: int = ORDINARY_DAY) -> tuple[KernelClock, MemorySystem]:
    """Give a clock that was taken over, and its kernel."""
    system = MemorySystem(realtime)
    clock = KernelClock(system)
    clock.take_over()
    return clock, system


def gain(system: MemorySystem, seconds: int) -> int:
    """Let time pass and give what the clock gains in it, ns."""
    before = system.monotonic()
    system.advance(seconds * NANOSECONDS)
    return system.monotonic() - before - seconds * NANOSECONDS


def test_making_a_clock_changes_nothing() -> None:
    """Nothing is touched before the clock is taken over."""
    system = MemorySystem(privileged=False)
    KernelClock(system)

    assert state(system).status == timex.STA_UNSYNC


def test_take_over_keeps_the_frequency() -> None:
    """A daemon that is restarted goes on with the frequency that the last one left in the kernel."""
    system = MemorySystem()
    system.adjtimex(Timex(modes=timex.ADJ_FREQUENCY, freq=round(-12.25 * timex.FREQUENCY_UNIT)))
    clock = KernelClock(system)
    clock.take_over()

    assert clock.frequency() == -12.25


def test_take_over_folds_the_tick_into_the_frequency() -> None:
    """A tick that another daemon has left becomes frequency: the clock's rate does not jump."""
    system = MemorySystem()
    left = round(-23.5 * timex.FREQUENCY_UNIT)
    system.adjtimex(Timex(modes=timex.ADJ_TICK | timex.ADJ_FREQUENCY, tick=10_002, freq=left))
    rate = gain(system, 10)
    clock = KernelClock(system)
    clock.take_over()

    assert state(system).tick == timex.NOMINAL_TICK
    assert clock.frequency() == 176.5
    assert gain(system, 10) == rate == 1_765_000


def test_take_over_clamps_what_the_tick_was_too_much() -> None:
    """A rate that no frequency can keep becomes the nearest one."""
    system = MemorySystem()
    system.adjtimex(Timex(modes=timex.ADJ_TICK, tick=9_990))
    clock = KernelClock(system)
    clock.take_over()

    assert clock.frequency() == -500.0


def test_take_over_switches_the_kernels_discipline_off() -> None:
    """No discipline but ours remains, and the clock counts as unsynchronised until we say otherwise."""
    system = MemorySystem()
    theirs = timex.STA_PLL | timex.STA_FLL | timex.STA_PPSTIME | timex.STA_PPSFREQ | timex.STA_INS
    system.adjtimex(Timex(modes=timex.ADJ_STATUS | timex.ADJ_MAXERROR | timex.ADJ_ESTERROR, status=theirs))
    KernelClock(system).take_over()
    now = state(system)

    assert now.status == timex.STA_UNSYNC | timex.STA_NANO
    assert (now.maxerror, now.esterror) == (timex.ERROR_LIMIT, timex.ERROR_LIMIT)


def test_take_over_ends_an_adjtime_that_goes_on() -> None:
    """A slew of adjtime(3) that was left behind does not disturb us for the next half hour."""
    system = MemorySystem()
    system.adjtimex(Timex(modes=timex.ADJ_OFFSET_SINGLESHOT, offset=900_000))
    moved = gain(system, 10)
    KernelClock(system).take_over()
    gain(system, 1)

    assert moved > 4_000_000
    assert gain(system, 10) == 0


@pytest.mark.parametrize("still_on", [timex.STA_PLL, 0], ids=["PLL on", "PLL off"])
def test_take_over_forgets_an_offset_of_the_pll(still_on: int) -> None:
    """An offset that the kernel's own loop was still working off, with the loop on or off, is worked off no more."""
    system = MemorySystem()
    modes = timex.ADJ_STATUS | timex.ADJ_NANO | timex.ADJ_OFFSET | timex.ADJ_TIMECONST
    system.adjtimex(Timex(modes=modes, status=timex.STA_PLL, offset=400_000_000, constant=6))
    system.adjtimex(Timex(modes=timex.ADJ_STATUS | timex.ADJ_NANO, status=still_on))
    moved = gain(system, 10)
    KernelClock(system).take_over()
    gain(system, 1)

    assert moved > 4_000_000
    assert gain(system, 10) == 0


def test_take_over_needs_the_capability() -> None:
    """Without CAP_SYS_TIME the take-over fails with one line that says what to do."""
    with pytest.raises(ClockError) as caught:
        KernelClock(MemorySystem(privileged=False)).take_over()

    assert caught.value.errno == EPERM
    assert (
        explain(caught.value)
        == "can't steer the system clock: CAP_SYS_TIME is missing; use --no-clock-control to run without it"
    )


def test_other_refusals_are_explained_with_the_kernels_reason() -> None:
    """Any other refusal is shown as the kernel gives it."""
    assert (
        explain(ClockError("step the clock", EINVAL, "Invalid argument"))
        == "can't steer the system clock: step the clock: Invalid argument"
    )


def test_a_refusal_names_what_was_asked_for() -> None:
    """An error of the kernel's says which operation it refused."""
    clock, system = taken_over()
    system.privileged = False

    with pytest.raises(ClockError, match=r"step the clock: Operation not permitted"):
        clock.step(1)
    with pytest.raises(ClockError, match=r"set the clock's frequency: Operation not permitted"):
        clock.set_frequency(1.0)
    with pytest.raises(ClockError, match=r"set the clock's status: Operation not permitted"):
        clock.set_status(Leap.NONE, 0.0, 0.0)
    with pytest.raises(ClockError, match=r"set the TAI offset: Operation not permitted"):
        clock.set_tai_offset(37)


def test_frequency_is_the_kernels_own() -> None:
    """A correction that someone else puts in force is not hidden by a memory of ours."""
    clock, system = taken_over()
    clock.set_frequency(5.0)
    system.adjtimex(Timex(modes=timex.ADJ_FREQUENCY, freq=3 * timex.FREQUENCY_UNIT))

    assert clock.frequency() == 3.0


def test_errors_are_rounded_up() -> None:
    """The kernel never learns of a smaller error than ours."""
    clock, system = taken_over()
    clock.set_status(Leap.NONE, 12.1e-6, 250.0000001e-6)
    now = state(system)

    assert (now.esterror, now.maxerror) == (13, 251)


@pytest.mark.parametrize("error", [16.0, 1e9, float("inf"), float("nan")])
def test_an_unknown_error_is_the_largest(error: float) -> None:
    """What is too large to tell, or not known at all, is told as the kernel's largest error."""
    clock, system = taken_over()
    clock.set_status(Leap.NONE, error, error)
    now = state(system)

    assert (now.esterror, now.maxerror) == (16_000_000, 16_000_000)


def test_synchronised_clears_the_mark() -> None:
    """Programs that ask the kernel learn when the clock becomes good and when it is no longer."""
    clock, system = taken_over()
    clock.set_status(Leap.NONE, 1e-3, 1e-2)
    good = system.adjtimex(Timex())
    clock.set_status(Leap.UNSYNCHRONIZED, 16.0, 16.0)
    bad = system.adjtimex(Timex())

    assert (good, bad) == (timex.TIME_OK, timex.TIME_ERROR)


def test_status_keeps_the_discipline_off() -> None:
    """A loop of the kernel's that someone switched on is off again with our next status."""
    clock, system = taken_over()
    system.adjtimex(Timex(modes=timex.ADJ_STATUS, status=timex.STA_PLL))
    clock.set_status(Leap.NONE, 0.0, 0.0)

    assert not state(system).status & timex.STA_PLL


@pytest.mark.parametrize(("leap", "flag"), [(Leap.INSERT, timex.STA_INS), (Leap.DELETE, timex.STA_DEL)])
def test_a_leap_second_is_handed_to_the_kernel_on_the_last_day(leap: Leap, flag: int) -> None:
    """On the last day of the month the kernel is told to insert or to delete a second at its end."""
    clock, system = taken_over(DAY_BEFORE_NEW_YEAR)
    clock.set_status(leap, 0.0, 0.0)

    assert state(system).status & (timex.STA_INS | timex.STA_DEL) == flag


@pytest.mark.parametrize("leap", [Leap.INSERT, Leap.DELETE])
def test_a_leap_second_that_is_announced_early_waits(leap: Leap) -> None:
    """Servers may announce a leap second a month ahead; the kernel, which acts at midnight, learns on the last day."""
    clock, system = taken_over(ORDINARY_DAY)
    clock.set_status(leap, 0.0, 0.0)

    assert state(system).status & (timex.STA_INS | timex.STA_DEL | timex.STA_UNSYNC) == 0


@pytest.mark.parametrize(("leap", "seconds"), [(Leap.INSERT, 3), (Leap.DELETE, 5)])
def test_the_leap_second_happens_once(leap: Leap, seconds: int) -> None:
    """The kernel leaps at the month's end, and not again a day later though servers still announce it for a while."""
    clock, system = taken_over(DAY_BEFORE_NEW_YEAR + 43_197 * NANOSECONDS)
    clock.set_tai_offset(37)
    for second in range(1, 5):
        clock.set_status(leap, 0.0, 0.0)
        system.advance(NANOSECONDS)
        if second == 4:
            moved = system.realtime() - DAY_BEFORE_NEW_YEAR - 43_197 * NANOSECONDS
    for _ in range(26):
        clock.set_status(leap, 0.0, 0.0)
        system.advance(3_600 * NANOSECONDS)

    assert moved == seconds * NANOSECONDS
    assert system.realtime() == DAY_BEFORE_NEW_YEAR + (43_197 + seconds + 26 * 3_600) * NANOSECONDS
    assert state(system).tai == 37 + (1 if leap is Leap.INSERT else -1)


def test_a_leap_second_survives_a_step() -> None:
    """The kernel leaps though the clock was stepped after the leap second had been announced."""
    clock, system = taken_over(DAY_BEFORE_NEW_YEAR + 43_190 * NANOSECONDS)
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    system.advance(NANOSECONDS)
    clock.step(NANOSECONDS)
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    system.advance(20 * NANOSECONDS)

    assert system.realtime() == DAY_BEFORE_NEW_YEAR + (43_190 + 1 + 1 + 20 - 1) * NANOSECONDS


def test_tai_offset_reaches_the_kernel() -> None:
    """The kernel learns TAI - UTC, for CLOCK_TAI."""
    clock, system = taken_over()
    clock.set_tai_offset(37)

    assert state(system).tai == 37


def test_an_interrupted_read_does_not_count() -> None:
    """A reading stays exact when the process loses the processor for 5 ms amid it."""
    for lost in range(7):
        costs = [50] * 9
        costs[lost] = 5_000_000
        system = MemorySystem(realtime=2_000 * NANOSECONDS, monotonic=1_000 * NANOSECONDS, costs=costs)
        reading = SystemAxes(system).read()

        assert abs(reading.local - reading.monotonic - 1_000 * NANOSECONDS) <= 25


@pytest.mark.parametrize("lost", [7, 8], ids=["before BOOTTIME", "after BOOTTIME"])
def test_an_interrupted_read_is_no_suspend(lost: int) -> None:
    """The time asleep does not change when the process loses the processor for 5 ms around the read of BOOTTIME."""
    costs = [50] * 9
    costs[lost] = 5_000_000
    axes = SystemAxes(MemorySystem(costs=[*costs, *[70, 50, 90] * 3]))

    assert [axes.read().asleep for _ in range(3)] == [0, 0, 0]


def test_a_suspend_is_seen() -> None:
    """A suspend of ten minutes moves the local time and the time asleep, not the monotonic time."""
    system = MemorySystem(asleep=7 * NANOSECONDS)
    axes = SystemAxes(system)
    before = axes.read()
    system.suspend(600 * NANOSECONDS)
    after = axes.read()

    assert before.asleep == 7 * NANOSECONDS
    assert after == (before.local + 600 * NANOSECONDS, before.monotonic, 607 * NANOSECONDS)


def test_observing_tells_the_frequency_that_another_daemon_set() -> None:
    """A clock that is only looked at shows its keeper's correction."""
    system = MemorySystem()
    system.adjtimex(Timex(modes=timex.ADJ_TICK | timex.ADJ_FREQUENCY, tick=10_001, freq=-timex.FREQUENCY_UNIT))

    assert ObservingClock(system).frequency() == 99.0


def test_observing_works_in_a_sandbox_without_adjtimex() -> None:
    """Where a sandbox forbids adjtimex altogether, only the frequency is unknown, and given as 0."""

    class Sandbox(MemorySystem):
        """A machine whose adjtimex is forbidden by a filter."""

        def adjtimex(self, timex: Timex) -> int:
            """Refuse, reads too."""
            raise OSError(EPERM, "Operation not permitted")

    clock = ObservingClock(Sandbox())

    assert clock.frequency() == 0.0
    assert clock.read().local > 0
