"""
The three clocks that a daemon may keep: the kernel's, the kernel's looked at only, and one of its own.

* ``KernelClock`` steers CLOCK_REALTIME by frequency and by steps, both through adjtimex(2).  The kernel's own
  discipline (PLL, FLL, PPS) is switched off at take-over and stays off: there is one discipline, and it is ours.
* ``ObservingClock`` reads the same clock and never writes.
* ``VirtualClock`` is the daemon's own, over CLOCK_MONOTONIC, with a known error to find: for demonstrations and tests.

All of them provide ``ntptwist.interfaces.IClock``, and one contract suite runs over all of them.  An offset is
*reference minus local* as everywhere: a clock that is slow has a positive one.
"""

from __future__ import annotations

import time
from errno import EPERM

from zope.interface import implementer

from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.kernel.timex import (
    ADJ_ESTERROR,
    ADJ_FREQUENCY,
    ADJ_MAXERROR,
    ADJ_NANO,
    ADJ_OFFSET,
    ADJ_OFFSET_SINGLESHOT,
    ADJ_SETOFFSET,
    ADJ_STATUS,
    ADJ_TAI,
    ADJ_TICK,
    ERROR_LIMIT,
    FREQUENCY_LIMIT,
    FREQUENCY_UNIT,
    NOMINAL_TICK,
    STA_DEL,
    STA_FREQHOLD,
    STA_INS,
    STA_PLL,
    STA_UNSYNC,
    TICK_UNIT,
    TimeSystem,
    Timex,
)
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

MAXIMUM_FREQUENCY = FREQUENCY_LIMIT / FREQUENCY_UNIT
"""The kernel's limit, ppm.  Tick would reach further, in jumps of 100 ppm; an oscillator that needs it is broken."""

_SHORTEST_SUSPEND = 1_000_000
"""
Nanoseconds by which the reads must rule out the time asleep that was told before: shorter than any suspend, longer than
what two clocks that are read one after the other can seem to differ.
"""
_FLAGS = {Leap.NONE: 0, Leap.INSERT: STA_INS, Leap.DELETE: STA_DEL, Leap.UNSYNCHRONIZED: STA_UNSYNC}


def explain(error: ClockError) -> str:
    """Say in one line for the operator why the clock can't be steered, and what can be done."""
    if error.errno == EPERM:
        return "can't steer the system clock: CAP_SYS_TIME is missing; use --no-clock-control to run without it"
    return f"can't steer the system clock: {error}"


class SystemAxes:
    """
    CLOCK_REALTIME and CLOCK_MONOTONIC as one reading.

    Two clocks can't be read at once, and between two reads the process may lose the processor for milliseconds.  So
    REALTIME is read between two reads of MONOTONIC, three times in a row, and the tightest bracket counts: one
    interruption spoils one bracket, three in two microseconds do not happen.
    """

    __slots__ = ("_asleep", "_system")

    def __init__(self, system: TimeSystem) -> None:
        self._system = system
        self._asleep = 0

    def read(self) -> ClockReading:
        """
        Read both axes together, within half the bracket (tens of nanoseconds), and the time asleep.

        BOOTTIME - MONOTONIC is a constant of the kernel that only a suspend changes, but two reads give it with the
        noise between them.  The reads around BOOTTIME bound it from both sides; the value that was told before is told
        again, to the nanosecond, unless they rule it out by more than a millisecond.
        """
        system = self._system
        monotonic, realtime = system.monotonic, system.realtime
        local = middle = 0
        tightest = NANOSECONDS << 32
        before = monotonic()
        for _ in range(3):
            candidate = realtime()
            after = monotonic()
            if after - before <= tightest:
                tightest, middle, local = after - before, before + after >> 1, candidate
            before = after
        boottime = system.boottime()
        most, least = boottime - before, boottime - monotonic()
        if not least - _SHORTEST_SUSPEND <= self._asleep <= most + _SHORTEST_SUSPEND:
            self._asleep = least + most >> 1
        return ClockReading(Timestamp(local), Monotonic(middle), self._asleep)


def _call(system: TimeSystem, operation: str, timex: Timex) -> int:
    try:
        return system.adjtimex(timex)
    except OSError as error:
        raise ClockError(operation, error.errno or 0, error.strerror or str(error)) from error


def _frequency_in_force(system: TimeSystem) -> int:
    """Give the kernel's whole correction in 2^-16 ppm: its frequency and what its tick differs from the nominal one."""
    timex = Timex()
    _call(system, "read the clock's state", timex)
    return timex.freq + (timex.tick - NOMINAL_TICK) * TICK_UNIT


def _kernel_frequency(ppm: float) -> int:
    """Give a frequency in 2^-16 ppm, within the kernel's limits; ValueError for NaN, which no comparison may hide."""
    return round(max(min(ppm, MAXIMUM_FREQUENCY), -MAXIMUM_FREQUENCY) * FREQUENCY_UNIT)


def _microseconds(seconds: float) -> int:
    """Give an error bound as the kernel wants it: rounded up, and at most what it takes for "unknown"."""
    if not seconds < ERROR_LIMIT / 1e6:  # NaN too
        return ERROR_LIMIT
    return max(-int(-seconds * 1e6 // 1), 0)


def _is_last_day_of_month(local: Timestamp) -> bool:
    return time.gmtime(local // NANOSECONDS + 86_400).tm_mday == 1


@implementer(IClock)
class KernelClock:
    """
    The system's clock, steered.

    ``take_over`` comes before everything else; making the object changes nothing.
    """

    control = "system"
    steerable = True
    maximum_frequency = MAXIMUM_FREQUENCY

    __slots__ = ("_axes", "_system")

    def __init__(self, system: TimeSystem) -> None:
        self._system = system
        self._axes = SystemAxes(system)

    def take_over(self) -> ClockReading:
        """
        Switch the kernel's own discipline off, keep the rate that is in force, and mark the clock unsynchronised.

        Whatever a daemon before us has left ends here: PLL, FLL and PPS, a slew that is still going on, and a tick
        that is not the nominal one; its part goes into the frequency, so that the rate does not jump (unless the
        sum is beyond 500 ppm).  The unit becomes the nanosecond, which the first step would bring along anyhow.

        Called by the service, once, before the clock is used.  ClockError: EPERM without CAP_SYS_TIME; see ``explain``.
        """
        frequency = _frequency_in_force(self._system)
        self._adjust(Timex(modes=ADJ_OFFSET_SINGLESHOT))  # no more of an adjtime(3)
        # What is left of an offset is slewed on even without the PLL, and is forgotten only while the PLL is on.
        self._adjust(Timex(modes=ADJ_OFFSET | ADJ_STATUS | ADJ_NANO, status=STA_PLL | STA_FREQHOLD | STA_UNSYNC))
        self._adjust(
            Timex(
                modes=ADJ_STATUS | ADJ_NANO | ADJ_FREQUENCY | ADJ_TICK | ADJ_MAXERROR | ADJ_ESTERROR,
                status=STA_UNSYNC,
                freq=max(-FREQUENCY_LIMIT, min(frequency, FREQUENCY_LIMIT)),
                tick=NOMINAL_TICK,
                maxerror=ERROR_LIMIT,
                esterror=ERROR_LIMIT,
            )
        )
        return self.read()

    def _adjust(self, timex: Timex, operation: str = "take over the clock") -> int:
        return _call(self._system, operation, timex)

    def read(self) -> ClockReading:
        """Read all axes of the clock together; about a microsecond."""
        return self._axes.read()

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """Give the stamp back: the kernel stamps with the very clock that is kept."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """
        Move the clock by ``delta`` nanoseconds, exactly.

        The kernel forgets with it what it was told of the clock (STA_UNSYNC, 16 s): ``set_status`` must follow.  Of a
        leap second it forgets the time and not that it was announced, so that it would never come; a PLL that is
        switched on and off makes it forget the rest, and the next status announces it anew.
        """
        seconds, nanoseconds = divmod(delta, NANOSECONDS)
        modes, status = ADJ_SETOFFSET | ADJ_STATUS | ADJ_NANO, STA_PLL | STA_UNSYNC
        self._adjust(Timex(modes=modes, status=status, time_sec=seconds, time_usec=nanoseconds), "step the clock")
        self._adjust(Timex(modes=ADJ_STATUS | ADJ_NANO, status=STA_UNSYNC), "step the clock")
        return self.read()

    def set_frequency(self, ppm: float) -> ClockReading:
        """Set the correction, clamped to 500 ppm and rounded to 2^-16 ppm; it is in force at once."""
        self._adjust(Timex(modes=ADJ_FREQUENCY, freq=_kernel_frequency(ppm)), "set the clock's frequency")
        return self.read()

    def frequency(self) -> float:
        """Give the correction that the kernel has in force, ppm."""
        return _frequency_in_force(self._system) / FREQUENCY_UNIT

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """
        Tell the kernel the leap indicator and both errors in seconds; the errors are rounded up to microseconds.

        An announced leap second ends the month (RFC 5905, figure 9), but the kernel executes it at the end of the very
        day on which its flag stands.  So the flag is set on the last day of a month only.  The status word
        is written whole: since the take-over it is ours.
        """
        flags = _FLAGS[leap]
        if flags & (STA_INS | STA_DEL) and not _is_last_day_of_month(Timestamp(self._system.realtime())):
            flags = 0
        timex = Timex(
            modes=ADJ_STATUS | ADJ_ESTERROR | ADJ_MAXERROR,
            status=flags,
            esterror=_microseconds(estimated_error),
            maxerror=_microseconds(maximum_error),
        )
        self._adjust(timex, "set the clock's status")

    def set_tai_offset(self, seconds: int) -> None:
        """Tell the kernel TAI - UTC in whole seconds, 0 to 100,000; it silently ignores any other."""
        self._adjust(Timex(modes=ADJ_TAI, constant=seconds), "set the TAI offset")


@implementer(IClock)
class ObservingClock:
    """The system's clock, looked at only: someone else keeps it, or nobody."""

    control = "observe"
    steerable = False
    maximum_frequency = MAXIMUM_FREQUENCY

    __slots__ = ("_axes", "_system")

    def __init__(self, system: TimeSystem) -> None:
        self._system = system
        self._axes = SystemAxes(system)

    def read(self) -> ClockReading:
        """Read all axes of the clock together; about a microsecond."""
        return self._axes.read()

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """Give the stamp back: the kernel stamps with the very clock that is observed."""
        return stamp

    def step(self, delta: int) -> ClockReading:
        """Refuse: ClockError with EPERM."""
        raise ClockError(f"step by {delta} ns", EPERM, "this clock is only observed")

    def set_frequency(self, ppm: float) -> ClockReading:
        """Refuse: ClockError with EPERM."""
        raise ClockError(f"set the frequency to {ppm} ppm", EPERM, "this clock is only observed")

    def frequency(self) -> float:
        """Give the correction that somebody has put in force, ppm; 0 where a sandbox hides it (ProtectClock=)."""
        try:
            return _frequency_in_force(self._system) / FREQUENCY_UNIT
        except ClockError:
            return 0.0

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Do nothing: what the kernel knows is its keeper's business."""

    def set_tai_offset(self, seconds: int) -> None:
        """Do nothing: what the kernel knows is its keeper's business."""


@implementer(IClock)
class VirtualClock:
    """
    A clock of our own over CLOCK_MONOTONIC, which behaves as the kernel's: same limits, same rounding, same suspend.

    It starts ``offset_s`` seconds off (reference minus local: positive is slow) on an oscillator that runs
    ``frequency_ppm`` fast, both relative to the system's clock.  Its rate is ``(1 + oscillator)(1 + correction)``
    times that of CLOCK_MONOTONIC.  The arithmetic is exact: what is gained is counted in parts of a nanosecond that
    make both factors whole numbers, and only a reading is rounded, so no number of corrections adds up an error.
    """

    control = "virtual"
    steerable = True
    maximum_frequency = MAXIMUM_FREQUENCY

    __slots__ = ("_axes", "_correction", "_excess", "_gained", "_local", "_oscillator", "_since", "_system")

    def __init__(self, system: TimeSystem, offset_s: float = 0.0, frequency_ppm: float = 0.0) -> None:
        self._system = system
        self._axes = SystemAxes(system)
        start = self._axes.read()
        self._oscillator = round(frequency_ppm * FREQUENCY_UNIT)
        self._correction = 0
        self._since = start.monotonic
        self._gained = 0
        self._excess = self._rate()
        self._local = start.local - start.asleep - start.monotonic - round(offset_s * NANOSECONDS)

    def _rate(self) -> int:
        """Give what the clock gains, in parts, on each nanosecond of the system's."""
        return _UNITY * (self._oscillator + self._correction) + self._oscillator * self._correction

    def _monotonic(self, monotonic: int) -> int:
        """Give our monotonic time when the system's is ``monotonic``."""
        return monotonic + (self._gained + (monotonic - self._since) * self._excess) // _PARTS

    def read(self) -> ClockReading:
        """Read all axes of the clock together; after a suspend ``local`` has moved on, as the kernel's does."""
        system = self._axes.read()
        monotonic = self._monotonic(system.monotonic)
        return ClockReading(Timestamp(monotonic + self._local + system.asleep), Monotonic(monotonic), system.asleep)

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """
        Map a stamp of CLOCK_REALTIME onto our time.

        The difference to CLOCK_MONOTONIC is sampled now, so a step of REALTIME hurts only the stamps under way.
        """
        system = self._axes.read()
        monotonic = self._monotonic(stamp - system.local + system.monotonic)
        return Timestamp(monotonic + self._local + system.asleep)

    def step(self, delta: int) -> ClockReading:
        """Move the clock by ``delta`` nanoseconds, exactly."""
        self._local += delta
        return self.read()

    def set_frequency(self, ppm: float) -> ClockReading:
        """Set the correction, clamped to 500 ppm and rounded to 2^-16 ppm; it is in force at once."""
        correction = _kernel_frequency(ppm)
        now = self._system.monotonic()
        self._gained += (now - self._since) * self._excess
        self._since = Monotonic(now)
        self._correction = correction
        self._excess = self._rate()
        return self.read()

    def frequency(self) -> float:
        """Give the correction in force, ppm."""
        return self._correction / FREQUENCY_UNIT

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Do nothing: no kernel wants to know."""

    def set_tai_offset(self, seconds: int) -> None:
        """Do nothing: no kernel wants to know."""

    def state(self) -> tuple[int, int, int, int, int]:
        """Give what another process of this machine needs to read this clock too, until it is next steered."""
        return self._oscillator, self._correction, self._since, self._gained, self._local

    def follow(self, state: tuple[int, int, int, int, int]) -> None:
        """Be the clock of another process, whose CLOCK_MONOTONIC is the same: it has given this ``state``."""
        self._oscillator, self._correction, since, self._gained, self._local = state
        self._since = Monotonic(since)
        self._excess = self._rate()

    def offset(self) -> float:
        """Give our true error against the system's clock in seconds, reference minus local: positive means slow."""
        system = self._axes.read()
        local = self._monotonic(system.monotonic) + self._local + system.asleep
        return (system.local - local) / NANOSECONDS


_UNITY = FREQUENCY_UNIT * 1_000_000
"""A frequency of one, in 2^-16 ppm."""
_PARTS = _UNITY * _UNITY
"""The parts of a nanosecond that a VirtualClock counts."""
