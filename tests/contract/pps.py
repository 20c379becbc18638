"""
What every pulse-per-second device keeps to, the kernel's and the one in memory.

A test module subclasses ``PPSContract`` and gives a bench: the device, and how to let time pass.  A device of the
kernel's is expected to have been ticking for some seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import EINVAL, ETIMEDOUT

import pytest

from ntptwist.kernel.pps import (
    PPS_CANWAIT,
    PPS_CAPTUREASSERT,
    PPS_OFFSETASSERT,
    PPS_TSFMT_TSPEC,
    PPSCalls,
    PulseDevice,
    Setting,
)
from ntptwist.timestamp import NANOSECONDS

PLAIN = Setting(PPS_CAPTUREASSERT)
CORRECTED = Setting(PPS_CAPTUREASSERT | PPS_OFFSETASSERT, -250_000)


@dataclass
class Bench:
    """A device that ticks once a second; ``realtime`` reads the clock of its stamps, ``sleep`` lets seconds pass."""

    calls: PPSCalls
    realtime: Callable[[], int]
    sleep: Callable[[float], None]
    tolerance: int
    """Nanoseconds by which a stamp may miss a whole second, and a stretch of time its length."""
    has_clear_edge: bool = True


class PPSContract:
    """What holds for every device with an assert edge."""

    @pytest.fixture
    def bench(self) -> Bench:
        """Give the device."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def rest(self, bench: Bench) -> None:
        """Begin each test in the middle of a second."""
        bench.sleep((1_500_000_000 - bench.realtime() % NANOSECONDS) % NANOSECONDS / NANOSECONDS)

    def test_can_wait(self, bench: Bench) -> None:
        """The device tells that it has an assert edge and that it can be waited for."""
        assert bench.calls.capabilities() & PPS_CANWAIT
        assert bench.calls.capabilities() & PPS_CAPTUREASSERT

    def test_the_setting_is_kept(self, bench: Bench) -> None:
        """What was set is what it does; the kernel adds that stamps are nanoseconds and that it can be waited for."""
        bench.calls.set_parameters(CORRECTED)
        corrected = bench.calls.parameters()
        bench.calls.set_parameters(PLAIN)

        assert replace(CORRECTED, mode=CORRECTED.mode | PPS_TSFMT_TSPEC | PPS_CANWAIT) == corrected
        assert replace(PLAIN, mode=PLAIN.mode | PPS_TSFMT_TSPEC | PPS_CANWAIT) == bench.calls.parameters()

    def test_an_offset_moves_the_stamps(self, bench: Bench) -> None:
        """A correction that somebody has set is added to every stamp; a negative one makes them earlier."""
        bench.calls.set_parameters(CORRECTED)
        corrected = bench.calls.fetch(1.5).assertion
        bench.calls.set_parameters(PLAIN)
        bench.sleep(0.5)
        plain = bench.calls.fetch(1.5).assertion

        assert plain.stamp - corrected.stamp == pytest.approx(NANOSECONDS - CORRECTED.assert_offset, abs=20_000)

    @pytest.mark.parametrize("mode", [0x10000, 0, PPS_TSFMT_TSPEC])
    def test_a_mode_that_it_can_not_have(self, bench: Bench, mode: int) -> None:
        """A mode that is unknown, or captures nothing, is refused and changes nothing."""
        before = bench.calls.parameters()
        with pytest.raises(OSError, match=os.strerror(EINVAL)) as caught:
            bench.calls.set_parameters(Setting(mode))

        assert EINVAL == caught.value.errno
        assert before == bench.calls.parameters()

    def test_waits_for_the_next_pulse(self, bench: Bench) -> None:
        """A fetch returns at the next pulse, whose stamp is the second, and not the one before."""
        before = bench.calls.fetch(0.0).assertion
        start = bench.realtime()
        pulse = bench.calls.fetch(1.5).assertion

        assert before.sequence + 1 == pulse.sequence
        assert pulse.stamp > start
        assert abs((pulse.stamp + NANOSECONDS // 2) % NANOSECONDS - NANOSECONDS // 2) <= bench.tolerance
        assert bench.realtime() - start <= NANOSECONDS // 2 + 10 * bench.tolerance

    def test_does_not_wait(self, bench: Bench) -> None:
        """A fetch with no time at all gives the newest pulse, again and again."""
        bench.calls.fetch(1.5)
        bench.sleep(0.3)
        start = bench.realtime()
        pulses = [bench.calls.fetch(0.0).assertion for _ in range(3)]

        assert [pulses[0]] * 3 == pulses
        assert bench.realtime() - start <= 10 * bench.tolerance

    def test_waits_no_longer_than_it_was_told(self, bench: Bench) -> None:
        """When no pulse comes in time, the fetch ends with ETIMEDOUT."""
        start = bench.realtime()
        with pytest.raises(TimeoutError) as caught:
            bench.calls.fetch(0.25)

        assert ETIMEDOUT == caught.value.errno
        assert 250_000_000 <= bench.realtime() - start <= 300_000_000

    def test_counts_what_nobody_waited_for(self, bench: Bench) -> None:
        """Whoever sleeps through pulses sees by the number how many there were."""
        before = bench.calls.fetch(1.5).assertion
        bench.sleep(3.5)
        after = bench.calls.fetch(1.5).assertion

        assert before.sequence + 4 == after.sequence
        assert after.stamp - before.stamp == pytest.approx(4 * NANOSECONDS, abs=bench.tolerance)

    def test_is_present(self, bench: Bench) -> None:
        """A device that was not unplugged is there."""
        assert bench.calls.is_present()

    def test_pulse_device(self, bench: Bench) -> None:
        """What a source waits on takes corrections away, gives pulses, and gives nothing when there is none."""
        bench.calls.set_parameters(CORRECTED)
        device = PulseDevice(bench.calls, "/dev/pps0")
        nothing = device.wait(0.25)
        pulses = [device.wait(1.5) for _ in range(2)]

        assert bench.calls.parameters().assert_offset == 0
        assert nothing is None
        assert pulses[0] is not None
        assert pulses[1] is not None
        assert 1 == pulses[1].sequence - pulses[0].sequence

    def test_the_other_edge(self, bench: Bench) -> None:
        """The clear edge comes a while after the assert edge; a device that promises one and has none gives nothing."""
        device = PulseDevice(bench.calls, "/dev/pps0", "clear")
        device.wait(1.5)
        pulse = device.wait(1.5)

        assert bench.has_clear_edge == (pulse is not None)
        if pulse is not None:
            assert pulse.stamp % NANOSECONDS == pytest.approx(100_000_000, abs=bench.tolerance)
