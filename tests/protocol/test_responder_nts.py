"""What a server does with requests under NTS: replies and kisses in kind, and nothing for what was damaged."""

from __future__ import annotations

from random import Random

import pytest

from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.protocol.access import Action
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import Responder, ServerPolicy
from ntptwist.timestamp import NANOSECONDS
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import HEADER_SIZE, Header, Mode
from ntptwist.wire.message import Message
from tests.nts.pair import Pair
from tests.protocol.asking import (
    FRIEND,
    NOW,
    PLAIN,
    SECOND,
    TIME,
    answered,
    ask,
    counted,
    dropped,
    kiss,
    protected,
)


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


def test_silence_costs_nothing() -> None:
    """What is refused without a word is not even opened: a flood of requests with NTS costs no cryptography."""
    responder, pair = protected(rate_limit=RateLimit(NANOSECONDS))
    refused = responder.answer(pair.request(), Action.RATE, NOW, NOW, TIME, SECOND, FRIEND)

    assert isinstance(refused, Dropped)
    assert counted(responder) == {"received": 1, "rate_limited": 1}
    assert responder.clients.top(1)[0][1].packets == 1


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
