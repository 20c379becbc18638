"""The socket that samples are written to, in a reactor: everything comes in, and nothing that comes in does harm."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.protocol import DatagramProtocol

from ntptwist.errors import DeviceError
from ntptwist.kernel.unixsocket import Access
from ntptwist.net.unix import listen_answers, listen_feed
from ntptwist.sim.world import World
from tests.conftest import Failures


class Recorder(DatagramProtocol):
    """Notes what comes in; ``broken`` raises at it, ``closes`` stops at the first."""

    noisy = False
    transport: Any

    def __init__(self, *, broken: bool = False, closes: bool = False) -> None:
        self.received: list[bytes] = []
        self.stopped = 0
        self._broken = broken
        self._closes = closes

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Note a datagram."""
        self.received.append(datagram)
        if self._closes:
            self.transport.stopListening()
        if self._broken:
            raise ZeroDivisionError

    def stopProtocol(self) -> None:
        """Note the end."""
        self.stopped += 1


def send(path: Path, *datagrams: bytes) -> None:
    """Write datagrams to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, str(path))


async def turn(seconds: float = 0.02) -> None:
    """Let the reactor run."""
    await task.deferLater(reactor, seconds)


async def test_datagrams_reach_the_protocol(tmp_path: Path) -> None:
    """What is written comes in, in order; after the end the path is gone and the protocol knows."""
    path = tmp_path / "gps.sock"
    protocol = Recorder()
    port = listen_feed(reactor, str(path), Access(), protocol)
    send(path, b"one", b"two")
    await turn()
    name = port.getHost().name
    port.stopListening()
    port.stopListening()

    assert [b"one", b"two"] == protocol.received
    assert str(path).encode() == name
    assert not path.exists()
    assert 1 == protocol.stopped


async def test_a_datagram_that_is_too_long_is_seen_to_be(tmp_path: Path) -> None:
    """More is read than any sample has, so the protocol can refuse by length."""
    path = tmp_path / "gps.sock"
    protocol = Recorder()
    port = listen_feed(reactor, str(path), Access(), protocol)
    send(path, bytes(4000), b"")
    await turn()
    port.stopListening()

    assert [256, 0] == [len(each) for each in protocol.received]


async def test_a_protocol_that_raises_keeps_its_socket(tmp_path: Path, logged_failures: Failures) -> None:
    """An accident with one datagram is logged, and the next one comes in."""
    path = tmp_path / "gps.sock"
    protocol = Recorder(broken=True)
    port = listen_feed(reactor, str(path), Access(), protocol)
    send(path, b"one", b"two")
    await turn()
    port.stopListening()

    assert [b"one", b"two"] == protocol.received
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


async def test_nothing_comes_in_after_the_end(tmp_path: Path) -> None:
    """A protocol that closes its socket at a datagram gets no other, though more were waiting."""
    path = tmp_path / "gps.sock"
    protocol = Recorder(closes=True)
    listen_feed(reactor, str(path), Access(), protocol)
    send(path, b"one", b"two", b"three")
    await turn()

    assert [b"one"] == protocol.received
    assert not path.exists()


async def test_a_refusal_is_told(tmp_path: Path) -> None:
    """Where there can be no socket the reason is raised and nothing stays open."""
    (tmp_path / "gps.sock").mkdir()
    with pytest.raises(DeviceError, match="there is a directory"):
        listen_feed(reactor, str(tmp_path / "gps.sock"), Access(), Recorder())


def test_a_virtual_reactor_has_its_own() -> None:
    """In a virtual world no file of this machine is touched."""
    world = World()
    protocol = Recorder()
    listen_feed(world.reactor, "/run/gps.sock", Access(), protocol)
    world.reactor.feed("/run/gps.sock", b"sample")

    assert [b"sample"] == protocol.received
    assert not Path("/run/gps.sock").exists()


class Echo(Recorder):
    """Sends back what comes in."""

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Send it back."""
        super().datagramReceived(datagram, addr)
        self.transport.write(datagram, addr)


async def test_questions_are_answered(tmp_path: Path) -> None:
    """Whoever asks from a path of its own is answered there; an answer that nobody takes is dropped."""
    path, here = tmp_path / "answers.sock", tmp_path / "here"
    protocol = Echo()
    port = listen_answers(reactor, str(path), Access(), protocol, 4)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind(str(here))
        asking.sendto(b"who?!", str(path))
        await turn()
        answer = asking.recv(16)
        asking.sendto(b"gone", str(path))
        here.unlink()
        await turn()
    port.stopListening()

    assert answer == b"who?"
    assert protocol.received == [b"who?", b"gone"]


async def test_a_path_that_can_not_answer(tmp_path: Path) -> None:
    """Where there can be no socket the reason is raised."""
    (tmp_path / "answers.sock").mkdir()
    with pytest.raises(DeviceError, match="there is a directory"):
        listen_answers(reactor, str(tmp_path / "answers.sock"), Access(), Recorder(), 16)
