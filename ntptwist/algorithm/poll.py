"""
When a source is asked: a burst at the start and after accidents, then an interval that adapts.

The rule compares the *prediction* of the combined estimate with one sample of the source: while the clock would still
be known better than 1.5 times one sample after twice the interval, a sample is in no hurry.  A profile sets the factor,
or asks in the first place that the clock be known as well as before.
"""

from __future__ import annotations

from ntptwist.algorithm.config import (
    BURST_INTERVAL,
    BURST_REPLIES,
    BURST_REQUESTS,
    POLL_DOWN,
    POLL_RULES,
    POLL_UP,
    VERIFY_REPLIES,
    VERIFY_REQUESTS,
    PollLimits,
    PollRule,
    Profile,
)
from ntptwist.timestamp import Monotonic


class PollSchedule:
    """
    The polls of one source; ``exponent`` is the present interval, log2 seconds.

    ``sent`` and ``sent_before`` are the times of the last two requests.
    """

    __slots__ = ("_limits", "_replies", "_requests", "_score", "_waiting", "exponent", "sent", "sent_before")

    def __init__(self, limits: PollLimits) -> None:
        self._limits = limits
        self._replies = BURST_REPLIES
        self._requests = BURST_REQUESTS
        self._score = 0
        self._waiting = False
        self.exponent = limits.minimum
        self.sent: Monotonic | None = None
        self.sent_before: Monotonic | None = None

    @property
    def interval(self) -> float:
        """The present interval, seconds, outside a burst."""
        return 2.0**self.exponent

    @property
    def in_burst(self) -> bool:
        """Whether replies of a burst are still wanted."""
        return self._replies > 0

    @property
    def asks_quickly(self) -> bool:
        """Whether a burst is still sending."""
        return self._replies > 0 and self._requests > 0

    def polled(self, monotonic: Monotonic) -> float:
        """A request is sent: give the seconds until the next one; after a lost reply that is half the interval."""
        lost, self._waiting = self._waiting, True
        self.sent_before, self.sent = self.sent, monotonic
        shortest = 2.0**self._limits.minimum
        if self.asks_quickly:
            self._requests -= 1
            return min(BURST_INTERVAL, shortest)
        return max(self.interval / (2.0 if lost else 1.0), shortest)

    def answered(self) -> None:
        """A reply came in."""
        self._waiting = False

    def counted(self) -> None:
        """The reply could be used."""
        self._replies = max(self._replies - 1, 0)

    def verify(self) -> None:
        """Ask a few times quickly: something happened to the clock."""
        self._replies, self._requests = VERIFY_REPLIES, VERIFY_REQUESTS

    def adapt(
        self,
        covariance: tuple[float, float, float],
        wander: float,
        sample: float,
        rule: PollRule = POLL_RULES[Profile.BALANCED],
        *,
        used: bool,
    ) -> None:
        """
        Adapt the interval after a reply.

        ``covariance`` (p00, p01, p11) and ``wander`` are those of the combined estimate, ``sample`` is the variance
        of one offset of this source.  A source that is not ``used`` is in no hurry.
        """
        p00, p01, p11 = covariance
        limit = rule.ratio * rule.ratio * sample
        if rule.growth is not None:
            limit = min(limit, (1.0 + rule.growth) * p00)

        def predicted(ahead: float) -> float:
            return p00 + ahead * (2.0 * p01 + ahead * (p11 + wander * ahead / 3.0))

        if not used or predicted(2.0 * self.interval) < limit:
            self._score += 1
        elif predicted(self.interval) > limit:
            self._score -= 1
        else:
            self._score -= (self._score > 0) - (self._score < 0)
        if self._score >= POLL_UP:
            self._score = 0
            self.exponent = min(self.exponent + 1, max(self._limits.maximum, self._limits.minimum))
        elif self._score <= -POLL_DOWN:
            self._score = 0
            self.exponent = max(self.exponent - 1, self._limits.minimum)
