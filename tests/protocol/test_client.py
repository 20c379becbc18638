"""A client association: what it asks, what it makes of good replies, and how it ends."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.measurement import TwoWayMeasurement
from ntptwist.protocol.actions import Demobilize, Reset, Send, SetTimer
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import Header, Mode
from tests.protocol.conversation import START, Conversation, dropped, kiss, kissed, measured

CONFIGURATION = AssociationConfiguration(limits=PollLimits())


@pytest.mark.parametrize("version", [3, 4])
def test_a_request_says_nothing_but_a_nonce(version: int) -> None:
    """The first request has version, mode, poll exponent and 64 random bits; all else is zero."""
    association = ClientAssociation(
        AssociationConfiguration(limits=PollLimits(), version=version), lambda n: b"\xa5" * n
    )
    send, _ = association.poll(0.0, 64.0, 6)

    assert send == Send(bytes([version << 3 | 3, 0, 6]) + bytes(37) + b"\xa5" * 8)


def test_every_request_has_its_own_nonce() -> None:
    """Two requests share no bits that could be guessed."""
    talk = Conversation(interleaved=False)

    assert len({talk.poll().transmit_timestamp for _ in range(3)}) == 3


def test_the_poll_exponent_may_be_negative() -> None:
    """Polls more often than once a second can be told to the server."""
    assert Conversation().poll(0.25, -2).poll == -2


@pytest.mark.parametrize(
    ("octet", "seconds"), [(b"\x00", 63.36), (b"\xff", 64.64), (b"\x80", 64.0 + 0.64 * (0x8080 / 32767.5 - 1))]
)
def test_the_timer_is_jittered(octet: bytes, seconds: float) -> None:
    """The interval to the next request is the wanted one, at most 1 % shorter or longer."""
    association = ClientAssociation(CONFIGURATION, lambda n: octet * n)
    _, timer = association.poll(0.0, 64.0, 6)

    assert isinstance(timer, SetTimer)
    assert timer.seconds == pytest.approx(seconds)


def test_a_good_reply_is_measured() -> None:
    """The four timestamps and what the server says of itself come out as they are."""
    talk = Conversation()
    talk.poll()
    stamps = talk.exchanges[0]
    measurement = measured(talk.receive(talk.basic(leap=Leap.INSERT)))

    assert measurement == TwoWayMeasurement(
        t1=stamps.t1,
        t2=stamps.t2,
        t3=stamps.t3,
        t4=stamps.t4,
        monotonic=Monotonic(21_000_000),
        leap=Leap.INSERT,
        stratum=2,
        reference_id=ReferenceId.of_address("192.0.2.1"),
        root_delay=0x0100 / 65536,
        root_dispersion=0x0080 / 65536,
        precision=-20,
        interleaved=False,
    )
    assert (measurement.offset, measurement.delay) == (0.25, 0.02)


def test_a_version_3_reply_to_a_version_4_request() -> None:
    """Old servers that answer in NTPv3 are understood."""
    talk = Conversation()
    talk.poll()

    assert measured(talk.receive(talk.basic(version=3))).stratum == 2


def test_the_best_transmit_stamp_counts() -> None:
    """A second stamp of the same request, as the kernel gives it, replaces the first."""
    talk = Conversation()
    talk.poll()
    talk.association.transmitted(Timestamp(START + 20_000))

    assert measured(talk.receive(talk.basic())).t1 == START + 20_000


def test_a_transmit_stamp_without_a_request() -> None:
    """A stamp that comes when nothing was sent changes nothing."""
    talk = Conversation()
    talk.association.transmitted(START)
    talk.poll(stamped=False)

    assert dropped(talk.receive(talk.basic())) == "the time when the request was sent is not known"


def test_reach_and_counters() -> None:
    """What was sent, received and dropped is counted, and the register shows the latest polls."""
    talk = Conversation()
    talk.exchange()
    talk.poll()
    talk.wait()
    talk.poll()
    talk.receive(talk.basic())
    talk.receive(talk.basic())
    association = talk.association

    assert (association.reach.value, association.sent, association.received_count, association.dropped) == (5, 3, 3, 1)


def test_a_reply_is_used_once() -> None:
    """A copy of a reply is dropped and is no trouble."""
    talk = Conversation()
    talk.poll()
    reply = talk.basic()
    talk.receive(reply)

    assert dropped(talk.receive(reply)) == "the reply is a duplicate"
    assert talk.association.trouble is None


def test_a_reply_to_the_request_before() -> None:
    """A reply that comes after the next request went out is not measured."""
    talk = Conversation()
    talk.poll()
    reply = talk.basic()
    talk.wait(2)
    talk.poll(2)

    assert dropped(talk.receive(reply)) == "the reply does not answer the latest request: wrong origin timestamp"


def test_a_reply_before_any_request() -> None:
    """Datagrams are dropped while no request is out."""
    association = ClientAssociation(CONFIGURATION, bytes)
    actions = association.received(Header(mode=Mode.SERVER).serialize(), START, Monotonic(0), 0.0)

    assert dropped(actions) == "no request is waiting for a reply"
    assert association.trouble is None


@pytest.mark.parametrize(("late", "used"), [(4.979, True), (4.980, False), (60.0, False)])
def test_the_reply_window(late: float, used: bool) -> None:
    """A reply is waited for five seconds."""
    talk = Conversation()
    talk.poll()
    talk.receive(talk.basic(), late=late)

    assert talk.association.reach.is_reachable is used
    assert talk.association.trouble == (None if used else "the reply came more than 5 s after the request")


def test_a_step_of_the_clock_forgets_the_request() -> None:
    """A reply that arrives after a step can't be measured: T1 lies before it, T4 behind it."""
    talk = Conversation()
    talk.poll()
    talk.association.clock_stepped()

    assert dropped(talk.receive(talk.basic())) == "no request is waiting for a reply"
    assert talk.association.trouble is None


def test_the_request_after_a_step_is_measured() -> None:
    """After a step the association goes on with its next request."""
    talk = Conversation()
    talk.exchange()
    talk.association.clock_stepped()
    talk.poll()

    assert measured(talk.receive(talk.basic())).t1 == talk.exchanges[1].t1


def test_a_server_that_never_answers_is_given_up_after_three_requests() -> None:
    """Three requests without a reply end the source at the timer after that."""
    talk = Conversation()
    for _ in range(3):
        talk.poll()
        talk.wait()

    assert talk.act_on_poll() == (Reset("no usable reply to the last 3 requests"),)
    assert talk.association.sent == 3


def test_a_server_that_fell_silent_is_given_up_after_sixteen_requests() -> None:
    """Sixteen requests in a row without a reply end the source at the timer after that."""
    talk = Conversation()
    talk.exchange()
    for _ in range(16):
        talk.poll()
        talk.wait()

    assert talk.act_on_poll() == (Reset("no usable reply to the last 16 requests"),)


def test_the_end_names_the_latest_trouble() -> None:
    """An operator learns why the replies of a server that is given up were of no use."""
    talk = Conversation()
    for _ in range(3):
        talk.poll()
        talk.receive(talk.basic(mode=Mode.BROADCAST))
        talk.wait()

    assert talk.act_on_poll() == (
        Reset("no usable reply to the last 3 requests; the latest trouble: the reply has mode 5, not that of a server"),
    )


def test_silence_is_a_trouble_from_the_second_request_on() -> None:
    """One lost packet is not worth a word, two are; a good reply takes it back."""
    talk = Conversation()
    talk.exchange()
    seen = []
    for _ in range(3):
        talk.poll()
        seen.append(talk.association.trouble)
        talk.wait()
    talk.receive(talk.basic())

    assert seen == [None, None, "no reply to the latest requests"]
    assert talk.association.trouble is None


def test_a_server_that_never_answers_is_a_trouble_too() -> None:
    """Silence from the beginning is shown when the third request goes out."""
    talk = Conversation()
    seen = []
    for _ in range(3):
        talk.poll()
        seen.append(talk.association.trouble)
        talk.wait()

    assert seen == [None, None, "no reply to the latest requests"]


def test_a_good_reply_clears_the_trouble() -> None:
    """What was wrong before the latest good reply is not shown any more."""
    talk = Conversation()
    talk.poll()
    talk.receive(b"garbage")
    before = talk.association.trouble
    talk.receive(talk.basic())

    assert before == "not an NTP packet: the packet is shorter than the 48 octets of a header (at octet 7)"
    assert talk.association.trouble is None


@pytest.mark.parametrize(
    "changes",
    [
        {"leap": Leap.UNSYNCHRONIZED, "stratum": 2},
        {"leap": Leap.NONE, "stratum": 16},
        {"leap": Leap.UNSYNCHRONIZED, "stratum": 16, "reference_id": ReferenceId(b"XNON")},
        {"leap": Leap.UNSYNCHRONIZED, "stratum": 16, "receive_timestamp": 0},
    ],
)
def test_an_unsynchronized_server_is_alive_but_not_measured(changes: dict[str, object]) -> None:
    """A server that says that its clock is not set counts as reachable and is not measured."""
    talk = Conversation()
    talk.poll()

    assert dropped(talk.receive(talk.basic(**changes))) == "the server is not synchronized"
    assert (talk.association.reach.value, talk.association.trouble) == (1, "the server is not synchronized")


@pytest.mark.parametrize(("code", "shown"), [(b"INIT", "INIT"), (b"STEP", "STEP"), (bytes(4), "00000000")])
def test_an_unsynchronized_server_of_stratum_0_says_why(code: bytes, shown: str) -> None:
    """The code that ntpd sends before it is synchronized is shown to the operator."""
    talk = Conversation()
    talk.poll()

    assert dropped(talk.receive(kiss(talk, code, leap=Leap.UNSYNCHRONIZED))) == (
        f"the server is not synchronized ({shown})"
    )
    assert talk.association.reach.is_reachable


def test_an_unsynchronized_server_is_not_given_up() -> None:
    """A server that answers, if only that it is not synchronized, is asked again."""
    talk = Conversation()
    for _ in range(12):
        talk.poll()
        talk.receive(talk.basic(leap=Leap.UNSYNCHRONIZED))
        talk.receive(talk.basic(leap=Leap.UNSYNCHRONIZED))
        talk.wait()

    assert (talk.association.reach.value, talk.association.dropped) == (0o377, 24)


@pytest.mark.parametrize("leap", [Leap.NONE, Leap.UNSYNCHRONIZED])
def test_rate_slows_down_at_once(leap: Leap) -> None:
    """After a RATE kiss the timer that is running sends nothing: the longer interval counts from the last request."""
    talk = Conversation()
    talk.poll(2.0, 1)
    action = kissed(talk.receive(kiss(talk, b"RATE", leap=leap)))
    talk.wait(2)
    (postponed,) = talk.act_on_poll(2.0, 1)

    assert (action.code, action.explanation) == (
        KissCode.RATE,
        "the server wants fewer requests: at most one in 128 s from now on",
    )
    assert talk.association.trouble == f"kiss-o'-death RATE: {action.explanation}"
    assert isinstance(postponed, SetTimer)
    assert talk.now / 1e9 + postponed.seconds == pytest.approx(128.0, rel=0.01)


def test_rate_holds_for_the_requests_that_follow() -> None:
    """The interval and the poll octet stay at what the server allows, whatever the algorithm wants."""
    talk = Conversation()
    talk.poll()
    talk.receive(kiss(talk, b"RATE"))
    talk.wait(130)
    request = talk.poll(64.0, 6)

    assert request.poll == 7
    assert talk.timer == pytest.approx(128.0, rel=0.01)
    assert talk.poll(1024.0, 10).poll == 10
    assert talk.timer == pytest.approx(1024.0, rel=0.01)


def test_rate_is_forgiven() -> None:
    """After eight good replies the server is asked as often as before."""
    talk = Conversation(PollLimits(6, 10))
    talk.poll()
    talk.receive(kiss(talk, b"RATE"))
    talk.wait(130)
    seen = []
    for _ in range(9):
        talk.exchange()
        seen.append(round(talk.timer / 64))
        talk.wait(130)

    assert seen == [2] * 8 + [1]


def test_one_kiss_for_one_request() -> None:
    """Copies of a kiss do not slow us down further."""
    talk = Conversation()
    talk.poll()
    talk.receive(kiss(talk, b"RATE"))

    assert dropped(talk.receive(kiss(talk, b"RATE"))) == "a second kiss-o'-death (RATE) for one request"
    talk.wait(130)
    talk.poll()
    assert talk.timer == pytest.approx(128.0, rel=0.01)


@pytest.mark.parametrize("code", [b"RATE", b"DENY", b"RSTR", b"NTSN"])
def test_a_kiss_does_not_use_the_request_up(code: bytes) -> None:
    """A kiss can be forged by anybody who sees the request, so the true reply is still waited for."""
    talk = Conversation()
    talk.poll()
    action = kissed(talk.receive(kiss(talk, code)))
    reached = talk.association.reach.is_reachable

    assert (action.code.value, reached) == (code, False)
    assert measured(talk.receive(talk.basic(), late=0.1)).stratum == 2
    assert talk.association.trouble is None


@pytest.mark.parametrize("code", ["DENY", "RSTR"])
def test_denied_access_ends_the_source_when_nothing_else_comes(code: str) -> None:
    """A server that denied access and never answers is left alone."""
    talk = Conversation()
    for _ in range(3):
        talk.poll()
        talk.receive(kiss(talk, code.encode()))
        talk.wait()

    assert talk.act_on_poll() == (Demobilize(f"the server denied us access (kiss code {code}) and answers no more"),)


def test_denied_access_is_forgotten_when_a_good_reply_comes() -> None:
    """A forged DENY does not end a source whose server answers."""
    talk = Conversation()
    talk.poll()
    talk.receive(kiss(talk, b"DENY"))
    talk.receive(talk.basic())
    for _ in range(16):
        talk.wait()
        talk.poll()
    (end,) = talk.act_on_poll()

    assert isinstance(end, Reset)


def test_a_denial_for_another_request_is_not_believed() -> None:
    """A kiss whose origin is not our nonce comes from somebody who does not see our requests."""
    talk = Conversation()
    talk.poll()
    talk.receive(kiss(talk, b"DENY", origin_timestamp=1))
    for _ in range(2):
        talk.wait()
        talk.poll()
    (end,) = talk.act_on_poll()

    assert isinstance(end, Reset)


def test_an_nts_kiss_is_told() -> None:
    """A server that could not verify a request says so, and nothing else follows here."""
    talk = Conversation()
    talk.poll()
    action = kissed(talk.receive(kiss(talk, b"NTSN")))

    assert (action.code, action.explanation) == (KissCode.NTSN, "the server could not verify our request")


def test_poll_interval_must_be_positive() -> None:
    """An interval of nothing is our own mistake and shows at once."""
    with pytest.raises(ValueError, match=r"math domain error|expected a positive"):
        Conversation().poll(0.0)


def test_a_long_wait_stays_a_long_wait() -> None:
    """A kiss does not shorten an interval that is longer than the operator's largest."""
    talk = Conversation(PollLimits(6, 10))
    talk.poll(4096.0, 12)
    talk.receive(kiss(talk, b"RATE"))
    talk.wait(4096)
    talk.poll(4096.0, 12)

    assert math.isclose(talk.timer, 4096.0, rel_tol=0.011)
