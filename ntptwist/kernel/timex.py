"""
The calls that read and steer Linux' clocks: adjtimex(2) and the three clocks that the daemon looks at.

``TimeSystem`` names exactly the calls that are used.  ``RealSystem`` makes them; ``MemorySystem`` answers them from a
model of the kernel's ``kernel/time/ntp.c`` and ``timekeeping.c``, errors and silent clamping included.  One suite
of tests runs over both.  Nothing here decides: what is asked of the clock is ``ntptwist.kernel.clock``'s business.

Units are the kernel's own: frequencies in 2^-16 ppm, errors in microseconds, times in nanoseconds.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable
from errno import EINVAL, EPERM
from typing import Any, Protocol

from ntptwist.timestamp import NANOSECONDS

ADJ_OFFSET = 0x0001
ADJ_FREQUENCY = 0x0002
ADJ_MAXERROR = 0x0004
ADJ_ESTERROR = 0x0008
ADJ_STATUS = 0x0010
ADJ_TIMECONST = 0x0020
ADJ_TAI = 0x0080
ADJ_SETOFFSET = 0x0100
ADJ_MICRO = 0x1000
ADJ_NANO = 0x2000
ADJ_TICK = 0x4000
ADJ_OFFSET_SINGLESHOT = 0x8001
ADJ_OFFSET_SS_READ = 0xA001

STA_PLL = 0x0001
STA_PPSFREQ = 0x0002
STA_PPSTIME = 0x0004
STA_FLL = 0x0008
STA_INS = 0x0010
STA_DEL = 0x0020
STA_UNSYNC = 0x0040
STA_FREQHOLD = 0x0080
STA_NANO = 0x2000
STA_RONLY = 0xFF00
"""The bits of the status that ADJ_STATUS can't change."""

TIME_OK, TIME_INS, TIME_DEL, TIME_OOP, TIME_WAIT, TIME_ERROR = range(6)

FREQUENCY_UNIT = 65536
"""The kernel's steps of frequency in one ppm."""
FREQUENCY_LIMIT = 500 * FREQUENCY_UNIT
NOMINAL_TICK = 10_000
"""Microseconds in a tick of the 100 Hz that Linux shows to programs, whatever its own rate is."""
TICK_UNIT = 100 * FREQUENCY_UNIT
"""What one microsecond more in each tick is worth as a frequency."""
ERROR_LIMIT = 16_000_000
"""Microseconds; NTP_PHASE_LIMIT: what maxerror and esterror stop at, and above which the kernel sets STA_UNSYNC."""


def timex_fields(long: Any) -> list[tuple[str, Any]]:
    """Give the fields of ``struct timex`` (linux/timex.h) for a C ``long`` of this type; natural alignment pads."""
    integer = ctypes.c_int
    return [
        ("modes", ctypes.c_uint),
        ("offset", long),
        ("freq", long),
        ("maxerror", long),
        ("esterror", long),
        ("status", integer),
        ("constant", long),
        ("precision", long),
        ("tolerance", long),
        ("time_sec", long),
        ("time_usec", long),  # nanoseconds with ADJ_NANO and STA_NANO
        ("tick", long),
        ("ppsfreq", long),
        ("jitter", long),
        ("shift", integer),
        ("stabil", long),
        ("jitcnt", long),
        ("calcnt", long),
        ("errcnt", long),
        ("stbcnt", long),
        ("tai", integer),
        ("_reserved", integer * 11),
    ]


class Timex(ctypes.Structure):
    """``struct timex``: 208 octets with a 64-bit ``long``, 128 with a 32-bit one."""

    _fields_ = timex_fields(ctypes.c_long)

    modes: int
    offset: int
    freq: int
    maxerror: int
    esterror: int
    status: int
    constant: int
    precision: int
    tolerance: int
    time_sec: int
    time_usec: int
    tick: int
    tai: int


class TimeSystem(Protocol):
    """The system calls behind the clocks, and nothing else."""

    def adjtimex(self, timex: Timex) -> int:
        """
        Change what ``timex.modes`` names, fill in the rest and return the clock's state (TIME_OK ... TIME_ERROR).

        OSError: EPERM without CAP_SYS_TIME, unless ``modes`` only reads; EINVAL for what the kernel does not take.
        """

    def realtime(self) -> int:
        """Read CLOCK_REALTIME, ns."""

    def monotonic(self) -> int:
        """Read CLOCK_MONOTONIC, ns."""

    def boottime(self) -> int:
        """Read CLOCK_BOOTTIME, ns."""


class RealSystem:
    """This machine's kernel."""

    __slots__ = ("_adjtimex",)

    def __init__(self) -> None:
        # The C library that the process has already, so that one put in front of it (a simulator's) is obeyed too.
        self._adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        self._adjtimex.argtypes = [ctypes.POINTER(Timex)]

    def adjtimex(self, timex: Timex) -> int:
        """Call adjtimex(2); see TimeSystem."""
        state: int = self._adjtimex(timex)
        if state < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))
        return state

    realtime = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic_ns)

    @staticmethod
    def boottime() -> int:
        """Read CLOCK_BOOTTIME, ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


_ADJ_ADJTIME = 0x8000
_DAY = 86_400
_NO_LEAP = 1 << 63
_SCALE = 125 * FREQUENCY_UNIT * 1_000_000
"""Parts of a nanosecond that the model counts: both 2^-16 ppm and 1 ns/s are whole numbers of them per nanosecond."""
_SLEW_UNIT = 8192
"""One nanosecond per second in those parts."""


class MemorySystem:
    """
    A machine in memory: an oscillator that only ``advance`` moves, and the kernel's clock that it drives.

    The arithmetic is exact, so a test may compare nanoseconds.  Left out is what the daemon never uses: the frequency
    part of the PLL and FLL, and the kernel's own PPS discipline.

    ``raw`` is the oscillator's own time, ns.  ``privileged`` tells whether the caller has CAP_SYS_TIME.  ``costs``
    gives for each read of a clock the nanoseconds that pass before it.
    """

    def __init__(
        self,
        realtime: int = 1_790_000_000 * NANOSECONDS,
        monotonic: int = 1_000 * NANOSECONDS,
        *,
        asleep: int = 0,
        privileged: bool = True,
        costs: Iterable[int] = (),
    ) -> None:
        self.raw = 0
        self.privileged = privileged
        self._costs = iter(costs)
        self._realtime = realtime
        self._monotonic = monotonic
        self._asleep = asleep
        self._parts = 0
        self._freq = 0
        self._tick = NOMINAL_TICK
        self._slew = 0
        self._offset = 0
        self._adjust = 0
        self._constant = 2
        self._tai = 0
        self._status = STA_UNSYNC
        self._maxerror = self._esterror = ERROR_LIMIT
        self._state = TIME_OK
        self._leap_second = _NO_LEAP

    def advance(self, nanoseconds: int) -> None:
        """Let this much of the oscillator's time pass."""
        while nanoseconds > 0:
            second = self._realtime // NANOSECONDS
            rate = 125 * ((self._tick - NOMINAL_TICK) * TICK_UNIT + self._freq) + _SLEW_UNIT * self._slew
            left = (second + 1) * NANOSECONDS - self._realtime
            passed = min(nanoseconds, max(left * _SCALE // (_SCALE + rate), 1))
            gained, self._parts = divmod(passed * rate + self._parts, _SCALE)
            nanoseconds -= passed
            self.raw += passed
            self._monotonic += passed + gained
            self._realtime += passed + gained
            if self._realtime // NANOSECONDS != second:
                self._second_overflow(self._realtime // NANOSECONDS)

    def suspend(self, nanoseconds: int) -> None:
        """Suspend the machine for this long and resume it; its RTC is right."""
        self._asleep += nanoseconds
        self._realtime += nanoseconds

    def realtime(self) -> int:
        """Read CLOCK_REALTIME, ns."""
        self.advance(next(self._costs, 0))
        return self._realtime

    def monotonic(self) -> int:
        """Read CLOCK_MONOTONIC, ns."""
        self.advance(next(self._costs, 0))
        return self._monotonic

    def boottime(self) -> int:
        """Read CLOCK_BOOTTIME, ns."""
        self.advance(next(self._costs, 0))
        return self._monotonic + self._asleep

    def adjtimex(self, timex: Timex) -> int:
        """Do what adjtimex(2) does; see TimeSystem."""
        modes = timex.modes
        self._validate(timex)
        if modes & ADJ_SETOFFSET:
            self._step(timex.time_sec * NANOSECONDS + timex.time_usec * (1 if modes & ADJ_NANO else 1000))
        if modes & _ADJ_ADJTIME:
            left = self._adjust
            if modes == ADJ_OFFSET_SINGLESHOT:
                self._adjust = timex.offset
            timex.offset = left
        else:
            self._change(timex)
            timex.offset = self._offset if self._status & STA_NANO else self._offset // 1000
        self._fill(timex)
        return TIME_ERROR if self._status & STA_UNSYNC else self._state

    def _validate(self, timex: Timex) -> None:
        """Refuse what timekeeping_validate_timex() refuses."""
        modes = timex.modes
        if modes & _ADJ_ADJTIME and not modes & ADJ_OFFSET:
            raise OSError(EINVAL, os.strerror(EINVAL))
        if modes not in {0, ADJ_OFFSET_SS_READ} and not self.privileged:
            raise OSError(EPERM, os.strerror(EPERM))
        fraction = NANOSECONDS if modes & ADJ_NANO else 1_000_000
        tick_is_wild = modes & ADJ_TICK and not 9_000 <= timex.tick <= 11_000
        if tick_is_wild or (modes & ADJ_SETOFFSET and not 0 <= timex.time_usec < fraction):
            raise OSError(EINVAL, os.strerror(EINVAL))

    def _step(self, delta: int) -> None:
        """Do what timekeeping_inject_offset() and ntp_clear() do: whoever steps the clock says anew how good it is."""
        if self._realtime + delta < self._monotonic:
            raise OSError(EINVAL, os.strerror(EINVAL))
        self._realtime += delta
        self._adjust = self._offset = self._slew = 0
        self._status |= STA_UNSYNC
        self._maxerror = self._esterror = ERROR_LIMIT
        self._leap_second = _NO_LEAP

    def _change(self, timex: Timex) -> None:
        """Do what process_adjtimex_modes() does, in its order."""
        modes = timex.modes
        if modes & ADJ_STATUS:
            if self._status & STA_PLL and not timex.status & STA_PLL:
                self._state, self._status, self._leap_second = TIME_OK, STA_UNSYNC, _NO_LEAP
            self._status = self._status & STA_RONLY | timex.status & ~STA_RONLY
        if modes & ADJ_NANO:
            self._status |= STA_NANO
        if modes & ADJ_MICRO:
            self._status &= ~STA_NANO
        if modes & ADJ_FREQUENCY:
            self._freq = _clamp(timex.freq, -FREQUENCY_LIMIT, FREQUENCY_LIMIT)
        if modes & ADJ_MAXERROR:
            self._maxerror = _clamp(timex.maxerror, 0, ERROR_LIMIT)
        if modes & ADJ_ESTERROR:
            self._esterror = _clamp(timex.esterror, 0, ERROR_LIMIT)
        if modes & ADJ_TIMECONST:
            self._constant = _clamp(timex.constant + (0 if self._status & STA_NANO else 4), 0, 10)
        if modes & ADJ_TAI and 0 <= timex.constant <= 100_000:
            self._tai = timex.constant
        if modes & ADJ_OFFSET and self._status & STA_PLL:
            nanoseconds = timex.offset if self._status & STA_NANO else timex.offset * 1000
            self._offset = _clamp(nanoseconds, -NANOSECONDS // 2, NANOSECONDS // 2)
        if modes & ADJ_TICK:
            self._tick = timex.tick

    def _fill(self, timex: Timex) -> None:
        timex.freq = self._freq
        timex.maxerror = self._maxerror
        timex.esterror = self._esterror
        timex.status = self._status
        timex.constant = self._constant
        timex.precision = 1
        timex.tolerance = FREQUENCY_LIMIT
        timex.tick = self._tick
        timex.tai = self._tai
        timex.time_sec, nanoseconds = divmod(self._realtime, NANOSECONDS)
        timex.time_usec = nanoseconds if self._status & STA_NANO else nanoseconds // 1000

    def _second_overflow(self, second: int) -> None:
        """Do what second_overflow() does when a second of CLOCK_REALTIME begins."""
        if self._state == TIME_OK and self._status & (STA_INS | STA_DEL):
            self._state = TIME_INS if self._status & STA_INS else TIME_DEL
            last = _DAY - second % _DAY if self._status & STA_INS else _DAY - (second + 1) % _DAY
            self._leap_second = second + last
        elif self._state in {TIME_INS, TIME_DEL}:
            self._leap(second)
        elif self._state == TIME_OOP:
            self._state, self._leap_second = TIME_WAIT, _NO_LEAP
        elif self._state == TIME_WAIT and not self._status & (STA_INS | STA_DEL):
            self._state = TIME_OK
        self._maxerror += 500
        if self._maxerror > ERROR_LIMIT:
            self._maxerror = ERROR_LIMIT
            self._status |= STA_UNSYNC
        chunk = abs(self._offset) >> (2 + self._constant)
        chunk = chunk if self._offset > 0 else -chunk
        adjust = _clamp(self._adjust, -500, 500)
        self._offset -= chunk
        self._adjust -= adjust
        self._slew = chunk + adjust * 1000

    def _leap(self, second: int) -> None:
        """Insert or delete the second, if it is time and the flag still stands."""
        inserts = self._state == TIME_INS
        if not self._status & (STA_INS if inserts else STA_DEL):
            self._state, self._leap_second = TIME_OK, _NO_LEAP
        elif second == self._leap_second:
            self._realtime += -NANOSECONDS if inserts else NANOSECONDS
            self._tai += 1 if inserts else -1
            self._state = TIME_OOP if inserts else TIME_WAIT


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))
