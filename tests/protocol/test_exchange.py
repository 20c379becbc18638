"""Client and server, put together, measure the offset and delay that are there."""

from __future__ import annotations

from random import Random

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import Leap
from ntptwist.measurement import TwoWayMeasurement
from ntptwist.protocol.access import Action
from ntptwist.protocol.actions import Dropped, Measured, Send
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.protocol.server import Responder, respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp
from tests.protocol.conversation import measured

START = Timestamp(1_800_000_000_000_000_000)


def test_our_client_measures_our_server() -> None:
    """Several exchanges between this project's client and server give the true offset and delay each time."""
    client = ClientAssociation(AssociationConfiguration(limits=PollLimits()), Random(1).randbytes)
    time = TimeSnapshot(leap=Leap.NONE, stratum=1, reference_time=START, dispersion=0.001)
    for k in range(4):
        t1 = Timestamp(START + k * 64_000_000_000)
        send = client.poll(k * 64.0, 64.0, 6)[0]
        assert isinstance(send, Send)
        client.transmitted(t1)
        t2 = Timestamp(t1 - 3_000_000_000 + 5_000_000)
        reply = respond(send.data, t2, Timestamp(t2 + 20_000), time, Monotonic(k * 64_000_000_000))
        assert not isinstance(reply, Dropped)
        t4 = Timestamp(t1 + 10_020_000)
        measurement = measured(client.received(reply, t4, Monotonic(t4 - START), k * 64.0 + 0.01))

        assert (measurement.offset, measurement.delay, measurement.stratum) == (-3.0, 0.01, 1)


def test_interleaved_mode_is_exact() -> None:
    """A server that does not know when its replies will leave tells it with the next one, and the offset is right."""
    client = ClientAssociation(AssociationConfiguration(limits=PollLimits()), Random(1).randbytes)
    responder = Responder()
    time = TimeSnapshot(leap=Leap.NONE, stratum=1, reference_time=START, dispersion=0.001)
    seen: list[tuple[float, bool]] = []
    for k in range(6):
        t1 = Timestamp(START + k * 64_000_000_000)
        send = client.poll(k * 64.0, 64.0, 6)[0]
        assert isinstance(send, Send)
        client.transmitted(t1)
        t2 = Timestamp(t1 - 3_000_000_000 + 5_000_000)
        claimed, left = Timestamp(t2 + 20_000), Timestamp(t2 + 60_000)
        reply = responder.answer(send.data, Action.ANSWER, t2, claimed, time, Monotonic(k * 64_000_000_000))
        assert isinstance(reply, bytes)
        if responder.asks_interleaved(send.data):
            responder.departed(reply, left)
        t4 = Timestamp(t1 + 10_060_000)
        actions = client.received(reply, t4, Monotonic(t4 - START), k * 64.0 + 0.01)
        seen += [
            (round(each.measurement.offset, 9), each.measurement.interleaved)
            for each in actions
            if isinstance(each, Measured) and isinstance(each.measurement, TwoWayMeasurement)
        ]

    assert seen == [(-3.00002, False)] * 2 + [(-3.0, True)] * 3
