"""
The shared memory that NTP's reference clocks are read from: one System V segment a unit, key ``NTP0`` plus its number.

A feeder (gpsd, and many others since 1996) writes a pair of times, of a clock and of this machine when it was read, and
sets ``valid``; the one reader takes them and clears it.  In mode 1 the feeder counts ``count`` up before it writes and
again after, so a reader that sees it change has read halves of two samples; in mode 0 there is no such guard.  Fields
for nanoseconds came later: they count where they agree with the microseconds.

``SegmentCalls`` names exactly the system calls that are used.  ``KernelSegments`` makes them, ``MemorySegments``
answers them as the kernel would; one suite of tests runs over both.  The system refuses nobody who asks for an unused
key, so whoever comes first owns the segment: ``SharedClock`` looks at its owner and its mode before it believes it.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from errno import EEXIST, EINVAL, ENOENT
from typing import Any, Final, Protocol

from ntptwist.errors import DeviceError, WireError
from ntptwist.identifiers import Leap
from ntptwist.timestamp import NANOSECONDS, Timestamp

FIRST_KEY: Final = 0x4E545030
"""``NTP0``: the key of unit 0."""
LARGEST_UNIT: Final = 255

_IPC_CREAT = 0o1000
_IPC_EXCL = 0o2000
_IPC_STAT = 2
_WRITABLE_BY_OTHERS = 0o022


class SharedTime(ctypes.Structure):
    """``struct shmTime``: 96 octets, 80 where a long has four."""

    _fields_ = (
        ("mode", ctypes.c_int),
        ("count", ctypes.c_int),
        ("clock_seconds", ctypes.c_long),
        ("clock_microseconds", ctypes.c_int),
        ("receive_seconds", ctypes.c_long),
        ("receive_microseconds", ctypes.c_int),
        ("leap", ctypes.c_int),
        ("precision", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("valid", ctypes.c_int),
        ("clock_nanoseconds", ctypes.c_uint),
        ("receive_nanoseconds", ctypes.c_uint),
        ("_reserved", ctypes.c_int * 8),
    )
    mode: int
    count: int
    clock_seconds: int
    clock_microseconds: int
    receive_seconds: int
    receive_microseconds: int
    leap: int
    precision: int
    samples: int
    valid: int
    clock_nanoseconds: int
    receive_nanoseconds: int


SIZE: Final = ctypes.sizeof(SharedTime)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns a segment, who made it, and its permissions."""

    owner: int
    creator: int
    mode: int


@dataclass(frozen=True, slots=True)
class SharedSample:
    """At ``stamp`` on this machine's CLOCK_REALTIME the clock of the feeder said ``true``."""

    stamp: Timestamp
    true: Timestamp
    leap: Leap


class SegmentCalls(Protocol):
    """The system calls on segments, and nothing else.  All raise OSError."""

    def find(self, key: int) -> int:
        """``shmget``: give the id of a key's segment; ENOENT when there is none, EINVAL when it is too small."""

    def create(self, key: int, mode: int) -> int:
        """``shmget`` with IPC_CREAT and IPC_EXCL: make it, all zero; EEXIST when there is one."""

    def ownership(self, identifier: int) -> Ownership:
        """``shmctl`` with IPC_STAT; EINVAL when it is gone."""

    def attach(self, identifier: int) -> SharedTime:
        """``shmat``, to read and to write; EACCES when that is not allowed, EINVAL when it is gone."""

    def detach(self, memory: SharedTime) -> None:
        """``shmdt``: it must not be looked at any more."""


class _Permissions(ctypes.Structure):
    """The beginning of ``struct shmid_ds``, ``struct ipc64_perm`` as x86, ARM and RISC-V have it, and room to spare."""

    _fields_ = (
        ("key", ctypes.c_int),
        ("owner", ctypes.c_uint),
        ("group", ctypes.c_uint),
        ("creator", ctypes.c_uint),
        ("creator_group", ctypes.c_uint),
        ("mode", ctypes.c_uint),
        ("_rest", ctypes.c_ubyte * 232),
    )
    owner: int
    creator: int
    mode: int


class KernelSegments:
    """The segments of this machine."""

    __slots__ = ("_libc",)

    def __init__(self) -> None:
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.shmget.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_int)
        libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        libc.shmat.restype = ctypes.c_ssize_t
        libc.shmdt.argtypes = (ctypes.c_void_p,)
        libc.shmctl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
        self._libc = libc

    def find(self, key: int) -> int:
        """See SegmentCalls."""
        return _checked(self._libc.shmget(key, SIZE, 0))

    def create(self, key: int, mode: int) -> int:
        """See SegmentCalls."""
        return _checked(self._libc.shmget(key, SIZE, _IPC_CREAT | _IPC_EXCL | mode))

    def ownership(self, identifier: int) -> Ownership:
        """See SegmentCalls."""
        found = _Permissions()
        _checked(self._libc.shmctl(identifier, _IPC_STAT, ctypes.byref(found)))
        return Ownership(found.owner, found.creator, found.mode & 0o777)

    def attach(self, identifier: int) -> SharedTime:
        """See SegmentCalls."""
        return SharedTime.from_address(_checked(self._libc.shmat(identifier, None, 0)))

    def detach(self, memory: SharedTime) -> None:
        """See SegmentCalls."""
        _checked(self._libc.shmdt(ctypes.addressof(memory)))


def _checked(result: int) -> int:
    """Give what a call returned; OSError for -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class MemorySegments:
    """Segments in memory, of a machine on which ``user`` is whoever makes one."""

    def __init__(self, user: int = 0) -> None:
        self.user = user
        self._keys: dict[int, int] = {}
        self._segments: dict[int, tuple[SharedTime, Ownership]] = {}
        self._made = 0

    def find(self, key: int) -> int:
        """See SegmentCalls."""
        if key not in self._keys:
            raise OSError(ENOENT, os.strerror(ENOENT))
        return self._keys[key]

    def create(self, key: int, mode: int) -> int:
        """See SegmentCalls."""
        if key in self._keys:
            raise OSError(EEXIST, os.strerror(EEXIST))
        self._made += 1
        self._keys[key] = self._made
        self._segments[self._made] = (SharedTime(), Ownership(self.user, self.user, mode))
        return self._made

    def ownership(self, identifier: int) -> Ownership:
        """See SegmentCalls."""
        return self._segment(identifier)[1]

    def attach(self, identifier: int) -> SharedTime:
        """See SegmentCalls."""
        return self._segment(identifier)[0]

    def detach(self, memory: SharedTime) -> None:
        """See SegmentCalls."""

    def remove(self, identifier: int) -> None:
        """Take a segment away, as ``ipcrm`` does: who has attached it keeps it, but nobody finds it any more."""
        self._segment(identifier)
        del self._segments[identifier]
        self._keys = {key: number for key, number in self._keys.items() if number != identifier}

    def _segment(self, identifier: int) -> tuple[SharedTime, Ownership]:
        if identifier not in self._segments:
            raise OSError(EINVAL, os.strerror(EINVAL))
        return self._segments[identifier]


class SharedClock:
    """
    The reader of one unit, which makes the segment where there is none, for a feeder that comes later.

    It is believed when it belongs to root, to this process or to ``owner``, and when no more may write to it than
    ``mode`` says; DeviceError otherwise, and when it can't be had.
    """

    __slots__ = ("_calls", "_identifier", "_key", "_memory", "_name")

    def __init__(self, calls: SegmentCalls, unit: int, mode: int = 0o600, owner: int | None = None) -> None:
        self._calls = calls
        self._key = FIRST_KEY + unit
        self._name = f"shared memory unit {unit}"
        try:
            self._identifier = self._open(mode)
            self._check(calls.ownership(self._identifier), mode, {0, os.geteuid(), owner})
            self._memory = calls.attach(self._identifier)
        except OSError as error:
            raise DeviceError(f"{self._name}: can't be opened: {error.strerror}") from error

    def _open(self, mode: int) -> int:
        try:
            return self._calls.find(self._key)
        except FileNotFoundError:
            return self._calls.create(self._key, mode)

    def _check(self, found: Ownership, mode: int, trusted: set[int | None]) -> None:
        strangers = {found.owner, found.creator} - trusted
        if strangers:
            raise DeviceError(f"{self._name}: belongs to user {min(strangers)}, who is not trusted")
        if found.mode & ~mode & _WRITABLE_BY_OTHERS:
            raise DeviceError(f"{self._name}: others may write to it (mode {found.mode:#o})")

    def take(self) -> SharedSample | None:
        """
        Take the sample that waits; None when there is none, or when it is being written.

        WireError when what is there makes no sense, DeviceError when the segment was taken away.
        """
        try:
            current = self._calls.find(self._key)
        except OSError as error:
            raise DeviceError(f"{self._name}: it is gone: {error.strerror}") from error
        if current != self._identifier:
            raise DeviceError(f"{self._name}: it was replaced by another")
        memory = self._memory
        before = memory.count
        if not memory.valid:
            return None
        copy = SharedTime.from_buffer_copy(memory)
        if copy.mode == 1 and not before == copy.count == memory.count:
            return None
        memory.valid = 0
        return parse(copy)

    def close(self) -> None:
        """Let go of the segment, which stays for the feeder."""
        self._calls.detach(self._memory)


def parse(found: SharedTime) -> SharedSample:
    """Give what a segment says; WireError when that makes no sense."""
    if found.mode not in {0, 1}:
        raise WireError(f"its mode is {found.mode}", SharedTime.mode.offset)  # type: ignore[attr-defined]  # ctypes'
    if not 0 <= found.leap <= 3:
        raise WireError(f"its leap indicator is {found.leap}", SharedTime.leap.offset)  # type: ignore[attr-defined]
    return SharedSample(
        _moment(found.receive_seconds, found.receive_microseconds, found.receive_nanoseconds),
        _moment(found.clock_seconds, found.clock_microseconds, found.clock_nanoseconds),
        Leap(found.leap),
    )


def _moment(seconds: int, microseconds: int, nanoseconds: int) -> Timestamp:
    """Give a time; its nanoseconds count where they agree with its microseconds."""
    if not 0 <= microseconds < 1_000_000:
        raise WireError(f"a time of {microseconds} microseconds")
    fine = nanoseconds if nanoseconds // 1000 == microseconds else microseconds * 1000
    return Timestamp(seconds * NANOSECONDS + fine)
