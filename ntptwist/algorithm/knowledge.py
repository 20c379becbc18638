"""
What is known of the clock: the latest combined estimate, what the best source gives to others, the leap second.

It stays when the sources go: the estimate is predicted onwards and its variance grows, so what is served remains true.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ntptwist.algorithm.belief import Estimate
from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.combine import Combination, Contribution, vote_leap
from ntptwist.algorithm.config import LEAP_WINDOW
from ntptwist.algorithm.corrections import Corrections
from ntptwist.algorithm.jury import Judgement
from ntptwist.algorithm.update import Decision, DecisionKind
from ntptwist.algorithm.words import duration
from ntptwist.identifiers import NO_REFERENCE, Leap, ReferenceId
from ntptwist.snapshot import MAXIMUM_DISPERSION, TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp


class _Reference(NamedTuple):
    """What the best source gives to those who ask us; durations in seconds."""

    stratum: int = 16
    id: ReferenceId = NO_REFERENCE
    root_delay: float = 0.0
    root_dispersion: float = 0.0


class ClockKnowledge:
    """
    What is known of one clock.

    ``confirmed`` is when the sources last agreed, None if they never did; ``corrected`` is the local time of the last
    correction, ``corrections`` what they all were like; ``leap`` the leap second that is announced; ``held`` what the
    pulses told when they were last followed.
    """

    __slots__ = (
        "_book",
        "_combination",
        "_leapt",
        "_reference",
        "confirmed",
        "corrected",
        "corrections",
        "held",
        "leap",
    )

    def __init__(self, book: ClockBook) -> None:
        self._book = book
        self._combination: Combination | None = None
        self._reference = _Reference()
        self._leapt: Monotonic | None = None
        self.confirmed: Monotonic | None = None
        self.corrected = Timestamp(0)
        self.corrections = Corrections()
        self.held: Contribution | None = None
        self.leap = Leap.NONE

    def learn(self, judgement: Judgement, monotonic: Monotonic, listed: Leap | None = None) -> Decision | None:
        """
        Take what the sources agree on; tell whether the leap second is another than before.

        ``listed`` is what a list of leap seconds says of it.
        """
        best = judgement.used[0]
        self._combination = judgement.combined
        self._reference = _Reference(best.stratum + 1, best.address, best.delay + best.root_delay, best.root_dispersion)
        self.confirmed = monotonic
        if judgement.by_pulses and judgement.combined is not None:
            self.held = _contribution(judgement.combined, best.root_dispersion)
        leap = vote_leap([source.leap for source in judgement.voters], listed)
        if leap is None or leap is self.leap:
            return None
        if self._leapt is not None and monotonic < self._leapt + LEAP_WINDOW * NANOSECONDS:
            return None  # late announcements of the one that has passed
        self.leap = leap
        what = {Leap.INSERT: "is to be inserted", Leap.DELETE: "is to be deleted"}.get(
            leap, "is not announced any more"
        )
        return Decision(DecisionKind.LEAP, f"a leap second {what}")

    def leap_passed(self, monotonic: Monotonic, moved: int) -> Decision:
        """The leap second that was announced has happened, and moved the clock by so many nanoseconds; tell it."""
        self.leap, self._leapt = Leap.NONE, monotonic
        how = "inserted" if moved < 0 else "deleted"
        return Decision(DecisionKind.LEAP, f"a leap second was {how}", moved / NANOSECONDS)

    def shift(self, delta: int) -> None:
        """The local clock was moved by ``delta`` nanoseconds."""
        if self._combination is not None:
            self._combination = self._combination.shifted(delta / NANOSECONDS)
        if self.held is not None:
            self.held.estimate.offset -= delta / NANOSECONDS

    def doubt(self, sigma: float) -> None:
        """The local clock may have moved by something of standard deviation ``sigma``."""
        if self._combination is not None:
            self._combination = self._combination.doubted(sigma)
        if self.held is not None:
            self.held.estimate.p00 += sigma * sigma

    def at(self, monotonic: Monotonic) -> Combination | None:
        """Give the latest combined estimate, predicted to a moment."""
        if self._combination is None:
            return None
        time = self._book.seconds(monotonic)
        return self._combination.at(time, self._book.integral(time))

    def distance(self, monotonic: Monotonic) -> float:
        """Give our own root distance as clients compute it from what is served, seconds: one standard deviation."""
        here = self.at(monotonic)
        if here is None:
            return MAXIMUM_DISPERSION
        reference = self._reference
        return reference.root_delay / 2.0 + reference.root_dispersion + abs(here.offset) + math.sqrt(here.p00)

    def bound(self, monotonic: Monotonic) -> float:
        """Give how far the clock may be from the truth, seconds: three standard deviations and what they don't show."""
        here = self.at(monotonic)
        return MAXIMUM_DISPERSION if here is None else abs(here.offset) + here.bound

    def lost(self, monotonic: Monotonic) -> Decision:
        """Tell that nobody has confirmed the clock for too long."""
        silence = f"nobody has confirmed the clock for {self._unconfirmed(monotonic)} s"
        reason = f"{silence}: it may be {duration(self.bound(monotonic))} from the truth"
        return Decision(DecisionKind.UNSYNCHRONIZED, reason)

    def silence(self, monotonic: Monotonic, *, synchronized: bool) -> str:
        """Say in words for how long the sources have not agreed; nothing if they never did."""
        if self.confirmed is None:
            return ""
        what = "holding over" if synchronized else "unsynchronized: nobody has confirmed the clock"
        return f"{what} for {self._unconfirmed(monotonic)} s"

    def _unconfirmed(self, monotonic: Monotonic) -> int:
        """Give the whole seconds since the sources last agreed; 0 if they never did."""
        return (monotonic - self.confirmed) // NANOSECONDS if self.confirmed is not None else 0

    def snapshot(self, monotonic: Monotonic, *, synchronized: bool) -> TimeSnapshot:
        """Give what a server may say; an offset that is not worked off yet counts as dispersion."""
        here = self.at(monotonic)
        if here is None or not synchronized:
            return TimeSnapshot(reference_time=self.corrected, monotonic=monotonic)
        reference = self._reference
        return TimeSnapshot(
            leap=self.leap,
            stratum=reference.stratum,
            reference_id=reference.id,
            reference_time=self.corrected,
            monotonic=monotonic,
            root_delay=reference.root_delay,
            dispersion=min(reference.root_dispersion + abs(here.offset), MAXIMUM_DISPERSION),
            base=here.p00,
            linear=here.p01,
            quadratic=here.p11,
            wander=here.wander,
        )


def _contribution(known: Combination, root_dispersion: float) -> Contribution:
    """Give a combined estimate the form in which it can be combined again."""
    mean, covariance = (known.offset, known.frequency), (known.p00, known.p01, known.p11)
    return Contribution(Estimate.of(known.time, known.integral, mean, covariance, known.wander), 0.0, root_dispersion)
