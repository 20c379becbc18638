"""The listener of the page over time: clients that never come to an end, and an address that can't be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ntptwist.config.value import HostPort
from ntptwist.observe.web import RETRY_INTERVAL, TIME_LIMIT, Page, WebServer

PIECE = "0123456789abcdef" * 1024


def endless() -> Iterator[str]:
    """Give more than anybody can read."""
    while True:
        yield PIECE


PAGES = {"/": Page("text/plain", lambda _: b""), "/long": Page("text/plain", lambda _: endless())}


class Wire(StringTransport):
    """A transport in memory that can be aborted."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802
        """Note it."""
        self.aborted = True


class Listening:
    """A listening port in memory."""

    def stopListening(self) -> None:
        """Close it."""


class MemoryReactor(Clock):
    """A reactor whose ports are in memory; ``taken`` says why an address can't be had."""

    taken: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.factories: list[Any] = []
        self.asked = 0

    def listenTCP(self, port: int, factory: Any, interface: str = "") -> Listening:
        """Listen, or refuse."""
        self.asked += 1
        if self.taken is not None:
            raise CannotListenError(interface, port, self.taken)
        self.factories.append(factory)
        return Listening()


def silent(write: Callable[[Wire, Any], None]) -> Wire:
    """Connect a client that does something, and let the limit of time pass."""
    memory = MemoryReactor()
    service = WebServer(HostPort("127.0.0.1", 0), PAGES.get, "nobody sees anything", memory)
    service.startService()
    wire = Wire()
    protocol = memory.factories[0].buildProtocol(None)
    protocol.makeConnection(wire)
    write(wire, protocol)
    memory.pump([TIME_LIMIT / 10] * 10)
    return wire


@pytest.mark.parametrize("part", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_request_that_never_ends(part: bytes) -> None:
    """A client that says nothing, or never comes to an end, is hung up on after a while."""
    assert silent(lambda _, protocol: protocol.dataReceived(part)).aborted


def test_an_answer_that_is_never_read() -> None:
    """A client that does not read its answer is hung up on after a while, and nothing more is made for it."""

    def write(_: Wire, protocol: Any) -> None:
        protocol.dataReceived(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        protocol.pauseProducing()

    wire = silent(write)

    assert wire.aborted
    assert PIECE.encode() not in wire.value()


def test_an_address_that_is_taken() -> None:
    """The daemon goes on without the page when its address can't be had, and tries again until it can."""
    memory = MemoryReactor()
    memory.taken = OSError(98, "Address already in use")
    service = WebServer(HostPort("127.0.0.1", 9976), PAGES.get, "nobody sees anything", memory)
    service.privilegedStartService()
    service.startService()
    memory.advance(RETRY_INTERVAL)
    memory.taken = None
    memory.advance(RETRY_INTERVAL)
    listening = len(memory.factories)
    service.stopService()

    assert (listening, memory.asked) == (1, 3)
    assert memory.getDelayedCalls() == []


def test_it_can_be_stopped_while_it_tries() -> None:
    """A listener that has no address yet is stopped like any other."""
    memory = MemoryReactor()
    memory.taken = OSError(99, "Cannot assign requested address")
    service = WebServer(HostPort("127.0.0.1", 9976), PAGES.get, "nobody sees anything", memory)
    service.startService()
    service.stopService()

    assert memory.getDelayedCalls() == []
    assert service.port is None
