"""The server's half of interleaved mode (RFC 9769): what it remembers of its replies, and for whom."""

from __future__ import annotations

from dataclasses import replace

from ntptwist.protocol.server import DEPARTURES, Responder, ServerPolicy
from ntptwist.timestamp import Timestamp, encode_timestamp
from ntptwist.wire.header import Header
from tests.protocol.asking import (
    NOW,
    PLAIN,
    answered,
    ask,
    counted,
    interleaved,
)


def test_basic_requests_leave_nothing_behind() -> None:
    """Stamps say what they are by their lowest bit, and one who echoes a transmit timestamp is in basic mode."""
    responder = Responder()
    first = answered(responder)
    second = replace(Header.parse(PLAIN), origin_timestamp=first.transmit_timestamp, receive_timestamp=5).serialize()

    assert (first.receive_timestamp & 1, first.transmit_timestamp & 1) == (1, 0)
    assert not responder.asks_interleaved(second)
    assert answered(responder, second).origin_timestamp == 0x0123456789ABCDEF


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
