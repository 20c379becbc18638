"""The system calls of the clock: their layout, this machine's kernel (only read), and the kernel in memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from errno import EPERM
from typing import Any

import pytest

from ntptwist.kernel import timex
from ntptwist.kernel.timex import MemorySystem, RealSystem, Timex, timex_fields
from ntptwist.timestamp import NANOSECONDS
from tests.contract.timex import Machine, ReadingContract, WritingContract


class TestRealSystem(ReadingContract):
    """This machine's kernel, which the tests only read."""

    @pytest.fixture
    def machine(self) -> Machine:
        """Give this machine."""
        system = RealSystem()
        return Machine(system, lambda seconds: None, system.monotonic, 1_000_000)


class TestMemorySystem(WritingContract):
    """The kernel in memory."""

    @pytest.fixture
    def machine(self) -> Machine:
        """Give a machine in memory, where nothing is noisy."""
        system = MemorySystem()
        return Machine(system, lambda seconds: system.advance(round(seconds * NANOSECONDS)), lambda: system.raw, 1)


@pytest.mark.parametrize(("long", "size"), [(ctypes.c_int64, 208), (ctypes.c_int32, 128)], ids=["64 bit", "32 bit"])
def test_layout_has_the_kernels_size(long: Any, size: int) -> None:
    """The structure is as large as the kernel's, with a C long of 64 and of 32 bits."""

    class Layout(ctypes.Structure):
        """The structure for another size of long."""

        _fields_ = timex_fields(long)

    assert ctypes.sizeof(Layout) == size


@pytest.mark.parametrize(
    ("field", "offset64", "offset32"),
    [
        ("freq", 16, 8),
        ("status", 40, 20),
        ("time_sec", 72, 36),
        ("tick", 88, 44),
        ("stabil", 120, 60),
        ("tai", 160, 80),
    ],
)
def test_layout_has_the_kernels_fields(field: str, offset64: int, offset32: int) -> None:
    """Each field lies where the kernel has it, with a C long of 64 and of 32 bits."""
    expected = offset64 if ctypes.sizeof(ctypes.c_long) == 8 else offset32
    offsets = {}
    for long in (ctypes.c_int64, ctypes.c_int32):
        layout: Any = type("Layout", (ctypes.Structure,), {"_fields_": timex_fields(long)})
        offsets[long] = getattr(layout, field).offset

    assert offsets == {ctypes.c_int64: offset64, ctypes.c_int32: offset32}
    assert getattr(Timex, field).offset == expected


def test_real_clocks_are_this_machines() -> None:
    """The real system reads the clocks that everybody reads."""
    system = RealSystem()
    before = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    read = system.realtime(), system.monotonic(), system.boottime()
    after = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    assert all(early <= value <= late for early, value, late in zip(before, read, after, strict=True))


CHANGES: list[tuple[str, Callable[[], Timex]]] = [
    ("frequency", lambda: Timex(modes=timex.ADJ_FREQUENCY)),
    ("tick", lambda: Timex(modes=timex.ADJ_TICK, tick=1)),
    ("status", lambda: Timex(modes=timex.ADJ_STATUS)),
    ("step", lambda: Timex(modes=timex.ADJ_SETOFFSET, time_usec=-1)),
    ("adjtime", lambda: Timex(modes=timex.ADJ_OFFSET_SINGLESHOT)),
]


@pytest.mark.parametrize("change", [make for _, make in CHANGES], ids=[name for name, _ in CHANGES])
def test_memory_refuses_changes_without_the_capability(change: Callable[[], Timex]) -> None:
    """Without CAP_SYS_TIME every change is refused, before anything else is looked at."""
    system = MemorySystem(privileged=False)
    with pytest.raises(PermissionError) as caught:
        system.adjtimex(change())

    assert caught.value.errno == EPERM


def test_memory_moves_only_when_it_is_advanced() -> None:
    """Time in memory stands still, unless reads are given a cost."""
    still = MemorySystem()
    costly = MemorySystem(costs=[10, 20])

    assert (still.monotonic(), still.monotonic()) == (1_000 * NANOSECONDS, 1_000 * NANOSECONDS)
    assert [costly.monotonic() for _ in range(3)] == [1_000 * NANOSECONDS + passed for passed in (10, 30, 30)]


def test_memory_does_not_round_away_what_is_slow() -> None:
    """At the smallest frequency a day in short pieces gains the same nanoseconds as a day at once."""
    whole, pieces = MemorySystem(), MemorySystem()
    for system in (whole, pieces):
        system.adjtimex(Timex(modes=timex.ADJ_FREQUENCY, freq=1))
    whole.advance(100 * NANOSECONDS)
    for _ in range(20_000):
        pieces.advance(5_000_000)

    assert whole.monotonic() == pieces.monotonic() == 1_100 * NANOSECONDS + 1
