"""Interleaved mode (RFC 9769): the true transmit time of a reply comes with the next one."""

from __future__ import annotations

import pytest

from ntptwist.identifiers import Leap
from ntptwist.protocol.client import INTERLEAVED_PATIENCE
from ntptwist.timestamp import Monotonic, Timestamp, encode_timestamp
from tests.protocol.conversation import START, Conversation, dropped, measured


def test_the_first_request_is_basic() -> None:
    """Before the first good reply there is nothing to name."""
    request = Conversation().poll()

    assert (request.origin_timestamp, request.receive_timestamp) == (0, 0)


def test_the_second_request_names_the_first_exchange() -> None:
    """The origin is the server's receive timestamp; the receive timestamp is a second nonce, and no time of ours."""
    talk = Conversation()
    talk.exchange()
    request = talk.poll()

    assert request.origin_timestamp == encode_timestamp(talk.exchanges[0].t2)
    assert request.receive_timestamp not in (0, request.transmit_timestamp, request.origin_timestamp)
    assert abs(request.receive_timestamp - encode_timestamp(talk.exchanges[0].t4)) > 1 << 48


def test_interleaved_mode_can_be_switched_off() -> None:
    """An operator who does not want it gets requests that say nothing of earlier ones."""
    talk = Conversation(interleaved=False)
    talk.exchange()
    request = talk.poll()

    assert (request.origin_timestamp, request.receive_timestamp) == (0, 0)


def test_a_basic_reply_to_an_interleaved_request() -> None:
    """A server that does not know the mode is measured as ever."""
    talk = Conversation()
    talk.exchange()
    measurement = measured(talk.exchange())

    assert (measurement.t1, measurement.interleaved) == (talk.exchanges[1].t1, False)


def test_an_interleaved_reply_completes_the_exchange_before() -> None:
    """From the third reply on each gives a measurement of the exchange before it, with its true transmit time."""
    talk = Conversation()
    first = talk.exchange()
    second = talk.exchange_interleaved()
    third = measured(talk.exchange_interleaved())
    fourth = measured(talk.exchange_interleaved())
    stamps = talk.exchanges[1]

    assert measured(first).t1 == talk.exchanges[0].t1
    assert second == ()
    assert (third.t1, third.t2, third.t3, third.t4) == (stamps.t1, stamps.t2, stamps.t3, stamps.t4)
    assert third.monotonic == Monotonic(stamps.t4 - START)
    assert third.interleaved
    assert fourth.t1 == talk.exchanges[2].t1


def test_a_reply_without_a_measurement_is_a_good_reply() -> None:
    """The reply that changes to interleaved mode counts as an answer and clears the trouble."""
    talk = Conversation()
    talk.exchange()
    talk.poll()
    talk.receive(b"")
    talk.receive(talk.interleaved())

    assert (talk.association.reach.value, talk.association.trouble, talk.association.dropped) == (3, None, 1)


def test_the_servers_state_is_the_newest() -> None:
    """What the server says of its own clock is taken from the reply that brought it."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.poll()
    measurement = measured(talk.receive(talk.interleaved(leap=Leap.DELETE, stratum=5)))

    assert (measurement.leap, measurement.stratum) == (Leap.DELETE, 5)


def test_a_late_transmit_stamp_improves_the_measurement() -> None:
    """A kernel stamp that comes after the reply is used when the exchange is measured, one poll later."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.association.transmitted(Timestamp(talk.exchanges[1].t1 + 7_000))

    assert measured(talk.exchange_interleaved()).t1 == talk.exchanges[1].t1 + 7_000


def test_an_interleaved_reply_is_used_once() -> None:
    """A copy of an interleaved reply is dropped."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.poll()
    reply = talk.interleaved()
    talk.receive(reply)

    assert dropped(talk.receive(reply)) == "the reply is a duplicate"


def test_a_lost_request() -> None:
    """The server still has the stamps of the exchange that is named again, so it is measured after all."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.poll()
    talk.wait()
    measurement = measured(talk.exchange_interleaved())

    assert (measurement.t1, measurement.interleaved) == (talk.exchanges[1].t1, True)


def test_a_lost_reply() -> None:
    """The server has forgotten the exchange and answers in basic mode; two replies later interleaved mode is back."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.poll()
    talk.wait()
    basic = measured(talk.exchange())
    nothing = talk.exchange_interleaved()
    back = measured(talk.exchange_interleaved())

    assert (basic.t1, basic.interleaved) == (talk.exchanges[3].t1, False)
    assert nothing == ()
    assert (back.t1, back.interleaved) == (talk.exchanges[4].t1, True)


@pytest.mark.parametrize(
    ("interval", "named"), [(64.0, True), (129.3, True), (159.979, True), (159.98, False), (1024.0, False)]
)
def test_only_while_polls_are_frequent(interval: float, *, named: bool) -> None:
    """An exchange that is minutes old is not worth completing: the request is basic."""
    talk = Conversation()
    talk.exchange(interval)
    request = talk.poll(interval)

    assert (request.origin_timestamp != 0, request.receive_timestamp != 0) == (named, named)


def test_a_zero_origin_is_no_answer_to_a_basic_request() -> None:
    """A server that leaves the origin empty is not believed, even where an earlier exchange is remembered."""
    talk = Conversation()
    talk.exchange(1024.0)
    talk.poll(1024.0)

    assert dropped(talk.receive(talk.basic(origin_timestamp=0))).endswith("wrong origin timestamp")


def test_a_step_of_the_clock_forgets_the_exchange() -> None:
    """Stamps from before a step are not paired with anything: the next request is basic."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.association.clock_stepped()
    request = talk.poll()

    assert (request.origin_timestamp, request.receive_timestamp) == (0, 0)


def test_an_unsynchronized_server_ends_interleaved_mode() -> None:
    """What was remembered of a server is worth nothing once it has lost its own time."""
    talk = Conversation()
    talk.exchange()
    talk.poll()
    talk.receive(talk.interleaved(leap=Leap.UNSYNCHRONIZED))
    talk.wait()

    assert talk.poll().origin_timestamp == 0


@pytest.mark.parametrize(
    ("early", "reason"),
    [
        (2_000_000, "the server replied before it received: transmit timestamp before receive timestamp"),
        (-5_000_000_000, "the server took 5.0 s to reply"),
        (-30_000_000, "the delay is negative: -0.010000 s"),
    ],
)
def test_an_impossible_true_transmit_time(early: int, reason: str) -> None:
    """The true transmit time is judged like any other, and a reply that fails leaves the request open."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.poll()
    t3 = encode_timestamp(Timestamp(talk.exchanges[1].t3 - early))

    assert dropped(talk.receive(talk.interleaved(transmit_timestamp=t3))) == reason
    assert measured(talk.receive(talk.interleaved())).t1 == talk.exchanges[1].t1


def test_the_reply_without_a_send_time_is_not_remembered() -> None:
    """An exchange whose T1 is unknown can't be measured later either."""
    talk = Conversation()
    talk.exchange()
    talk.poll(stamped=False)

    assert dropped(talk.receive(talk.interleaved())) == "the time when the request was sent is not known"
    talk.wait()
    assert talk.poll().origin_timestamp == encode_timestamp(talk.exchanges[0].t2)


def test_servers_that_only_answer_in_basic_mode_are_not_bothered_for_ever() -> None:
    """After some replies in basic mode the requests say nothing of earlier ones any more, so nobody can link them."""
    talk = Conversation()
    for _ in range(1 + INTERLEAVED_PATIENCE):
        assert measured(talk.exchange())
    request = talk.poll()

    assert (request.origin_timestamp, request.receive_timestamp) == (0, 0)


def test_patience_is_counted_from_the_last_interleaved_measurement() -> None:
    """A server that has worked in interleaved mode gets its full measure of patience."""
    talk = Conversation()
    talk.exchange()
    talk.exchange_interleaved()
    talk.exchange_interleaved()
    named = []
    for _ in range(INTERLEAVED_PATIENCE + 1):
        talk.exchange()
        named.append(talk.request.origin_timestamp != 0)

    assert named == [True] * INTERLEAVED_PATIENCE + [False]


def test_servers_that_forget_every_other_exchange_are_asked_in_basic_mode() -> None:
    """Replies that alternate between the modes measure every other exchange only: basic mode is better."""
    talk = Conversation()
    talk.exchange()
    requests = []
    for number in range(2 * INTERLEAVED_PATIENCE):
        requests.append(talk.poll())
        talk.receive(talk.basic() if number % 2 or requests[-1].origin_timestamp == 0 else talk.interleaved())
        talk.wait()

    named = [request.origin_timestamp != 0 for request in requests]
    assert named == [True] * INTERLEAVED_PATIENCE + [False] * INTERLEAVED_PATIENCE


def test_patience_begins_again_with_each_interleaved_measurement() -> None:
    """A server that works in interleaved mode is not given up for a lost packet now and then."""
    talk = Conversation()
    talk.exchange()
    for _ in range(INTERLEAVED_PATIENCE):
        talk.exchange()
        talk.exchange_interleaved()
        assert measured(talk.exchange_interleaved()).interleaved

    assert talk.poll().origin_timestamp != 0
