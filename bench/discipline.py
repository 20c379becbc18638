"""
The table of the clock discipline: anchors, prototype, controller and the whole daemon, scenario by scenario.

    python -m bench.discipline                  the scenarios with goals, polls fixed at 64 s
    python -m bench.discipline --polls 6-10     adaptive polls; 4-4 is the third setting with goals
    python -m bench.discipline --all            all three
    python -m bench.discipline a c h --seeds 3

Everything but the anchors is run here, each in the same worlds: with one seed they have the same crystal, and their
packets the same delays.  The output is the same on every machine; the time it took goes to the standard error.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor

from bench.daemon import simulate_daemon
from bench.goals import FIGURES, NTPD_RS_DEFAULT, ROWS, Row, rows
from bench.scenarios import SCENARIOS
from bench.simulate import Result, medians, simulate_controller, simulate_ntpd_rs, simulate_prototype
from ntptwist.algorithm.config import PollLimits

CONTENDERS = {
    "ntpd-rs": simulate_ntpd_rs,
    "prototype": simulate_prototype,
    "controller": simulate_controller,
    "daemon": simulate_daemon,
}
HEAD = """\
                        quoted, from elsewhere  ntpd-rs' filter                                 daemon to
                     chrony  ntpsec  ntpd-rs    here  to quoted  prototype  controller  daemon  prototype  best    goal\
  reached  first ms  packets"""
FOOT = """\
quoted      chrony, ntpsec and ntpd-rs themselves in the same scenarios, in another simulator; not measured here
filter      that of ntpd-rs, restated, in this simulator: its ratio to the quoted figure shows how alike the two are;
            where the others adapt it polls by its own rule from 16 to 1024 s, as ntpd-rs itself did
prototype   the algorithm as it was found, in this simulator
controller  the daemon's, in this simulator; the daemon is the whole of it, in the virtual world of ntptwist-lab
best        the best of the quoted figures, whatever packets it took
goal        for the daemon.  reached: yes within 5 %, near within 15 %; bars are held as they are (first ms, recovery,
            h, and "then", which is the bar beyond the first)
first ms    the second from which the daemon's error is below 1 ms for good; recovery is the same after somebody has
            stepped the clock by 0.5 s.  packets: those of the daemon"""

Figures = dict[str, float]
Task = tuple[str, str, PollLimits]


def submit(
    pool: ProcessPoolExecutor, wanted: Sequence[Row], limits: PollLimits, seeds: int
) -> dict[Task, list[Future[Result]]]:
    """Have every contender run every scenario of some rows."""
    tasks = {}
    for name in dict.fromkeys(row.scenario for row in wanted):
        for contender, simulate in CONTENDERS.items():
            if contender == "ntpd-rs" and SCENARIOS[name].pulse is not None:
                continue
            polls = NTPD_RS_DEFAULT if contender == "ntpd-rs" and limits.minimum < limits.maximum else limits
            tasks[contender, name, limits] = [pool.submit(simulate, name, polls, seed) for seed in range(1, seeds + 1)]
    return tasks


def line(row: Row, figures: dict[str, Figures]) -> str:
    """Write a row."""
    _, scale = FIGURES[row.figure]
    here = {contender: figure[row.figure] * scale for contender, figure in figures.items()}
    ours, restated = here["daemon"], here.get("ntpd-rs")
    best = min((figure for figure in row.quoted if figure is not None), default=None)
    return (
        f"{row.label:<21}"
        + "".join(f"{shown(figure):>{width}}" for figure, width in zip(row.quoted, (6, 8, 9), strict=True))
        + f"{shown(restated):>8}{ratio(restated, row.quoted[2]):>11}"
        + f"{shown(here['prototype']):>11}{shown(here['controller']):>12}{shown(ours):>8}"
        + f"{ratio(ours, here['prototype']):>11}{ratio(ours, best):>6}{shown(row.goal):>8}"
        + f"{row.reached(ours):>9}{shown(figures['daemon']['below']):>10}{shown(figures['daemon']['packets']):>9}"
    )


def shown(figure: float | None) -> str:
    """Write a figure with three digits."""
    if figure is None or math.isinf(figure):
        return "-" if figure is None else "never"
    digits = 0 if figure in {0.0, float(round(figure))} else max(0, 2 - math.floor(math.log10(abs(figure))))
    return f"{figure:.{digits}f}"


def ratio(one: float | None, other: float | None) -> str:
    """Write how large one figure is, measured by the other."""
    if one is None or other is None or not math.isfinite(one) or not math.isfinite(other) or not other:
        return "-"
    return f"{one / other:.2f}"


def title(limits: PollLimits, seeds: int) -> str:
    """Say what a part of the table shows."""
    polls = f"fixed at {2**limits.minimum} s"
    if limits.minimum < limits.maximum:
        polls = f"from {2**limits.minimum} to {2**limits.maximum} s, as the daemon likes"
    return f"Polls {polls}; medians of seeds 1 to {seeds}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="compare the clock discipline with its prototype and its anchors")
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--polls", default="6-6", type=exponents, help="smallest and largest poll exponent (6-6)")
    parser.add_argument("--all", action="store_true", help="all poll settings that have goals")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (5)")
    options = parser.parse_args()
    if unknown := sorted(set(options.scenarios) - set(SCENARIOS)):
        parser.error(f"no scenario {', '.join(unknown)}")
    settings = list(ROWS) if options.all else [options.polls]
    start = time.monotonic()
    reached: Counter[str] = Counter()
    with ProcessPoolExecutor() as pool:
        parts = [(limits, rows(limits, options.scenarios)) for limits in settings]
        tasks: dict[Task, list[Future[Result]]] = {}
        for limits, wanted in parts:
            tasks |= submit(pool, wanted, limits, options.seeds)
        for limits, wanted in parts:
            print(f"{title(limits, options.seeds)}\n\n{HEAD}")
            for row in wanted:
                figures = {
                    contender: dict(medians([future.result() for future in tasks[contender, row.scenario, limits]]))
                    for contender in CONTENDERS
                    if (contender, row.scenario, limits) in tasks
                }
                print(line(row, figures), flush=True)
                reached[row.reached(figures["daemon"][row.figure] * FIGURES[row.figure][1])] += 1
            print()
    print(f"{FOOT}\n\n{reached['yes']} goals are reached, {reached['near']} nearly, {reached['no']} not.")
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)


def exponents(text: str) -> PollLimits:
    """Read ``6-10``."""
    smallest, largest = (int(exponent) for exponent in text.rsplit("-", 1))
    return PollLimits(smallest, largest)


if __name__ == "__main__":
    main()
