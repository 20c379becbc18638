"""The read-only socket of the daemon."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from ntptwist.net.requests import LONGEST_REQUEST
from ntptwist.observe.history import History
from ntptwist.observe.metrics import Meter
from ntptwist.observe.observer import Observer
from ntptwist.snapshot import ServerSnapshot, SystemSnapshot, TimeSnapshot
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp
from tests.observe.rows import START, source, system


class StubSystem:
    """A system that has just started."""

    def snapshot(self) -> SystemSnapshot:
        """Give its state."""
        return SystemSnapshot(Timestamp(0), Monotonic(0), TimeSnapshot(), "observe", False, "waiting for sources")


class Conversation(Protocol):
    """Collects what the daemon says until it hangs up or has said enough lines."""

    def __init__(self, lines: int = 1) -> None:
        self.received = b""
        self.lines = lines
        self.done: Deferred[bytes] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self.received += data
        if self.received.count(b"\n") >= self.lines and not self.done.called:
            self.done.callback(self.received)

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        if not self.done.called:
            self.done.callback(self.received)
        self.closed.callback(None)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def observer(tmp_path: Path) -> AsyncIterator[Observer]:
    """A running observer."""
    service = Observer(str(tmp_path / "run"), StubSystem(), reactor)  # type: ignore[arg-type]
    service.privilegedStartService()
    service.startService()
    yield service
    await service.stopService()


async def ask(observer: Observer, *requests: bytes) -> list[Any]:
    """Send requests and give the answers."""
    conversation = Conversation(len(requests))
    await connectProtocol(UNIXClientEndpoint(reactor, str(observer.path)), conversation)
    conversation.transport.write(b"".join(requests))  # type: ignore[union-attr]
    answer = await conversation.done
    conversation.transport.loseConnection()  # type: ignore[union-attr]
    await conversation.closed
    return [json.loads(line) for line in answer.splitlines()]


async def test_status(observer: Observer) -> None:
    """``status`` is answered with the whole state."""
    (answer,) = await ask(observer, b'{"command": "status"}\n')

    assert answer["ok"]
    assert answer["data"]["synchronized"] is False


async def test_wrong_requests_are_answered(observer: Observer) -> None:
    """What is not JSON, no object or no command is refused with a reason, and the conversation goes on."""
    answers = await ask(observer, b"hello\n", b"[1]\n", b'{"command": "reboot"}\n', b'{"command": "status"}\n')

    assert [answer["ok"] for answer in answers] == [False, False, False, True]
    assert answers[0]["error"] == "not JSON"
    assert answers[2]["error"] == "unknown command 'reboot'; known: status"


async def test_an_endless_request_is_hung_up_on(observer: Observer) -> None:
    """A line without end does not fill the memory."""
    assert await ask(observer, b"x" * (LONGEST_REQUEST + 1)) == []


async def test_everybody_may_ask_but_not_replace_it(observer: Observer) -> None:
    """The socket is for everybody, the directory for its owner."""
    assert stat.S_IMODE(observer.path.stat().st_mode) == 0o666
    assert stat.S_IMODE(observer.path.parent.stat().st_mode) == 0o755


async def test_too_many_clients(observer: Observer) -> None:
    """One client more than the limit is hung up on, and a place is free again when one leaves."""
    conversations = [Conversation() for _ in range(observer.limit)]
    for conversation in conversations:
        await connectProtocol(UNIXClientEndpoint(reactor, str(observer.path)), conversation)
        conversation.transport.write(b'{"command": "status"}\n')  # type: ignore[union-attr]
        await conversation.done
    refused = await ask(observer, b'{"command": "status"}\n')
    for conversation in conversations:
        conversation.transport.loseConnection()  # type: ignore[union-attr]
        await conversation.closed
    (accepted,) = await ask(observer, b'{"command": "status"}\n')

    assert refused == []
    assert accepted["ok"]


async def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    """A socket without anybody behind it does not keep a new daemon from listening."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "observe.sock"))
    (tmp_path / "observe.sock.lock").symlink_to("999999999")
    service = Observer(str(tmp_path), StubSystem(), reactor)  # type: ignore[arg-type]
    service.startService()
    (answer,) = await ask(service, b'{"command": "status"}\n')
    await service.stopService()

    assert answer["ok"]


async def test_servers_are_shown(tmp_path: Path) -> None:
    """What the servers of time have to show is part of the state."""
    server = ServerSnapshot("[::]:123", None, {"received": 7})
    service = Observer(str(tmp_path), StubSystem(), reactor, lambda: [server])  # type: ignore[arg-type]
    service.startService()
    (answer,) = await ask(service, b'{"command": "status"}\n')
    await service.stopService()

    assert answer["data"]["servers"][0]["counters"] == {"received": 7}


@pytest.mark.parametrize("directory", ["file", "missing/run"])
async def test_an_unusable_directory_is_said(tmp_path: Path, directory: str) -> None:
    """The daemon goes on without the socket when its directory can't be used."""
    (tmp_path / "file").write_text("")
    service = Observer(str(tmp_path / directory), StubSystem(), reactor)  # type: ignore[arg-type]
    service.startService()
    listening = service.path.is_socket() if service.path.parent.is_dir() else False
    await maybeDeferred(service.stopService)

    assert not listening


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def sampled(tmp_path: Path) -> AsyncIterator[Observer]:
    """A running observer that has a history and metrics."""
    history = History()
    history.sample(system(source(3)))
    stub: Any = SimpleNamespace(
        snapshot=lambda: system(source(3), seconds=1),
        clock=SimpleNamespace(read=lambda: ClockReading(Timestamp(START), Monotonic(0))),
    )
    service = Observer(str(tmp_path), stub, reactor, history=history, meter=Meter(stub))
    service.startService()
    yield service
    await service.stopService()


async def test_history(sampled: Observer) -> None:
    """``history`` tells the samples of the clock, and of the one source that is asked for."""
    clock, one, none = await ask(
        sampled,
        b'{"command": "history"}\n',
        b'{"command": "history", "source": 3}\n',
        b'{"command": "history", "after": 0}\n',
    )

    assert clock["data"]["clock"]["frequency"] == [-3.5]
    assert "source" not in clock["data"]
    assert (one["data"]["source"]["id"], one["data"]["source"]["at"]) == (3, [0])
    assert none["data"]["times"] == []


async def test_history_of_nonsense(sampled: Observer) -> None:
    """A source is named by its number, and a tick is a number."""
    answers = await ask(
        sampled,
        b'{"command": "history", "source": "ntp1"}\n',
        b'{"command": "history", "after": null}\n',
        b'{"command": "history", "source": 9}\n',
    )

    assert [answer["error"] for answer in answers] == [
        "source and after are whole numbers",
        "source and after are whole numbers",
        "nothing is kept of a source 9",
    ]


async def test_metrics(sampled: Observer) -> None:
    """``metrics`` gives the text for Prometheus."""
    (answer,) = await ask(sampled, b'{"command": "metrics"}\n')

    assert "ntptwist_synchronized 1\n" in answer["data"]
