"""
How often a server lets us ask, learnt from its RATE kisses (RFC 5905, section 7.4).

Each kiss doubles the shortest interval, within what the operator allows; good replies without a kiss halve it again in
time, so that one bad moment of a server does not slow a source down for its whole life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ntptwist.algorithm.config import PollLimits

RELENT_AFTER: Final = 8
"""Good replies after which a server that asked for fewer requests is asked twice as often again."""


class Restraint:
    """The smallest poll exponent that a server allows, log2 seconds; ``exponent`` is None while it never complained."""

    __slots__ = ("_good", "_limits", "exponent")

    def __init__(self, limits: PollLimits) -> None:
        self._limits = limits
        self._good = 0
        self.exponent: int | None = None

    def kissed(self, last: int) -> int:
        """Take a RATE kiss for a request made at the poll exponent ``last``; give the smallest one from now on."""
        before = self._limits.minimum if self.exponent is None else self.exponent
        self._good = 0
        self.exponent = min(max(before + 1, last), self._limits.maximum)
        return self.exponent

    def answered(self) -> None:
        """Take a good reply."""
        if self.exponent is None:
            return
        self._good += 1
        if self._good < RELENT_AFTER:
            return
        self._good = 0
        self.exponent -= 1
        if self.exponent <= self._limits.minimum:
            self.exponent = None
