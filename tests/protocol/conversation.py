"""A client association and the server that it talks to, on one table: the tests of the on-wire protocol begin here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import ReferenceId
from ntptwist.measurement import TwoWayMeasurement
from ntptwist.protocol.actions import Action, Dropped, Kissed, Measured, Send, SetTimer
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.timestamp import Monotonic, Timestamp, encode_timestamp
from ntptwist.wire.header import Header, Mode

START = Timestamp(1_800_000_000_000_000_000)
MILLISECOND = 1_000_000
PATH = 10 * MILLISECOND
PROCESSING = MILLISECOND
AHEAD = 250 * MILLISECOND
"""The server's clock is ahead of ours by this much."""

HEADER = Header(
    mode=Mode.SERVER,
    stratum=2,
    poll=6,
    precision=-20,
    root_delay=0x0100,
    root_dispersion=0x0080,
    reference_id=ReferenceId.of_address("192.0.2.1"),
)


@dataclass(frozen=True)
class Stamps:
    """The four timestamps of one exchange as they truly are."""

    t1: Timestamp
    t2: Timestamp
    t3: Timestamp
    t4: Timestamp


class Conversation:
    """
    An association with its clock, and a server that answers what it is told to answer.

    ``now`` is in nanoseconds since the start, on every axis; the local clock shows START plus that.
    """

    def __init__(self, limits: PollLimits | None = None, **configuration: Any) -> None:
        self.association = ClientAssociation(
            AssociationConfiguration(limits=limits or PollLimits(), **configuration), Random(1).randbytes
        )
        self.now = 0
        self.request = Header()
        self.timer = 0.0
        self.exchanges: list[Stamps] = []

    def act_on_poll(self, interval: float = 64.0, exponent: int = 6) -> tuple[Action, ...]:
        """Let the timer fire now."""
        return self.association.poll(self.now / 1e9, interval, exponent)

    def poll(self, interval: float = 64.0, exponent: int = 6, *, stamped: bool = True) -> Header:
        """Let the timer fire and the request leave; give the request."""
        send, timer = self.act_on_poll(interval, exponent)
        assert isinstance(send, Send)
        assert isinstance(timer, SetTimer)
        self.timer = timer.seconds
        self.request = Header.parse(send.data)
        t1 = Timestamp(START + self.now)
        t2 = Timestamp(t1 + PATH + AHEAD)
        t3 = Timestamp(t2 + PROCESSING)
        self.exchanges.append(Stamps(t1, t2, t3, Timestamp(t3 + PATH - AHEAD)))
        if stamped:
            self.association.transmitted(t1)
        return self.request

    def basic(self, **changes: Any) -> Header:
        """Give the reply to the latest request, with some fields changed."""
        stamps = self.exchanges[-1]
        return replace(
            replace(
                HEADER,
                version=self.request.version,
                origin_timestamp=self.request.transmit_timestamp,
                receive_timestamp=encode_timestamp(stamps.t2),
                transmit_timestamp=encode_timestamp(stamps.t3),
            ),
            **changes,
        )

    def interleaved(self, **changes: Any) -> Header:
        """Give the reply of a server that knew the exchange that the latest request names."""
        named = next(s for s in self.exchanges if encode_timestamp(s.t2) == self.request.origin_timestamp)
        reply = self.basic(
            origin_timestamp=self.request.receive_timestamp, transmit_timestamp=encode_timestamp(named.t3)
        )
        return replace(reply, **changes)

    def receive(self, reply: Header | bytes, *, late: float = 0.0) -> tuple[Action, ...]:
        """Let a reply come in when the latest exchange ends, or ``late`` seconds after that."""
        t4 = Timestamp(self.exchanges[-1].t4 + round(late * 1e9))
        self.now = t4 - START
        data = reply if isinstance(reply, bytes) else reply.serialize()
        return self.association.received(data, t4, Monotonic(self.now), self.now / 1e9)

    def wait(self, seconds: float = 64.0) -> None:
        """Let time pass."""
        self.now += round(seconds * 1e9)

    def exchange(self, interval: float = 64.0) -> tuple[Action, ...]:
        """Poll, get a basic reply and wait for the next poll; give what the reply led to."""
        self.poll(interval)
        actions = self.receive(self.basic())
        self.wait(interval)
        return actions

    def exchange_interleaved(self, interval: float = 64.0) -> tuple[Action, ...]:
        """Poll, get an interleaved reply and wait for the next poll; give what the reply led to."""
        self.poll(interval)
        actions = self.receive(self.interleaved())
        self.wait(interval)
        return actions


def measured(actions: tuple[Action, ...]) -> TwoWayMeasurement:
    """Give the one measurement that a reply led to."""
    (action,) = actions
    assert isinstance(action, Measured)
    assert isinstance(action.measurement, TwoWayMeasurement)
    return action.measurement


def dropped(actions: tuple[Action, ...]) -> str:
    """Give the reason why a reply was dropped."""
    (action,) = actions
    assert isinstance(action, Dropped)
    return action.reason


def kissed(actions: tuple[Action, ...]) -> Kissed:
    """Give the kiss that a reply was."""
    (action,) = actions
    assert isinstance(action, Kissed)
    return action


def kiss(conversation: Conversation, code: bytes, **changes: Any) -> Header:
    """Give a kiss-o'-death for the latest request."""
    fields = {
        "stratum": 0,
        "reference_id": ReferenceId(code),
        "receive_timestamp": 0,
        "transmit_timestamp": 0,
        "root_delay": 0,
        "root_dispersion": 0,
        **changes,
    }
    return conversation.basic(**fields)
