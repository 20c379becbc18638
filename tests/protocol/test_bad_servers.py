"""Replies that no sound server sends are dropped, each for its reason, and change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.timestamp import Timestamp, encode_timestamp
from ntptwist.wire.header import Mode
from tests.protocol.conversation import MILLISECOND, START, Conversation, dropped, kiss, measured

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a client": ({"mode": Mode.CLIENT}, "the reply has mode 3, not that of a server"),
    "symmetric passive": ({"mode": Mode.SYMMETRIC_PASSIVE}, "the reply has mode 2, not that of a server"),
    "control": ({"mode": Mode.CONTROL}, "the reply has mode 6, not that of a server"),
    "forged": ({"origin_timestamp": 1}, "the reply does not answer the latest request: wrong origin timestamp"),
    "no origin": ({"origin_timestamp": 0}, "the reply does not answer the latest request: wrong origin timestamp"),
    "stratum 17": ({"stratum": 17}, "the server claims stratum 17"),
    "stratum 255": ({"stratum": 255, "leap": Leap.UNSYNCHRONIZED}, "the server claims stratum 255"),
    "unknown kiss": (
        {"stratum": 0, "reference_id": ReferenceId(b"ACST")},
        "the server sent the kiss code ACST",
    ),
    "nameless kiss": (
        {"stratum": 0, "reference_id": ReferenceId(b"\1\2\3\4")},
        "the server sent the kiss code 01020304",
    ),
    "root dispersion": ({"root_dispersion": 16 << 16}, "the server's root distance is 16.0 s"),
    "root delay": ({"root_delay": 40 << 16}, "the server's root distance is 20.0 s"),
    "both": ({"root_delay": 16 << 16, "root_dispersion": 8 << 16}, "the server's root distance is 16.0 s"),
    "everything": (
        {"root_delay": 0xFFFFFFFF, "root_dispersion": 0xFFFFFFFF},
        "the server's root distance is 98304.0 s",
    ),
    "no T2": ({"receive_timestamp": 0}, "the reply lacks a timestamp"),
    "no T3": ({"transmit_timestamp": 0}, "the reply lacks a timestamp"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_bad_server_says(name: str) -> None:
    """A reply with one wrong field is dropped with a reason for the operator, and the true reply is still taken."""
    changes, reason = CASES[name]
    talk = Conversation()
    talk.poll()
    actions = talk.receive(talk.basic(**changes))

    assert dropped(actions) == reason
    assert (talk.association.trouble, talk.association.reach.value) == (reason, 0)
    assert measured(talk.receive(talk.basic())).t3 == talk.exchanges[0].t3


def test_the_largest_root_distance() -> None:
    """A server that is just within 16 seconds is measured; whether it is any good is the algorithm's business."""
    talk = Conversation()
    talk.poll()
    reply = talk.basic(root_delay=0, root_dispersion=(16 << 16) - 1)

    assert measured(talk.receive(reply)).root_dispersion == 16 - 2**-16


def test_a_version_4_reply_to_a_version_3_request() -> None:
    """A server does not answer in a version that it was not asked in."""
    talk = Conversation(version=3)
    talk.poll()

    assert dropped(talk.receive(talk.basic(version=4))) == ("the reply is NTP version 4, the request was version 3")


@pytest.mark.parametrize("version", [0, 1, 2, 5, 6, 7])
def test_a_wrong_version_is_named(version: int) -> None:
    """The operator sees which version a server speaks."""
    talk = Conversation()
    talk.poll()
    data = talk.basic().serialize()

    assert dropped(talk.receive(bytes([version << 3 | 4]) + data[1:])) == (
        f"not an NTP packet: NTP version {version} is unknown here (at octet 0)"
    )


def test_rubbish_behind_the_header() -> None:
    """A reply whose end belongs to nothing is dropped."""
    talk = Conversation()
    talk.poll()

    assert dropped(talk.receive(talk.basic().serialize() + b"rubbish")) == (
        "not an NTP packet: 7 octets are neither an extension field nor a MAC (at octet 48)"
    )


@pytest.mark.parametrize(
    ("t2", "t3", "reason"),
    [
        (10, 9, "the server replied before it received: transmit timestamp before receive timestamp"),
        (10, 4011, "the server took 4.0 s to reply"),
        (10, 86_400_010, "the server took 86400.0 s to reply"),
        (10, 42, "the delay is negative: -0.011000 s"),
    ],
)
def test_impossible_times(t2: int, t3: int, reason: str) -> None:
    """Times (here in ms after the request; the reply came after 21 ms) that can't be true are not measured."""
    talk = Conversation()
    talk.poll()
    times = [encode_timestamp(Timestamp(START + t * MILLISECOND)) for t in (t2, t3)]

    assert dropped(talk.receive(talk.basic(receive_timestamp=times[0], transmit_timestamp=times[1]))) == reason
    assert not talk.association.reach.is_reachable


@pytest.mark.parametrize("processing", [0, 4_000_000_000])
def test_the_fastest_and_the_slowest_server(processing: int) -> None:
    """A server whose clock did not tick between the two times is measured, and so is one that took four seconds."""
    talk = Conversation()
    talk.poll()
    t3 = Timestamp(talk.exchanges[0].t2 + processing)
    reply = talk.basic(transmit_timestamp=encode_timestamp(t3))

    assert measured(talk.receive(reply, late=processing / 1e9)).t3 == t3


@pytest.mark.parametrize(
    ("precision", "nanoseconds", "used"),
    [
        (-20, 0, True),
        (-20, 1_900, True),
        (-20, 2_000, False),
        (-128, 990, True),
        (-128, 1_100, False),
        (-10, 900_000, True),
        (-10, 1_000_000, False),
        (127, 15_600_000, True),
        (127, 15_700_000, False),
    ],
)
def test_a_delay_may_be_negative_by_the_precision_of_the_clocks(
    precision: int, nanoseconds: int, *, used: bool
) -> None:
    """Coarse clocks make short delays come out negative; more than that is refused, whatever a server claims."""
    talk = Conversation()
    talk.poll()
    t2 = talk.exchanges[0].t2
    t3 = Timestamp(t2 + 21 * MILLISECOND + nanoseconds)
    talk.receive(talk.basic(precision=precision, transmit_timestamp=encode_timestamp(t3)))

    assert talk.association.reach.is_reachable is used


def test_the_era_after_2036() -> None:
    """A server whose 32-bit seconds have wrapped is read correctly by a clock that is not there yet."""
    talk = Conversation()
    talk.poll()
    wrap = Timestamp(2_085_978_496_000_000_000)
    t2, t3 = (encode_timestamp(Timestamp(wrap + t)) for t in (5, 1_000_005))
    measurement = measured(talk.receive(talk.basic(receive_timestamp=t2, transmit_timestamp=t3)))

    assert (measurement.t2, measurement.t3) == (wrap + 5, wrap + 1_000_005)


@pytest.mark.parametrize("code", [b"RATE", b"DENY", b"RSTR", b"NTSN"])
@pytest.mark.parametrize(
    "changes",
    [
        {"origin_timestamp": 1},
        {"mode": Mode.BROADCAST},
        {"stratum": 1, "receive_timestamp": 1},
        {"stratum": 17},
    ],
)
def test_what_is_no_kiss(code: bytes, changes: dict[str, Any]) -> None:
    """A kiss code counts only in stratum 0 from a server that saw our request."""
    talk = Conversation()
    talk.poll()

    assert dropped(talk.receive(kiss(talk, code, **changes)))


def test_a_kiss_that_comes_late() -> None:
    """A kiss is not believed after the reply window."""
    talk = Conversation()
    talk.poll()

    assert dropped(talk.receive(kiss(talk, b"DENY"), late=5.0)).startswith("the reply came more than 5 s")
