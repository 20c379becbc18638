"""The observation socket, as ntpd-rs' own tools read it."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.task import Clock, deferLater

from ntptwist.identifiers import Leap
from ntptwist.observe.ntpd_rs import READERS, TIME_LIMIT, UNKNOWN, ObservationServer, observation
from ntptwist.snapshot import SystemSnapshot
from ntptwist.timestamp import encode_timestamp
from tests.observe.picture import BEST, FALSE, JUST_STARTED, NOW, PICTURE, SERVERS
from tests.observe.test_observer import Conversation


def test_the_system() -> None:
    """At the time it is made for, ntpd-rs' polynomial of the dispersion gives ours."""
    data = observation(PICTURE, (), 5.0, 30.0)["system"]

    assert data["stratum"] == 2
    assert data["reference_id"] == 0xC0000201
    assert data["leap_indicator"] == "Leap61"
    assert data["accumulated_steps_threshold"] == 30.0
    assert data["accumulated_steps"] == 0.5
    assert data["root_delay"] == 3e-3
    assert data["root_variance_base"] ** 0.5 == pytest.approx(0.0078125)
    assert data["root_variance_base_time"] == {"timestamp": encode_timestamp(NOW)}


@pytest.mark.parametrize(
    ("leap", "word"), [(Leap.NONE, "NoWarning"), (Leap.DELETE, "Leap59"), (Leap.UNSYNCHRONIZED, "Unsynchronized")]
)
def test_leap_seconds(leap: Leap, word: str) -> None:
    """The leap indicator is told in ntpd-rs' words."""
    picture = replace(PICTURE, time=replace(PICTURE.time, leap=leap))

    assert observation(picture, (), 0.0)["system"]["leap_indicator"] == word


def test_a_source() -> None:
    """Durations are seconds; the offset is reference minus local, as in ntpd-rs."""
    (data,) = observation(replace(PICTURE, sources=(BEST,)), (), 0.0)["sources"]

    assert data == {
        "offset": 0.25,
        "uncertainty": 1e-6,
        "delay": 2e-3,
        "remote_delay": 1e-3,
        "remote_uncertainty": 5e-4,
        "last_update": {"timestamp": encode_timestamp(NOW) - (20 << 32)},
        "unanswered_polls": 0,
        "poll_interval": 6,
        "nts_cookies": 8,
        "name": "ntp.example",
        "address": "192.0.2.1:123",
        "id": 1,
    }


def test_sources_that_have_not_answered() -> None:
    """What ntpd-rs says of a source without data is said; one that has no address yet is left out."""
    rows = observation(PICTURE, (), 0.0)["sources"]

    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["unanswered_polls"] for row in rows] == [0, 0, 1, 0, 8]
    assert rows[4]["offset"] == 0.0
    assert [rows[4][name] for name in ("uncertainty", "delay", "remote_delay", "remote_uncertainty")] == [UNKNOWN] * 4
    assert rows[4]["last_update"] == {"timestamp": 0}


def test_what_is_not_finite_is_not_known() -> None:
    """JSON has no infinity."""
    row = replace(FALSE, estimate=replace(FALSE.estimate, uncertainty=float("inf")))

    assert observation(replace(PICTURE, sources=(row,)), (), 0.0)["sources"][0]["uncertainty"] == UNKNOWN


def test_servers() -> None:
    """The counters of each server have ntpd-rs' names; what is not counted is 0."""
    first, second = observation(JUST_STARTED, SERVERS, 0.0)["servers"]

    assert first["address"] == "[::]:123"
    assert first["stats"]["received_packets"] == 10
    assert first["stats"]["nts_accepted_packets"] == 3
    assert second["stats"]["rate_limited_packets"] == 1
    assert second["stats"]["nts_rate_limited_packets"] == 0


class StubSystem:
    """A system of 5000 sources: more than fits into a socket at once."""

    def snapshot(self) -> SystemSnapshot:
        """Give its state."""
        return replace(PICTURE, sources=(BEST,) * 5000)


class PatientReactor:
    """Listens as the reactor does; its time passes by hand."""

    listenUNIX = staticmethod(reactor.listenUNIX)  # type: ignore[attr-defined]  # the reactor has it

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def telling(tmp_path: Path) -> AsyncIterator[ObservationServer]:
    """A running server."""
    path = str(tmp_path / "run" / "observe")
    server = ObservationServer(path, 0o640, StubSystem(), PatientReactor())  # type: ignore[arg-type]
    server.privilegedStartService()
    server.startService()
    yield server
    await server.stopService()


async def read(server: ObservationServer) -> bytes:
    """Give what a reader is told until it is hung up on."""
    conversation = Conversation(lines=1 << 30)
    await connectProtocol(UNIXClientEndpoint(reactor, str(server.path)), conversation)
    return await conversation.done


async def test_a_reader(telling: ObservationServer) -> None:
    """A reader gets eight octets of length and so many of JSON, however long, and is hung up on."""
    told = await read(telling)

    assert int.from_bytes(told[:8], "big") == len(told) - 8
    assert len(json.loads(told[8:])["sources"]) == 5000
    assert stat.S_IMODE(telling.path.stat().st_mode) == 0o640


async def test_slow_readers(telling: ObservationServer) -> None:
    """Readers that don't read are hung up on after half a second; until then there are no more than eight."""
    slow = [Conversation(lines=1 << 30) for _ in range(READERS)]
    for each in slow:
        await connectProtocol(UNIXClientEndpoint(reactor, str(telling.path)), each)
        each.transport.pauseProducing()  # type: ignore[union-attr]
    while len(telling.clients) < READERS:
        await deferLater(reactor, 0.001)
    refused = await read(telling)
    telling.reactor.clock.advance(TIME_LIMIT)
    while telling.clients:
        await deferLater(reactor, 0.001)
    told = await read(telling)
    for each in slow:
        each.transport.abortConnection()  # type: ignore[union-attr]
        await each.closed

    assert refused == b""
    assert json.loads(told[8:])["program"]["uptime_seconds"] == TIME_LIMIT
