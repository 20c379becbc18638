"""
What every IClock keeps to, whatever stands behind it: memory, a simulation, or a real kernel.

A test module subclasses ``ClockContract``, and ``SteerableClockContract`` too where the clock can be steered, and gives
each a fixture ``world``.  All comparisons are against ``world.tolerance``, so that a clock in memory is held to the
nanosecond and a real one to what two reads can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from zope.interface.verify import verifyObject

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.timestamp import ClockReading, Timestamp

FREQUENCY_UNIT = 2.0**-16
"""The kernel's unit of frequency, ppm."""


@dataclass(frozen=True)
class ClockWorld:
    """
    A clock and the means to test it.

    ``advance`` lets seconds pass.  ``reference`` reads a time, ns, that nothing steers and on which the clock's
    oscillator keeps a constant rate.  ``kernel_stamp`` stamps this moment as the kernel would stamp a datagram.
    ``tolerance`` is the largest difference, ns, that is no fault.
    """

    clock: IClock
    advance: Callable[[float], None]
    reference: Callable[[], int]
    kernel_stamp: Callable[[], Timestamp]
    tolerance: int


class ClockContract:
    """What holds for every clock."""

    def test_provides_the_interface(self, world: ClockWorld) -> None:
        """A clock has everything that the daemon asks of one."""
        assert verifyObject(IClock, world.clock)
        assert world.clock.control in {"system", "observe", "virtual"}
        assert world.clock.maximum_frequency > 0

    def test_can_be_steered_unless_it_only_observes(self, world: ClockWorld) -> None:
        """A clock says whether it can be steered, and how."""
        assert world.clock.steerable is (world.clock.control != "observe")

    def test_both_axes_move_on_at_the_same_rate(self, world: ClockWorld) -> None:
        """Time passes, and by the same amount on the axis that can be stepped and on the other."""
        before = world.clock.read()
        world.advance(0.5)
        after = world.clock.read()

        assert after.monotonic > before.monotonic
        assert abs((after.local - before.local) - (after.monotonic - before.monotonic)) <= world.tolerance

    def test_does_not_run_backwards(self, world: ClockWorld) -> None:
        """Readings that follow each other do not go back on any axis."""
        readings = [world.clock.read() for _ in range(100)]

        assert sorted(readings) == readings
        assert sorted(r.monotonic for r in readings) == [r.monotonic for r in readings]

    def test_time_asleep_does_not_tremble(self, world: ClockWorld) -> None:
        """The time asleep is the same in every reading of a machine that is awake."""
        asleep = {world.clock.read().asleep for _ in range(100)}

        assert len(asleep) == 1

    def test_maps_the_kernels_stamps_onto_its_own_axis(self, world: ClockWorld) -> None:
        """A stamp of the kernel's lies between what the clock said before and after it."""
        before = world.clock.read()
        stamp = world.kernel_stamp()
        after = world.clock.read()
        mapped = world.clock.from_kernel(stamp)

        assert before.local - world.tolerance <= mapped <= after.local + world.tolerance

    def test_a_frequency_is_in_force(self, world: ClockWorld) -> None:
        """A clock can always tell its correction, which is within its limits."""
        assert abs(world.clock.frequency()) <= world.clock.maximum_frequency

    @pytest.mark.parametrize("leap", Leap)
    def test_takes_every_status(self, world: ClockWorld, leap: Leap) -> None:
        """Every leap indicator, and errors from zero to unknown, can be handed in."""
        world.clock.set_status(leap, 0.0, 0.0)
        world.clock.set_status(leap, 1e-9, 16.0)
        world.clock.set_status(leap, float("inf"), float("inf"))
        world.clock.set_tai_offset(37)


class ObservingClockContract(ClockContract):
    """What holds, besides, for a clock that is only observed."""

    def test_refuses_to_be_steered(self, world: ClockWorld) -> None:
        """A step or a frequency is an error: nobody may believe that it took effect."""
        with pytest.raises(ClockError):
            world.clock.step(1)
        with pytest.raises(ClockError):
            world.clock.set_frequency(1.0)


class SteerableClockContract(ClockContract):
    """What holds, besides, for a clock that can be steered."""

    @pytest.mark.parametrize("delta", [1, -1, 1_234_567, -1_234_567, 500_000_000, -500_000_000, 10**9, -3_600 * 10**9])
    def test_a_step_moves_one_axis_only(self, world: ClockWorld, delta: int) -> None:
        """A step moves the local time by exactly what was asked for, and the monotonic time not at all."""
        before = world.clock.read()
        stepped = world.clock.step(delta)
        after = world.clock.read()

        assert abs(_difference(stepped) - _difference(before) - delta) <= world.tolerance
        assert before.monotonic <= stepped.monotonic <= after.monotonic
        assert after.asleep == before.asleep

        world.clock.step(-delta)

    def test_steps_cancel_out(self, world: ClockWorld) -> None:
        """Many steps forward and back leave the clock where it was."""
        before = world.clock.read()
        for delta in range(1, 500_000_000, 25_000_001):
            world.clock.step(delta)
            world.clock.step(-delta)

        assert abs(_difference(world.clock.read()) - _difference(before)) <= world.tolerance

    @pytest.mark.parametrize("ppm", [0.0, 23.456789, -23.456789, 499.99999, -499.99999])
    def test_tells_the_frequency_that_is_in_force(self, world: ClockWorld, ppm: float) -> None:
        """The correction in force is the one that was asked for, to the kernel's unit."""
        world.clock.set_frequency(ppm)

        assert abs(world.clock.frequency() - ppm) <= FREQUENCY_UNIT / 2

    def test_clamps_the_frequency(self, world: ClockWorld) -> None:
        """What is beyond the limits is cut to them, and the clock says so."""
        limit = world.clock.maximum_frequency
        world.clock.set_frequency(10 * limit)
        upper = world.clock.frequency()
        world.clock.set_frequency(-10 * limit)
        lower = world.clock.frequency()

        assert (upper, lower) == (limit, -limit)

    def test_refuses_a_frequency_that_is_no_number(self, world: ClockWorld) -> None:
        """A correction of NaN is our own mistake, and changes nothing."""
        world.clock.set_frequency(12.5)
        with pytest.raises(ValueError, match="NaN"):
            world.clock.set_frequency(float("nan"))

        assert world.clock.frequency() == 12.5

    def test_setting_the_frequency_moves_no_time(self, world: ClockWorld) -> None:
        """A new correction changes the rate and not the time: both axes stay together."""
        before = world.clock.read()
        for ppm in (400.0, -400.0, 0.1, 0.0):
            reading = world.clock.set_frequency(ppm)

            assert abs(_difference(reading) - _difference(before)) <= world.tolerance
            assert reading.monotonic >= before.monotonic

    @pytest.mark.parametrize("ppm", [100.0, -100.0, 500.0])
    def test_the_frequency_is_the_rate(self, world: ClockWorld, ppm: float) -> None:
        """A clock runs faster by as much as it was told, from the moment that the call returned."""
        free = _rate(world, 0.0)
        steered = _rate(world, ppm)

        assert abs(steered - free - ppm * 1e-6) <= world.tolerance * 1e-9 + abs(ppm * 1e-9)

    def test_steps_leave_the_frequency_alone(self, world: ClockWorld) -> None:
        """A step does not change the correction in force."""
        world.clock.set_frequency(-7.5)
        world.clock.step(250_000_000)
        world.clock.step(-250_000_000)

        assert world.clock.frequency() == -7.5


def _difference(reading: ClockReading) -> int:
    """Give what only steps change."""
    return reading.local - reading.monotonic


def _rate(world: ClockWorld, ppm: float) -> float:
    """Give what the clock gains on each second of the reference at a correction, seconds, over two seconds."""
    world.clock.set_frequency(ppm)
    start, lead = _lead(world)
    world.advance(2.0)
    end, later = _lead(world)
    return (later - lead) / (end - start)


def _lead(world: ClockWorld) -> tuple[int, int]:
    """Give the reference, and the clock minus the reference, ns, from the tightest of some bracketed reads."""
    reads = []
    for _ in range(10):
        before = world.reference()
        monotonic = world.clock.read().monotonic
        after = world.reference()
        middle = (before + after) // 2
        reads.append((after - before, middle, monotonic - middle))
    return min(reads)[1:]
