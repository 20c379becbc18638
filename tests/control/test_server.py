"""The socket for changes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.control.report import Report
from ntptwist.control.server import ControlServer


class Slow:
    """An IControl whose reload takes its time."""

    def __init__(self) -> None:
        self.answer: Deferred[Report] = Deferred()

    def reload(self) -> Deferred[Report]:
        """Begin."""
        return self.answer


class Conversation(Protocol):
    """Waits for one line."""

    def __init__(self) -> None:
        self.received = b""
        self.line: Deferred[Any] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self.received += data
        if self.received.endswith(b"\n"):
            self.line.callback(json.loads(self.received))

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.closed.callback(None)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Give what is logged."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield lines
    publisher.removeObserver(observe)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def server(tmp_path: Path) -> AsyncIterator[tuple[ControlServer, Slow]]:
    """A running server."""
    control = Slow()
    service = ControlServer(str(tmp_path / "run"), control, reactor)  # type: ignore[arg-type]  # only this is asked
    service.privilegedStartService()
    service.startService()
    yield service, control
    await service.stopService()


async def connected(service: ControlServer) -> Conversation:
    """Connect."""
    conversation = Conversation()
    await connectProtocol(UNIXClientEndpoint(reactor, str(service.path)), conversation)
    return conversation


async def test_the_owner_and_the_group_alone(server: tuple[ControlServer, Slow]) -> None:
    """Nobody else may connect."""
    assert stat.S_IMODE(server[0].path.stat().st_mode) == 0o660


async def test_a_request_is_logged_with_its_sender(server: tuple[ControlServer, Slow], said: list[str]) -> None:
    """The log tells what was asked for by whom, as the kernel knows it."""
    service, control = server
    conversation = await connected(service)
    conversation.transport.write(b'{"command": "reload"}\n')  # type: ignore[union-attr]
    control.answer.callback(Report(changes=("so it is",)))
    answer = await conversation.line
    conversation.transport.loseConnection()  # type: ignore[union-attr]
    await conversation.closed

    assert answer["data"]["changes"] == ["so it is"]
    assert f"reload is asked for by user {os.getuid()}, process {os.getpid()}" in said


async def test_an_unknown_command(server: tuple[ControlServer, Slow]) -> None:
    """What there is no command for is answered by what there is."""
    conversation = await connected(server[0])
    conversation.transport.write(b'{"command": "status"}\n')  # type: ignore[union-attr]
    answer = await conversation.line
    conversation.transport.loseConnection()  # type: ignore[union-attr]
    await conversation.closed

    assert answer == {
        "ok": False,
        "error": "unknown command 'status'; known: add, burst, offline, online, reload, remove, step",
    }
