"""What a server does with a request: whom it answers, in which order it decides, and what it counts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from ntptwist.identifiers import Leap
from ntptwist.protocol.access import LOOPBACK, AccessList, Action
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import Responder, ServerPolicy
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic
from ntptwist.wire.header import Header, Mode
from tests.nts.pair import Pair
from tests.protocol.asking import (
    FRIEND,
    MAPPED,
    NOW,
    PLAIN,
    SECOND,
    STRANGER,
    TIME,
    answered,
    ask,
    counted,
    dropped,
    interleaved,
    kiss,
    protected,
)


def test_friends_and_strangers() -> None:
    """A friend is answered, through an IPv6 socket too; a stranger gets nothing, whatever it sends."""
    responder = Responder(ServerPolicy(AccessList([ip_network("192.0.2.0/24")])))
    assert answered(responder).stratum == 2
    assert answered(responder, address=MAPPED).stratum == 2
    reason = dropped(responder, b"", STRANGER)

    assert reason == "its sender is not to be answered"
    assert counted(responder) == {"received": 3, "accepted": 2, "ignored": 1}


def test_who_is_denied_is_told() -> None:
    """Who stands in the deny list gets the kiss DENY, of its own version, with its nonce; rubbish gets none."""
    responder = Responder(ServerPolicy(AccessList(deny=[ip_network("192.0.2.0/24")])))
    refusal = answered(responder, replace(Header.parse(PLAIN), version=3).serialize())

    assert kiss(refusal) == "DENY"
    assert (refusal.version, refusal.poll, refusal.origin_timestamp) == (3, 6, 0x0123456789ABCDEF)
    assert dropped(responder, PLAIN[:47]).startswith("not a request")
    assert answered(responder, address=STRANGER).stratum == 2
    assert counted(responder) == {"received": 3, "denied": 1, "ignored": 1, "accepted": 1}


@pytest.mark.parametrize("told", [True, False])
def test_who_asks_too_often(told: bool) -> None:
    """A request that is too many gets the kiss RATE or nothing, as configured; a second later all is well again."""
    responder = Responder(ServerPolicy(rate_limit=RateLimit(NANOSECONDS, burst=2, kiss=told)))
    answered(responder)
    answered(responder, address=MAPPED)
    if told:
        assert kiss(answered(responder)) == "RATE"
    else:
        assert dropped(responder) == "its sender asks too often"
    assert answered(responder, monotonic=Monotonic(2 * NANOSECONDS)).stratum == 2

    assert counted(responder) == {"received": 4, "accepted": 3, "rate_limited": 1}


def test_who_is_denied_has_no_bucket() -> None:
    """The lists come first: requests that they refuse are not counted as too many."""
    policy = ServerPolicy(AccessList(deny=[ip_network("192.0.2.0/24")]), RateLimit(NANOSECONDS, burst=1, kiss=True))
    responder = Responder(policy)

    assert [kiss(answered(responder)) for _ in range(3)] == ["DENY"] * 3


def test_an_open_server_looks_at_nobody() -> None:
    """Only where everybody is answered as often as they like, no address has to be looked at."""
    assert Responder().open
    assert not Responder(ServerPolicy(AccessList(LOOPBACK))).open
    assert not Responder(ServerPolicy(rate_limit=RateLimit(1))).open


@pytest.mark.parametrize("version", range(8))
def test_versions(version: int) -> None:
    """Only the versions that are configured are answered."""
    responder = Responder(ServerPolicy(versions=frozenset({4})))
    reply = ask(responder, bytes([version << 3 | Mode.CLIENT]) + PLAIN[1:])

    assert isinstance(reply, bytes) is (version == 4)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.CLIENT])
@pytest.mark.parametrize("action", [Action.ANSWER, Action.DENY, Action.RATE])
def test_nothing_but_a_client_is_answered(mode: Mode, action: Action) -> None:
    """No packet that a server sends is answered, not even by a kiss: two servers can't be made to bounce one."""
    responder = Responder(ServerPolicy(rate_limit=RateLimit(NANOSECONDS, kiss=True)))
    packet = replace(Header.parse(PLAIN), mode=mode).serialize()

    assert isinstance(responder.answer(packet, action, NOW, NOW, TIME, SECOND), Dropped)
    assert counted(responder) == {"received": 1, "ignored": 1}


def test_no_reply_of_ours_is_a_request() -> None:
    """Whatever a server sends gets no reply from another one."""
    responder = Responder(ServerPolicy(AccessList(deny=[ip_network("192.0.2.0/24")])), Pair().server)
    replies = [ask(responder), ask(responder, address=STRANGER), ask(responder, Pair().request(), STRANGER)]
    for reply in replies:
        assert isinstance(reply, bytes)
        assert isinstance(ask(Responder(), reply), Dropped)


def test_the_dispersion_grows() -> None:
    """A reply that comes later tells a larger dispersion, without a new snapshot."""
    responder = Responder()
    time = replace(TIME, monotonic=SECOND, dispersion=0.0, quadratic=1.0)
    seen = [
        answered(responder, monotonic=Monotonic(seconds * NANOSECONDS), time=time).root_dispersion
        for seconds in (1, 2, 1, 5)
    ]

    assert seen == [0, 1 << 16, 0, 4 << 16]


def test_new_snapshots_are_told_at_once() -> None:
    """A change of the clock's state is in the very next reply."""
    responder = Responder()
    answered(responder)

    assert answered(responder, time=TimeSnapshot()).leap is Leap.UNSYNCHRONIZED


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_control_from_this_machine(address: str) -> None:
    """This machine may ask in mode 6, where somebody answers; each datagram is one of the answer."""
    asked: list[bytes] = []

    def control(request: bytes) -> list[bytes]:
        asked.append(request)
        return [b"first", b"second"]

    responder = Responder(control=control)

    assert responder.answer_control(b"\x26question", ip_address(address).packed) == [b"first", b"second"]
    assert asked == [b"\x26question"]
    assert counted(responder) == {"received": 1, "control": 1}


def test_no_control_from_elsewhere() -> None:
    """Nobody else is answered in mode 6, and nobody at all where it is not configured."""
    responder = Responder(control=lambda request: [request])

    assert responder.answer_control(b"\x26", FRIEND) == []
    assert responder.answer_control(b"\x26", ip_address("::2").packed) == []
    assert Responder().answer_control(b"\x26", ip_address("::1").packed) == []
    assert counted(responder) == {"received": 2, "ignored": 2}


def test_clients_are_known() -> None:
    """Who asked is in the table with what it asked for; who only sent rubbish is not."""
    responder, pair = protected()
    ask(responder, pair.request(), STRANGER)
    ask(responder, interleaved(answered(responder, address=MAPPED)))
    ask(responder, b"rubbish", ip_address("203.0.113.1").packed)
    responder.answer(PLAIN, Action.ANSWER, NOW, NOW, TIME, SECOND)
    first, second = responder.clients.top(5)

    assert (first[0], first[1].packets, first[1].interleaved, first[1].nts) == (FRIEND, 2, True, False)
    assert (second[0], second[1].packets, second[1].interleaved, second[1].nts) == (STRANGER, 1, False, True)
