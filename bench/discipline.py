"""
The table of the clock discipline: anchors, prototype, and the daemon's own controller, scenario by scenario.

    python -m bench.discipline                  the scenarios of the goals at fixed 64 s
    python -m bench.discipline --polls 6-10     adaptive polls
    python -m bench.discipline a c h --seeds 3

Figures are medians over the seeds: RMS time error after the settling time, and packets.  "ratio" is ours to the
prototype's.  The anchors were measured in the same scenarios in another simulator, with chrony, ntpsec and ntpd-rs
themselves; they are quoted, not measured here.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench.scenarios import SCENARIOS
from bench.simulate import medians, simulate_controller, simulate_prototype
from ntptwist.algorithm.config import PollLimits

Anchors = dict[str, tuple[float | None, float | None, float | None]]
GOALS = ("a", "b", "c", "c4", "e", "g", "l", "s", "p")

FIXED: Anchors = {
    "a": (21.9, 20.9, 33.8),
    "b": (8.9, 15.8, 9.6),
    "c": (439.0, 287.0, 839.0),
    "c4": (255.0, 208.0, 751.0),
    "e": (19.7, 18.2, 22.5),
    "g": (76.5, 391.0, 92.6),
    "l": (33.4, 36.4, 55.5),
    "p": (0.17, 1.7, None),
    "gd": (37.7, 105.0, 43.4),
    "gi": (623.0, 484.0, 1010.0),
    "h": (4790.0, 16300.0, 10700.0),
    "w": (143.0, 1530.0, 116.0),
}
"""RMS error in microseconds of chrony, ntpsec and ntpd-rs at fixed 64 s polls."""

ADAPTIVE: Anchors = {
    "a": (117.0, 210.0, 45.0),
    "b": (30.0, 230.0, 9.6),
    "c": (667.0, 873.0, 1430.0),
    "c4": (684.0, 597.0, 933.0),
    "e": (124.0, 498.0, 28.0),
    "g": (97.0, 540.0, 94.0),
    "l": (139.0, 206.0, 44.0),
    "p": (0.17, 1.7, None),
    "h": (8060.0, None, None),
}
"""The same with each daemon's default polls."""

FIXED_16: Anchors = {
    "a": (11.7, None, None),
    "b": (3.8, None, None),
    "c": (412.0, None, None),
    "c4": (364.0, None, None),
    "e": (6.9, None, None),
    "g": (37.4, None, None),
    "l": (14.1, None, None),
}
"""The same at fixed 16 s polls, of chrony only."""


def _anchors(limits: PollLimits) -> Anchors:
    if limits.minimum < limits.maximum:
        return ADAPTIVE
    return {6: FIXED, 4: FIXED_16}.get(limits.minimum, {})


def row(name: str, limits: PollLimits, seeds: int) -> str:
    """Run one scenario with both disciplines and write its row."""
    numbers = range(1, seeds + 1)
    old = dict(medians([simulate_prototype(name, limits, seed) for seed in numbers]))
    new = dict(medians([simulate_controller(name, limits, seed) for seed in numbers]))
    anchors = _anchors(limits).get(name, (None, None, None))
    quoted = "".join(f"{'-' if anchor is None else f'{anchor:g}':>9}" for anchor in anchors)
    recovered = f"  after the foreign step {new['recovered']:.0f} s" if SCENARIOS[name].step else ""
    return (
        f"{name:<4}{quoted}{old['rms'] * 1e6:>11.3f}{new['rms'] * 1e6:>11.3f}{new['rms'] / old['rms']:>8.3f}"
        f"{new['largest'] * 1e6:>10.1f}{new['frequency'] * 1e6:>8.3f}{new['below']:>8.0f}"
        f"{old['packets']:>8.0f}{new['packets']:>8.0f}{recovered}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="compare the clock discipline with its prototype and its anchors")
    parser.add_argument("scenarios", nargs="*", default=list(GOALS), metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--polls", default="6-6", help="smallest and largest poll exponent (6-6)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (5)")
    options = parser.parse_args()
    unknown = sorted(set(options.scenarios) - set(SCENARIOS))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}")
    smallest, largest = (int(exponent) for exponent in options.polls.rsplit("-", 1))
    limits = PollLimits(smallest, largest)
    print("      chrony   ntpsec  ntpd-rs  prototype       ours   ratio   largest    freq   below packets packets")
    print("          us       us       us         us         us                us     ppm    1 ms     old     ours")
    with ProcessPoolExecutor() as pool:
        for line in pool.map(partial(row, limits=limits, seeds=options.seeds), options.scenarios):
            print(line, flush=True)


if __name__ == "__main__":
    main()
