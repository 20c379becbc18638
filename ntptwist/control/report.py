"""
What became of a wish to change the running daemon, in sentences for people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """
    The answer to one wish.

    Without ``problems`` it was done, as a whole, and ``changes`` says what is different now; with them nothing was.
    ``later`` is what only a restart brings, ``warnings`` is what an operator should know all the same.
    """

    changes: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Give it as plain data for JSON."""
        return {"done": not self.problems, **{name: list(lines) for name, lines in asdict(self).items()}}
