"""The daemon's end of its workers: what they are told, and what becomes of those that die, hang or talk nonsense."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from ntptwist.config.model import ServerSettings
from ntptwist.config.value import HostPort
from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock, VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.net.port import shared_sockets
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.server.feed import Report, frame, pack_policy, pack_time
from ntptwist.server.process import MOST_LINES, MOST_OCTETS, MOST_SILENT, WATCH
from ntptwist.server.workers import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LOOK_INTERVAL,
    PROVEN,
    STOP_LIMIT,
    WorkerServer,
)
from ntptwist.snapshot import ClientSnapshot, TimeSnapshot
from ntptwist.timestamp import Monotonic
from tests.server.processes import Process, Processes

SETTINGS = ServerSettings(HostPort("127.0.0.1", 0), workers=2)


class Serving:
    """A server with two workers in the hands of a test."""

    def __init__(self, clock: IClock | None = None, nts: ServerProtection | None = None) -> None:
        self.reactor: Any = Processes()
        self.time = TimeSnapshot()
        self.server = WorkerServer(
            SETTINGS, clock or ObservingClock(RealSystem()), lambda: self.time, self.reactor, nts
        )
        self.server.startService()

    def running(self) -> list[Process]:
        """Let the reactor run; give the workers."""
        self.reactor.run()
        started: list[Process] = self.reactor.started
        return started

    def close(self) -> None:
        """Stop it, with workers that do as they are told."""
        if self.server.running:
            self.server.stopService()
        for process in self.reactor.started:
            if process.pid is not None:
                process.end()


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Give a server that was started before the reactor runs."""
    made = Serving()
    yield made
    made.close()


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Give what is logged meanwhile."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        texts.append(str(event["log_format"]).format(**event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield texts
    publisher.removeObserver(observe)


def test_the_port_is_had_before_workers_are(serving: Serving) -> None:
    """The sockets are bound at once, the processes start when the reactor runs: privileges are given up between."""
    before = list(serving.reactor.started)
    with pytest.raises(OSError, match="Address already in use"):
        shared_sockets("127.0.0.1", serving.server.port, 2)
    workers = serving.running()

    assert before == []
    assert len(workers) == 2
    assert len(set(serving.reactor.descriptors)) == 2


def test_what_a_worker_is_told_first(serving: Serving) -> None:
    """Whom to answer, and the time."""
    for worker in serving.running():
        assert worker.told == [{"policy": pack_policy(SETTINGS), "time": pack_time(serving.time), "clock": None}]


def test_news_are_told_at_once_and_the_rest_every_second(serving: Serving) -> None:
    """A worker hears of a change within a tenth of a second, and every second that its daemon is still there."""
    (worker, _) = serving.running()
    serving.reactor.pass_time(1)  # the first look finds news
    worker.told.clear()
    serving.reactor.pass_time(10)
    quiet = len(worker.told)
    serving.time = TimeSnapshot(Leap.NONE, 2)
    serving.reactor.pass_time(0.1)

    assert quiet == 10
    assert len(worker.told) == 11
    assert worker.told[-1]["time"]["stratum"] == 2


def test_a_clock_of_its_own_is_told() -> None:
    """A clock that the kernel does not know of is told again when it was steered."""
    clock = VirtualClock(RealSystem())
    serving = Serving(clock)
    (worker, _) = serving.running()
    serving.reactor.pass_time(0.1)
    worker.told.clear()
    clock.step(-5)
    serving.reactor.pass_time(0.1)

    assert [message["clock"] for message in worker.told] == [list(clock.state())]
    serving.close()


def test_keys_are_told_when_they_change() -> None:
    """Keys of NTS go to every worker at its start and after each rotation, and not once a second."""
    keys = KeySet.fresh(bytes)
    serving = Serving(nts=ServerProtection(keys, bytes))
    (worker, _) = serving.running()
    first = worker.told[0]["keys"]
    serving.reactor.pass_time(5)
    worker.told.clear()
    serving.reactor.pass_time(5)
    unchanged = [message for message in worker.told if "keys" in message]
    keys.use(keys.masters.rotated(7, 1, lambda size: b"x" * size))
    serving.reactor.pass_time(5)

    assert first == KeySet.fresh(bytes).masters.serialize().hex()
    assert unchanged == []
    assert [message["keys"] for message in worker.told if "keys" in message] == [keys.masters.serialize().hex()]
    serving.close()


def test_what_all_have_done(serving: Serving) -> None:
    """The counters are the sums over all workers, those that have died included."""
    client = ClientSnapshot("192.0.2.7", 3, 0, Monotonic(5), 4, interleaved=False, nts=False)
    one, two = serving.running()
    one.report(100, client)
    two.report(20, client)
    together = serving.server.clients(10)
    one.end(9)
    serving.reactor.advance(FIRST_PAUSE)
    serving.reactor.started[2].report(3)

    assert serving.server.counters() == {**Report().counters, "received": 123}
    assert [each.packets for each in together] == [6]
    assert [each.packets for each in serving.server.clients(10)] == [3]


def test_a_worker_that_dies_is_replaced(serving: Serving, said: list[str]) -> None:
    """The next one gets the same socket; the pauses grow, until one has lived for a while."""
    workers = serving.running()
    for _ in range(10):
        workers[-1].end(9)
        serving.reactor.pass_time(LONGEST_PAUSE + 1)
    serving.reactor.pass_time(PROVEN)
    workers[-1].end(status=1)
    serving.reactor.pass_time(FIRST_PAUSE)
    pauses = [text.split()[-2] for text in said]

    assert pauses == ["0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "25.6", "30", "0.1"]
    assert set(serving.reactor.descriptors[1:]) == {serving.reactor.descriptors[1]}
    assert workers[0].pid is not None
    assert len(workers) == 13
    assert said[0].startswith("worker 2 of 127.0.0.1:0 has ended (signal 9); the next is started in 0.1 s")
    assert said[-1].endswith("(exit status 1); the next is started in 0.1 s")


def test_a_process_that_can_not_be_started(serving: Serving, said: list[str]) -> None:
    """A machine that has no more processes to give is asked again."""
    serving.reactor.refuses = True
    serving.running()
    serving.reactor.refuses = False
    serving.reactor.advance(FIRST_PAUSE)

    assert len(serving.reactor.started) == 2
    assert said[0].endswith("can't be started: Resource temporarily unavailable; the next is started in 0.1 s")


@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff\xff", frame({"counters": {}}), b"\0\0\0\1x"])
def test_a_worker_that_talks_nonsense(serving: Serving, said: list[str], nonsense: bytes) -> None:
    """Whatever was made of a worker, its daemon ends it."""
    worker, _ = serving.running()
    worker.protocol.outReceived(nonsense)
    worker.protocol.outReceived(b"more")

    assert worker.pid is None
    assert len(said) == 1


def test_a_worker_that_hangs(serving: Serving, said: list[str]) -> None:
    """A worker that reports nothing for a while is killed and replaced; one that reports is not."""
    worker, other = serving.running()
    for _ in range(MOST_SILENT):
        other.report(1)
        serving.reactor.advance(LOOK_INTERVAL)

    assert (worker.pid, other.pid) == (None, 1234)
    assert said[0].endswith("has ended (it hangs); the next is started in 0.1 s")


def test_what_a_worker_complains_of(serving: Serving, said: list[str]) -> None:
    """Its standard error is in the daemon's log, without what a terminal would act upon, and not without end."""
    worker, _ = serving.running()
    worker.protocol.errReceived(b"one\x1b[2J\xff\ntwo\n" + b"x" * 2000)
    for _ in range(200):
        worker.protocol.errReceived(b"more\n")

    assert said[0] == "worker 1 of 127.0.0.1:0: one[2J\N{REPLACEMENT CHARACTER}"
    assert said[1] == "worker 1 of 127.0.0.1:0: two"
    assert len(said[2]) < 1100
    assert len(said) == MOST_LINES
    serving.reactor.pass_time(WATCH * LOOK_INTERVAL)
    worker.protocol.errReceived(b"a minute later")
    assert said[-1].endswith("a minute later")


@pytest.mark.parametrize(
    ("channel", "data"),
    [("outReceived", frame(Report().pack())), ("errReceived", b"help\n")],
    ids=["report", "complain"],
)
def test_a_worker_that_says_too_much(serving: Serving, said: list[str], channel: str, data: bytes) -> None:
    """A worker can't keep its daemon busy by talking, be it the most sensible things."""
    worker, _ = serving.running()
    much = data * (65_536 // len(data))
    for _ in range(MOST_OCTETS // 65_536):
        getattr(worker.protocol, channel)(much)
    before = worker.pid
    for _ in range(10):
        getattr(worker.protocol, channel)(much)

    assert (before, worker.pid) == (1234, None)
    assert said[-1].endswith("has ended (it says too much); the next is started in 0.1 s")


def test_stopping(serving: Serving) -> None:
    """The workers are told to end; when they have, the port is free and nothing is left to be done."""
    one, two = serving.running()
    stopped = serving.server.stopService()
    one.report(5)
    one.end()
    early = stopped.called
    two.end()

    assert (one.stopped, two.stopped) == (True, True)
    assert (early, stopped.called) == (False, True)
    assert serving.server.counters()["received"] == 5
    assert serving.reactor.getDelayedCalls() == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", serving.server.port))


def test_starting_again(serving: Serving) -> None:
    """A server that is stopped and started has new workers, and what it counted before."""
    for worker in serving.running():
        worker.report(5)
    serving.server.stopService()
    for worker in serving.reactor.started:
        worker.end()
    serving.server.startService()
    workers = serving.running()
    workers[-1].report(1)

    assert len(workers) == 4
    assert serving.server.counters()["received"] == 11


def test_stopping_does_not_wait_for_ever(serving: Serving) -> None:
    """A worker that does not end is killed."""
    serving.running()
    stopped = serving.server.stopService()
    serving.reactor.advance(STOP_LIMIT)

    assert stopped.called
    assert serving.reactor.getDelayedCalls() == []


def test_stopping_while_a_worker_is_missing(serving: Serving) -> None:
    """No worker is started any more."""
    one, two = serving.running()
    one.end(9)
    stopped = serving.server.stopService()
    two.end()
    serving.reactor.advance(10 * LONGEST_PAUSE)

    assert stopped.called
    assert len(serving.reactor.started) == 2


def test_stopping_before_the_reactor_runs(serving: Serving) -> None:
    """A daemon that ends in its start leaves no process behind."""
    serving.server.stopService()
    serving.reactor.run()

    assert serving.reactor.started == []
