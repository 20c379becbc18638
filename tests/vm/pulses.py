"""
In the virtual machine: raise the parallel port's interrupt at every true second, until the process is ended.

The port's strobe falls with interrupts enabled, QEMU raises IRQ 7, and ``pps_parport`` takes a stamp: a real event on
/dev/pps0.  A pulse comes some microseconds after the true second, by what an instruction costs here; always the same.
"""

from __future__ import annotations

import os
import time

from tests.vm.reference import Reference

CONTROL, STATUS = 0x37A, 0x379
IDLE, FIRE = b"\x1d", b"\x1c"
"""Interrupt enabled, selected, initialised; without and with the strobe, which is inverted."""
SPIN = 300_000
"""Nanoseconds before the second from which on the process does not sleep any more."""


def pulse() -> None:
    """Make pulses for ever."""
    reference = Reference.load()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    port = os.open("/dev/port", os.O_RDWR)
    os.pwrite(port, IDLE, CONTROL)
    os.pread(port, 1, STATUS)
    second = reference.now() // 10**9 + 2
    while True:
        due = reference.raw_at(second * 10**9)
        left = due - time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        if left > SPIN:
            time.sleep((left - SPIN) / 1e9)
        while time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) < due:
            pass
        os.pwrite(port, FIRE, CONTROL)
        os.pread(port, 1, STATUS)  # this takes the interrupt back
        os.pwrite(port, IDLE, CONTROL)
        os.pread(port, 1, STATUS)
        second += 1


if __name__ == "__main__":
    pulse()
