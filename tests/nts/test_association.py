"""A client association under NTS: what it believes, what it drops without a trace, and how it comes to its end."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.packet import ClientProtection
from ntptwist.nts.responder import ServerProtection
from ntptwist.protocol.actions import Action, Demobilize, Dropped, Kissed, Measured, Reset, Send, SetTimer
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.protocol.server import respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import Header, Mode
from ntptwist.wire.message import Message
from tests.nts.pair import kiss_of, session

START = Timestamp(1_800_000_000_000_000_000)
GOOD = TimeSnapshot(leap=Leap.NONE, stratum=1, dispersion=0.0)


class Conversation:
    """An association under NTS and its server, 10 ms away."""

    def __init__(self, cookies: int = 8) -> None:
        random = Random(1)
        self.keyset = KeySet.fresh(random.randbytes)
        self.server = ServerProtection(self.keyset, random.randbytes)
        keys = session()
        self.protection = ClientProtection(
            keys, [self.keyset.make_cookies(keys, 1)[0] for _ in range(cookies)], Random(2).randbytes
        )
        self.association = ClientAssociation(
            AssociationConfiguration(limits=PollLimits()), Random(3).randbytes, self.protection
        )
        self.now = 0.0

    def act_on_poll(self) -> tuple[Action, ...]:
        """Let the timer fire, a minute after the last time."""
        self.now += 64.0
        return self.association.poll(self.now, 64.0, 6)

    def poll(self) -> bytes:
        """Let the request leave; give it."""
        send, timer = self.act_on_poll()
        assert isinstance(send, Send)
        assert isinstance(timer, SetTimer)
        self.association.transmitted(self.stamp(0.0))
        return send.data

    def stamp(self, later: float) -> Timestamp:
        """Give the time so much after the poll."""
        return Timestamp(START + round((self.now + later) * 1e9))

    def reply(self, request: bytes, time: TimeSnapshot = GOOD) -> bytes:
        """Give the server's reply."""
        given = respond(request, self.stamp(0.01), self.stamp(0.011), time, Monotonic(0), self.server)
        assert isinstance(given, bytes)
        return given

    def receive(self, reply: bytes) -> tuple[Action, ...]:
        """Let a reply come in."""
        return self.association.received(reply, self.stamp(0.021), Monotonic(round(self.now * 1e9)), self.now + 0.021)

    def state(self) -> tuple[object, ...]:
        """Give what a reply could change."""
        association = self.association
        return association.reach.value, association.sent, self.protection.cookies, self.protection.spent


def dropped(actions: tuple[Action, ...]) -> str:
    """Give the reason why a reply was dropped."""
    (action,) = actions
    assert isinstance(action, Dropped)
    return action.reason


def test_a_good_reply_is_measured() -> None:
    """An authenticated reply gives a measurement, and the spent cookie is replaced."""
    conversation = Conversation()
    (action,) = conversation.receive(conversation.reply(conversation.poll()))

    assert isinstance(action, Measured)
    assert conversation.association.reach.value == 1
    assert conversation.protection.cookies == 8
    assert conversation.association.trouble is None


def test_every_single_bit() -> None:
    """Any one bit of a reply flipped on its way: dropped, with no effect on anything; the true reply is measured."""
    conversation = Conversation()
    conversation.poll()
    reply = conversation.reply(conversation.poll())
    before = conversation.state()
    number = int.from_bytes(reply, "big")
    reasons = {
        dropped(conversation.receive((number ^ 1 << bit).to_bytes(len(reply), "big"))) for bit in range(8 * len(reply))
    }

    assert conversation.state() == before
    assert len(reasons) > 4
    assert isinstance(conversation.receive(reply)[0], Measured)


def test_a_replay_has_no_effect() -> None:
    """The same reply again, and a reply of the poll before, are dropped."""
    conversation = Conversation()
    first = conversation.reply(conversation.poll())
    conversation.receive(first)
    before = conversation.state()
    again = dropped(conversation.receive(first))
    unchanged = conversation.state() == before
    conversation.poll()

    assert again == "the reply is a duplicate"
    assert unchanged
    assert (
        dropped(conversation.receive(first)) == "the reply does not answer the latest request: wrong origin timestamp"
    )


def test_a_plain_reply_is_dropped() -> None:
    """A reply without an authenticator is dropped, although it knows the origin timestamp."""
    conversation = Conversation()
    request = conversation.poll()
    plain = respond(request, conversation.stamp(0.01), conversation.stamp(0.011), GOOD, Monotonic(0))
    assert isinstance(plain, bytes)

    assert dropped(conversation.receive(plain)) == "the reply is not authenticated"
    assert conversation.association.reach.value == 0


@pytest.mark.parametrize("code", [KissCode.DENY, KissCode.RSTR, KissCode.RATE])
def test_forged_kisses_are_dropped(code: KissCode) -> None:
    """Nobody but the server itself slows us down or sends us away."""
    conversation = Conversation()
    request = conversation.poll()
    asked = Header.parse(request)
    kiss = Header(mode=Mode.SERVER, reference_id=ReferenceId(code.value), origin_timestamp=asked.transmit_timestamp)

    assert dropped(conversation.receive(kiss_of(request, kiss))) == "the reply is not authenticated"


def test_an_authenticated_denial() -> None:
    """A server that denies access and proves to be itself is left alone when it answers no more."""
    conversation = Conversation()
    for _ in range(3):
        request = conversation.poll()
        asked = Header.parse(request)
        kiss = Header(mode=Mode.SERVER, reference_id=ReferenceId(b"DENY"), origin_timestamp=asked.transmit_timestamp)
        read = conversation.server.read(request)
        assert read is not None
        (action,) = conversation.receive(conversation.server.seal(kiss.serialize(), read))
        assert isinstance(action, Kissed)

    assert isinstance(conversation.act_on_poll()[0], Demobilize)


def forget_keys(conversation: Conversation) -> None:
    """Let the server have new keys."""
    conversation.server = ServerProtection(KeySet.fresh(Random(9).randbytes), Random(9).randbytes)


def test_a_server_that_lost_its_keys() -> None:
    """The kiss NTSN ends the association at its next poll, not before, and does not count as an answer."""
    conversation = Conversation()
    conversation.receive(conversation.reply(conversation.poll()))
    forget_keys(conversation)
    (action,) = conversation.receive(conversation.reply(conversation.poll()))
    association = conversation.association
    answered = association.received_count - association.dropped

    assert isinstance(action, Kissed)
    assert action.code is KissCode.NTSN
    assert answered == 1
    assert conversation.act_on_poll() == (
        Reset("the server can't open our cookies (kiss code NTSN): new keys are needed"),
    )


def test_a_forged_ntsn_and_the_true_reply() -> None:
    """A forged NTSN does not keep the true reply from being measured, nor end anything then."""
    conversation = Conversation()
    request = conversation.poll()
    kiss = Header(
        mode=Mode.SERVER,
        reference_id=ReferenceId(b"NTSN"),
        origin_timestamp=Header.parse(request).transmit_timestamp,
    )
    conversation.receive(kiss_of(request, kiss))
    (action,) = conversation.receive(conversation.reply(request))

    assert isinstance(action, Measured)
    assert isinstance(conversation.act_on_poll()[0], Send)


def test_a_forged_ntsn_without_our_nonce() -> None:
    """Whoever does not see our request can't even say NTSN."""
    conversation = Conversation()
    request = conversation.poll()
    kiss = Header(mode=Mode.SERVER, reference_id=ReferenceId(b"NTSN"), origin_timestamp=1)
    reason = dropped(conversation.receive(kiss_of(request, kiss)))

    assert reason == "the reply does not answer the latest request: wrong origin timestamp"
    assert conversation.protection.spent is None


def test_cookies_run_out() -> None:
    """With the last cookie gone, the association ends with words and without a packet."""
    conversation = Conversation(cookies=2)
    conversation.poll()
    conversation.poll()

    assert conversation.act_on_poll() == (Reset("all NTS cookies are used up without a reply: new ones are needed"),)
    assert conversation.association.sent == 2


def test_an_unsynchronized_server_gives_cookies() -> None:
    """A server that does not know the time is alive, and its cookies are good."""
    conversation = Conversation(cookies=1)
    reason = dropped(conversation.receive(conversation.reply(conversation.poll(), TimeSnapshot())))

    assert reason == "the server is not synchronized"
    assert conversation.association.reach.value == 1
    assert conversation.protection.cookies == 8


def test_a_step_drops_the_request() -> None:
    """After a step of the clock, the reply under way is dropped; its cookies are lost and asked for again."""
    conversation = Conversation()
    reply = conversation.reply(conversation.poll())
    conversation.association.clock_stepped()
    reason = dropped(conversation.receive(reply))
    conversation.receive(conversation.reply(conversation.poll()))

    assert reason == "no request is waiting for a reply"
    assert conversation.protection.cookies == 8


# the server


@pytest.mark.parametrize("version", [3, 4])
def test_plain_clients_are_answered_as_before(version: int) -> None:
    """A server that knows NTS answers plain requests, and those with anything behind the header, as one without."""
    conversation = Conversation()
    header = Header(version=version, mode=Mode.CLIENT, transmit_timestamp=7).serialize()
    for request in (header, header + bytes(20), header + bytes(3), header + bytes(100)):
        now = conversation.stamp(0.0)
        plain = respond(request, now, now, GOOD, Monotonic(0))

        assert respond(request, now, now, GOOD, Monotonic(0), conversation.server) == plain


def test_the_kiss_of_a_server_without_the_key() -> None:
    """A stale cookie is answered by a short kiss with the unique identifier, and with no word on the time."""
    conversation = Conversation()
    request = conversation.poll()
    forget_keys(conversation)
    kiss = Message.parse(conversation.reply(request))

    assert kiss.header == Header(
        leap=Leap.UNSYNCHRONIZED,
        mode=Mode.SERVER,
        poll=6,
        reference_id=ReferenceId(b"NTSN"),
        origin_timestamp=Header.parse(request).transmit_timestamp,
    )
    assert kiss.fields == Message.parse(request).fields[:1]


def test_a_request_that_breaks_the_rules() -> None:
    """A request with two cookies is not answered."""
    conversation = Conversation()
    message = Message.parse(conversation.poll())
    twice = replace(message, fields=(*message.fields[:2], *message.fields[1:])).serialize()
    now = conversation.stamp(0.0)
    answer = respond(twice, now, now, GOOD, Monotonic(0), conversation.server)

    assert isinstance(answer, Dropped)
    assert "one cookie" in answer.reason


@pytest.mark.parametrize("lost", range(8))
def test_a_reply_is_never_longer(lost: int) -> None:
    """Neither a reply nor a kiss is longer than its request."""
    conversation = Conversation()
    requests = [conversation.protection.seal(Header(mode=Mode.CLIENT).serialize()) for _ in range(lost + 1)]
    reply = conversation.reply(requests[-1])
    forget_keys(conversation)

    assert len(reply) == len(requests[-1])
    assert len(conversation.reply(requests[-1])) < len(requests[-1])
