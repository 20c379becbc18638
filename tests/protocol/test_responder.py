"""What a server does with a request: whom it answers, in which order it decides, and what it counts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.protocol.access import LOOPBACK, AccessList, Action
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import DEPARTURES, Responder, ServerPolicy
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp, encode_timestamp
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import HEADER_SIZE, Header, Mode
from ntptwist.wire.message import Message
from tests.nts.pair import Pair

NOW = Timestamp(1_800_000_000_000_000_123)
TIME = TimeSnapshot(leap=Leap.NONE, stratum=2, reference_id=ReferenceId.of_address("192.0.2.9"), reference_time=NOW)
PLAIN = Header(poll=6, transmit_timestamp=0x0123456789ABCDEF).serialize()
FRIEND = ip_address("192.0.2.1").packed
STRANGER = ip_address("198.51.100.1").packed
MAPPED = ip_address("::ffff:192.0.2.1").packed
SECOND = Monotonic(NANOSECONDS)


def ask(
    responder: Responder,
    request: bytes = PLAIN,
    address: bytes = FRIEND,
    monotonic: Monotonic = SECOND,
    time: TimeSnapshot = TIME,
) -> bytes | Dropped:
    """Send a request from an address."""
    action = responder.judge(address, monotonic)
    return responder.answer(request, action, NOW, Timestamp(NOW + 30_000), time, monotonic, address)


def answered(responder: Responder, request: bytes = PLAIN, address: bytes = FRIEND, **others: Any) -> Header:
    """Send a request and give the header of the reply."""
    reply = ask(responder, request, address, **others)
    assert isinstance(reply, bytes)
    assert len(reply) <= len(request)
    return Header.parse(reply)


def dropped(responder: Responder, request: bytes = PLAIN, address: bytes = FRIEND, **others: Any) -> str:
    """Send a request that gets no reply and give the reason."""
    reply = ask(responder, request, address, **others)
    assert isinstance(reply, Dropped)
    return reply.reason


def counted(responder: Responder) -> dict[str, int]:
    """Give the counters that are not 0."""
    counters = responder.counters
    return {name: count for name in counters.__slots__ if (count := getattr(counters, name))}


def kiss(header: Header) -> str:
    """Give the code of a kiss."""
    assert (header.stratum, header.leap, header.mode) == (0, Leap.UNSYNCHRONIZED, Mode.SERVER)
    assert (header.receive_timestamp, header.transmit_timestamp) == (0, 0)
    return header.reference_id.decode()


# access and rate


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


# what a packet says


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


# NTS


def protected(**policy: Any) -> tuple[Responder, Pair]:
    """Give a server with NTS and its client."""
    pair = Pair()
    return Responder(ServerPolicy(**policy), pair.server), pair


def test_nts_is_answered_in_kind() -> None:
    """A request that uses NTS gets a reply that its client believes."""
    responder, pair = protected(require_nts=Action.DENY)
    reply = ask(responder, pair.request())

    assert isinstance(reply, bytes)
    assert pair.flaw(reply) is None
    assert counted(responder) == {"received": 1, "accepted": 1, "nts_received": 1, "nts_accepted": 1}


@pytest.mark.parametrize("action", [Action.DENY, Action.IGNORE])
def test_nts_can_be_required(action: Action) -> None:
    """A plain request is denied or ignored where NTS is demanded, and so is one of version 3, which can't use it."""
    responder, pair = protected(require_nts=action)
    old = bytearray(pair.request())
    old[0] = 3 << 3 | Mode.CLIENT
    for request in (PLAIN, bytes(old)):
        if action is Action.DENY:
            assert kiss(answered(responder, request)) == "DENY"
        else:
            assert dropped(responder, request) == "it does not use NTS"

    assert counted(responder) == {"received": 2, "denied" if action is Action.DENY else "ignored": 2}


@pytest.mark.parametrize("action", [Action.DENY, Action.RATE])
def test_a_kiss_is_authenticated(action: Action) -> None:
    """A client that uses NTS believes a kiss, since nobody else can have sent it."""
    responder, pair = protected(rate_limit=RateLimit(NANOSECONDS, kiss=True))
    request = pair.request()
    reply = responder.answer(request, action, NOW, NOW, TIME, SECOND)

    assert isinstance(reply, bytes)
    assert kiss(Header.parse(reply)) == action.name
    assert pair.flaw(reply) is None
    assert len(reply) <= len(request)


def test_a_cookie_of_lost_keys() -> None:
    """A request whose cookie does not open gets NTSN, unless its sender is denied; neither tells the time."""
    keys = KeySet.fresh(Random(8).randbytes)
    responder = Responder(ServerPolicy(), ServerProtection(keys, Random(9).randbytes))
    request = Pair().request()
    denial = responder.answer(request, Action.DENY, NOW, NOW, TIME, SECOND)

    assert kiss(answered(responder, request)) == "NTSN"
    assert isinstance(denial, bytes)
    assert kiss(Header.parse(denial)) == "DENY"
    assert counted(responder) == {"received": 2, "nts_received": 2, "nts_nak": 1, "denied": 1, "nts_denied": 1}


def test_a_damaged_nts_request() -> None:
    """A request under NTS with any one bit flipped is never answered in kind with the time."""
    responder, pair = protected(require_nts=Action.IGNORE)
    request = pair.request()
    for bit in range(8 * len(request)):
        altered = (int.from_bytes(request) ^ 1 << bit).to_bytes(len(request))
        reply = ask(responder, altered)

        assert isinstance(reply, Dropped) or kiss(Header.parse(reply)) == "NTSN"
    assert responder.counters.nts_accepted == 0


def test_version_3_has_no_extension_fields() -> None:
    """What follows the header of a version 3 request is not read, and its reply is a header."""
    responder, pair = protected()
    old = bytearray(pair.request())
    old[0] = 3 << 3 | Mode.CLIENT
    reply = ask(responder, bytes(old))

    assert isinstance(reply, bytes)
    assert (len(reply), Header.parse(reply).version) == (HEADER_SIZE, 3)
    assert counted(responder) == {"received": 1, "accepted": 1}


def test_requests_for_many_cookies() -> None:
    """However many cookies a request asks for, the reply is no longer."""
    responder, pair = protected()
    message = Message.parse(pair.request())
    field = next(each for each in message.fields if each.type == 0x0204)
    many = tuple(ExtensionField(0x0304, field.body) for _ in range(300))
    packet = pair.client.seal(Message(message.header, many).serialize())
    reply = ask(responder, packet)

    assert isinstance(reply, bytes)
    assert len(reply) <= len(packet)


# interleaved mode


def test_basic_requests_leave_nothing_behind() -> None:
    """Stamps say what they are by their lowest bit, and one who echoes a transmit timestamp is in basic mode."""
    responder = Responder()
    first = answered(responder)
    second = replace(Header.parse(PLAIN), origin_timestamp=first.transmit_timestamp, receive_timestamp=5).serialize()

    assert (first.receive_timestamp & 1, first.transmit_timestamp & 1) == (1, 0)
    assert not responder.asks_interleaved(second)
    assert answered(responder, second).origin_timestamp == 0x0123456789ABCDEF


def interleaved(previous: Header) -> bytes:
    """Make the request that asks when the previous reply left."""
    return replace(Header.parse(PLAIN), origin_timestamp=previous.receive_timestamp, receive_timestamp=0x77).serialize()


def departed(responder: Responder, request: bytes, later: int) -> Header:
    """Let a reply leave so many nanoseconds after its request came in; give its header."""
    reply = ask(responder, request)
    assert isinstance(reply, bytes)
    responder.departed(reply, Timestamp(NOW + later))
    return Header.parse(reply)


def test_interleaved_replies() -> None:
    """The second request in interleaved mode is told when the reply to the first one really left, time and again."""
    responder = Responder()
    first = departed(responder, interleaved(answered(responder)), 35_000)
    for _ in range(2):
        second = answered(responder, interleaved(first))

        assert second.origin_timestamp == 0x77
        assert second.transmit_timestamp == encode_timestamp(Timestamp(NOW + 35_000)) & ~1
        assert second.receive_timestamp == encode_timestamp(NOW) | 1
    assert first.origin_timestamp == 0x0123456789ABCDEF
    assert responder.counters.interleaved == 2


def test_a_better_stamp_comes_later() -> None:
    """The kernel's stamp takes the place of our own."""
    responder = Responder()
    reply = ask(responder, interleaved(answered(responder)))
    assert isinstance(reply, bytes)
    responder.departed(reply, Timestamp(NOW + 30_000))
    responder.departed(reply, Timestamp(NOW + 40_000))
    told = answered(responder, interleaved(Header.parse(reply)))

    assert told.transmit_timestamp == encode_timestamp(Timestamp(NOW + 40_000)) & ~1


def test_a_request_with_one_nonce_twice() -> None:
    """A client that can't tell the two modes apart is answered in basic mode."""
    responder = Responder()
    first = departed(responder, interleaved(answered(responder)), 35_000)
    twice = replace(Header.parse(interleaved(first)), receive_timestamp=0x0123456789ABCDEF).serialize()

    assert answered(responder, twice).transmit_timestamp == encode_timestamp(Timestamp(NOW + 30_000)) & ~1


def test_interleaved_mode_can_be_switched_off() -> None:
    """Every reply is one of basic mode then, and nothing is remembered."""
    responder = Responder(ServerPolicy(interleaved=False))
    request = interleaved(answered(responder))
    departed(responder, request, 35_000)

    assert not responder.asks_interleaved(request)
    assert answered(responder, request).origin_timestamp == 0x0123456789ABCDEF
    assert counted(responder) == {"received": 3, "accepted": 3}


def test_departures_are_forgotten() -> None:
    """Only the latest departures are remembered, and a client whose reply was forgotten is in basic mode again."""
    responder = Responder()
    first = departed(responder, interleaved(answered(responder)), 35_000)
    for number in range(DEPARTURES):
        responder.departed(Header(receive_timestamp=number).serialize(), NOW)

    assert answered(responder, interleaved(first)).origin_timestamp == 0x0123456789ABCDEF


def test_what_is_too_short_asks_for_nothing() -> None:
    """Rubbish does not ask for interleaved mode."""
    assert not Responder().asks_interleaved(b"\xff" * 47)


# mode 6


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


# clients


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
