"""Every kind of reactor that can run here, made by hand and turned by the test itself."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

KINDS = {"epoll": EPollReactor, "poll": PollReactor, "select": SelectReactor, "asyncio": AsyncioSelectorReactor}
LIMIT = 3.0

ReactorFactory = Callable[..., Any]


def closed_port(host: str = "127.0.0.1") -> int:
    """Give the number of a port that is not open."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(params=KINDS)
def reactor_factory(request: pytest.FixtureRequest) -> Iterator[ReactorFactory]:
    """
    Give a function that makes a reactor of the kind under test, with a ``seconds`` of its own if one is given.

    At the end the reactor must have lost everything that was added to it, and is taken down.
    """
    made: list[tuple[Any, set[Any]]] = []
    loop = asyncio.new_event_loop()
    kind: Any = KINDS[request.param]

    def make(seconds: Callable[[], float] | None = None) -> Any:
        chosen = kind if seconds is None else type(kind.__name__, (kind,), {"seconds": staticmethod(seconds)})
        reactor = chosen(loop) if kind is AsyncioSelectorReactor else chosen()
        made.append((reactor, set(reactor.getReaders())))
        return reactor

    yield make
    left = [reader for reactor, readers in made for reader in set(reactor.getReaders()) - readers]
    for reactor, _ in made:
        reactor.removeReader(reactor.waker)
        reactor.waker.connectionLost(Failure(ConnectionError()))
    loop.close()

    assert not left


@pytest.fixture
def reactor(reactor_factory: ReactorFactory) -> Any:
    """Give a reactor of each kind."""
    return reactor_factory()


@pytest.fixture(scope="session")
def turn() -> Callable[[Any, Callable[[], object]], None]:
    """Give a function that turns a reactor until a condition holds, for three seconds at most."""

    def turn_until(reactor: Any, condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < give_up, "it did not happen"
            reactor.iterate(0.01)

    return turn_until
