"""NTP shared memory: segments, and how a unit is read."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ntptwist.errors import DeviceError, WireError
from ntptwist.identifiers import Leap
from ntptwist.kernel.shm import (
    FIRST_KEY,
    KernelSegments,
    MemorySegments,
    Ownership,
    SegmentCalls,
    SharedClock,
    SharedSample,
    SharedTime,
    parse,
)
from ntptwist.timestamp import Timestamp
from tests.contract.segments import SegmentsContract

SECOND = 1_800_000_000


def removed(identifier: int) -> None:
    """Remove a segment of this machine."""
    subprocess.run(["ipcrm", "--shmem-id", str(identifier)], check=True)


class TestMemorySegments(SegmentsContract):
    """Segments in memory."""

    @pytest.fixture
    def calls(self) -> SegmentCalls:
        """Give a machine of its own."""
        return MemorySegments()

    @pytest.fixture
    def key(self) -> int:
        """Give the key of a unit."""
        return FIRST_KEY + 200

    def remove(self, calls: Any, identifier: int) -> None:
        """Remove a segment."""
        calls.remove(identifier)


class TestKernelSegments(SegmentsContract):
    """The segments of this machine, under a key that only this process uses; nothing is left of them."""

    user = os.geteuid()

    @pytest.fixture
    def calls(self) -> SegmentCalls:
        """Give the kernel."""
        return KernelSegments()

    @pytest.fixture
    def key(self) -> Iterator[int]:
        """Give a key that no unit has."""
        key = 0x2E000000 + os.getpid() % 0x1000000
        yield key
        try:
            left = KernelSegments().find(key)
        except FileNotFoundError:
            return
        removed(left)

    def remove(self, calls: SegmentCalls, identifier: int) -> None:
        """Remove a segment."""
        removed(identifier)

    def test_a_segment_that_is_too_small(self, calls: SegmentCalls, key: int) -> None:
        """A segment that another program made for something else can't be read past its end."""
        libc: Any = ctypes.CDLL(None, use_errno=True)
        small = libc.shmget(key, ctypes.c_size_t(8), 0o1600)
        with pytest.raises(OSError, match="Invalid argument"):
            calls.find(key)

        assert small >= 0

        removed(small)


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_long) != 8, reason="of a machine with 64 bits")
def test_layout() -> None:
    """The fields lie where feeders write them."""
    names = ("mode", "count", "clock_seconds", "clock_microseconds", "receive_seconds", "receive_microseconds", "leap")
    more = ("precision", "samples", "valid", "clock_nanoseconds", "receive_nanoseconds")

    assert [getattr(SharedTime, name).offset for name in names] == [0, 4, 8, 16, 24, 32, 36]
    assert [getattr(SharedTime, name).offset for name in more] == [40, 44, 48, 52, 56]
    assert ctypes.sizeof(SharedTime) == 96


def written(memory: SharedTime, **change: int) -> SharedTime:
    """Write a sample as gpsd does, with what a test changes of it."""
    values = {
        "mode": 1,
        "count": memory.count + 2,
        "clock_seconds": SECOND,
        "clock_microseconds": 0,
        "receive_seconds": SECOND,
        "receive_microseconds": 123_456,
        "receive_nanoseconds": 123_456_789,
        "valid": 1,
    }
    for name, value in {**values, **change}.items():
        setattr(memory, name, value)
    return memory


@pytest.fixture
def calls() -> MemorySegments:
    """Give segments of a machine."""
    return MemorySegments()


@pytest.fixture
def memory(calls: MemorySegments) -> SharedTime:
    """Give what the feeder of unit 2 has attached."""
    return calls.attach(calls.create(FIRST_KEY + 2, 0o600))


GOOD = SharedSample(Timestamp(SECOND * 10**9 + 123_456_789), Timestamp(SECOND * 10**9), Leap.NONE)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_sample_is_taken_once(calls: MemorySegments, memory: SharedTime, mode: int) -> None:
    """A sample that is valid is taken, to the nanosecond, and is not valid any more; both modes work so."""
    clock = SharedClock(calls, 2)
    written(memory, mode=mode)
    taken = [clock.take(), clock.take()]
    valid = memory.valid
    written(memory, leap=1)

    assert taken == [GOOD, None]
    assert valid == 0
    assert clock.take() == SharedSample(GOOD.stamp, GOOD.true, Leap.INSERT)

    clock.close()


class TornTime(SharedTime):
    """A segment into which its feeder writes whenever its count is read."""

    reads = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "count":
            TornTime.reads += 1
            return TornTime.reads
        return super().__getattribute__(name)


class TornSegments(MemorySegments):
    """Segments whose feeders never rest."""

    def attach(self, identifier: int) -> SharedTime:
        """Attach one."""
        super().attach(identifier)
        torn = TornTime()
        written(torn, mode=self.mode)
        return torn

    mode = 1


def test_a_sample_that_is_being_written_is_left_alone() -> None:
    """In mode 1 a count that changes meanwhile says so; mode 0 has no such guard."""
    guarded, bare = TornSegments(), TornSegments()
    bare.mode = 0

    assert SharedClock(guarded, 2).take() is None
    assert SharedClock(bare, 2).take() == GOOD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": 7}, "its mode is 7"),
        ({"leap": 4}, "its leap indicator is 4"),
        ({"leap": -1}, "its leap indicator is -1"),
        ({"receive_microseconds": 1_000_000}, "a time of 1000000 microseconds"),
        ({"clock_microseconds": -1}, "a time of -1 microseconds"),
    ],
)
def test_what_makes_no_sense(calls: MemorySegments, memory: SharedTime, change: dict[str, int], reason: str) -> None:
    """Values that no feeder writes are refused, once."""
    clock = SharedClock(calls, 2)
    written(memory, **change)
    with pytest.raises(WireError, match=reason):
        clock.take()

    assert clock.take() is None


@pytest.mark.parametrize(
    ("microseconds", "nanoseconds", "fine"),
    [
        (123_456, 123_456_789, 123_456_789),
        (123_456, 0, 123_456_000),
        (123_456, 999_999_999, 123_456_000),
        (0, 999, 999),
    ],
)
def test_nanoseconds_count_where_they_agree(microseconds: int, nanoseconds: int, fine: int) -> None:
    """An old feeder leaves the nanoseconds alone: what does not agree with the microseconds is left out."""
    found = written(SharedTime(), receive_microseconds=microseconds, receive_nanoseconds=nanoseconds)

    assert parse(found).stamp == SECOND * 10**9 + fine


def test_the_reader_may_come_first(calls: MemorySegments) -> None:
    """Where there is no segment one is made, for its owner alone; it stays when the reader goes."""
    SharedClock(calls, 3).close()
    made = calls.find(FIRST_KEY + 3)

    assert calls.ownership(made) == Ownership(0, 0, 0o600)


def test_a_segment_that_was_removed(calls: MemorySegments, memory: SharedTime) -> None:
    """A segment that is taken away, or replaced, would never be written again: that is an error of the device."""
    clock = SharedClock(calls, 2)
    calls.remove(calls.find(FIRST_KEY + 2))
    with pytest.raises(DeviceError, match="shared memory unit 2: it is gone: No such file"):
        clock.take()
    calls.create(FIRST_KEY + 2, 0o600)
    with pytest.raises(DeviceError, match="shared memory unit 2: it was replaced"):
        clock.take()


def test_a_strangers_segment_is_not_believed() -> None:
    """Whoever made the segment could set the clock: it must be root, ourselves, or the owner that is configured."""
    calls = MemorySegments(user=54_321)
    calls.create(FIRST_KEY + 2, 0o600)
    with pytest.raises(DeviceError, match="belongs to user 54321, who is not trusted"):
        SharedClock(calls, 2)

    assert SharedClock(calls, 2, owner=54_321).take() is None


def test_a_segment_for_everybody_is_not_believed(calls: MemorySegments) -> None:
    """A segment that more users may write to than is configured is refused; that more may read it is no matter."""
    calls.create(FIRST_KEY + 2, 0o666)
    calls.create(FIRST_KEY + 4, 0o644)
    with pytest.raises(DeviceError, match="others may write to it \\(mode 0o666\\)"):
        SharedClock(calls, 2)

    assert SharedClock(calls, 2, 0o666).take() is None
    assert SharedClock(calls, 4).take() is None


def test_a_segment_that_can_not_be_had(calls: MemorySegments) -> None:
    """What the system refuses is told."""

    class Refusing(MemorySegments):
        """A machine that attaches nothing."""

        def attach(self, identifier: int) -> SharedTime:
            raise PermissionError(13, "Permission denied")

    with pytest.raises(DeviceError, match="shared memory unit 2: can't be opened: Permission denied"):
        SharedClock(Refusing(), 2)


def test_a_unit_of_this_machine() -> None:
    """A sample that is written to real shared memory is read from it."""
    unit = next(each for each in range(200, 256) if not _exists(each))
    kernel = KernelSegments()
    clock = SharedClock(kernel, unit)
    made = kernel.find(FIRST_KEY + unit)
    feeder = kernel.attach(made)
    written(feeder)
    taken = clock.take()
    kernel.detach(feeder)
    removed(made)
    clock.close()

    assert taken == GOOD


def _exists(unit: int) -> bool:
    """Tell whether somebody uses a unit."""
    table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return any(int(line.split()[0]) == FIRST_KEY + unit for line in table)
