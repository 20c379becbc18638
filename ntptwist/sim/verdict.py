"""
Whether a trial kept its limits, and its figures in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from statistics import median_low
from typing import Any

from ntptwist.observe.words import amount
from ntptwist.sim.scenario import Limits, Scenario
from ntptwist.sim.trial import Report


@dataclass(frozen=True, slots=True)
class Figures:
    """What is printed of a trial; seconds, a fractional frequency, numbers.  None is never."""

    rms: float
    maximum: float
    frequency: float
    below_10ms: int | None
    below_1ms: int | None
    below_100us: int | None
    packets: int
    steps: int
    beyond_bound: float
    beyond_3_sigma: float


def figures(report: Report) -> Figures:
    """Give the figures of a trial."""
    statistics = report.statistics
    return Figures(
        rms=statistics.rms,
        maximum=statistics.maximum,
        frequency=statistics.frequency_rms,
        below_10ms=statistics.below_10ms,
        below_1ms=statistics.below_1ms,
        below_100us=statistics.below_100us,
        packets=statistics.packets,
        steps=statistics.steps,
        beyond_bound=report.beyond_bound,
        beyond_3_sigma=report.beyond_3_sigma,
    )


def medians(reports: Sequence[Report]) -> Figures:
    """Give the median of each figure; what never came is later than everything."""
    rows = [figures(report) for report in reports]
    middle = median_low(range(len(rows)))
    columns: list[list[Any]] = [
        sorted((getattr(row, field.name) for row in rows), key=_never_last) for field in fields(Figures)
    ]
    return Figures(*(column[middle] for column in columns))


def _never_last(value: float | None) -> tuple[bool, float]:
    return (value is None, value or 0)


WORDS = {
    "rms": "RMS",
    "maximum": "maximum",
    "frequency": "frequency",
    "below_10ms": "< 10 ms",
    "below_1ms": "< 1 ms",
    "below_100us": "< 100 µs",
    "packets": "packets",
    "steps": "steps",
    "beyond_bound": "> bound",
    "beyond_3_sigma": "> 3 sigma",
}
"""The heads of the columns."""


def shown(name: str, value: float | None) -> str:
    """Give a figure with its unit."""
    if value is None:
        return "never"
    if name in ("rms", "maximum"):
        return amount(value)
    if name == "frequency":
        return f"{value * 1e6:.3f} ppm"
    if name.startswith("below"):
        return f"{value:.0f} s"
    if name.startswith("beyond"):
        return f"{value:.2%}"
    return f"{value:.0f}"


def broken(limits: Limits, report: Report) -> list[str]:
    """Say which limits a trial did not keep; nothing when it kept them all."""
    return [*_too_much(limits, report), *_otherwise(limits, report)]


def _too_much(limits: Limits, report: Report) -> Iterator[str]:
    row = figures(report)
    for name, word in WORDS.items():
        limit, value = getattr(limits, name), getattr(row, name)
        if limit is not None and (value is None or value > limit):
            yield f"{word}: {shown(name, value)}, at most {shown(name, limit)}"
    for window, (rms, maximum) in zip(limits.windows, report.windows, strict=True):
        where = f"from {window.first} s to {window.last} s"
        for word, value, limit in (("RMS", rms, window.rms), ("maximum", maximum, window.maximum)):
            if limit is not None and value > limit:
                yield f"{word} {where}: {amount(value)}, at most {amount(limit)}"


def _otherwise(limits: Limits, report: Report) -> Iterator[str]:
    if limits.synchronized is not None and limits.synchronized != report.synchronized:
        yield f"the daemon ends {'un' * (not report.synchronized)}synchronized"
    if (limits.exit_status or 0) != report.exit_status:
        yield f"exit status {report.exit_status}, not {limits.exit_status or 0}"
    yield from (f"{address} was never used" for address in limits.used if address not in report.used)
    yield from (f"{address} was used" for address in limits.unused if address in report.used)
    reasons = [reason for _, reason in report.told]
    for words in limits.told:
        if not any(words in reason for reason in reasons):
            yield f"no decision says {words!r}"
    for words in limits.untold:
        yield from (f"a decision says: {reason}" for reason in reasons if words in reason)


def table(scenario: Scenario, reports: Sequence[Report]) -> list[str]:
    """Give the figures of all trials of a scenario, one line each, and their medians."""
    rows = [(str(report.seed), figures(report)) for report in reports]
    if len(reports) > 1:
        rows.append(("median", medians(reports)))
    lines = [f"{scenario.name}: {scenario.title}" if scenario.title else scenario.name]
    cells = [[shown(name, getattr(row, name)) for name in WORDS] for _, row in rows]
    widths = [max(len(word), *(len(row[k]) for row in cells)) for k, word in enumerate(WORDS.values())]
    lines.append(
        "    seed  " + "  ".join(f"{word:>{width}}" for word, width in zip(WORDS.values(), widths, strict=True))
    )
    for (seed, _), row in zip(rows, cells, strict=True):
        lines.append(f"  {seed:>6}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    return lines
