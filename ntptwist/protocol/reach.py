"""
The eight-bit reachability register of RFC 5905, section 9.2.

Every poll shifts a zero in at the right; every good reply sets that bit.  A server is reachable while any bit is set.
The register knows nothing of time: the caller polls it.
"""

from __future__ import annotations


class Reach:
    """Which of the last eight polls were answered, the latest in the lowest bit."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value & 0xFF

    @classmethod
    def never(cls) -> Reach:
        """Give the register of a server that never answered."""
        return cls(0)

    def polled(self) -> None:
        """Note that a request is being sent."""
        self._value = self._value << 1 & 0xFF

    def received(self) -> None:
        """Note that the latest request was answered."""
        self._value |= 1

    @property
    def value(self) -> int:
        """The register, 0..255."""
        return self._value

    @property
    def is_reachable(self) -> bool:
        """Whether one of the last eight polls was answered."""
        return self._value != 0

    @property
    def unanswered(self) -> int:
        """The number of polls in a row, up to the latest, that were not answered; 8 when none was."""
        return (self._value & -self._value).bit_length() - 1 if self._value else 8
