"""
The judgement on all sources at one moment: who is used, and what they say together.

Everything here is asked anew after each measurement and each look at the clock; nothing is remembered but the verdict
that every source carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ntptwist.algorithm.combine import Combination, combine
from ntptwist.algorithm.config import SynchronizationPolicy
from ntptwist.algorithm.select import Interval, Majority, Standing, Verdict, find_majority
from ntptwist.algorithm.source import TrackedSource
from ntptwist.identifiers import ReferenceId


class Judgement(NamedTuple):
    """
    What came out.

    ``used`` has the best source (smallest root distance) first and is empty without a majority; ``voters`` are those
    that agree.  ``combined`` is what is steered by: what the pulses say where there are any, what the voters say
    otherwise.
    """

    majority: Majority
    waiting: bool
    used: tuple[TrackedSource, ...] = ()
    voters: Sequence[TrackedSource] = ()
    combined: Combination | None = None
    by_pulses: bool = False


def judge(
    sources: Iterable[TrackedSource],
    time: float,
    integral: float,
    policy: SynchronizationPolicy,
    own: frozenset[ReferenceId],
    *,
    patient: bool,
    synchronized: bool,
) -> Judgement:
    """
    Judge all sources at ``time`` on the book's axis and leave each its verdict.

    ``patient``: wait until more than half of the sources have answered.  ``synchronized``: pulses that are numbered
    go on without a majority.
    """
    voters: list[tuple[TrackedSource, Interval]] = []
    pulses: list[tuple[TrackedSource, Interval]] = []
    answered = 0
    for source in sources:
        verdict = source.refusal(time, policy.local_stratum, own)
        if not source.is_pulse and source.is_live(time):
            answered += 1
        if verdict is None:
            interval = source.interval(time, integral)
            if isinstance(interval, Interval):
                (pulses if source.is_pulse else voters).append((source, interval))
                continue
            verdict = interval
        source.verdict = verdict
    majority = find_majority([interval for _, interval in voters], policy.agreeing)
    waiting = patient and 2 * answered <= policy.voting_sources
    members = _elect(voters, majority, waiting=waiting)
    beating = _number(pulses, majority if members else None, synchronized=synchronized and not waiting)
    used = beating or members
    if len(used) > 1:
        used = sorted(used, key=lambda source: source.distance_at(time))
    if beating:
        for source in members:
            source.verdict = Verdict(Standing.AGREES)
    if len(used) > 1:
        used[0].verdict = Verdict(Standing.BEST, of=len(used))
    combined = combine([source.contribution() for source in used], time, integral) if used else None
    return Judgement(majority, waiting, tuple(used), members, combined, bool(beating))


def _elect(voters: list[tuple[TrackedSource, Interval]], majority: Majority, *, waiting: bool) -> list[TrackedSource]:
    """Give every voter its verdict; return those that agree, none without a majority."""
    if waiting or not majority.holds:
        verdict = Verdict(Standing.NO_MAJORITY, number=majority.agree, of=majority.of, needed=majority.needed)
        for source, _ in voters:
            source.verdict = Verdict(Standing.WAITING) if waiting else verdict
        return []
    middle = (majority.common.low + majority.common.high) / 2.0
    members = []
    for source, interval in voters:
        if interval.touches(majority.common):
            source.verdict = Verdict(Standing.USED)
            members.append(source)
        else:
            away = abs((interval.low + interval.high) / 2.0 - middle)
            source.verdict = Verdict(Standing.FALSETICKER, amount=away)
    return members


def _number(
    pulses: list[tuple[TrackedSource, Interval]], majority: Majority | None, *, synchronized: bool
) -> list[TrackedSource]:
    """
    Give every pulse its verdict; return those that are used.

    A pulse that the majority contradicts was numbered wrongly, or is wrong: it starts afresh.  Without a majority,
    numbered pulses go on by themselves, as long as they come.
    """
    beating = []
    for source, interval in pulses:
        if majority is not None and not interval.touches(majority.common):
            middle = (majority.common.low + majority.common.high) / 2.0
            source.verdict = Verdict(Standing.FALSETICKER, amount=abs((interval.low + interval.high) / 2.0 - middle))
            source.number_again()
        elif majority is not None or synchronized:
            source.verdict = Verdict(Standing.USED)
            beating.append(source)
        else:
            source.verdict = Verdict(Standing.UNNUMBERED)
    return beating
