"""What a daemon and its workers say to each other, and what the daemon does not let itself be told."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.config.model import AccessSettings, ServerSettings
from ntptwist.config.value import HostPort
from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.protocol.access import Action
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.server.feed import (
    REPORTED_CLIENTS,
    Frames,
    Report,
    frame,
    pack_policy,
    pack_time,
    policy_of,
    together,
    total,
    unpack_policy,
    unpack_time,
)
from ntptwist.snapshot import ClientSnapshot, TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp

LISTEN = HostPort("192.0.2.1", 123)
MESSAGES: list[dict[str, Any]] = [{"one": 1}, {}, {"two": [2.5, None, "é"]}]
CLIENT = ClientSnapshot("192.0.2.7", 12, 3, Monotonic(1 << 62), 4, interleaved=True, nts=False)


@given(st.lists(st.integers(1, 20), max_size=20))
def test_messages_come_in_any_pieces(sizes: list[int]) -> None:
    """However the octets are cut, the same messages come out in their order."""
    octets = b"".join(map(frame, MESSAGES))
    frames = Frames(100)
    got = []
    for size in sizes:
        got += frames.receive(octets[:size])
        octets = octets[size:]
    got += frames.receive(octets)

    assert got == MESSAGES


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\0\0\0\x65", "a message of 101 octets is too long"),
        (b"\0\0\0\x01x", "a message is no JSON: Expecting value"),
        (b"\0\0\0\x01\xff", "a message is no JSON: 'utf-8' codec"),
        (b"\0\0\0\x02[]", "a message is no object of JSON"),
        (b"\0\0\0\x00", "a message is no JSON"),
    ],
)
def test_what_is_no_message(octets: bytes, reason: str) -> None:
    """What is too long or not an object is refused before it is kept or understood."""
    with pytest.raises(WireError) as caught:
        Frames(100).receive(octets)

    assert caught.value.reason.startswith(reason)


def test_deep_nesting_is_no_message() -> None:
    """A message that is made to exhaust the reader is refused like any other nonsense."""
    data = b"[" * 30_000

    with pytest.raises(WireError, match="no JSON"):
        Frames(1 << 15).receive(len(data).to_bytes(4) + data)


def test_a_policy_arrives() -> None:
    """A worker answers the same clients in the same way as its daemon would."""
    settings = ServerSettings(
        listen=LISTEN,
        access=AccessSettings(
            allow=(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/32")),
            deny=(IPv4Network("192.0.2.128/25"),),
            otherwise=Action.DENY,
            denied=Action.IGNORE,
        ),
        rate_limit=RateLimit(interval=5, burst=2, kiss=True),
        require_nts=Action.DENY,
        versions=frozenset({4}),
        interleaved=False,
    )
    policy = unpack_policy(json.loads(json.dumps(pack_policy(settings))))
    asked = [ip_address(each).packed for each in ("192.0.2.1", "192.0.2.200", "2001:db8::1", "198.51.100.1")]

    assert [policy.access.action(address) for address in asked] == [
        Action.ANSWER,
        Action.IGNORE,
        Action.ANSWER,
        Action.DENY,
    ]
    assert (policy.rate_limit, policy.require_nts) == (settings.rate_limit, Action.DENY)
    assert (policy.versions, policy.interleaved) == (frozenset({4}), False)


def test_a_policy_of_defaults_arrives() -> None:
    """What is not limited or demanded is not so at the worker's either."""
    settings = ServerSettings(LISTEN)
    here, there = policy_of(settings), unpack_policy(json.loads(json.dumps(pack_policy(settings))))
    own, other = ip_address("127.0.0.1").packed, ip_address("192.0.2.1").packed

    assert (there.rate_limit, there.require_nts, there.versions) == (None, None, here.versions)
    assert [each.access.action(own) for each in (here, there)] == [Action.ANSWER] * 2
    assert [each.access.action(other) for each in (here, there)] == [Action.IGNORE] * 2


@given(st.floats(0, 16), st.integers(0, 1 << 62), st.sampled_from(Leap))
def test_the_time_arrives_to_the_last_bit(number: float, moment: int, leap: Leap) -> None:
    """A worker's replies say of the time exactly what its daemon's would."""
    time = TimeSnapshot(
        leap=leap,
        stratum=2,
        reference_id=ReferenceId(b"\x00\xff\x80a"),
        reference_time=Timestamp(moment),
        monotonic=Monotonic(moment + 1),
        precision=-23,
        root_delay=number,
        dispersion=number / 3,
        base=number * 1e-12,
        linear=-number,
        quadratic=number / 7,
        wander=number * 1e-20,
    )

    assert time == unpack_time(json.loads(json.dumps(pack_time(time))))


def test_a_report_arrives() -> None:
    """The daemon knows what its worker has counted."""
    report = Report({name: index for index, name in enumerate(Report().counters)}, (CLIENT,))

    assert report == Report.unpack(json.loads(json.dumps(report.pack())))


GOOD = json.loads(json.dumps(Report(clients=(CLIENT,)).pack()))
ROW = GOOD["clients"][0]


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        GOOD | {"counters": []},
        GOOD | {"counters": GOOD["counters"] | {"more": 1}},
        GOOD | {"counters": GOOD["counters"] | {"received": -1}},
        GOOD | {"counters": GOOD["counters"] | {"received": 1 << 64}},
        GOOD | {"counters": GOOD["counters"] | {"received": True}},
        GOOD | {"counters": GOOD["counters"] | {"received": "many"}},
        GOOD | {"clients": None},
        GOOD | {"clients": [ROW] * (REPORTED_CLIENTS + 1)},
        GOOD | {"clients": [7]},
        GOOD | {"clients": [ROW[:-1]]},
        GOOD | {"clients": [["\x1b[2J", *ROW[1:]]]},
        GOOD | {"clients": [[None, *ROW[1:]]]},
        GOOD | {"clients": [[ROW[0], 1.5, *ROW[2:]]]},
        GOOD | {"clients": [[*ROW[:-1], "yes"]]},
        GOOD | {"clients": [[*ROW[:-2], 1, False]]},
    ],
)
def test_what_is_no_report(nonsense: dict[str, Any]) -> None:
    """A worker that was taken over can tell its daemon numbers and addresses, and nothing else."""
    with pytest.raises(WireError):
        Report.unpack(nonsense)


def test_all_workers_together() -> None:
    """Counters are summed; a client of several workers is one, as it was seen last."""
    nothing = Report().counters
    later = ClientSnapshot("192.0.2.7", 5, 1, Monotonic((1 << 62) + 1), 3, interleaved=False, nts=True)
    other = ClientSnapshot("2001:db8::1", 14, 0, Monotonic(1), 4, interleaved=False, nts=False)
    least = ClientSnapshot("192.0.2.9", 1, 0, Monotonic(1), 4, interleaved=False, nts=False)
    sums = total([{**nothing, "received": 3}, {**nothing, "received": 4, "denied": 1}])

    assert sums == {**nothing, "received": 7, "denied": 1}
    assert together([CLIENT, other, later, least], 2) == [
        ClientSnapshot("192.0.2.7", 17, 4, later.last_seen, 3, interleaved=False, nts=True),
        other,
    ]
    assert together([later, CLIENT], 1)[0].last_seen == later.last_seen
