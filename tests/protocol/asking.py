"""Asking a responder directly: the requests, the moment and the ways to look at a reply that its tests share."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.server import Responder, ServerPolicy
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp
from ntptwist.wire.header import Header, Mode
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


def protected(**policy: Any) -> tuple[Responder, Pair]:
    """Give a server with NTS and its client."""
    pair = Pair()
    return Responder(ServerPolicy(**policy), pair.server), pair


def interleaved(previous: Header) -> bytes:
    """Make the request that asks when the previous reply left."""
    return replace(Header.parse(PLAIN), origin_timestamp=previous.receive_timestamp, receive_timestamp=0x77).serialize()
