"""
What the terminal at the other end can show: its width, its letters and its colours.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

PLAIN = {ord("µ"): "u", ord("±"): "+/-"}
"""What stands for letters that ASCII does not have."""

FILE_WIDTH = 1000
"""Columns of what is no terminal: nothing is cut."""


def is_plain(output: TextIO) -> bool:
    """Tell whether only ASCII can be shown."""
    return not (output.encoding or "").lower().startswith("utf")


def is_coloured(output: TextIO) -> bool:
    """Tell whether colours are wanted: on a terminal that knows them, unless NO_COLOR forbids them (no-color.org)."""
    return output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def columns(output: TextIO) -> int:
    """Give the width in columns."""
    if not output.isatty():
        return FILE_WIDTH
    return os.get_terminal_size(output.fileno()).columns or FILE_WIDTH  # 0: a terminal that does not know


def write(lines: Iterable[str]) -> None:
    """Print, with plain letters where the terminal knows no others."""
    text = "\n".join(lines)
    print(text.translate(PLAIN) if is_plain(sys.stdout) else text)


def write_json(data: Any) -> None:
    """Print for programs."""
    print(json.dumps(data, indent=2))
