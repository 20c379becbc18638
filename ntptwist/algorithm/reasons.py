"""
Why a source is used or not, in whole sentences, and what would change it: the long form of a verdict's words.
"""

from __future__ import annotations

from ntptwist.algorithm.config import MAXIMUM_DISTANCE
from ntptwist.algorithm.select import Standing, Verdict
from ntptwist.algorithm.words import duration

_SENTENCES = {
    Standing.NEW: (
        "It has not given a measurement yet.",
        "Its first answer gives it a vote.  If none comes: is its address right, and does the network let NTP pass?",
    ),
    Standing.IMPLAUSIBLE: (
        "Its latest answers can't be measurements: their time stamps or the errors it claims are beyond all bounds.",
        "A plausible answer brings it back; until then it is to be mended where it runs.",
    ),
    Standing.SILENT: (
        "It has answered none of the last {number} polls, so what it said before is too old to count.",
        "One answer brings it back.  If none comes: is it running, and does the network let NTP pass?",
    ),
    Standing.QUIET: (
        "It has given no sample for {amount}, so what it said before is too old to count.",
        "One sample brings it back.  If none comes: does the device see its signal, and does its program run?",
    ),
    Standing.UNSYNCHRONIZED: (
        "It says of itself that its clock is not synchronized.",
        "It has a vote as soon as it says that it is.",
    ),
    Standing.STRATUM: (
        "Its stratum is {number}, and only strata below {needed} are used.",
        "It has a vote as soon as it finds a better source itself; local-stratum sets the limit.",
    ),
    Standing.LOOP: (
        "It is synchronized to this very machine: to follow it would be to follow ourselves.",
        "It has a vote as soon as it follows another source.",
    ),
    Standing.NOSELECT: (
        "The configuration says noselect: it is measured and shown, but has no vote.",
        "It has a vote once noselect is taken out of its configuration.",
    ),
    Standing.DISTANCE: (
        f"Its time may be wrong by {{amount}}: more than the {duration(MAXIMUM_DISTANCE)} that are allowed.",
        "It has a vote as soon as its delay and the errors that it reports of itself and its own sources are smaller.",
    ),
    Standing.WAITING: (
        "It has answered, but the clock is left alone until most of the sources have, or have had the time to.",
        "The answers of other sources, or a few seconds more, end the wait.",
    ),
    Standing.NO_MAJORITY: (
        (
            "The intervals of at most {number} of {of} voting sources have a point in common, and {needed} are needed:"
            " nobody can say who is right, so nobody is used."
        ),
        "It is used once {needed} agree and it is one of them; more sources make it clear who is wrong.",
    ),
    Standing.FALSETICKER: (
        (
            "The majority of the sources agree on a time that is outside its interval: it is {amount} away from them,"
            " more than its delay and the errors that it admits can explain."
        ),
        "It is used again as soon as its interval overlaps what the majority agree on.",
    ),
    Standing.DRIFTING: (
        (
            "Its clock is near enough to the others', but runs {parts:.3g} ppm away from them, more than their noise"
            " can explain."
        ),
        "It is used again as soon as its frequency agrees with that of the others.",
    ),
    Standing.REQUIRED: (
        "It agrees with the majority, but no source that the configuration calls required does so.",
        "It is used as soon as a required source answers and agrees.",
    ),
    Standing.NOT_PREFERRED: (
        "It agrees with the majority and has its vote, but the clock follows the preferred sources alone.",
        "It is used when no preferred source is of use, or none is configured.",
    ),
    Standing.UNNUMBERED: (
        "Its pulses tell when a second begins, but not which: other sources have to number them first.",
        "It is used as soon as other sources know the time to within a fraction of its period.",
    ),
    Standing.AGREES: (
        (
            "It agrees with the majority and has its vote, but the pulses that are used are so much better that the"
            " clock follows them alone."
        ),
        "It is used when the pulses end, or become so uncertain that it has something to add.",
    ),
    Standing.USED: (
        "Its interval overlaps what the majority agree on, so its measurements are a part of what the clock follows.",
        "It would not be used any more if it fell silent or left what the majority agree on.",
    ),
    Standing.BEST: (
        (
            "Of the {of} sources that are used it has the smallest root distance: it can be wrong by the least, so"
            " stratum and reference id are taken from it."
        ),
        "Another one would be the best if its root distance became smaller than this one's.",
    ),
}


def explain(verdict: Verdict) -> tuple[str, str]:
    """Give a verdict's reason in full sentences, and what would change it."""
    why, change = _SENTENCES[verdict.standing]
    return verdict.fill(why), verdict.fill(change)
