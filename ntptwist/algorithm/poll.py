"""
When a source is asked: a burst at the start and after accidents, then an interval that adapts.

Between the first burst and the polls comes an *approach*: the interval grows by half a power of two with each request.
A burst shows the offset, but over its few seconds hardly the frequency; until that is known too, a clock drifts off in
the first long gap.

The rule compares the *prediction* of the combined estimate with one sample of the source: while the clock would still
be known better than 1.5 times one sample after twice the interval, a sample is in no hurry.  A profile sets the factor,
or asks in the first place that the clock be known as well as before.
"""

from __future__ import annotations

from ntptwist.algorithm.config import (
    APPROACH_GROWTH,
    APPROACH_STEP,
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
    The polls of one source; ``exponent`` is the interval after the approach, log2 seconds.

    ``sent`` and ``sent_before`` are the times of the last two requests.
    """

    __slots__ = (
        "_answers",
        "_approach",
        "_limits",
        "_replies",
        "_requests",
        "_score",
        "_waiting",
        "exponent",
        "sent",
        "sent_before",
    )

    def __init__(self, limits: PollLimits) -> None:
        self._limits = limits
        self._replies = BURST_REPLIES
        self._requests = BURST_REQUESTS
        self._score = 0
        self._waiting = False
        self._answers = False
        self._approach = min(BURST_INTERVAL, 2.0**limits.minimum)
        self.exponent = limits.minimum
        self.sent: Monotonic | None = None
        self.sent_before: Monotonic | None = None

    @property
    def interval(self) -> float:
        """The interval after burst and approach, seconds."""
        return 2.0**self.exponent

    @property
    def pace(self) -> float:
        """The present interval outside a burst, seconds: while it approaches the limits it is shorter."""
        return self._approach if self._approaches else self.interval

    @property
    def in_burst(self) -> bool:
        """Whether replies of a burst are still wanted."""
        return self._replies > 0

    @property
    def asks_quickly(self) -> bool:
        """Whether a burst is still sending."""
        return self._replies > 0 and self._requests > 0

    @property
    def _shortest(self) -> float:
        return 2.0**self._limits.minimum

    @property
    def _approaches(self) -> bool:
        """Whether the interval is still below the limits; a source that never answered is not asked so often."""
        return self._answers and self._approach < self._shortest

    def polled(self, monotonic: Monotonic) -> float:
        """A request is sent: give the seconds until the next one; after a lost reply that is half the interval."""
        lost, self._waiting = self._waiting, True
        self.sent_before, self.sent = self.sent, monotonic
        if self.asks_quickly:
            self._requests -= 1
            return min(BURST_INTERVAL, self._shortest)
        if self._approaches:
            self._approach *= APPROACH_STEP
            return min(self._approach, self._shortest)
        return max(self.interval / (2.0 if lost else 1.0), self._shortest)

    def answered(self) -> None:
        """A reply came in."""
        self._waiting = False

    def counted(self) -> None:
        """The reply could be used."""
        self._answers = True
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

        if self._approaches:
            if predicted(self._shortest) > APPROACH_GROWTH * p00:
                return
            self._approach = self._shortest
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
