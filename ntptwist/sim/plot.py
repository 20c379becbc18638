"""
The error of a clock over time, drawn as SVG.

Small, plain and self-contained: each run is one band from the smallest to the largest error between two looks, with the
line of what the daemon claimed (three standard deviations).  Text and axes have the colour of the text around the
picture, or of the reader's scheme where it stands alone, so it can be read on light and on dark pages.

The axis is linear for an error that stays of one size; one that begins a thousand times larger than it ends is drawn on
an axis that is logarithmic beyond its typical size, in both directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from ntptwist.sim.scenario import Disconnect, ForeignStep, LeapSecond, Refuse, Restart, Scenario, Suspend
from ntptwist.sim.trial import Look, Report

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 34, 40
COLUMNS = 240
COLOURS = ("#2a7de1", "#d9822b", "#3a9d5d", "#9b59b6", "#c0392b")
CLAIM = "#8a8a8a"
LOGARITHMIC_FROM = 30.0
"""Ratio of the largest error to the typical one."""
FINEST = 1e-9
"""Seconds: the lowest end of a logarithmic axis."""
HOURS = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "d"))
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))

STYLE = """\
svg:root{color:#222;background:#fff}
@media (prefers-color-scheme:dark){svg:root{color:#ddd;background:#181818}}
"""


class Axis(NamedTuple):
    """A vertical axis: from a value to a height, and the values with a mark."""

    place: Callable[[float], float]
    marks: Sequence[float]


def svg(scenario: Scenario, reports: Sequence[Report]) -> str:
    """Draw the errors of all runs of a scenario."""
    axis = _axis(reports)
    title = scenario.title or scenario.name
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'{head} role="img" font-family="sans-serif" font-size="11" fill="currentColor">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="16" font-size="13">{escape(title)}</text>',
        *_frame(scenario, axis),
    ]
    for number, report in enumerate(reports):
        parts += _run(scenario, report, axis, COLOURS[number % len(COLOURS)])
    parts += _events(scenario)
    return "\n".join(parts) + "\n</svg>\n"


def _axis(reports: Sequence[Report]) -> Axis:
    errors = [max(abs(look.low), abs(look.high)) for report in reports for look in report.looks if look.low == look.low]
    largest = max([*errors, FINEST])
    typical = sorted(errors)[len(errors) // 2] if errors else FINEST
    if largest > LOGARITHMIC_FROM * typical:
        return _logarithmic(largest, typical)
    return _linear(largest)


def _linear(largest: float) -> Axis:
    step = _round_step(largest / 2.0)
    top = math.ceil(largest / step) * step
    count = round(top / step)
    return Axis(
        lambda value: TOP + (1.0 - min(max(value / top, -1.0), 1.0)) / 2.0 * (HEIGHT - TOP - BOTTOM),
        [k * step for k in range(-count, count + 1)],
    )


def _logarithmic(largest: float, typical: float) -> Axis:
    """Give an axis that is linear up to about the typical size and logarithmic beyond, in both directions."""
    unit = 10.0 ** round(math.log10(max(typical, FINEST)) + 0.3)
    powers = range(math.ceil(math.log10(largest / unit)) + 1)
    top = math.asinh(10.0 ** powers[-1])

    def place(value: float) -> float:
        height = min(max(math.asinh(value / unit) / top, -1.0), 1.0)
        return TOP + (1.0 - height) / 2.0 * (HEIGHT - TOP - BOTTOM)

    sizes = [unit * 10.0**power for power in powers]
    return Axis(place, [*(-size for size in reversed(sizes)), 0.0, *sizes])


def _round_step(value: float) -> float:
    """Give the largest of 1, 2, 5 times a power of ten that is not greater."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * digit for digit in (5, 2, 1) if power * digit <= value * 1.000001)


def _across(scenario: Scenario, seconds: float) -> float:
    return LEFT + seconds / scenario.duration * (WIDTH - LEFT - RIGHT)


def _frame(scenario: Scenario, axis: Axis) -> Iterator[str]:
    """Draw the axes with their marks, and where the figures begin."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for mark in axis.marks:
        y = axis.place(mark)
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="currentColor" stroke-opacity=".15"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_amount(mark)}</text>'
    divisor, unit = next(pair for pair in reversed(HOURS) if scenario.duration >= 3 * pair[0] or pair[0] == 1)
    step = _round_step(scenario.duration / divisor / 4.0)
    for k in range(int(scenario.duration / divisor / step + 1e-9) + 1):
        x = _across(scenario, k * step * divisor)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="currentColor"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{k * step:g}</text>'
    settled = _across(scenario, scenario.settle)
    yield f'<rect x="{LEFT}" y="{TOP}" width="{settled - LEFT:.1f}" height="{bottom - TOP}" fill-opacity=".05"/>'
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="currentColor" fill="none"/>'
    yield f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">time, {unit}</text>'
    key = "error of the clock (up: slow); grey: claimed, 3 sigma; shaded: settling"
    yield f'<text x="{LEFT}" y="{HEIGHT - 6}">{key}</text>'


def _run(scenario: Scenario, report: Report, axis: Axis, colour: str) -> Iterator[str]:
    """Draw the band of one run, in pieces where the clock could be read, and what was claimed."""
    looks = list(_columns(report.looks))
    yield '<g transform="scale(.1)">'
    for piece in _pieces(looks, lambda look: look.low == look.low):
        upper = [(_across(scenario, look.at), axis.place(look.high) - 0.5) for look in piece]
        lower = [(_across(scenario, look.at), axis.place(look.low) + 0.5) for look in piece]
        yield f'<path d="{_line([*upper, *reversed(lower)])}z" fill="{colour}" fill-opacity=".8"/>'
    for piece in _pieces(looks, lambda look: look.uncertainty is not None):
        for sigmas in (3.0, -3.0):
            line = [(_across(scenario, look.at), axis.place(sigmas * (look.uncertainty or 0.0))) for look in piece]
            yield f'<path d="{_line(line)}" stroke="{CLAIM}" stroke-width="8" fill="none"/>'
    yield "</g>"


def _line(points: Iterable[tuple[float, float]]) -> str:
    """Give the path along some points, in tenths of a unit and relative, which makes the file a third as long."""
    text, x, y = "", 0, 0
    for point in points:
        across, down = (round(10.0 * part) for part in point)
        text += f"{'l' if text else 'M'}{across - x} {down - y}"
        x, y = across, down
    return text


def _columns(looks: Sequence[Look]) -> Iterator[Look]:
    """Join looks, so that no more than so many columns are drawn; a gap stays one."""
    together = math.ceil(len(looks) / COLUMNS)
    for start in range(0, len(looks), together):
        *_, last = some = looks[start : start + together]
        if any(look.low != look.low for look in some):
            yield last._replace(low=math.nan)
            continue
        yield last._replace(low=min(look.low for look in some), high=max(look.high for look in some))


def _pieces(looks: Iterable[Look], holds: Callable[[Look], bool]) -> Iterator[list[Look]]:
    """Give the longest stretches of looks for which something holds."""
    piece: list[Look] = []
    for look in looks:
        if holds(look):
            piece.append(look)
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _events(scenario: Scenario) -> Iterator[str]:
    """Mark what happened to the machine."""
    for event in scenario.events:
        x = _across(scenario, event.at)
        at_left = x < (LEFT + WIDTH) / 2
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-dasharray="3 3"/>'
        anchor, shift = ("start", 4) if at_left else ("end", -4)
        yield f'<text x="{x + shift:.1f}" y="{TOP + 10}" text-anchor="{anchor}">{_words(event)}</text>'


def _words(event: object) -> str:
    match event:
        case ForeignStep(_, seconds):
            return f"stepped by {_amount(seconds)}"
        case Suspend(_, seconds):
            return f"asleep for {seconds:g} s"
        case LeapSecond(_, leap):
            return f"leap second: {leap}"
        case Disconnect(_, seconds):
            return f"no network for {seconds:g} s"
        case Restart():
            return "restart"
        case Refuse():
            return "the kernel refuses"
        case _:
            return ""


def _amount(seconds: float) -> str:
    """Give a mark of an axis: ``20 µs``."""
    if seconds == 0:
        return "0"
    scale, unit = next(((scale, unit) for scale, unit in UNITS if abs(seconds) >= 0.9999 * scale), UNITS[-1])
    return f"{seconds / scale:.4g} {unit}"
