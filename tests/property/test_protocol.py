"""Whatever comes from the network, an association neither fails nor measures anything that did not happen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.measurement import TwoWayMeasurement
from ntptwist.protocol.actions import Demobilize, Dropped, Measured, Reset, Send, SetTimer
from ntptwist.protocol.server import respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import Header, Mode
from tests.property.test_wire import headers
from tests.protocol.conversation import START, Conversation

NONCE = slice(24, 32)
"""Where the origin timestamp stands in a reply."""


@given(st.lists(st.binary(max_size=120), max_size=4), st.booleans())
def test_any_octets_are_dropped(datagrams: list[bytes], polled: bool) -> None:
    """Octets that don't hold our nonce lead to nothing, whether a request is out or not."""
    talk = Conversation()
    if polled:
        talk.poll()
    for data in datagrams:
        (action,) = talk.association.received(data, START, Monotonic(0), 0.0)
        assert isinstance(action, Dropped)

    assert not talk.association.reach.is_reachable


@given(headers, st.integers(0, 2))
def test_any_header_with_our_nonce_is_judged(header: Header, exchanges: int) -> None:
    """A reply of any content leads to exactly one action, and a measurement only if it makes sense."""
    talk = Conversation()
    for _ in range(exchanges):
        talk.exchange()
    request = talk.poll()
    data = bytearray(header.serialize())
    data[NONCE] = request.transmit_timestamp.to_bytes(8, "big")
    (action,) = talk.receive(bytes(data))

    if isinstance(action, Measured):
        measurement = action.measurement
        assert isinstance(measurement, TwoWayMeasurement)
        assert header.mode is Mode.SERVER
        assert 1 <= measurement.stratum <= 15
        assert 0 <= measurement.t3 - measurement.t2 <= 4_000_000_000
        assert measurement.delay > -0.017
        assert measurement.root_delay / 2 + measurement.root_dispersion < 16


@given(st.integers(0, 47), st.integers(1, 255))
def test_one_octet_damaged(place: int, damage: int) -> None:
    """A damaged reply never measures another exchange: the four stamps hold what was sent, or it is dropped."""
    talk = Conversation()
    talk.poll()
    data = bytearray(talk.basic().serialize())
    data[place] ^= damage
    actions = talk.receive(bytes(data))

    assert len(actions) == 1
    if place in range(24, 32):
        assert isinstance(actions[0], Dropped)
    if isinstance(actions[0], Measured):
        measurement = actions[0].measurement
        assert isinstance(measurement, TwoWayMeasurement)
        assert (measurement.t1, measurement.t4) == (talk.exchanges[0].t1, talk.exchanges[0].t4)


events = st.sampled_from(["basic", "interleaved", "lost", "duplicate", "replayed", "step", "unsynchronized"])


@given(st.lists(st.tuples(events, st.sampled_from([2.0, 64.0, 128.0, 300.0])), min_size=1, max_size=30))
def test_each_exchange_is_measured_once_and_in_order(history: list[tuple[str, float]]) -> None:
    """Whatever mixture of modes, losses, copies and steps: measurements come in time order, with true stamps only."""
    talk = Conversation()
    measurements: list[TwoWayMeasurement] = []
    replies: list[bytes] = []

    def receive(data: bytes) -> None:
        for action in talk.receive(data):
            if isinstance(action, Measured):
                assert isinstance(action.measurement, TwoWayMeasurement)
                measurements.append(action.measurement)

    for event, interval in history:
        if not talk.association.reach.is_reachable and talk.association.sent >= 3:
            break
        talk.poll(interval)
        named = talk.request.origin_timestamp != 0
        reply = talk.interleaved() if event != "basic" and named else talk.basic()
        match event:
            case "lost":
                pass
            case "replayed":
                for data in replies:
                    receive(data)
            case "step":
                talk.association.clock_stepped()
                receive(reply.serialize())
            case "unsynchronized":
                receive(talk.basic(stratum=16).serialize())
            case "duplicate":
                receive(reply.serialize())
                receive(reply.serialize())
            case _:
                receive(reply.serialize())
        replies.append(reply.serialize())
        talk.wait(interval)

    true = {(s.t1, s.t2, s.t3, s.t4) for s in talk.exchanges}
    assert all((m.t1, m.t2, m.t3, m.t4) in true for m in measurements)
    times = [m.monotonic for m in measurements]
    assert times == sorted(set(times))


@given(st.lists(st.booleans(), max_size=40), st.floats(0.1, 2000.0))
def test_polls_send_or_end(answers: list[bool], interval: float) -> None:
    """Each timer sends one request and sets one timer within 1 % of what was wanted, or ends the source."""
    talk = Conversation()
    for answered in answers:
        actions = talk.act_on_poll(interval)
        if len(actions) == 1:
            assert isinstance(actions[0], Reset | Demobilize)
            assert talk.association.reach.unanswered == 8
            return
        send, timer = actions
        assert isinstance(send, Send)
        assert isinstance(timer, SetTimer)
        assert 0.99 * interval <= timer.seconds * (1 + 1e-12)
        assert timer.seconds <= 1.01 * interval * (1 + 1e-12)
        t1 = Timestamp(START + talk.now)
        talk.association.transmitted(t1)
        if answered:
            header = Header(
                mode=Mode.SERVER,
                stratum=1,
                origin_timestamp=Header.parse(send.data).transmit_timestamp,
                receive_timestamp=1,
                transmit_timestamp=1,
            )
            talk.association.received(header.serialize(), t1, Monotonic(talk.now), talk.now / 1e9)
        talk.wait(interval)


@given(st.binary(max_size=200))
def test_any_octets_are_answered_or_dropped(data: bytes) -> None:
    """The server's reply is never longer than what it answers."""
    reply = respond(data, START, START, TimeSnapshot(), Monotonic(0))

    assert isinstance(reply, Dropped) or len(reply) == 48 <= len(data)


@given(headers, st.binary(max_size=40), st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_any_request_at_any_time(header: Header, trailer: bytes, time: int, reference: int) -> None:
    """Whatever the local clock shows, a client's request is answered with its own nonce, and nobody else's at all."""
    snapshot = TimeSnapshot(reference_time=Timestamp(reference))
    reply = respond(header.serialize() + trailer, Timestamp(time), Timestamp(time), snapshot, Monotonic(0))

    assert isinstance(reply, bytes) is (header.mode is Mode.CLIENT)
    if isinstance(reply, bytes):
        assert Header.parse(reply).origin_timestamp == header.transmit_timestamp
