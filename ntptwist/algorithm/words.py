"""Durations as people write them."""

from __future__ import annotations

_UNITS = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (1e-6, 1e6, "µs"), (0.0, 1e9, "ns"))


def duration(seconds: float) -> str:
    """Give a duration with its sign and four significant digits, in s, ms, µs or ns."""
    size = abs(seconds)
    if size >= 1e3:
        return f"{seconds:.0f} s"
    for least, factor, unit in _UNITS:
        if size * 1.00005 >= least:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds} s"  # NaN
