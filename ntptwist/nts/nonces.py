"""
Nonces, of which a busy server needs two for each reply.

They need not be secret, only never come twice, so they may be drawn long before they are used: drawing 64 of them costs
five times as much as drawing one.  Keys are secret, and are drawn when they are needed and not from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

DRAWN: Final = 1024
"""Octets that are drawn at a time."""


class Nonces:
    """
    Gives octets of which none is ever given again, drawn with ``randbytes``.

    A process that forks makes a new one in each of its parts: copies would give the same octets.
    """

    __slots__ = ("_octets", "_position", "_randbytes")

    def __init__(self, randbytes: Callable[[int], bytes]) -> None:
        self._randbytes = randbytes
        self._octets = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """Give a nonce of 1 to 1024 octets."""
        start = self._position
        end = start + size
        if end > len(self._octets):
            self._octets = self._randbytes(DRAWN)
            start, end = 0, size
        self._position = end
        return self._octets[start:end]
