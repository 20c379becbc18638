"""
``ntptwist-lab``: run the daemon in a virtual world, and run what a real one has recorded through the algorithm again.

    ntptwist-lab run scenario.toml --seeds 5 --plot error.svg
    ntptwist-lab replay /var/lib/ntptwist/record --set synchronization.step-policy=never
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import ntptwist
from ntptwist.errors import NTPTwistError
from ntptwist.observe.words import amount
from ntptwist.registry import find_driver
from ntptwist.sim import plot, verdict
from ntptwist.sim.replay import Course, Outcome, read_record, settings
from ntptwist.sim.replay import replay as replay_run
from ntptwist.sim.scenario import Scenario
from ntptwist.sim.scenario_file import load
from ntptwist.sim.trial import Report, run

EX_OK, EX_BROKEN, EX_USAGE, EX_CONFIG = 0, 1, 64, 78
BAR = 40
REDRAW = 0.2

_passed: Any = None
"""Of a worker process: the simulated seconds that all of them have passed, a shared double."""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="ntptwist-lab", description="The daemon in a virtual world.")
    top.add_argument("--version", action="version", version=f"ntptwist {ntptwist.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "run scenarios and print how well the daemon kept time; exit status 1 when a limit is not kept"
    command = commands.add_parser("run", help=text, description=text)
    command.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="a TOML file")
    command.add_argument("--seeds", type=seeds, metavar="N|A,B,...", help="run seeds 1 to N, or these; else the file's")
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the error over time, SVG; a directory for several"
    )
    command.add_argument("--json", action="store_true", help="machine-readable figures; seconds and fractions")
    command.add_argument("--decisions", action="store_true", help="print what the daemon decided, and when")
    command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (%(default)s)")
    text = "run a daemon's record through the algorithm again; exit status 1 when it decides otherwise"
    command = commands.add_parser("replay", help=text, description=text)
    command.add_argument("record", metavar="FILE", help="what [observability] record named")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="with this setting instead"
    )
    return top


def seeds(text: str) -> tuple[int, ...]:
    """Read ``5`` as 1 to 5, ``3,7`` as these two."""
    if "," in text:
        return tuple(int(part) for part in text.split(",") if part)
    if int(text) < 1:
        raise argparse.ArgumentTypeError("expected at least one seed")
    return tuple(range(1, int(text) + 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 not as it should be, 64 usage, 78 a file can't be used."""
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:
        return EX_USAGE if end.code else EX_OK
    try:
        return run_scenarios(options) if options.command == "run" else replay(options)
    except NTPTwistError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"ntptwist-lab: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
    return EX_CONFIG


def run_scenarios(options: argparse.Namespace) -> int:
    """Run every scenario with every seed; print as soon as one has all its figures."""
    scenarios = [load(path, find_driver) for path in options.scenarios]
    many = len(scenarios) > 1
    if many and options.plot is not None:
        options.plot.mkdir(parents=True, exist_ok=True)
    status, told = EX_OK, []
    for scenario, reports in _results(scenarios, options.seeds, options.jobs):
        problems = {report.seed: verdict.broken(scenario.limits, report) for report in reports}
        if any(problems.values()):
            status = EX_BROKEN
        if options.plot is not None:
            target = options.plot / f"{scenario.name}.svg" if many or options.plot.is_dir() else options.plot
            target.write_text(plot.svg(scenario, reports), encoding="utf-8")
        if options.json:
            told.append(_data(scenario, reports, problems))
            continue
        print("\n".join(verdict.table(scenario, reports)))
        for report in reports:
            if options.decisions:
                for when, reason in report.told:
                    print(f"{when:12.1f} s  {reason}" + (f"  (seed {report.seed})" if len(reports) > 1 else ""))
            for problem in problems[report.seed]:
                print(f"  not kept: {problem}" + (f" (seed {report.seed})" if len(reports) > 1 else ""))
    if options.json:
        print(json.dumps(told, indent=2))
    return status


def _results(
    scenarios: Sequence[Scenario], wanted: Sequence[int] | None, jobs: int
) -> Iterator[tuple[Scenario, list[Report]]]:
    """Run everything, in this process or in several, and give the reports of one scenario after the other."""
    work = [(scenario, seed) for scenario in scenarios for seed in wanted or scenario.seeds]
    bar = Bar(sum(scenario.duration for scenario, _ in work), sys.stderr)
    if min(jobs, len(work)) <= 1:
        for scenario in scenarios:
            yield scenario, [run(scenario, seed, bar.add) for seed in wanted or scenario.seeds]
            bar.erase()
        return
    passed = multiprocessing.Value("d", 0.0)
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(passed,)) as pool:
        futures = [pool.submit(_run, scenario, seed) for scenario, seed in work]
        for scenario in scenarios:
            mine = [future for future, (owner, _) in zip(futures, work, strict=True) if owner is scenario]
            while _waiting(mine):
                bar.show(passed.value)
            bar.erase()
            yield scenario, [future.result() for future in mine]


def _waiting(futures: Sequence[Future[Report]]) -> bool:
    return bool(wait_for(futures, timeout=REDRAW).not_done)


def _begin(passed: Any) -> None:
    """Begin a worker process."""
    global _passed  # noqa: PLW0603 - an initializer has no other place
    _passed = passed


def _run(scenario: Scenario, seed: int) -> Report:
    return run(scenario, seed, _count)


def _count(seconds: float) -> None:
    with _passed.get_lock():
        _passed.value += seconds


class Bar:
    """A line that shows how far all runs together are, where the output is a terminal."""

    def __init__(self, total: float, output: TextIO) -> None:
        self._total = total
        self._passed = 0.0
        self._drawn = ""
        self._output = output
        self._live = output.isatty()

    def add(self, seconds: float) -> None:
        """Note that so many simulated seconds have passed."""
        self.show(self._passed + seconds)

    def show(self, passed: float) -> None:
        """Draw the bar, when it has changed."""
        self._passed = passed
        share = min(passed / self._total, 1.0)
        line = f"[{'#' * int(share * BAR):<{BAR}}] {share:4.0%} of {self._total / 86400:.1f} days"
        if self._live and line != self._drawn:
            self._drawn = line
            print(f"\r{line}", end="", file=self._output, flush=True)

    def erase(self) -> None:
        """Make room for a line of text."""
        if self._drawn:
            print(f"\r{'':{len(self._drawn)}}\r", end="", file=self._output, flush=True)
            self._drawn = ""


def _data(scenario: Scenario, reports: Sequence[Report], problems: dict[int, list[str]]) -> dict[str, Any]:
    """Give the figures of a scenario as plain data."""
    runs = []
    for report in reports:
        run_data = {"seed": report.seed, **asdict(verdict.figures(report)), "synchronized": report.synchronized}
        runs.append({**run_data, "exit_status": report.exit_status, "not_kept": problems[report.seed]})
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "runs": runs,
        "median": asdict(verdict.medians(reports)),
    }


def replay(options: argparse.Namespace) -> int:
    """Run a record through the algorithm again: as it was, and with other settings."""
    change = settings(options.changes) if options.changes else None
    status = EX_OK
    for number, recorded in enumerate(read_record(options.record), 1):
        was = replay_run(recorded)
        print(f"run {number}: {was.calls} calls in {was.seconds:.0f} s, recorded by ntptwist {was.version}")
        print(f"  {_agreement(was)}")
        if was.differing is not None and not was.middle:
            status = EX_BROKEN
        other = None if change is None else replay_run(recorded, change).course
        print("\n".join(f"  {line}" for line in _courses(was.course, other, " ".join(options.changes))))
    return status


def _agreement(was: Outcome) -> str:
    if was.differing is None:
        return "replayed: every decision and every steering value equals the record"
    if was.middle:
        return "replayed from the middle, since the record lacks the beginning: similar is all that it can be"
    return f"replayed: differs from the record at call {was.differing}"


def _courses(was: Course, other: Course | None, changes: str) -> Iterator[str]:
    """Give the figures of a replay, and beside them those with other settings, and the decisions of both by time."""
    both = [was] if other is None else [was, other]
    if other is not None:
        yield f"{'':32}{'as recorded':>16}  {changes}"
    for head, cells in (
        ("last estimated offset", [amount(course.offset, sign=True) for course in both]),
        ("RMS of the estimated offset", [amount(course.rms) for course in both]),
        ("last frequency", [f"{course.frequency:+.4f} ppm" for course in both]),
        ("steps", [str(course.steps) for course in both]),
    ):
        yield f"{head:32}" + "".join(f"{cell:>16}" for cell in cells)
    theirs = [] if other is None else list(other.decisions)
    rows = [("<", told) for told in was.decisions]
    for told in theirs:
        same = [index for index, (mark, one) in enumerate(rows) if mark == "<" and one.reason == told.reason]
        if same:
            rows[same[0]] = ("=", rows[same[0]][1])
        else:
            rows.append((">", told))
    for mark, told in sorted(rows, key=lambda row: row[1].when):
        yield f"{told.when:12.1f} s  {'' if other is None else mark + ' '}{told.reason}"
    if other is not None:
        yield "(= both, < as recorded only, > with other settings only)"


if __name__ == "__main__":
    sys.exit(main())
