"""
Tests in a virtual machine with a kernel clock of its own; needs root and Debian on x86_64, but no KVM.

usage: python3 tests/vm/run.py [PART...]

* ``kernel``: the contracts of the clock over a real kernel: steps, frequency, status, leap seconds, refusals.
* ``chrony``: chronyd steers the machine's clock, which starts half a second and 50 ppm off: the level to reach.
* ``ntptwist``: the daemon does the same, and is held against chronyd.
* ``pps``: the contract of a pulse device over a real /dev/pps0, and both daemons again with its pulses, the server far.

Without a part all of them run.  Kernel, tools and chronyd come from Debian's archive and stay in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # started as a file, from anywhere

from tests.vm import image, machine  # noqa: E402 - the line above finds it

CHRONY = """
server 198.51.100.2 iburst minpoll 4 maxpoll 6
makestep 0.1 3
rtcsync
cmdport 0
bindcmdaddress /
pidfile /run/chronyd.pid
"""
NTPTWIST = """
[clock]
control = "system"

[[source]]
mode = "server"
address = "198.51.100.2"

[source-defaults]
poll-interval-limits = { min = 4, max = 6 }

[control]
directory = "/run/ntptwist"

[state]
directory = "/run/ntptwist-state"
"""
CHRONY_PPS = """
refclock PPS /dev/pps0 poll 2 precision 1e-6 refid PPS
"""
NTPTWIST_PPS = """
[[source]]
mode = "pps"
path = "/dev/pps0"
precision = 1e-6
"""
STA_UNSYNC = 0x40
PARTS = ("kernel", "chrony", "ntptwist", "pps")
FAR = {"delay_us": 5000, "jitter_us": 1000}
"""The network of the part with pulses: by the server alone the clock is good to some hundred microseconds."""
PULSE_DEVIATION_US = 1.0
PULSE_LATENCY_US = 40.0
"""What an interrupt is late by in this machine, always the same: nobody can tell it from the true second."""
TOLERANCE_US = 5.0
"""What two runs of one daemon may differ by."""
SETTLED_S = 60
"""By then the daemon is to be good to 100 microseconds, and to stay so; it starts at 4 and needs some 10 to load."""


@dataclass(frozen=True)
class Figures:
    """How well a daemon kept the clock: when it settled (s), and the last 30 % of the run (us)."""

    below_1ms_s: int | None
    below_100us_s: int | None
    mean_us: float
    deviation_us: float
    worst_us: float

    @classmethod
    def of(cls, samples: list[list[int]]) -> Figures:
        """Judge the true offsets: pairs of seconds and nanoseconds."""
        late = [offset / 1e3 for _, offset in samples[len(samples) * 7 // 10 :]]
        return cls(
            _settled(samples, 1_000_000),
            _settled(samples, 100_000),
            statistics.fmean(late),
            statistics.pstdev(late),
            max(map(abs, late)),
        )


def _settled(samples: list[list[int]], limit: int) -> int | None:
    """Give the second from which on every offset is within a limit, ns; None when the last one is not."""
    settled = None
    for second, offset in reversed(samples):
        if abs(offset) > limit:
            break
        settled = second
    return settled


@dataclass(frozen=True)
class Laboratory:
    """Runs the parts, and keeps what they gave."""

    options: argparse.Namespace
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self, part: str) -> None:
        """Run one part."""
        print(f"--- {part}", flush=True)
        if part == "kernel":
            self._test(part, "tests/vm/guest_kernel.py")
        elif part == "chrony":
            self._steer_chrony(part, CHRONY)
        elif part == "ntptwist":
            self._steer_ntptwist(part, NTPTWIST)
        else:
            self._test(part, "tests/vm/guest_pps.py")
            self._steer_chrony("chrony pps", CHRONY + CHRONY_PPS)
            self._steer_ntptwist("ntptwist pps", NTPTWIST + NTPTWIST_PPS)

    def _test(self, part: str, file: str) -> None:
        """Run a file of tests in the machine."""
        command = [self.options.python, "-m", "pytest", "-q", "--color=no", "--noconftest", "-p", "no:cacheprovider"]
        self._run_in_machine(part, [*command, "-p", "no:pytest_twisted", "-p", "no:hypothesispytest", file])

    def _steer_chrony(self, part: str, configuration: str) -> None:
        """Let chronyd steer."""
        chronyd = str(self.options.cache / "chrony/usr/sbin/chronyd")
        file = self._write(part, "chrony.conf", configuration)
        self._steer(part, f"{chronyd} --version", [chronyd, "-u", "root", "-d", "-f", file])

    def _steer_ntptwist(self, part: str, configuration: str) -> None:
        """Let our daemon steer."""
        twistd = [str(Path(self.options.python).with_name("twistd")), "-n", "--pidfile=", "ntptwist"]
        daemon = [*twistd, "-c", self._write(part, "ntptwist.toml", configuration)]
        modules = "ntptwist.service, ntptwist.spawners.standard, ntptwist.sources.ntp, ntptwist.spawners.pps"
        reading = [self.options.python, "-c", f"import {modules}"]
        self._steer(part, f"{shlex.join(daemon)} --check-config; {shlex.join(reading)}", daemon)

    def _out(self, part: str) -> Path:
        """Give the directory that is ``/run/out`` in the machine."""
        out: Path = self.options.cache / f"out-{part.replace(' ', '-')}"
        out.mkdir(parents=True, exist_ok=True)
        return out

    def _write(self, part: str, name: str, content: str) -> str:
        """Put a file where the machine sees it; give its path there."""
        (self._out(part) / name).write_text(content)
        return f"/run/out/{name}"

    def _run_in_machine(self, part: str, command: list[str]) -> None:
        """Run a command, tell what it cost, and note it when it failed."""
        run = machine.run(self.options.cache, self._out(part), command, ROOT, self.options.timeout)
        print(f"{part}: exit status {run.status}, {run.wall_s:.0f} s, {run.cpu_s:.0f} s of CPU", flush=True)
        if run.status:
            self.faults.append(f"{part} ended with {run.status}")

    def _steer(self, part: str, warm_up: str, daemon: list[str]) -> None:
        """Let a daemon steer the machine's clock, and keep its result."""
        result = self._out(part) / "result.json"
        result.unlink(missing_ok=True)
        command = [self.options.python, "-m", "tests.vm.guest_steering", "--warm-up", warm_up]
        network = {name: getattr(self.options, name) for name in FAR}
        if part.endswith("pps"):
            command.append("--pulses")
            network = FAR
        for name, value in {"seconds": self.options.seconds, **network}.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._run_in_machine(part, [*command, "--", *daemon])
        if not result.exists():
            self.faults.append(f"{part} left no result")
            return
        self.results[part] = json.loads(result.read_text())
        (self._out(part) / "log").write_text(self.results[part]["log"])
        if self.results[part]["exit"] not in {0, -signal.SIGTERM}:  # twistd ends itself by the signal that it got
            self.faults.append(f"{part}: the daemon's exit status is {self.results[part]['exit']}")

    def report(self) -> None:
        """Print the figures side by side."""
        figures = {part: Figures.of(result["samples"]) for part, result in self.results.items()}
        kernel = {part: result["kernel"] for part, result in self.results.items()}
        rows = {
            "below 1 ms from (s)": {part: str(f.below_1ms_s) for part, f in figures.items()},
            "below 100 us from (s)": {part: str(f.below_100us_s) for part, f in figures.items()},
            "last 30 %: mean (us)": {part: f"{f.mean_us:.2f}" for part, f in figures.items()},
            "last 30 %: deviation (us)": {part: f"{f.deviation_us:.2f}" for part, f in figures.items()},
            "last 30 %: worst (us)": {part: f"{f.worst_us:.2f}" for part, f in figures.items()},
            "frequency (ppm)": {part: f"{k['freq'] / 65536:.4f}" for part, k in kernel.items()},
            "tick (us)": {part: str(k["tick"]) for part, k in kernel.items()},
            "maxerror (us)": {part: str(k["maxerror"]) for part, k in kernel.items()},
            "esterror (us)": {part: str(k["esterror"]) for part, k in kernel.items()},
            "synchronised": {part: "no" if k["status"] & STA_UNSYNC else "yes" for part, k in kernel.items()},
        }
        print(f"{'':28}" + "".join(f"{part:>14}" for part in figures))
        for label, cells in rows.items():
            print(f"{label:28}" + "".join(f"{cell:>14}" for cell in cells.values()))
        if "ntptwist" in figures:
            self._judge(figures["ntptwist"], figures.get("chrony"), kernel["ntptwist"])
        if "ntptwist pps" in figures:
            self._judge_pulses(figures["ntptwist pps"], kernel["ntptwist pps"])

    def _judge_pulses(self, ours: Figures, kernel: dict[str, int]) -> None:
        """Note what the daemon should have done better with pulses."""
        self._expect(
            {
                "the kernel is told that it is synchronised": not kernel["status"] & STA_UNSYNC,
                f"pulses: deviation at most {PULSE_DEVIATION_US} us": ours.deviation_us <= PULSE_DEVIATION_US,
                f"pulses: mean within {PULSE_LATENCY_US} us": abs(ours.mean_us) <= PULSE_LATENCY_US,
            }
        )

    def _judge(self, ours: Figures, chrony: Figures | None, kernel: dict[str, int]) -> None:
        """Note what the daemon should have done better; over a network of its own delay the figures only inform."""
        expectations = {
            "the kernel is told that it is synchronised": not kernel["status"] & STA_UNSYNC,
            "maxerror is above the worst error and below 50 ms": ours.worst_us <= kernel["maxerror"] < 50_000,
            "esterror is at most maxerror": 0 < kernel["esterror"] <= kernel["maxerror"],
        }
        if not self.options.delay_us:
            settled = ours.below_100us_s is not None and ours.below_100us_s <= SETTLED_S
            expectations[f"below 100 us within {SETTLED_S} s, for good"] = settled
            if chrony is not None:
                level, spread = abs(chrony.mean_us) + TOLERANCE_US, chrony.deviation_us + TOLERANCE_US
                expectations["mean at chronyd's level"] = abs(ours.mean_us) <= level
                expectations["deviation at chronyd's level"] = ours.deviation_us <= spread
        self._expect(expectations)

    def _expect(self, expectations: dict[str, bool]) -> None:
        """Tell which expectations were met, and note those that were not."""
        for expectation, met in expectations.items():
            print(f"{'met' if met else 'NOT MET':8}{expectation}")
            if not met:
                self.faults.append(f"ntptwist: not met: {expectation}")


def main() -> int:
    """Run what was asked for; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; default all")
    parser.add_argument("--cache", type=lambda path: Path(path).resolve(), default=ROOT / ".cache/vm")
    parser.add_argument(
        "--python", default=str(ROOT / ".venv/bin/python"), help="the interpreter, as the guest sees it"
    )
    parser.add_argument("--seconds", type=int, default=1800, help="how long a daemon steers")
    parser.add_argument("--delay-us", type=int, default=0, help="delay of the network, each way")
    parser.add_argument("--jitter-us", type=int, default=0, help="variation of the delay")
    parser.add_argument("--timeout", type=float, default=600.0, help="largest time of the host's for one part")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("needs root: for apt, and for the files that the machine sees")
    image.prepare(options.cache, ROOT / "tests/vm/init")
    laboratory = Laboratory(options)
    for part in options.parts or PARTS:
        laboratory.run(part)
    if laboratory.results:
        laboratory.report()
    for fault in laboratory.faults:
        print(f"FAULT {fault}")
    return 1 if laboratory.faults else 0


if __name__ == "__main__":
    sys.exit(main())
