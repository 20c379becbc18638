"""
The judgement on all sources at one moment: who is used, and what they say together.

Everything here is asked anew after each measurement and each look at the clock; nothing is remembered but the verdict
that every source carries.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from ntptwist.algorithm.combine import Combination, Contribution, combine, disagreement
from ntptwist.algorithm.config import (
    ASYMMETRY,
    BESIDE_PULSES,
    DRIFT_VOTERS,
    FADING_SIGMAS,
    FADING_VOTERS,
    FIRST_CORRECTION_WAIT,
    INTERVAL_SIGMAS,
    MAXIMUM_DISTANCE,
    SHORTEST_SLEW,
    PollRule,
    SynchronizationPolicy,
)
from ntptwist.algorithm.select import Interval, Majority, Standing, Verdict, find_drifting, find_majority
from ntptwist.algorithm.source import TrackedSource
from ntptwist.algorithm.update import Decision, DecisionKind
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.timestamp import NANOSECONDS, Monotonic

MAXIMUM_STRATUM = 16
"""MAXSTRAT of RFC 5905: what an unsynchronized server says."""

_USED = Verdict(Standing.USED)


class _Candidate(NamedTuple):
    """A source that nothing speaks against yet: where it says that truth is, and its root distance."""

    source: TrackedSource
    interval: Interval
    distance: float


_BY_DISTANCE = attrgetter("distance")


class Patience:
    """
    How long a majority may take to answer before the first correction.

    It ends some seconds after somebody was asked, or told something without being asked: at ``until``, once that is
    known.
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until: Monotonic | None = None

    def begin(self, monotonic: Monotonic) -> None:
        """A source is asked, or speaks; only the first time counts."""
        if self.until is None:
            self.until = Monotonic(monotonic + round(FIRST_CORRECTION_WAIT * NANOSECONDS))

    def lasts(self, monotonic: Monotonic) -> bool:
        """Tell whether a majority may still answer."""
        return self.until is None or monotonic < self.until


class Judgement(NamedTuple):
    """
    What came out.

    ``used`` has the best source (smallest root distance) first and is empty without a majority; ``voters`` are those
    that agree.  ``combined`` is what is steered by.  ``by_pulses``: the pulses are so much better than the voters that
    they are followed alone; ``with_pulses``: some pulses, or what they have told lately, are a part of it.
    """

    majority: Majority
    waiting: bool
    used: tuple[TrackedSource, ...] = ()
    voters: Sequence[TrackedSource] = ()
    combined: Combination | None = None
    by_pulses: bool = False
    with_pulses: bool = False

    def adapt(self, source: TrackedSource, time: float, integral: float, rule: PollRule) -> None:
        """Adapt the poll interval of a source that has just answered by what all that agree know together."""
        known = self.combined
        if known is None or self.with_pulses:  # pulses would let servers fall asleep
            known = combine([voter.contribution() for voter in self.voters], time, integral)
        covariance = (known.p00, known.p01, known.p11)
        source.poll.adapt(covariance, known.wander, source.sample_variance, rule, used=source in self.voters)

    def fade(self, source: TrackedSource, time: float, integral: float) -> None:
        """Have a source that has just answered forget what it learnt of its route where the others contradict it."""
        if not source.asymmetry or source not in self.voters or len(self.voters) < FADING_VOTERS:
            return
        others = [voter.contribution() for voter in self.voters if voter is not source]
        ahead, variance = disagreement(source.contribution(), others, time, integral)
        if ahead * ahead > FADING_SIGMAS * FADING_SIGMAS * variance:
            source.fade(ahead)

    def news(self, before: Iterable[TrackedSource], known: Container[SourceId]) -> list[Decision]:
        """Tell which sources are used that were not ``before``, and the other way round; those still ``known``."""
        changed = {source.id: source for source in {*self.used} ^ {*before} if source.id in known}
        return [
            Decision(DecisionKind.SELECTION, changed[source].verdict.words(), source=source)
            for source in sorted(changed)
        ]

    def agreement(self) -> Decision:
        """Tell that the clock is synchronized from now on, and how many sources agree on that."""
        reason = f"synchronized: {self.majority.agree} of {self.majority.of} sources agree"
        return Decision(DecisionKind.SYNCHRONIZED, reason)

    def slew_interval(self, measured: TrackedSource | None) -> float:
        """Give the seconds over which to correct: the shortest poll interval in use, less in bursts and on pulses."""
        if measured is None or measured.is_one_way or measured.poll.in_burst:
            return SHORTEST_SLEW
        return max(min([s.poll.pace for s in self.used if not s.is_one_way], default=0.0), SHORTEST_SLEW)

    def lack(self, voting_sources: int) -> str:
        """Say in words what there is too little of to touch the clock; ``voting_sources`` are configured."""
        agree, of, needed = self.majority.agree, self.majority.of, self.majority.needed
        if of >= needed and not self.waiting:
            return f"unsynchronized: {agree} of {of} sources agree, {needed} needed"
        most = max(needed, voting_sources // 2 + 1) if self.waiting else needed
        missing = max(most - of, 1)
        return f"waiting for {missing} more source{'s' if missing > 1 else ''}"


def judge(
    sources: Collection[TrackedSource],
    time: float,
    integral: float,
    policy: SynchronizationPolicy,
    own: frozenset[ReferenceId],
    held: Contribution | None = None,
    *,
    patient: bool,
    synchronized: bool,
) -> Judgement:
    """
    Judge all sources at ``time`` on the book's axis and leave each its verdict.

    ``held`` is what the pulses last told: when they have ended it goes on beside the voters, as one that becomes less
    certain, so that nothing jumps.  ``patient``: wait until more than half of the sources have answered.
    ``synchronized``: pulses that are numbered go on without a majority.
    """
    voters: list[_Candidate] = []
    pulses: list[_Candidate] = []
    highest = min(MAXIMUM_STRATUM, policy.local_stratum)
    for source in sources:
        refusal = source.refusal(time, highest, own)
        if refusal is not None:
            source.verdict = refusal
            continue
        offset, distance = source.reach(time, integral)
        if not distance <= MAXIMUM_DISTANCE:
            source.verdict = Verdict(Standing.DISTANCE, amount=distance)
            continue
        candidate = _Candidate(source, Interval(offset - distance, offset + distance), distance)
        (voters if source.period is None else pulses).append(candidate)
    majority = _majority(voters, policy.agreeing)
    waiting = patient and 2 * _answered(sources, time) <= policy.voting_sources
    members = _elect(voters, majority, waiting=waiting)
    if policy.needs_required and not any(member.source.options.require for member in members):
        members = _disown(members, Verdict(Standing.REQUIRED))
    followed = _prefer(members)
    beating = _number(pulses, majority if members else None, synchronized=synchronized and not waiting)
    used = [candidate.source for candidate in sorted(beating + followed, key=_BY_DISTANCE)]
    contributions = [source.contribution() for source in used]
    by_pulses = bool(beating) and used[0].is_pulse
    if by_pulses:
        used = [source for source in used if source.is_pulse]
        _disown(members, Verdict(Standing.AGREES))
    elif members and not beating and held is not None and _fits(held, majority, time, integral):
        contributions.append(held)
    if len(used) > 1:
        used[0].verdict = Verdict(Standing.BEST, of=len(used))
    with_pulses = bool(beating) or len(contributions) > len(used)
    asymmetry = BESIDE_PULSES if with_pulses else ASYMMETRY
    combined = combine(contributions, time, integral, asymmetry) if used else None
    agreed = [member.source for member in members]
    return Judgement(majority, waiting, tuple(used), agreed, combined, by_pulses, with_pulses)


def _answered(sources: Iterable[TrackedSource], time: float) -> int:
    """Give how many votes would be given if all that answer could vote."""
    return len({s.vote for s in sources if not (s.is_pulse or s.options.noselect) and s.is_live(time)})


def _majority(voters: Sequence[_Candidate], agreeing: int) -> Majority:
    """
    Find what the majority holds: of the trusted sources, where there are any that can vote.

    So many as the operator asks for must agree in any case, trusted or not.
    """
    trusted = [voter for voter in voters if voter.source.options.trust]
    if not trusted:
        groups = [voter.source.vote for voter in voters] if any(v.source.options.group for v in voters) else None
        return find_majority([voter.interval for voter in voters], agreeing, groups)
    majority = find_majority([voter.interval for voter in trusted], 1, [voter.source.vote for voter in trusted])
    agree = len({voter.source.vote for voter in voters if voter.interval.touches(majority.common)})
    if majority.holds and agree < agreeing:
        return Majority(majority.common, agree, len({voter.source.vote for voter in voters}), agreeing)
    return majority


def _prefer(members: list[_Candidate]) -> list[_Candidate]:
    """Give those of the members that are followed: the preferred ones, where there are any."""
    preferred = [member for member in members if member.source.options.prefer]
    if not preferred:
        return members
    _disown([member for member in members if not member.source.options.prefer], Verdict(Standing.NOT_PREFERRED))
    return preferred


def _disown(members: Iterable[_Candidate], verdict: Verdict) -> list[_Candidate]:
    """Give members another verdict than that they are used; nobody is left."""
    for member in members:
        member.source.verdict = verdict
    return []


def _fits(held: Contribution, majority: Majority, time: float, integral: float) -> bool:
    """Tell whether what the pulses told is still compatible with the majority."""
    offset, variance = held.estimate.at(time, integral)
    distance = held.root_dispersion + INTERVAL_SIGMAS * math.sqrt(max(variance, 0.0))
    return Interval(offset - distance, offset + distance).touches(majority.common)


def _elect(voters: list[_Candidate], majority: Majority, *, waiting: bool) -> list[_Candidate]:
    """Give every voter its verdict; return those that agree, none without a majority."""
    if waiting or not majority.holds:
        verdict = Verdict(Standing.NO_MAJORITY, number=majority.agree, of=majority.of, needed=majority.needed)
        return _disown(voters, Verdict(Standing.WAITING) if waiting else verdict)
    common = majority.common
    members = []
    for voter in voters:
        if voter.interval.touches(common):
            voter.source.verdict = _USED
            members.append(voter)
        else:
            voter.source.verdict = Verdict(Standing.FALSETICKER, amount=abs(voter.interval.middle - common.middle))
    return _without_drifting(members, majority)


def _without_drifting(members: list[_Candidate], majority: Majority) -> list[_Candidate]:
    """
    Leave those out whose frequency contradicts the others', as long as enough of them remain.

    Where sources are trusted nobody is judged by what the others say.
    """
    if len(members) < DRIFT_VOTERS:
        return members
    drifting = find_drifting([member.source.frequency for member in members])
    if drifting is None or any(member.source.options.trust for member in members):
        return members
    steady = [member for member, away in zip(members, drifting, strict=True) if not away]
    if len({member.source.vote for member in steady}) < majority.needed:
        return members
    for member, away in zip(members, drifting, strict=True):
        if away:
            member.source.verdict = Verdict(Standing.DRIFTING, amount=away)
    return steady


def _number(pulses: list[_Candidate], majority: Majority | None, *, synchronized: bool) -> list[_Candidate]:
    """
    Give every pulse its verdict; return those that are used.

    A pulse that the majority contradicts was numbered wrongly, or is wrong: it starts afresh.  Without a majority,
    numbered pulses go on by themselves, as long as they come.
    """
    beating = []
    for pulse in pulses:
        source, interval, _ = pulse
        if majority is not None and not interval.touches(majority.common):
            source.verdict = Verdict(Standing.FALSETICKER, amount=abs(interval.middle - majority.common.middle))
            source.number_again()
        elif majority is not None or synchronized:
            source.verdict = _USED
            beating.append(pulse)
        else:
            source.verdict = Verdict(Standing.UNNUMBERED)
    return beating
