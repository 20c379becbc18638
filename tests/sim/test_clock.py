"""The virtual machine's clock: the contract of every clock, and the kernel's habits."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.sim.clock import KERNEL_UNIT, SimulatedClock
from ntptwist.sim.oscillator import Oscillator, OscillatorModel, Sine
from ntptwist.sim.timeline import NEW_YEAR_2026, Timeline
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.contract.clock import ClockWorld, SteerableClockContract

PERFECT = OscillatorModel(frequency=0.0, wander=0.0)
DAY = 86_400


def make_clock(
    model: OscillatorModel = PERFECT, offset: float = 0.0, *, seed: int = 1, rounded: bool = True
) -> tuple[Timeline, SimulatedClock]:
    """Give a clock and its time."""
    timeline = Timeline()
    return timeline, SimulatedClock(timeline, Oscillator(model, seed), offset, rounded=rounded)


class TestSimulatedClock(SteerableClockContract):
    """The contract."""

    @pytest.fixture(params=[0.0, 100e-6, -500e-6])
    def world(self, request: pytest.FixtureRequest) -> ClockWorld:
        """Give a clock that is off, over a steady oscillator."""
        timeline, clock = make_clock(OscillatorModel(request.param, 0.0), offset=0.123456789)
        return ClockWorld(
            clock=clock,
            advance=timeline.run_for,
            reference=lambda: timeline.now,
            kernel_stamp=lambda: clock.read().local,
            tolerance=1,
        )


def test_starts_with_the_offset_that_was_asked_for() -> None:
    """A clock that is made 250 ms slow shows 250 ms less than the truth, and its monotonic time starts at zero."""
    timeline, clock = make_clock(offset=0.25)
    reading = clock.read()

    assert clock.true_offset() == 0.25
    assert reading.local == NEW_YEAR_2026 - 250_000_000
    assert (reading.monotonic, reading.asleep) == (0, 0)
    assert timeline.now == NEW_YEAR_2026


def test_oscillator_and_correction_multiply() -> None:
    """The rate of both axes is the product of what the crystal does and what was set."""
    timeline, clock = make_clock(OscillatorModel(500e-6, 0.0))
    clock.set_frequency(500.0)
    timeline.run_for(4000)

    assert clock.read().monotonic == 4000 * NANOSECONDS + round(4000 * (1.0005**2 - 1) * NANOSECONDS)
    assert clock.true_offset() == pytest.approx(-4000 * (1.0005**2 - 1), abs=1e-9)


def test_no_number_of_corrections_adds_up_an_error() -> None:
    """After 20,000 changes of the frequency the clock shows, to the nanosecond, what the rates add up to."""
    timeline, clock = make_clock(OscillatorModel(2.0**-18, 0.0))
    expected = Fraction(0)
    for turn in range(20_000):
        clock.set_frequency((turn * 7919) % 1_001 / 2 - 250.0)
        timeline.run_until(timeline.now + 1_003)
        expected += 1_003 * (1 + Fraction(1, 2**18)) * (1 + Fraction(clock.frequency()) / 10**6)

    assert abs(clock.read().monotonic - expected) <= 1


def test_never_goes_back_however_often_it_is_steered() -> None:
    """Monotonic time stands or moves on, nanosecond by nanosecond, through all changes of the rate."""
    timeline, clock = make_clock(OscillatorModel(-100e-6, 1e-7))
    readings = []
    for turn in range(20_000):
        timeline.run_until(timeline.now + turn % 5)
        readings += [clock.read().monotonic, clock.set_frequency((turn * 7919) % 1_001 - 500.0).monotonic]

    assert readings == sorted(readings)


def test_rounds_to_the_kernels_unit_or_not() -> None:
    """The frequency in force is a multiple of 2^-16 ppm as in the kernel, unless the experiment wants it exact."""
    _, rounded = make_clock()
    _, exact = make_clock(rounded=False)
    rounded.set_frequency(1.23456789)
    exact.set_frequency(1.23456789)

    assert rounded.frequency() == round(1.23456789 / KERNEL_UNIT) * KERNEL_UNIT != 1.23456789
    assert exact.frequency() == 1.23456789


def test_remembers_what_the_kernel_was_told() -> None:
    """Tests can see the last status and TAI offset that the daemon has set."""
    _, clock = make_clock()
    clock.set_status(Leap.NONE, 1e-6, 1e-3)
    clock.set_tai_offset(37)

    assert clock.status is not None
    assert (clock.status.leap, clock.status.estimated_error, clock.status.maximum_error) == (Leap.NONE, 1e-6, 1e-3)
    assert clock.tai_offset == 37


@pytest.mark.parametrize(
    "change",
    [
        lambda clock: clock.step(1),
        lambda clock: clock.set_frequency(1.0),
        lambda clock: clock.set_status(Leap.NONE, 0.0, 0.0),
        lambda clock: clock.set_tai_offset(37),
    ],
)
def test_may_refuse_every_change(change: Callable[[SimulatedClock], object]) -> None:
    """As without the privilege, each call that would change the clock fails, and reading goes on."""
    timeline, clock = make_clock()
    clock.refuses = True
    with pytest.raises(ClockError, match="Operation not permitted"):
        change(clock)
    timeline.run_for(1.0)

    assert (clock.steps, clock.frequency(), clock.status, clock.tai_offset) == (0, 0.0, None, None)
    assert clock.read().local == timeline.now


def test_counts_its_own_steps_only() -> None:
    """A step by somebody else moves the clock, and is none of the daemon's."""
    _, clock = make_clock()
    clock.step(1_000)
    clock.foreign_step(500_000_000)

    assert clock.steps == 1
    assert clock.read().local == NEW_YEAR_2026 + 500_001_000
    assert clock.read().monotonic == 0


@pytest.mark.parametrize("ppm", [0.0, 500.0, -500.0])
def test_knows_when_it_will_show_a_time(ppm: float) -> None:
    """The moment at which a steady clock shows a time is known to the nanosecond, which is what timers need."""
    timeline, clock = make_clock(OscillatorModel(50e-6, 0.0))
    clock.set_frequency(ppm)
    timeline.run_for(10.0)
    target = clock.read().monotonic + 64 * NANOSECONDS
    timeline.run_until(clock.when(target))

    assert 0 <= clock.read().monotonic - target <= 1


def test_a_suspend_stops_both_axes_and_then_moves_the_local_one() -> None:
    """In suspend all stands still; after it the local time and the time asleep have made up for it."""
    timeline, clock = make_clock(OscillatorModel(100e-6, 0.0))
    timeline.run_for(10.0)
    before = clock.read()
    clock.suspend(3600.0)
    timeline.run_for(3599.0)
    asleep, meanwhile = clock.sleeping, clock.read()
    timeline.run_for(1.0)
    awake, after = not clock.sleeping, clock.read()

    assert asleep and awake
    assert meanwhile == before
    assert after.monotonic == before.monotonic
    assert after.asleep == 3600 * NANOSECONDS
    assert after.local == before.local + 3600 * NANOSECONDS
    assert clock.true_offset() == -0.001

    timeline.run_for(10.0)

    assert clock.read().monotonic == after.monotonic + 10_001_000_000


def test_the_kernel_may_misjudge_a_suspend() -> None:
    """A machine that measures its sleep by a bad clock wakes up with a wrong time, and does not know it."""
    timeline, clock = make_clock()
    clock.suspend(3600.0, error=0.25)
    timeline.run_for(3600.0)

    assert clock.true_offset() == -0.25
    assert clock.read().asleep == 3_600_250_000_000


def test_sleeps_once_at_a_time() -> None:
    """A machine that is asleep can't be suspended."""
    _, clock = make_clock()
    clock.suspend(1.0)
    with pytest.raises(ValueError, match="asleep"):
        clock.suspend(1.0)


def test_what_is_due_in_a_suspend_is_due_after_it() -> None:
    """The moment of a time that was 5 s away when the machine fell asleep for 100 s is 105 s away."""
    timeline, clock = make_clock()
    target = clock.read().monotonic + 5 * NANOSECONDS
    clock.suspend(100.0)

    assert clock.when(target) == timeline.start + 105 * NANOSECONDS


@pytest.mark.parametrize(("leap", "change"), [(Leap.INSERT, -1), (Leap.DELETE, 1)])
@pytest.mark.parametrize("offset", [0.25, -0.25])
def test_makes_an_announced_leap_second_once(leap: Leap, change: int, offset: float) -> None:
    """The kernel makes the leap second that it was told of at its next UTC midnight, and no other until it is told."""
    timeline, clock = make_clock(offset=offset)
    timeline.run_for(DAY - 100)
    clock.set_status(leap, 0.0, 0.0)
    timeline.run_for(90)
    clock.set_status(leap, 0.0, 0.0)
    before = clock.true_offset()
    timeline.run_for(20)
    clock.set_status(leap, 0.0, 0.0)
    timeline.run_for(2 * DAY)

    assert before == offset
    assert clock.true_offset() == offset - change

    clock.set_status(Leap.NONE, 0.0, 0.0)
    clock.set_status(leap, 0.0, 0.0)
    timeline.run_for(DAY)

    assert clock.true_offset() == offset - 2 * change


def test_a_leap_second_comes_when_the_local_clock_says_midnight() -> None:
    """The kernel knows no time but its own: a clock that is 30 s fast leaps 30 s early, to the nanosecond."""
    timeline, clock = make_clock(OscillatorModel(-3e-6, 1e-8), offset=-30.0)
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    jumps: list[int] = []

    def look(before: int) -> None:
        """Note a backward jump, and look again in a millisecond."""
        now = clock.read().local
        if now < before:
            jumps.append(before)
        timeline.at(timeline.now + 1_000_000, look, now)

    timeline.run_for(DAY - 32)
    look(0)
    timeline.run_for(4)

    assert len(jumps) == 1
    assert 0 <= NEW_YEAR_2026 + DAY * NANOSECONDS - jumps[0] <= 1_000_100


def test_an_announcement_can_be_withdrawn() -> None:
    """No leap second is made when the daemon has thought better of it."""
    timeline, clock = make_clock()
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    timeline.run_for(DAY - 10)
    clock.set_status(Leap.UNSYNCHRONIZED, 0.0, 0.0)
    timeline.run_for(20)

    assert clock.true_offset() == 0.0


def test_a_step_does_not_lose_an_announced_leap_second() -> None:
    """A clock that is stepped after the announcement leaps at the midnight that it shows now."""
    timeline, clock = make_clock(offset=100.0)
    timeline.run_for(DAY - 50)
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    clock.step(100 * NANOSECONDS)
    timeline.run_for(49)
    before = clock.true_offset()
    timeline.run_for(2)

    assert before == 0.0
    assert clock.true_offset() == 1.0


def test_a_leap_second_waits_for_a_machine_that_sleeps() -> None:
    """A machine that sleeps through midnight has made no leap second: it makes it at the next."""
    timeline, clock = make_clock()
    clock.set_status(Leap.INSERT, 0.0, 0.0)
    timeline.run_for(DAY - 10)
    clock.suspend(20.0)
    timeline.run_for(30)
    awake = clock.true_offset()
    timeline.run_for(DAY)

    assert awake == 0.0
    assert clock.true_offset() == 1.0


def test_the_trace_is_what_a_look_each_second_would_have_shown() -> None:
    """The record at 1 Hz, which is made in bulk, agrees with single readings through steps, steering and all."""
    model = OscillatorModel(20e-6, 1e-8, sines=(Sine(1e-6, 3600.0),), frequency_jumps=((400.5, 2e-6),))
    timeline, clock = make_clock(model, offset=0.1)
    seen: list[float] = []

    def look() -> None:
        """Note the offset, and look again in a second."""
        seen.append(clock.true_offset())
        timeline.at(timeline.now + NANOSECONDS, look)

    look()
    for second, action in (
        (10.5, lambda: clock.step(100_000_000)),
        (300.25, lambda: clock.set_frequency(-20.0)),
        (900.0, lambda: clock.foreign_step(-7_000_000)),
        (1_200.75, lambda: clock.set_frequency(499.0)),
    ):
        timeline.run_until(timeline.start + round(second * NANOSECONDS))
        action()
    timeline.run_for(500)
    clock.record()

    assert len(clock.trace) == 1701
    assert list(clock.trace.offsets) == pytest.approx(seen, abs=2e-9)


def test_the_trace_tells_the_frequency_error() -> None:
    """The frequency error is that of the corrected clock: 100 ppm fast and corrected by -100 ppm is 0.01 ppm slow."""
    timeline, clock = make_clock(OscillatorModel(100e-6, 0.0))
    timeline.run_for(1.0)
    clock.set_frequency(-100.0)
    timeline.run_for(1.0)
    clock.record()

    assert list(clock.trace.frequencies) == pytest.approx([100e-6, 100e-6, -1e-8], abs=1e-15)


def test_the_trace_has_no_error_while_the_machine_sleeps() -> None:
    """Seconds asleep are NaN in the trace, and those before and after are right."""
    timeline, clock = make_clock(offset=0.5)
    timeline.run_for(2.5)
    clock.suspend(3.0)
    timeline.run_for(1.0)
    clock.record()
    timeline.run_for(4.0)
    clock.record()
    offsets = list(clock.trace.offsets)

    assert offsets[:3] + offsets[6:] == [0.5] * 5
    assert all(math.isnan(offset) for offset in offsets[3:6])


@pytest.mark.nightly
def test_keeps_time_for_a_month() -> None:
    """After 30 days of steering the readings are still whole nanoseconds that agree with the trace."""
    timeline, clock = make_clock(OscillatorModel(20e-6, 1e-9), offset=0.01)
    for day in range(30):
        timeline.run_for(DAY)
        clock.set_frequency(-20.0 - day)
    clock.record()

    assert len(clock.trace) == 30 * DAY + 1
    assert clock.trace.offsets[-1] == pytest.approx(clock.true_offset(), abs=2e-9)


def test_a_clock_of_another_age() -> None:
    """A machine that comes up in 1970 is 56 years behind, and exact again after one step."""
    timeline, clock = make_clock(offset=NEW_YEAR_2026 / NANOSECONDS)

    assert clock.read().local == Timestamp(0)

    clock.step(NEW_YEAR_2026)
    timeline.run_for(1.0)
    clock.record()

    assert clock.trace.offsets[-1] == 0.0
