"""
One run of a virtual machine that sees this machine's files read-only and has a kernel clock of its own.

QEMU counts instructions (``-icount``), so the guest's time is the work that it does, and idle time is skipped: results
do not depend on how busy the host is, and half an hour costs some seconds.  The guest must not talk to the host, whose
answers would take arbitrary guest time; even waiting for a file does, so everything is read in before time matters.
"""

from __future__ import annotations

import resource
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SHIFT = 2
"""Each guest instruction takes 2^SHIFT nanoseconds."""
TSC_KHZ = 1_000_000
"""The rate of the guest's time stamp counter when instructions are counted."""
START = "2026-11-22T08:00:00"
PARAMETER = "ntptwist.vm=1"
"""On the kernel's command line: by this the tests that change the clock know that they are in the machine."""


@dataclass(frozen=True)
class Run:
    """What a run gave: the command's exit status (124: it took too long, 125: the machine failed), and its costs."""

    status: int
    wall_s: float
    cpu_s: float


def run(cache: Path, out: Path, command: list[str], directory: Path, timeout_s: float) -> Run:
    """Run a command as root in a machine that writes to ``out`` (as ``/run/out``) and starts in ``directory``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "command").write_text(f"cd {shlex.quote(str(directory))} && {shlex.join(command)}\n")
    # Calibrations against the emulated timer fail now and then: the kernel is told what it would find.
    told = [f"tsc_early_khz={TSC_KHZ}", "tsc=reliable", "no_timer_check", "lpj=5400000", "random.trust_cpu=on"]
    append = [*told, "panic=-1", "reboot=t", "console=ttyS0", "quiet", "loglevel=2", PARAMETER]
    qemu = [
        "qemu-system-x86_64",
        "-M",
        "pc,acpi=off,hpet=off",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-m",
        "768",
    ]
    qemu += ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]
    qemu += ["-kernel", str(cache / "vmlinux"), "-initrd", str(cache / "initrd"), "-append", " ".join(append)]
    qemu += ["-fsdev", "local,id=r,path=/,security_model=none,readonly=on,multidevs=remap"]
    qemu += ["-device", "virtio-9p-pci,fsdev=r,mount_tag=hostroot"]
    qemu += ["-fsdev", f"local,id=o,path={out},security_model=none", "-device", "virtio-9p-pci,fsdev=o,mount_tag=out"]
    qemu += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    # A parallel port, whose interrupt is a pulse: /dev/pps0.
    qemu += ["-chardev", "null,id=p", "-device", "isa-parallel,chardev=p,iobase=0x378,irq=7"]
    qemu += ["-icount", f"shift={SHIFT},sleep=off", "-rtc", f"clock=vm,base={START}"]
    started, used = time.monotonic(), _cpu_s()
    with subprocess.Popen(qemu, stdin=subprocess.DEVNULL) as machine:
        try:
            status = machine.wait(timeout_s)
        except subprocess.TimeoutExpired:
            machine.kill()
            status = 2 * 124 + 1
    # isa-debug-exit ends QEMU with 2 n + 1; any other status is QEMU's or the kernel's own.
    return Run(status >> 1 if status & 1 and status > 0 else 125, time.monotonic() - started, _cpu_s() - used)


def _cpu_s() -> float:
    """Give the processor time, seconds, of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
