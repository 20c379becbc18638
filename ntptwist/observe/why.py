"""
Why the clock, or a source, is thought of as it is: the daemon's reasons in whole sentences, with its figures.
"""

from __future__ import annotations

from typing import Any

from ntptwist.observe.intervals import room_for, source_strip, strip
from ntptwist.observe.screens import event_line, followed, following
from ntptwist.observe.words import STYLES, Paint, amount, fold, label, lasting, mark, slow_or_fast, unpainted

LAST_EVENTS = 10


def why_lines(answer: dict[str, Any], width: int = 100, paint: Paint = unpainted, most: int = LAST_EVENTS) -> list[str]:
    """Give the answer to ``why``: about a source, or about the clock where none is meant."""
    status, source = answer["status"], answer["source"]
    width = min(width, 110)
    lines = _clock(status, width, paint) if source is None else _source(source, status, width, paint)
    events = answer["events"][-most:]
    if events:
        lines += ["", "Latest decisions" if source is None else "Latest news of it"]
        lines += [event_line({**event, "name": None}, width, paint) for event in events]
    return lines


def _source(source: dict[str, Any], status: dict[str, Any], width: int, paint: Paint) -> list[str]:
    tally = mark(source, status["used"])
    who = "not there yet" if source["id"] is None else f"source {source['id']}"
    where = "" if source["address"] in (None, source["name"]) else f", {source['address']}"
    lines = [paint(f"{tally} {label(source)}: {source['reason']}"[:width], STYLES[tally])]
    lines += [f"  {who}, mode {source['mode']}{where}", ""]
    sentences = [f"{source['why']}  {source['change']}"] if source["why"] else [f"It is {source['reason']}."]
    if source["trouble"] is not None:
        sentences.append(f"Its latest trouble: {source['trouble']}.")
    sentences += _vote(source, status)
    for sentence in sentences:
        lines += fold(sentence, width, 2)
    lines += _picture(source, status, width)
    return [*lines, "", *_figures(source)]


def _vote(source: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """Say how its interval stands against what most agree on."""
    offset, distance, majority = source["offset"], source["distance"], status["majority"]
    if offset is None:
        return []
    low, high = offset - distance, offset + distance
    right = (
        f"If it is right, this clock is {slow_or_fast(offset)}, give or take its root distance of {amount(distance)}."
    )
    if majority is None or majority["agree"] < majority["needed"]:
        return [right]
    agree = f"{majority['agree']} of {majority['of']} votes agree (at least {majority['needed']} have to)"
    between = f"from {amount(majority['low'], sign=True)} to {amount(majority['high'], sign=True)}"
    if high < majority["low"] or low > majority["high"]:
        gap = max(majority["low"] - high, low - majority["high"])
        stands = f"its interval ends {amount(gap)} away from that"
    else:
        stands = "its interval has a part of that"
    return [right, f"{agree} on something {between}: {stands}."]


def _picture(source: dict[str, Any], status: dict[str, Any], width: int) -> list[str]:
    """Draw its interval over that of the majority, at a scale that shows both."""
    if source["offset"] is None:
        return []
    majority, room = status["majority"], room_for(width, 26)
    largest = 1.05 * (abs(source["offset"]) + source["distance"]) or 1e-9
    lines = ["", f"  this source       [{source_strip(source, largest, room)}]"]
    if majority is not None and majority["agree"] >= majority["needed"]:
        drawn = strip(majority["low"], majority["high"], None, largest, room).replace("-", "=")
        lines.append(f"  most agree on     [{drawn}]")
    return [
        *lines,
        f"  {'':18}{'-' + amount(largest):<{room // 2 - 5}}this clock{'+' + amount(largest):>{room // 2 - 2}}",
    ]


def _figures(source: dict[str, Any]) -> list[str]:
    reach, polls = source["reach"], source["poll"]
    answered = f"{reach:08b}: {reach.bit_count()} of the last 8 polls answered"
    due = "" if source["next_poll"] is None else f", next in {lasting(max(source['next_poll'], 0.0))}"
    facts = [("Reach", answered)]
    if polls is not None:
        facts.append(("Polls", f"each {lasting(2.0**polls)}{due}"))
    if source["offset"] is not None:
        offset = f"{amount(source['offset'], sign=True)} +/- {amount(source['uncertainty'])}"
        facts += [
            ("Offset", f"{offset}: by this source the clock is {slow_or_fast(source['offset'])}"),
            ("Delay", f"{amount(source['delay'])}, jitter {amount(source['jitter'])}"),
            ("Root", f"delay {amount(source['root_delay'])}, dispersion {amount(source['root_dispersion'])}"),
            ("Frequency", f"{source['frequency']:+.3f} ppm +/- {source['skew']:.3f} ppm"),
            ("Stratum", f"{source['stratum']}, it follows {source['reference_id']}"),
            ("Measured", f"{source['measurements']} times, last {lasting(source['last_measurement'])} ago"),
        ]  # fmt: skip
    if source["nts_cookies"] is not None:
        facts.append(("NTS cookies", str(source["nts_cookies"])))
    drops = ", ".join(f"{count} x {reason}" for reason, count in source["drops"].items())
    dropped = f", {source['dropped']} dropped" + (f" ({drops})" if drops else "")
    facts.append(("Packets", f"{source['sent']} sent, {source['received']} received{dropped}"))
    return [f"  {name:<12}{text}" for name, text in facts]


def _clock(status: dict[str, Any], width: int, paint: Paint) -> list[str]:
    right, majority = status["synchronized"], status["majority"]
    lines = [paint("Synchronized" if right else "Not synchronized", "good" if right else "bad"), ""]
    sentences = [] if status["state"] == "synchronized" else [f"The daemon's state: {status['state']}."]
    if majority is not None:
        sentences.append(
            f"{majority['agree']} of {majority['of']} votes agree, and {majority['needed']} have to before the clock is"
            " touched."
        )
    if followed(status) is not None:
        sentences.append(f"The clock follows {following(status)}.")
    if status["offset"] is not None and right:
        sentences.append(
            f"It is {slow_or_fast(status['offset'])} by what they say together.  That is worked off by running a"
            f" little {'faster' if status['offset'] > 0 else 'slower'}, not by a step; only larger offsets are stepped,"
            " and only when step-policy allows it."
        )
    for sentence in sentences:
        lines += fold(sentence, width, 2)
    lines += [""]
    for row in status["sources"]:
        tally = mark(row, status["used"])
        lines.append(paint(f"{tally} {label(row)}: {row['reason']}"[:width], STYLES[tally]))
    return [*lines, "", "ntptwist-ctl why SOURCE says more about one of them."]
