"""
Where each key of a TOML text stands.

The standard library's parser says nothing of lines, and a message without one sends an operator searching.  A text
that it has accepted is cut into its statements (a newline ends one unless it is inside a string or a bracket), each is
parsed alone, and its keys live at its first line.  Nothing here decides what a text means: that is ``tomllib``'s word.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

KeyPath = tuple[str | int, ...]
"""Keys and, inside arrays, indices from 0: ``("source", 1, "address")``."""

DEEPEST = 6
"""Longest path that is noted; no message names a deeper one, and a dotted key may have a hundred thousand parts."""

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
_DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Give each statement of a valid TOML text with the number of its first line, counted from 1."""
    line = 1
    depth = start = 0
    for token in _TOKEN.finditer(text):
        depth += _DEPTH.get(token[0], 0)
        if token[0] == "\n" and depth == 0:
            statement = text[start : token.end()]
            yield line, statement
            line += statement.count("\n")
            start = token.end()
    yield line, text[start:]


def locate(text: str) -> dict[KeyPath, int]:
    """
    Give the line of every table and key of a valid TOML text, by its path.

    What is inside an inline table or an array has the line on which its statement begins.
    """
    lines: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for line, statement in statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _enter(content, lengths)
            for depth in range(1, min(len(table), DEEPEST) + 1):
                lines.setdefault(table[:depth], line)
        else:
            _note(content, table, line, lines)
    return lines


def _enter(content: dict[str, Any], lengths: dict[KeyPath, int]) -> KeyPath:
    """Give the path of the table that a header opens; ``lengths`` counts the tables of each array so far."""
    path: KeyPath = ()
    below: Any = content
    while below:
        ((key, below),) = below.items()
        path += (key,)
        if isinstance(below, list):
            lengths[path] = lengths.get(path, 0) + 1
            below = below[0]
        if path in lengths:
            path += (lengths[path] - 1,)
    return path


def _note(content: Any, path: KeyPath, line: int, lines: dict[KeyPath, int]) -> None:
    """Note the line of everything that one statement puts below ``path``."""
    if len(path) > DEEPEST:
        return
    if path:
        lines.setdefault(path, line)
    if isinstance(content, dict):
        for key, value in content.items():
            _note(value, (*path, key), line, lines)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            _note(value, (*path, index), line, lines)
