"""
What adjtimex(2) and the clocks do, on a real kernel and in the model of it.

``ReadingContract`` only reads and runs anywhere; ``WritingContract`` changes the clock, so over a real kernel it runs
in a virtual machine only.  What holds in both shows that the model is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL

import pytest

from ntptwist.kernel import timex
from ntptwist.kernel.timex import FREQUENCY_LIMIT, FREQUENCY_UNIT, TimeSystem, Timex
from ntptwist.timestamp import NANOSECONDS

DAY = 86_400
NANO_STEP = timex.ADJ_SETOFFSET | timex.ADJ_NANO


@dataclass(frozen=True)
class Machine:
    """
    A system with a clock and the means to test it.

    ``advance`` lets seconds pass.  ``reference`` reads a time, ns, that nothing steers.  ``tolerance`` is the largest
    difference between two reads, ns, that is no fault.
    """

    system: TimeSystem
    advance: Callable[[float], None]
    reference: Callable[[], int]
    tolerance: int

    def state(self) -> Timex:
        """Read what the kernel says of its clock."""
        answer = Timex()
        self.system.adjtimex(answer)
        return answer

    def lead(self) -> int:
        """Give CLOCK_REALTIME minus the reference, ns, from the tightest of some bracketed reads."""
        reads = []
        for _ in range(10):
            before = self.reference()
            realtime = self.system.realtime()
            after = self.reference()
            reads.append((after - before, realtime - (before + after) // 2))
        return min(reads)[1]

    def gain(self, seconds: float) -> float:
        """Give what the clock gains on each second of the reference, ns."""
        lead, start = self.lead(), self.reference()
        self.advance(seconds)
        return (self.lead() - lead) / (self.reference() - start) * NANOSECONDS

    def set_time_of_day(self, seconds: int) -> None:
        """Step forward to this second of the next day but one: no leap second is pending from an earlier test."""
        now = self.system.realtime()
        target = ((now // NANOSECONDS // DAY + 2) * DAY + seconds) * NANOSECONDS + NANOSECONDS // 5
        step = divmod(target - now, NANOSECONDS)
        self.system.adjtimex(Timex(modes=NANO_STEP, time_sec=step[0], time_usec=step[1]))


class ReadingContract:
    """What everybody may do."""

    def test_reads_the_state(self, machine: Machine) -> None:
        """The state of the clock can be read by everybody; its limits are the ones that are built in here."""
        now = machine.state()

        assert now.tolerance == FREQUENCY_LIMIT
        assert 9_000 <= now.tick <= 11_000
        assert abs(now.freq) <= FREQUENCY_LIMIT
        assert 0 <= now.maxerror <= timex.ERROR_LIMIT

    def test_the_state_carries_the_time(self, machine: Machine) -> None:
        """The time in the answer is CLOCK_REALTIME, in the unit that the status tells."""
        before = machine.system.realtime()
        now = machine.state()
        after = machine.system.realtime()
        unit = 1 if now.status & timex.STA_NANO else 1_000

        assert before - unit < now.time_sec * NANOSECONDS + now.time_usec * unit <= after

    def test_reads_what_is_left_of_an_adjtime(self, machine: Machine) -> None:
        """What adjtime(3) has still to do can be read by everybody."""
        assert machine.system.adjtimex(Timex(modes=timex.ADJ_OFFSET_SS_READ)) in range(6)

    def test_refuses_a_mode_that_contradicts_itself(self, machine: Machine) -> None:
        """The bit of adjtime(3) alone is refused."""
        with pytest.raises(OSError, match="Invalid") as caught:
            machine.system.adjtimex(Timex(modes=0x8000))

        assert caught.value.errno == EINVAL

    def test_clocks_run(self, machine: Machine) -> None:
        """Three clocks can be read; the one that counts suspends is never behind the one that does not."""
        first, second = machine.system.monotonic(), machine.system.boottime()
        realtime = machine.system.realtime()
        machine.advance(0.01)

        assert second >= first
        assert machine.system.monotonic() > first
        assert machine.system.boottime() > second
        assert machine.system.realtime() > realtime


class WritingContract(ReadingContract):
    """What CAP_SYS_TIME allows."""

    @pytest.mark.parametrize("freq", [0, 1, -1, 3_276_801, -3_276_801, 32_767_999, -32_767_999])
    def test_keeps_the_frequency_to_the_last_bit(self, machine: Machine, freq: int) -> None:
        """A frequency is read back as it was set, in 2^-16 ppm."""
        answer = Timex(modes=timex.ADJ_FREQUENCY, freq=freq)
        machine.system.adjtimex(answer)

        assert answer.freq == machine.state().freq == freq

    @pytest.mark.parametrize("sign", [1, -1])
    def test_clamps_the_frequency_silently(self, machine: Machine, sign: int) -> None:
        """Beyond 500 ppm the kernel takes 500 ppm and reports no error."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_FREQUENCY, freq=sign * (FREQUENCY_LIMIT + 1)))

        assert machine.state().freq == sign * FREQUENCY_LIMIT

    @pytest.mark.parametrize("ppm", [50.0, -499.5])
    def test_the_frequency_changes_the_rate(self, machine: Machine, ppm: float) -> None:
        """A frequency of 50 ppm gains 50 microseconds a second."""
        free = machine.gain(2.0)
        machine.system.adjtimex(Timex(modes=timex.ADJ_FREQUENCY, freq=round(ppm * FREQUENCY_UNIT)))

        assert machine.gain(2.0) - free == pytest.approx(ppm * 1e3, abs=machine.tolerance)

    def test_the_tick_changes_the_rate(self, machine: Machine) -> None:
        """One microsecond more in each tick is 100 ppm."""
        free = machine.gain(2.0)
        machine.system.adjtimex(Timex(modes=timex.ADJ_TICK, tick=10_001))

        assert machine.gain(2.0) - free == pytest.approx(100_000, abs=machine.tolerance)

    @pytest.mark.parametrize("tick", [9_000, 11_000])
    def test_takes_a_tick_within_a_tenth(self, machine: Machine, tick: int) -> None:
        """A tick may be a tenth off."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_TICK, tick=tick))

        assert machine.state().tick == tick

    @pytest.mark.parametrize("tick", [8_999, 11_001])
    def test_refuses_a_tick_beyond_a_tenth(self, machine: Machine, tick: int) -> None:
        """A tick that is more than a tenth off is an error, and not clamped."""
        with pytest.raises(OSError, match="Invalid") as caught:
            machine.system.adjtimex(Timex(modes=timex.ADJ_TICK, tick=tick))

        assert caught.value.errno == EINVAL
        assert machine.state().tick == timex.NOMINAL_TICK

    @pytest.mark.parametrize("delta", [500_000_000, -500_000_000, 1_234_567, -1])
    def test_steps_exactly(self, machine: Machine, delta: int) -> None:
        """A step is exact, backwards too: whole seconds are rounded down, the rest is added."""
        lead, monotonic = machine.lead(), machine.system.monotonic()
        seconds, nanoseconds = divmod(delta, NANOSECONDS)
        machine.system.adjtimex(Timex(modes=NANO_STEP, time_sec=seconds, time_usec=nanoseconds))

        assert abs(machine.lead() - lead - delta) <= machine.tolerance
        assert machine.system.monotonic() >= monotonic

    def test_steps_by_microseconds_without_the_nano_bit(self, machine: Machine) -> None:
        """Without ADJ_NANO the fraction of a step is in microseconds."""
        lead = machine.lead()
        machine.system.adjtimex(Timex(modes=timex.ADJ_SETOFFSET, time_sec=-1, time_usec=250_000))

        assert abs(machine.lead() - lead + 750_000_000) <= machine.tolerance

    @pytest.mark.parametrize(
        ("modes", "fraction"),
        [(NANO_STEP, -1), (NANO_STEP, NANOSECONDS), (timex.ADJ_SETOFFSET, -1), (timex.ADJ_SETOFFSET, 1_000_000)],
    )
    def test_refuses_a_fraction_that_is_none(self, machine: Machine, modes: int, fraction: int) -> None:
        """The fraction of a step must be positive and less than a second; otherwise nothing moves."""
        lead = machine.lead()
        with pytest.raises(OSError, match="Invalid") as caught:
            machine.system.adjtimex(Timex(modes=modes, time_sec=0, time_usec=fraction))

        assert caught.value.errno == EINVAL
        assert abs(machine.lead() - lead) <= machine.tolerance

    def test_refuses_a_time_before_the_boot(self, machine: Machine) -> None:
        """A clock can't be set to less than the machine's uptime after 1970."""
        with pytest.raises(OSError, match="Invalid") as caught:
            machine.system.adjtimex(Timex(modes=NANO_STEP, time_sec=-machine.system.realtime() // NANOSECONDS))

        assert caught.value.errno == EINVAL

    def test_a_step_unsettles_the_status(self, machine: Machine) -> None:
        """After a step the kernel calls the clock unsynchronised and its errors unknown, and counts in nanoseconds."""
        _synchronize(machine)
        machine.system.adjtimex(Timex(modes=NANO_STEP, time_usec=1))
        now = machine.state()

        assert now.status == timex.STA_UNSYNC | timex.STA_NANO
        assert (now.maxerror, now.esterror) == (timex.ERROR_LIMIT, timex.ERROR_LIMIT)

    def test_the_status_has_bits_that_can_only_be_read(self, machine: Machine) -> None:
        """Of a status with all bits set only the writable ones arrive."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS, status=0xFFFF))
        now = machine.state().status

        assert now & 0xFF == 0xFF
        assert now & timex.STA_RONLY == 0

    def test_the_unit_is_chosen_by_modes(self, machine: Machine) -> None:
        """ADJ_NANO and ADJ_MICRO choose the unit; writing a status does not."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_NANO))
        nano = machine.state().status
        machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS, status=timex.STA_UNSYNC))
        kept = machine.state().status
        machine.system.adjtimex(Timex(modes=timex.ADJ_MICRO))
        micro = machine.state().status

        assert [bool(status & timex.STA_NANO) for status in (nano, kept, micro)] == [True, True, False]

    def test_switching_the_pll_off_resets_the_unit(self, machine: Machine) -> None:
        """When the kernel's own loop is switched off the unit is the microsecond again."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS | timex.ADJ_NANO, status=timex.STA_PLL))
        machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS, status=0))

        assert machine.state().status == 0

    def test_clamps_the_errors(self, machine: Machine) -> None:
        """Errors beyond 16 s become 16 s."""
        modes = timex.ADJ_MAXERROR | timex.ADJ_ESTERROR
        machine.system.adjtimex(Timex(modes=modes, maxerror=2**31 - 1, esterror=2**31 - 1))
        now = machine.state()

        assert (now.maxerror, now.esterror) == (timex.ERROR_LIMIT, timex.ERROR_LIMIT)

    def test_the_maximum_error_grows(self, machine: Machine) -> None:
        """A clock that is not looked after is 500 microseconds less sure each second."""
        _synchronize(machine)
        machine.advance(4.0)
        now = machine.state()

        assert now.maxerror in {100 + 500 * seconds for seconds in (3, 4, 5)}
        assert now.esterror == 50

    def test_becomes_unsynchronised_when_the_error_is_too_large(self, machine: Machine) -> None:
        """Above 16 s of possible error the kernel itself declares the clock unsynchronised."""
        _synchronize(machine)
        machine.system.adjtimex(Timex(modes=timex.ADJ_MAXERROR, maxerror=timex.ERROR_LIMIT - 600))
        before = machine.system.adjtimex(Timex())
        machine.advance(3.0)
        now = machine.state()

        assert before == timex.TIME_OK
        assert now.status & timex.STA_UNSYNC
        assert now.maxerror == timex.ERROR_LIMIT

    def test_keeps_the_tai_offset(self, machine: Machine) -> None:
        """TAI - UTC is kept; what can't be one is ignored without an error."""
        for seconds in (37, -1, 100_001):
            machine.system.adjtimex(Timex(modes=timex.ADJ_TAI, constant=seconds))

        assert machine.state().tai == 37

    @pytest.mark.parametrize(
        ("flag", "moved", "states"),
        [
            (timex.STA_INS, -1, [timex.TIME_INS, timex.TIME_OOP, timex.TIME_WAIT]),
            (timex.STA_DEL, 1, [timex.TIME_DEL, timex.TIME_WAIT]),
        ],
        ids=["insert", "delete"],
    )
    def test_leaps_at_the_end_of_the_day(self, machine: Machine, flag: int, moved: int, states: list[int]) -> None:
        """A flag makes the kernel repeat or skip the last second of the day, once, and move TAI - UTC along."""
        machine.set_time_of_day(DAY - 4)
        machine.system.adjtimex(Timex(modes=timex.ADJ_TAI, constant=37))
        lead = machine.lead()
        _synchronize(machine, flag)
        seen = []
        for _ in range(14):
            machine.advance(0.5)
            seen.append(machine.system.adjtimex(Timex()))
        _synchronize(machine)
        machine.advance(1.1)

        assert list(dict.fromkeys(seen)) == [timex.TIME_OK, *states] or list(dict.fromkeys(seen)) == states
        assert abs(machine.lead() - lead - moved * NANOSECONDS) <= machine.tolerance
        assert machine.state().tai == 37 - moved
        assert machine.system.adjtimex(Timex()) == timex.TIME_OK

    def test_a_flag_that_is_taken_back_leaps_not(self, machine: Machine) -> None:
        """A flag that is cleared before midnight has no effect."""
        machine.set_time_of_day(DAY - 4)
        lead = machine.lead()
        _synchronize(machine, timex.STA_INS)
        machine.advance(1.5)
        announced = machine.system.adjtimex(Timex())
        _synchronize(machine)
        machine.advance(4.0)

        assert announced == timex.TIME_INS
        assert abs(machine.lead() - lead) <= machine.tolerance

    def test_a_step_loses_the_leap_second(self, machine: Machine) -> None:
        """A step before midnight makes the kernel forget when to leap, though the flag still stands."""
        machine.set_time_of_day(DAY - 6)
        _synchronize(machine, timex.STA_INS)
        machine.advance(1.5)
        machine.system.adjtimex(Timex(modes=NANO_STEP, time_usec=1))
        _synchronize(machine, timex.STA_INS)
        lead = machine.lead()
        machine.advance(6.0)

        assert machine.system.adjtimex(Timex()) == timex.TIME_INS
        assert abs(machine.lead() - lead) <= machine.tolerance

    def test_switching_the_pll_off_brings_the_leap_second_back(self, machine: Machine) -> None:
        """After a step, the kernel takes the flag as new when its own loop was switched on and off."""
        machine.set_time_of_day(DAY - 6)
        _synchronize(machine, timex.STA_INS)
        machine.advance(1.5)
        machine.system.adjtimex(Timex(modes=NANO_STEP, time_usec=1))
        _synchronize(machine, timex.STA_PLL)
        _synchronize(machine, timex.STA_INS)
        lead = machine.lead()
        machine.advance(7.0)

        assert abs(machine.lead() - lead + NANOSECONDS) <= machine.tolerance

    def test_an_adjtime_slews_half_a_millisecond_a_second(self, machine: Machine) -> None:
        """adjtime(3) slews by 500 ppm, tells what is left, and ends when it is given nothing."""
        machine.system.adjtimex(Timex(modes=timex.ADJ_OFFSET_SINGLESHOT, offset=100_000))
        machine.advance(1.5)
        rate = machine.gain(3.0)
        left = Timex(modes=timex.ADJ_OFFSET_SINGLESHOT)
        machine.system.adjtimex(left)
        machine.advance(1.5)

        assert rate == pytest.approx(500_000, abs=machine.tolerance)
        assert 100_000 - left.offset in range(1_500, 3_500, 500)
        assert machine.gain(2.0) == pytest.approx(0, abs=machine.tolerance)

    @pytest.mark.parametrize("forget", [False, True])
    def test_an_offset_is_worked_off_without_the_pll(self, machine: Machine, forget: bool) -> None:
        """An offset given to the PLL goes on to be slewed when the PLL is off, unless it is set to nothing before."""
        modes = timex.ADJ_STATUS | timex.ADJ_NANO | timex.ADJ_OFFSET
        on = timex.STA_PLL | timex.STA_FREQHOLD
        constant = Timex(modes=modes | timex.ADJ_TIMECONST, status=on, offset=300_000_000, constant=6)
        machine.system.adjtimex(constant)
        machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS | timex.ADJ_NANO, status=0))
        if forget:
            machine.system.adjtimex(Timex(modes=modes, status=on))
            machine.system.adjtimex(Timex(modes=timex.ADJ_STATUS | timex.ADJ_NANO, status=0))
        machine.advance(1.5)

        assert (machine.gain(3.0) < machine.tolerance) is forget


def _synchronize(machine: Machine, flags: int = 0) -> None:
    """Tell the kernel that its clock is good to 100 microseconds, and what leap second is to come."""
    modes = timex.ADJ_STATUS | timex.ADJ_MAXERROR | timex.ADJ_ESTERROR
    machine.system.adjtimex(Timex(modes=modes, status=flags, maxerror=100, esterror=50))
