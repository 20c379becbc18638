"""Packets captured from chronyd, ntpsec and ntpd-rs are read, answered and judged as those programs mean them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ntptwist.algorithm.config import PollLimits
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.protocol.actions import Action, Dropped, Send
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.protocol.server import respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import (
    Monotonic,
    Timestamp,
    decode_short,
    decode_timestamp,
)
from ntptwist.wire.header import Header
from ntptwist.wire.message import Message
from tests.protocol.conversation import dropped, kissed, measured

VECTORS: list[dict[str, Any]] = [
    record
    for path in sorted(Path(__file__).parent.parent.joinpath("vectors").glob("*.json"))
    for record in json.loads(path.read_text())
    if "request" in record and "reply" in record
]
CAPTURED = Timestamp(1_795_000_000_000_000_000)
"""A time in the era of the captures."""

PATH = 1_000_000
"""Nanoseconds: what a packet is said to have been under way, here where nobody knows."""


def named(record: dict[str, Any]) -> str:
    """Give the name of a captured exchange."""
    return str(record["name"])


each = pytest.mark.parametrize("record", VECTORS, ids=named)


class Replay:
    """
    Our client, given the nonces of a captured client, so that captured replies answer its requests.

    The stamps are made up: requests and replies take a millisecond each, and the two clocks agree.
    """

    def __init__(self, version: int = 4) -> None:
        self._nonces: list[bytes] = []
        configuration = AssociationConfiguration(limits=PollLimits(), version=version)
        self.association = ClientAssociation(configuration, self._randbytes)
        self._polls = 0

    def _randbytes(self, size: int) -> bytes:
        return self._nonces.pop(0) if size == 8 else bytes(size)

    def exchange(self, request: Header, reply: bytes) -> tuple[Header, tuple[Action, ...]]:
        """Give the request that our client makes with the captured nonces, and what the captured reply leads to."""
        self._nonces = [n.to_bytes(8, "big") for n in (request.transmit_timestamp, request.receive_timestamp)]
        now = 64.0 * self._polls
        self._polls += 1
        send = self.association.poll(now, 64.0, request.poll)[0]
        assert isinstance(send, Send)
        t2 = decode_timestamp(Header.parse(reply).receive_timestamp, CAPTURED)
        self.association.transmitted(Timestamp(t2 - PATH))
        t4 = Timestamp(t2 + 2 * PATH)
        return Header.parse(send.data), self.association.received(reply, t4, Monotonic(t4 - CAPTURED), now + 0.002)


def test_there_are_captures() -> None:
    """The tests below have something to test."""
    assert len(VECTORS) > 30


@each
def test_a_captured_reply_is_read(record: dict[str, Any]) -> None:
    """Every field of a real server's reply is what another implementation reads there, and is written again alike."""
    data = bytes.fromhex(record["reply"])
    message = Message.parse(data)
    header = message.header
    seen = {
        "leap": header.leap,
        "version": header.version,
        "mode": header.mode,
        "stratum": header.stratum,
        "poll": header.poll,
        "precision": header.precision,
        "root_delay_seconds": decode_short(header.root_delay),
        "root_dispersion_seconds": decode_short(header.root_dispersion),
        "reference_id": header.reference_id.hex(),
        "reference_timestamp": f"{header.reference_timestamp:016x}",
        "origin_timestamp": f"{header.origin_timestamp:016x}",
        "receive_timestamp": f"{header.receive_timestamp:016x}",
        "transmit_timestamp": f"{header.transmit_timestamp:016x}",
    }
    if message.fields:
        seen["fields"] = [{"type": f"{field.type:04x}", "body": field.body.hex()} for field in message.fields]
    if message.mac is not None:
        seen["mac"] = {"key_id": message.mac.key_id, "digest": message.mac.digest.hex()}

    assert seen == record["expected"]
    assert message.serialize() == data


@each
def test_a_captured_request_is_read(record: dict[str, Any]) -> None:
    """What a real client sends, with whatever fields and MAC, is read to the octet."""
    data = bytes.fromhex(record["request"])

    assert Message.parse(data).serialize() == data


@each
def test_a_captured_request_is_answered(record: dict[str, Any]) -> None:
    """Our server answers every captured client, echoing what that client looks for."""
    data = bytes.fromhex(record["request"])
    asked = Header.parse(data)
    reply = respond(data, CAPTURED, CAPTURED, TimeSnapshot(leap=Leap.NONE, stratum=1), Monotonic(0))

    assert not isinstance(reply, Dropped)
    answer = Header.parse(reply)
    assert (answer.origin_timestamp, answer.version, answer.poll) == (
        asked.transmit_timestamp,
        asked.version,
        asked.poll,
    )


def replies(wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Give the captures of single exchanges whose expected meaning is wanted."""
    return [record for record in VECTORS if "xleave" not in record["name"] and wanted(record["expected"])]


def is_kiss(meaning: dict[str, Any]) -> bool:
    """Tell whether a captured reply is a kiss that is acted upon."""
    return meaning["stratum"] == 0 and bytes.fromhex(meaning["reference_id"]) in (b"RATE", b"DENY")


def outcome(record: dict[str, Any]) -> tuple[ClientAssociation, tuple[Action, ...]]:
    """Give our client, and what it makes of a captured reply."""
    asked = Header.parse(bytes.fromhex(record["request"]))
    replay = Replay(asked.version)
    actions = replay.exchange(asked, bytes.fromhex(record["reply"]))[1]
    return replay.association, actions


@pytest.mark.parametrize("record", replies(lambda meaning: 1 <= meaning["stratum"] <= 15), ids=named)
def test_a_captured_reply_is_measured(record: dict[str, Any]) -> None:
    """The reply of a synchronized server gives a measurement with what the server said."""
    association, actions = outcome(record)
    measurement = measured(actions)
    meaning = record["expected"]

    assert (measurement.stratum, measurement.precision) == (meaning["stratum"], meaning["precision"])
    assert measurement.reference_id == ReferenceId(bytes.fromhex(meaning["reference_id"]))
    assert measurement.t2 == decode_timestamp(int(meaning["receive_timestamp"], 16), CAPTURED)
    assert 0 < measurement.delay < 0.003
    assert abs(measurement.offset) < 0.003
    assert association.trouble is None


@pytest.mark.parametrize("record", replies(lambda meaning: meaning["leap"] == 3 and not is_kiss(meaning)), ids=named)
def test_a_captured_unsynchronized_server_is_alive(record: dict[str, Any]) -> None:
    """Each program says in its own way that it is not synchronized: stratum 0 or 16, a kiss code or none."""
    association, actions = outcome(record)

    assert dropped(actions).startswith("the server is not synchronized")
    assert association.reach.is_reachable


@pytest.mark.parametrize("record", replies(is_kiss), ids=named)
def test_a_captured_kiss_is_a_kiss(record: dict[str, Any]) -> None:
    """RATE and DENY of real servers are acted upon, with and without the leap alarm."""
    association, actions = outcome(record)

    assert kissed(actions).code.value == bytes.fromhex(record["expected"]["reference_id"])
    assert not association.reach.is_reachable


XLEAVE = {
    server: list(records)
    for server, records in groupby(
        [record for record in VECTORS if "xleave" in record["name"]], lambda record: record["name"].partition(":")[0]
    )
}


@pytest.mark.parametrize("server", XLEAVE)
def test_a_captured_interleaved_conversation(server: str) -> None:
    """
    Our client makes the requests of chronyd's own and finds the true transmit times in the replies.

    chronyd begins to keep them when it is first asked to, so its second reply is basic too.
    """
    replay = Replay()
    measurements = []
    answers = []
    for record in XLEAVE[server]:
        asked, answer = (Header.parse(bytes.fromhex(record[which])) for which in ("request", "reply"))
        made, actions = replay.exchange(asked, bytes.fromhex(record["reply"]))
        assert (made.origin_timestamp, made.receive_timestamp, made.transmit_timestamp) == (
            asked.origin_timestamp,
            asked.receive_timestamp,
            asked.transmit_timestamp,
        )
        answers.append(answer)
        measurements.append(measured(actions) if actions else None)

    first, second, third, *rest = measurements
    assert first is not None
    assert second is not None
    assert (first.interleaved, second.interleaved, third) == (False, False, None)
    for measurement, before, answer in zip(rest, answers[2:], answers[3:], strict=False):
        assert measurement is not None
        assert measurement.interleaved
        assert measurement.t2 == decode_timestamp(before.receive_timestamp, CAPTURED)
        assert measurement.t3 == decode_timestamp(answer.transmit_timestamp, CAPTURED)
        assert 0 < (measurement.t3 - measurement.t2) < 1_000_000
