"""
A pulse-per-second device, ``/dev/ppsN`` (RFC 2783 as Linux has it: linux/pps.h, drivers/pps/pps.c).

``PPSCalls`` names exactly the ioctls that are used, of one open device.  ``KernelPPS`` makes them; ``EmulatedPPS``
answers them as the kernel would, and ticks at the whole seconds of any clock: for tests, and for a demonstration on a
machine without a receiver.  One suite of tests runs over both.  ``PulseDevice`` stands on top and is what a source
waits on, in a thread: the kernel's poll() on these devices has meant different things, so no reactor may watch one.

The kernel keeps the newest event of each edge and how many there were: whoever sleeps through one sees it in the
sequence number.  Its own correction of stamps (PPS_OFFSETASSERT) must be none, since it holds for all readers of a
device: an offset is applied once, by the source.  (The drivers switch it on, with an offset of 0.)
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from errno import EINTR, EINVAL, ENODEV, ENOTTY, EPERM, ETIMEDOUT
from typing import Final, Literal, Protocol

from zope.interface import implementer

from ntptwist.errors import DeviceError
from ntptwist.interfaces import IPPSDevice
from ntptwist.timestamp import NANOSECONDS, Timestamp

PPS_CAPTUREASSERT: Final = 0x01
PPS_CAPTURECLEAR: Final = 0x02
PPS_OFFSETASSERT: Final = 0x10
PPS_OFFSETCLEAR: Final = 0x20
PPS_CANWAIT: Final = 0x100
PPS_TSFMT_TSPEC: Final = 0x1000
PPS_API_VERSION: Final = 1

Edge = Literal["assert", "clear"]
_CAPTURE = {"assert": PPS_CAPTUREASSERT, "clear": PPS_CAPTURECLEAR}
_OFFSETS = PPS_OFFSETASSERT | PPS_OFFSETCLEAR
_WRITE, _READ = 1, 2
_SHORTEST_SLEEP = 10_000
"""Nanoseconds of an EmulatedPPS; a clock that is being slowed down must not make it spin."""


def ioctl_number(number: int, direction: int, pointer: int = ctypes.sizeof(ctypes.c_void_p)) -> int:
    """Give the number of a request: what it encodes is the size of a *pointer*, 4 or 8, not of what it points to."""
    return direction << 30 | pointer << 16 | ord("p") << 8 | number


PPS_GETPARAMS: Final = ioctl_number(0xA1, _READ)
PPS_SETPARAMS: Final = ioctl_number(0xA2, _WRITE)
PPS_GETCAP: Final = ioctl_number(0xA3, _READ)
PPS_FETCH: Final = ioctl_number(0xA4, _READ | _WRITE)


class KTime(ctypes.Structure):
    """``struct pps_ktime``; a ``flags`` of 1 says that it is no time."""

    _fields_ = (("sec", ctypes.c_int64), ("nsec", ctypes.c_int32), ("flags", ctypes.c_uint32))
    sec: int
    nsec: int
    flags: int


class FetchData(ctypes.Structure):
    """``struct pps_fdata``: 64 octets, 60 where a 64-bit integer is aligned to four (i386)."""

    class Info(ctypes.Structure):
        """``struct pps_kinfo``."""

        _fields_ = (
            ("assert_sequence", ctypes.c_uint32),
            ("clear_sequence", ctypes.c_uint32),
            ("assert_time", KTime),
            ("clear_time", KTime),
            ("current_mode", ctypes.c_int),
        )

    _fields_ = (("info", Info), ("timeout", KTime))


class Parameters(ctypes.Structure):
    """``struct pps_kparams``, 40 octets: the mode, and what is added to the stamps of either edge."""

    _fields_ = (
        ("api_version", ctypes.c_int),
        ("mode", ctypes.c_int),
        ("assert_offset", KTime),
        ("clear_offset", KTime),
    )
    api_version: int
    mode: int
    assert_offset: KTime
    clear_offset: KTime


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device is to do: the mode, and the nanoseconds that are added to the stamps of either edge."""

    mode: int
    assert_offset: int = 0
    clear_offset: int = 0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One event: its number, modulo 2^32, and its kernel timestamp on CLOCK_REALTIME."""

    sequence: int
    stamp: Timestamp


@dataclass(frozen=True, slots=True)
class Events:
    """The newest event of each edge; a sequence number of 0 says that there was none."""

    assertion: Pulse
    clear: Pulse


class PPSCalls(Protocol):
    """The ioctls of one open device, and nothing else.  All raise OSError: ENOTTY on what is no PPS device."""

    def capabilities(self) -> int:
        """PPS_GETCAP: the modes that the device can have, and PPS_CANWAIT."""

    def parameters(self) -> Setting:
        """PPS_GETPARAMS."""

    def set_parameters(self, setting: Setting) -> None:
        """
        PPS_SETPARAMS; the kernel adds PPS_TSFMT_TSPEC and PPS_CANWAIT to the mode.

        EPERM without CAP_SYS_TIME, EINVAL for a mode that the device can't have or that captures nothing.
        """

    def fetch(self, timeout: float) -> Events:
        """
        PPS_FETCH: wait for an event newer than this call, at most so many seconds and an eighth more (ETIMEDOUT).

        A timeout of 0 gives the newest ones at once.  EINTR when a signal came.
        """

    def is_present(self) -> bool:
        """Tell whether the device is still there: a fetch on one that was unplugged only times out."""

    def close(self) -> None:
        """Close the device; nothing may be under way."""


class KernelPPS:
    """A device of this machine, opened; OSError when that is refused."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def capabilities(self) -> int:
        """See PPSCalls."""
        value = ctypes.c_int()
        fcntl.ioctl(self._descriptor, PPS_GETCAP, value)
        return value.value

    def parameters(self) -> Setting:
        """See PPSCalls."""
        found = Parameters()
        fcntl.ioctl(self._descriptor, PPS_GETPARAMS, found)
        return Setting(found.mode, _nanoseconds(found.assert_offset), _nanoseconds(found.clear_offset))

    def set_parameters(self, setting: Setting) -> None:
        """See PPSCalls."""
        offsets = [KTime(*divmod(offset, NANOSECONDS)) for offset in (setting.assert_offset, setting.clear_offset)]
        fcntl.ioctl(self._descriptor, PPS_SETPARAMS, Parameters(PPS_API_VERSION, setting.mode, *offsets))

    def fetch(self, timeout: float) -> Events:
        """See PPSCalls; the interpreter's lock is free meanwhile."""
        whole = int(timeout)
        data = FetchData(timeout=KTime(sec=whole, nsec=int((timeout - whole) * NANOSECONDS)))
        fcntl.ioctl(self._descriptor, PPS_FETCH, data)
        info = data.info
        return Events(
            Pulse(info.assert_sequence, Timestamp(_nanoseconds(info.assert_time))),
            Pulse(info.clear_sequence, Timestamp(_nanoseconds(info.clear_time))),
        )

    def is_present(self) -> bool:
        """See PPSCalls."""
        try:
            return os.stat(self._path).st_rdev == os.fstat(self._descriptor).st_rdev  # noqa: PTH116 - beside fstat
        except OSError:
            return False

    def close(self) -> None:
        """See PPSCalls."""
        os.close(self._descriptor)


def _nanoseconds(time: KTime) -> int:
    return time.sec * NANOSECONDS + time.nsec


class EmulatedPPS:
    """
    A device in memory that ticks at the whole seconds of a clock.

    ``realtime`` reads that clock, ns; ``sleep`` lets so many seconds of it pass.  ``jitter`` gives for each second the
    nanoseconds by which its pulse is late, or None for one that does not come.  ``capabilities``, ``setting`` and
    ``privileged`` are what the kernel would look at.  What is the assert edge ends 0.1 s later with the clear edge.
    """

    PULSE_WIDTH: Final = NANOSECONDS // 10
    CAN_ALL: Final = PPS_CAPTUREASSERT | PPS_CAPTURECLEAR | _OFFSETS | PPS_CANWAIT | PPS_TSFMT_TSPEC

    def __init__(
        self,
        realtime: Callable[[], int],
        sleep: Callable[[float], None],
        jitter: Callable[[int], int | None] = lambda _: 0,
        *,
        capabilities: int = CAN_ALL,
        setting: Setting = Setting(PPS_CAPTUREASSERT | PPS_CAPTURECLEAR | _OFFSETS),
        privileged: bool = True,
    ) -> None:
        self._realtime = realtime
        self._sleep = sleep
        self._jitter = jitter
        self._capabilities = capabilities
        self._setting = setting
        self._privileged = privileged
        self._plugged = True
        self._seen_until = realtime()
        self._events = Events(Pulse(0, Timestamp(0)), Pulse(0, Timestamp(0)))

    def unplug(self) -> None:
        """Take the device away: there are no more events."""
        self._plugged = False

    def capabilities(self) -> int:
        """See PPSCalls."""
        return self._capabilities

    def parameters(self) -> Setting:
        """See PPSCalls."""
        return self._setting

    def set_parameters(self, setting: Setting) -> None:
        """See PPSCalls."""
        mode = setting.mode
        if not self._privileged:
            raise OSError(EPERM, os.strerror(EPERM))
        if not mode & (PPS_CAPTUREASSERT | PPS_CAPTURECLEAR) or mode & ~self._capabilities:
            raise OSError(EINVAL, os.strerror(EINVAL))
        self._setting = replace(setting, mode=mode | PPS_TSFMT_TSPEC | self._capabilities & PPS_CANWAIT)

    def fetch(self, timeout: float) -> Events:
        """See PPSCalls."""
        self._catch_up()
        if timeout <= 0.0:
            return self._events
        before, end = self._events, self._seen_until + round(timeout * NANOSECONDS)
        while self._events == before:
            if self._seen_until >= end:
                raise OSError(ETIMEDOUT, os.strerror(ETIMEDOUT))
            wake, _ = next(self._due(self._seen_until, end), (end, 0))
            self._sleep(max(wake - self._seen_until, _SHORTEST_SLEEP) / NANOSECONDS)
            self._catch_up()
        return self._events

    def is_present(self) -> bool:
        """See PPSCalls."""
        return self._plugged

    def close(self) -> None:
        """See PPSCalls."""

    def _due(self, since: int, until: int) -> Iterator[tuple[int, int]]:
        """Give the events between two moments, in order: when each comes, and the bit of its edge."""
        for second in range(since // NANOSECONDS - 1, until // NANOSECONDS + 2):
            late = self._jitter(second)
            for edge, width in ((PPS_CAPTUREASSERT, 0), (PPS_CAPTURECLEAR, self.PULSE_WIDTH)):
                moment = second * NANOSECONDS + (late or 0) + width
                if late is not None and since < moment <= until:
                    yield moment, edge & self._setting.mode

    def _catch_up(self) -> None:
        """Let the events happen that were due up to now."""
        now = self._realtime()
        since, self._seen_until = self._seen_until, now
        if not self._plugged:
            return
        assertion, clear = self._events.assertion, self._events.clear
        setting = self._setting
        for moment, edge in self._due(since, now):
            if edge == PPS_CAPTUREASSERT:
                offset = setting.assert_offset if setting.mode & PPS_OFFSETASSERT else 0
                assertion = Pulse(assertion.sequence + 1, Timestamp(moment + offset))
            elif edge == PPS_CAPTURECLEAR:
                offset = setting.clear_offset if setting.mode & PPS_OFFSETCLEAR else 0
                clear = Pulse(clear.sequence + 1, Timestamp(moment + offset))
        self._events = Events(assertion, clear)


@implementer(IPPSDevice)
class PulseDevice:
    """
    One edge of one device, which is made ready for it.

    DeviceError, with the reason, when the device can't give what is wanted.
    """

    __slots__ = ("_calls", "_edge", "_path")

    def __init__(self, calls: PPSCalls, path: str, edge: Edge = "assert") -> None:
        self._calls = calls
        self._path = path
        self._edge = edge
        try:
            self._prepare(_CAPTURE[edge])
        except OSError as error:
            what = "is no PPS device" if error.errno == ENOTTY else f"can't be used: {error.strerror}"
            raise DeviceError(f"{path}: {what}") from error

    def wait(self, timeout: float) -> Pulse | None:
        """
        Wait for a pulse, at most so many seconds; None when there was none.

        An event of the other edge ends the wait too, and then the newest pulse is told again.  It blocks: a thread
        calls it.  DeviceError when the device is gone.
        """
        try:
            events = self._calls.fetch(timeout)
        except OSError as error:
            if error.errno not in {ETIMEDOUT, EINTR}:
                raise DeviceError(f"{self._path}: {error.strerror}") from error
            if not self._calls.is_present():
                raise DeviceError(f"{self._path}: {os.strerror(ENODEV)}: it is gone") from error
            return None
        pulse = events.assertion if self._edge == "assert" else events.clear
        return pulse if pulse.sequence else None

    def close(self) -> None:
        """Close the device; nobody may be waiting."""
        self._calls.close()

    def _prepare(self, capture: int) -> None:
        """Have the edge captured, and stamps that nobody has corrected."""
        can = self._calls.capabilities()
        if not can & PPS_CANWAIT:
            raise DeviceError(f"{self._path}: the device can't wait for a pulse (PPS_CANWAIT)")
        if not can & capture:
            others = [edge for edge, bit in _CAPTURE.items() if can & bit]
            has = f"it has {' and '.join(others)}" if others else "it has none"
            raise DeviceError(f"{self._path}: the device has no {self._edge} edge; {has}")
        found = self._calls.parameters()
        offset = found.assert_offset if self._edge == "assert" else found.clear_offset
        if found.mode & capture and not (offset and found.mode & _OFFSETS):
            return
        try:
            self._calls.set_parameters(Setting((found.mode | capture) & can))
        except PermissionError as error:
            wrong = "its stamps are corrected by somebody" if found.mode & capture else f"its {self._edge} edge is off"
            raise DeviceError(f"{self._path}: {wrong}, and to change that needs CAP_SYS_TIME") from error


def open_pulse_device(path: str, edge: Edge) -> PulseDevice:
    """Open a device of this machine; DeviceError, with the reason, when that is not possible."""
    try:
        calls = KernelPPS(path)
    except OSError as error:
        raise DeviceError(f"{path}: can't be opened: {error.strerror}") from error
    with ExitStack() as undo:
        undo.callback(calls.close)
        device = PulseDevice(calls, path, edge)
        undo.pop_all()
    return device
