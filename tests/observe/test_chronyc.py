"""What chronyc is answered, and over which sockets."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path
from struct import pack, unpack_from
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, task
from twisted.internet.defer import maybeDeferred
from twisted.logger import LogEvent, globalLogPublisher

from ntptwist.config.value import HostPort
from ntptwist.observe.chronyc import ChronycAnswers, ChronycServer
from ntptwist.snapshot import SystemSnapshot
from ntptwist.wire.candm import Command, Reply, Status, encode_address
from tests.observe.picture import PICTURE, SERVERS

HEADER = 20


class StubSystem:
    """A system in a state that never changes."""

    def snapshot(self) -> SystemSnapshot:
        """Give it."""
        return PICTURE


def request(command: int, size: int, data: bytes = b"", version: int = 6) -> bytes:
    """Give a request of so many octets, as chronyc pads it."""
    return (pack("!BBBBHHIII", version, 1, 0, 0, command, 0, 7, 0, 0) + data).ljust(size, b"\0")


def asked(packet: bytes) -> tuple[int, int, int] | None:
    """Give form, status and length of the reply."""
    answer = ChronycAnswers(lambda: PICTURE, lambda: SERVERS).answer(packet)
    return None if answer is None else (*unpack_from("!HH", answer, 6), len(answer))


INDEX = b"\0\0\0\2"
ADDRESS = encode_address(ip_address("192.0.2.3"))


@pytest.mark.parametrize(
    ("command", "size", "data", "form"),
    [
        (Command.NULL, 28, b"", Reply.NULL),
        (Command.N_SOURCES, 32, b"", Reply.N_SOURCES),
        (Command.SOURCE_DATA, 76, INDEX, Reply.SOURCE_DATA),
        (Command.TRACKING, 104, b"", Reply.TRACKING),
        (Command.SOURCE_STATS, 84, INDEX, Reply.SOURCE_STATS),
        (Command.ACTIVITY, 48, b"", Reply.ACTIVITY),
        (Command.SERVER_STATS, 72, b"", Reply.SERVER_STATS_4_3),
        (Command.SERVER_STATS, 196, b"", Reply.SERVER_STATS),
        (Command.NTP_DATA, 152, ADDRESS, Reply.NTP_DATA),
        (Command.NTP_DATA, 172, ADDRESS, Reply.NTP_DATA_4_9),
        (Command.NTP_SOURCE_NAME, 284, ADDRESS, Reply.NTP_SOURCE_NAME),
        (Command.NTP_SOURCE_NAME, 284, encode_address(6), Reply.NTP_SOURCE_NAME),
        (Command.AUTH_DATA, 52, ADDRESS, Reply.AUTH_DATA),
        (Command.SELECT_DATA, 76, INDEX, Reply.SELECT_DATA),
    ],
)
def test_every_request_of_chronyc_is_answered_in_full(command: int, size: int, data: bytes, form: Reply) -> None:
    """With the lengths that chronyc 4.3 and 4.9 send, each reply is exactly as long as its request."""
    assert asked(request(command, size, data)) == (form, Status.SUCCESS, size)


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        (request(Command.SOURCE_DATA, 76, b"\0\0\0\6"), Status.NO_SUCH_SOURCE),
        (request(Command.SELECT_DATA, 76, b"\xff\xff\xff\xff"), Status.NO_SUCH_SOURCE),
        (request(Command.NTP_DATA, 172, encode_address(ip_address("192.0.2.99"))), Status.NO_SUCH_SOURCE),
        (request(Command.NTP_DATA, 172, encode_address(6)), Status.NO_SUCH_SOURCE),
        (request(Command.AUTH_DATA, 52, bytes(20)), Status.NO_SUCH_SOURCE),
        (request(1, 28), Status.UNAUTHORISED),
        (request(999, 200), Status.UNAUTHORISED),
        (request(Command.TRACKING, 104, version=5), Status.BAD_PACKET_VERSION),
        (request(Command.TRACKING, 103), Status.BAD_PACKET_LENGTH),
        (request(Command.AUTH_DATA, 39, ADDRESS), Status.BAD_PACKET_LENGTH),
    ],
)
def test_what_can_not_be_answered(packet: bytes, status: Status) -> None:
    """What is not there, what would change something and what is malformed is refused, in 28 octets."""
    packet = packet[:39] if status is Status.BAD_PACKET_LENGTH and len(packet) < 50 else packet

    assert asked(packet) == (Reply.NULL, status, 28)


@pytest.mark.parametrize("packet", [b"", b"x" * 5000, request(Command.TRACKING, 27), request(Command.SOURCE_DATA, 20)])
def test_what_gets_no_answer(packet: bytes) -> None:
    """What is no request, or too short even for a refusal, leads to nothing."""
    assert asked(packet) is None


def test_requests_are_counted() -> None:
    """``chronyc serverstats`` tells how often it was asked, its own question included."""
    answers = ChronycAnswers(lambda: PICTURE)
    answers.answer(b"")
    answer = answers.answer(request(Command.SERVER_STATS, 196))

    assert answer is not None
    assert unpack_from("!3Q", answer, 28) == (0, 0, 2)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def at_a_path(tmp_path: Path) -> AsyncIterator[ChronycServer]:
    """A server at the path of a socket, in a directory that it has to make."""
    server = ChronycServer(str(tmp_path / "run" / "chronyd.sock"), StubSystem(), reactor)  # type: ignore[arg-type]
    server.privilegedStartService()
    server.startService()
    yield server
    await maybeDeferred(server.stopService)


@pytest_twisted.async_yield_fixture(params=["127.0.0.1", "::1"])  # type: ignore[untyped-decorator]  # no types
async def at_an_address(request: pytest.FixtureRequest) -> AsyncIterator[ChronycServer]:
    """A server at a port of this machine alone."""
    server = ChronycServer(HostPort(request.param, 0), StubSystem(), reactor)  # type: ignore[arg-type]
    server.startService()
    yield server
    await server.stopService()


async def talk(asking: socket.socket, where: Any, packet: bytes) -> bytes | None:
    """Send a request and give what comes back within 50 ms."""
    asking.setblocking(False)
    asking.sendto(packet, where)
    for _ in range(10):
        await task.deferLater(reactor, 0.005)
        try:
            return asking.recv(4096)
        except BlockingIOError:
            continue
    return None


async def test_over_a_path(at_a_path: ChronycServer) -> None:
    """Whoever has a socket beside it is answered; one without a name can't be answered, and does no harm."""
    path = Path(str(at_a_path.listen))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named, socket.socket(named.family, named.type) as nameless:
        named.bind(str(path.with_name("chronyc.1.sock")))
        silence = await talk(nameless, str(path), request(Command.TRACKING, 104))
        answer = await talk(named, str(path), request(Command.TRACKING, 104))

    assert silence is None
    assert answer is not None
    assert len(answer) == 104
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_a_client_that_vanishes(at_a_path: ChronycServer) -> None:
    """An answer that nobody takes is dropped, and the next client is answered."""
    path = Path(str(at_a_path.listen))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(path.with_name("gone")))
        for _ in range(200):
            gone.sendto(request(Command.TRACKING, 104), str(path))
            await task.deferLater(reactor, 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
        named.bind(str(path.with_name("here")))
        answer = await talk(named, str(path), request(Command.N_SOURCES, 32))

    assert answer is not None


async def test_over_an_address(at_an_address: ChronycServer) -> None:
    """A request over UDP is answered; a flood is taken in small bites."""
    host = at_an_address.port.getHost()
    family = socket.AF_INET6 if ":" in host.host else socket.AF_INET
    where = (host.host, host.port)
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        answer = await talk(asking, where, request(Command.TRACKING, 104))
        too_long = await talk(asking, where, request(Command.TRACKING, 9000))

    assert answer is not None
    assert len(answer) == 104
    assert too_long is not None
    assert len(too_long) == 104
    assert at_an_address.port.maxThroughput <= 4096


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Give the errors that were logged."""
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            told.append(event["log_format"])

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield told
    publisher.removeObserver(observe)


@pytest.mark.parametrize("kind", ["path", "address"])
async def test_the_daemon_goes_on_without(tmp_path: Path, errors: list[str], kind: str) -> None:
    """A path or a port that can't be had is one error in the log."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        (tmp_path / "file").write_text("")
        listen = HostPort("127.0.0.1", taken.getsockname()[1]) if kind == "address" else str(tmp_path / "file")
        server = ChronycServer(listen, StubSystem(), reactor)  # type: ignore[arg-type]
        server.privilegedStartService()
        await maybeDeferred(server.stopService)

    assert errors == ["{where}: can't listen ({reason}): chronyc gets no answer"]
