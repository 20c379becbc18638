"""
What was made a moment ago, for tools that ask once for each source and want one picture of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

LIFETIME = 0.1
"""Seconds; a tool that asks 100 times for 100 sources costs no more than a few pictures."""

Made = TypeVar("Made")


class Recent(Generic[Made]):
    """Gives what ``make`` gives, one made lately where there is one; ``seconds`` is the reactor's clock."""

    __slots__ = ("_at", "_made", "_make", "_seconds")

    def __init__(self, make: Callable[[], Made], seconds: Callable[[], float]) -> None:
        self._make = make
        self._seconds = seconds
        self._made: Made | None = None
        self._at = 0.0

    def __call__(self) -> Made:
        """Give it."""
        now = self._seconds()
        if self._made is None or now - self._at >= LIFETIME:
            self._made, self._at = self._make(), now
        return self._made
