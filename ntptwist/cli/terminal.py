"""
What the terminal at the other end can show: its width, its letters and its colours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from ntptwist.observe.words import Paint, unpainted

PLAIN = str.maketrans("µ▁▂▃▄▅▆▇█", "u_.-=+*#@")
"""What stands for letters that ASCII does not have."""

FILE_WIDTH = 1000
"""Columns of what is no terminal: nothing is cut."""

COLOURS = {"good": "32", "bad": "31", "odd": "33", "dim": "2"}


def is_plain(output: TextIO) -> bool:
    """Tell whether only ASCII can be shown."""
    return not (output.encoding or "").lower().startswith("utf")


def columns(output: TextIO) -> int:
    """Give the width in columns."""
    if not output.isatty():
        return FILE_WIDTH
    return os.get_terminal_size(output.fileno()).columns or FILE_WIDTH  # 0: a terminal that does not know


def coloured(text: str, style: str) -> str:
    """Give a text in its colour (ECMA-48, SGR)."""
    return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"


def paint_for(output: TextIO) -> Paint:
    """Give what paints: on a terminal that knows colours, unless NO_COLOR forbids it (no-color.org)."""
    wanted = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return coloured if wanted else unpainted


def write(lines: Iterable[str]) -> None:
    """Print, with plain letters where the terminal knows no others."""
    text = "\n".join(lines)
    print(text.translate(PLAIN) if is_plain(sys.stdout) else text, flush=True)


def write_json(data: Any, *, indent: int | None = 2) -> None:
    """Print for programs."""
    import json

    print(json.dumps(data, indent=indent), flush=True)


def write_csv(rows: Sequence[dict[str, Any]], fields: Sequence[str], *, header: bool = True) -> None:
    """Print for spreadsheets: a line of names, then one for each row; what is not known is empty."""
    import csv

    writer = csv.DictWriter(sys.stdout, fields, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    sys.stdout.flush()
