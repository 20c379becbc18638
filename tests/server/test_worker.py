"""A worker in this process: what it is told by a daemon, and what it answers on a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ntptwist.config.model import ServerSettings
from ntptwist.config.value import HostPort
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.kernel.clock import VirtualClock
from ntptwist.kernel.timestamping import KernelSocket
from ntptwist.kernel.timex import RealSystem
from ntptwist.net import port as net_port
from ntptwist.net.monotonic import schedule_on_monotonic_time
from ntptwist.net.port import shared_sockets
from ntptwist.nts.keyset import KeySet
from ntptwist.server.feed import LONGEST_REPORT, Frames, Report, frame, pack_policy, pack_time
from ntptwist.server.worker import SILENCE, FedTime, Worker
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, decode_timestamp
from ntptwist.wire.header import Header
from tests.kernel.stamping import kernel_stamps
from tests.nts.pair import Pair

LIMIT = 3.0
SETTINGS = ServerSettings(HostPort("127.0.0.1", 0))


def served(stratum: int = 2) -> TimeSnapshot:
    """Give what a daemon says of the time at present."""
    return TimeSnapshot(
        Leap.NONE, stratum, ReferenceId.of_text("TEST"), monotonic=Monotonic(time.monotonic_ns()), dispersion=0.001
    )


class Working:
    """A worker, the reactor that turns it, and what it says."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        schedule_on_monotonic_time(self.reactor)
        (self.socket,) = shared_sockets("127.0.0.1", 0, 1)
        self.transport: Any = StringTransport()
        self.ended = 0
        self.worker = Worker(KernelSocket(fileno=os.dup(self.socket.fileno())), self.reactor, self._end)
        self.worker.makeConnection(self.transport)
        self.clients: list[socket.socket] = []

    def _end(self) -> None:
        self.ended += 1

    def tell(self, *, time: TimeSnapshot | None = None, clock: VirtualClock | None = None, **more: Any) -> None:
        """Say something as its daemon."""
        state = clock.state() if clock is not None else None
        self.worker.dataReceived(frame({"time": pack_time(time or served()), "clock": state, **more}))

    def begin(self, **more: Any) -> None:
        """Say what is said first."""
        self.tell(policy=pack_policy(SETTINGS), **more)

    def send(self, request: bytes) -> socket.socket:
        """Send a request from a port of its own."""
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.clients.append(asking)
        asking.setblocking(False)
        asking.connect(self.socket.getsockname())
        asking.send(request)
        return asking

    def ask(self, request: bytes | None = None) -> bytes:
        """Ask the worker, and give its reply."""
        return self.reply(self.send(request or plain()))

    def reply(self, asking: socket.socket) -> bytes:
        """Turn the reactor until there is a reply."""
        got: list[bytes] = []

        def received() -> bool:
            with suppress(BlockingIOError):
                got.append(asking.recv(2048))
            return bool(got)

        self.turn(received)
        return got[0]

    def turn(self, condition: Callable[[], object]) -> None:
        """Turn the reactor until something holds."""
        give_up = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < give_up, "it did not happen"
            self.reactor.iterate(0.01)

    def reports(self) -> list[Report]:
        """Give what it has reported."""
        return [Report.unpack(each) for each in Frames(LONGEST_REPORT).receive(self.transport.value())]

    def close(self) -> None:
        """Let the worker end, and take the reactor down."""
        if not self.ended:
            self.worker.connectionLost()
            self.turn(lambda: self.ended)
        for each in (*self.clients, self.socket):
            each.close()
        self.reactor.disconnectAll()
        net_port._of_reactor.pop(self.reactor, None)
        self.reactor.removeReader(self.reactor.waker)
        self.reactor.waker.connectionLost(Failure(ConnectionError()))
        self.reactor._poller.close()


def plain() -> bytes:
    """Give a request."""
    return bytes([0x23]).ljust(40, b"\0") + os.urandom(8)


@pytest.fixture
def working() -> Iterator[Working]:
    """Give a worker that was told nothing yet."""
    with kernel_stamps():
        made = Working()
        yield made
        made.close()


def test_it_answers_in_its_daemons_name(working: Working) -> None:
    """Stratum, reference and time of a reply are those that the daemon has told, and so are later ones."""
    working.begin()
    first = Header.parse(working.ask())
    working.tell(time=served(stratum=5))
    second = Header.parse(working.ask())
    now = time.time_ns()

    assert (first.leap, first.stratum, first.reference_id) == (Leap.NONE, 2, ReferenceId.of_text("TEST"))
    assert second.stratum == 5
    assert abs(decode_timestamp(second.transmit_timestamp, now) - now) < NANOSECONDS  # type: ignore[arg-type]


def test_what_waited_is_answered(working: Working) -> None:
    """What came in before the worker was there is its first work, with the kernel's stamps from then."""
    waiting = [working.send(plain()) for _ in range(10)]
    came = time.time_ns()
    working.begin()
    replies = [Header.parse(working.reply(each)) for each in waiting]

    assert [reply.stratum for reply in replies] == [2] * 10
    assert all(decode_timestamp(reply.receive_timestamp, came) <= came for reply in replies)  # type: ignore[arg-type]


def test_its_clock_is_its_daemons(working: Working) -> None:
    """A clock that lives in the daemon is shown by its workers too, after a step as before it."""
    clock = VirtualClock(RealSystem(), offset_s=1000.0, frequency_ppm=100.0)
    working.begin(clock=clock)
    errors = []
    for delta in (0, -3600 * NANOSECONDS):
        clock.step(delta)
        working.tell(clock=clock)
        reply = Header.parse(working.ask())
        now = clock.read().local
        errors.append(abs(decode_timestamp(reply.transmit_timestamp, now) - now))

    assert abs(clock.offset() - 4600) < 1
    assert max(errors) < NANOSECONDS


def test_it_answers_with_its_daemons_keys(working: Working) -> None:
    """A cookie opens as long as the daemon has the key it was made with, also after a rotation."""
    pair = Pair()
    keys = [pair.keyset.masters, pair.keyset.masters.rotated(0, 1, os.urandom), KeySet.fresh(os.urandom).masters]
    working.begin(keys=keys[0].serialize().hex())
    replies = [working.ask(pair.client.seal(plain()))]
    for each in keys[1:]:
        working.tell(keys=each.serialize().hex())
        replies.append(working.ask(pair.client.seal(plain())))

    assert [reply[1] for reply in replies] == [2, 2, 0]
    assert replies[2][12:16] == b"NTSN"


def test_it_reports(working: Working) -> None:
    """A worker says at the start, every second and at the end what it has done, and for whom."""
    working.begin()
    working.turn(lambda: len(working.reports()) == 1)
    working.ask()
    working.turn(lambda: len(working.reports()) == 2)
    report = working.reports()[-1]

    assert working.reports()[0] == Report()
    assert (report.counters["received"], report.counters["accepted"]) == (1, 1)
    assert [(client.address, client.packets) for client in report.clients] == [("127.0.0.1", 1)]


def test_the_end_of_a_daemon_that_listens(working: Working) -> None:
    """A worker that is to end answers what has come in, reports once more and hangs up."""
    working.begin()
    working.turn(working.reports)
    waiting = [working.send(plain()) for _ in range(5)]
    working.worker.readConnectionLost()
    replies = [working.reply(each) for each in waiting]
    working.turn(lambda: working.transport.disconnecting)
    before = working.ended
    working.worker.connectionLost()

    assert [reply[1] for reply in replies] == [2] * 5
    assert working.reports()[-1].counters["accepted"] == 5
    assert (before, working.ended) == (0, 1)


def test_the_end_of_a_daemon_that_is_gone(working: Working) -> None:
    """A worker whose daemon was killed ends too, with nobody to tell."""
    working.begin()
    working.turn(working.reports)
    waiting = working.send(plain())
    working.worker.writeConnectionLost()
    working.worker.readConnectionLost()
    working.worker.connectionLost()
    reply = working.reply(waiting)
    working.turn(lambda: working.ended)

    assert reply[1] == 2
    assert len(working.reports()) == 1


def test_the_end_before_the_beginning(working: Working) -> None:
    """A worker that was told nothing has nothing to answer."""
    working.worker.readConnectionLost()
    hung_up = working.transport.disconnecting
    working.worker.connectionLost()

    assert hung_up
    assert working.ended == 1
    assert working.transport.value() == b""


def test_the_end_does_not_wait_for_ever(working: Working) -> None:
    """Where requests come without end a worker ends in a second all the same."""
    working.begin()
    asking = working.send(plain())
    working.worker.readConnectionLost()
    began = time.monotonic()

    def flooded() -> bool:
        with suppress(OSError):
            asking.send(plain())
        return bool(working.transport.disconnecting)

    working.turn(flooded)
    took = time.monotonic() - began
    working.worker.connectionLost()

    assert 0.9 < took < 2


def test_silence() -> None:
    """A daemon that says nothing for 64 seconds does not know the time any more, as far as its workers know."""
    reactor = Clock()
    told = FedTime(reactor.seconds)
    at_first = told()
    news = served()
    told.hear(news)
    reactor.advance(SILENCE - 1)
    still = told()
    reactor.advance(2)

    assert not at_first.synchronized
    assert still is news
    assert not told().synchronized
    told.hear(news)
    assert told() is news
