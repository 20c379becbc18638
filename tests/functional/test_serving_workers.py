"""Real worker processes: they share the work, are replaced when they die, and end with their daemon."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.functional.daemon import BIN, ENVIRONMENT
from tests.functional.peers.clients import ChronyClient
from tests.functional.peers.lab import Lab
from tests.functional.peers.nts import Credentials
from tests.functional.serving import TO_EVERYBODY, counters, request, serve

pytestmark = pytest.mark.functional

WORKERS = ("workers = 2",)
PORTS = 64


def processes(lab: Lab) -> dict[int, int]:
    """Give the workers in a lab and their parents."""
    network = Path(f"/proc/{lab.pid}/ns/net").readlink()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"ntptwist.server.worker" not in (entry / "cmdline").read_bytes().split(b"\0"):
                continue
            if (entry / "ns/net").readlink() == network:
                status = (entry / "status").read_text()
                found[int(entry.name)] = int(status.partition("PPid:")[2].split()[0])
    return found


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Askers:
    """Clients with ports of their own, so that each worker has some of them."""

    def __init__(self, lab: Lab) -> None:
        self._open = ExitStack()
        self.sockets: list[socket.socket] = []
        for _ in range(PORTS):
            sock = self._open.enter_context(lab.open_socket())
            sock.connect(("127.0.0.1", 123))
            sock.setblocking(False)
            self.sockets.append(sock)

    def send(self) -> list[bytes]:
        """Send one request from each; give them."""
        requests = [request() for _ in self.sockets]
        for sock, each in zip(self.sockets, requests, strict=True):
            sock.send(each)
        return requests

    def unanswered(self, requests: list[bytes], seconds: float) -> int:
        """Give how many of these had no reply after so long."""
        waiting = {sock: each[40:48] for sock, each in zip(self.sockets, requests, strict=True)}
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            for sock, nonce in list(waiting.items()):
                with suppress(BlockingIOError, ConnectionRefusedError):
                    if sock.recv(512)[24:32] == nonce:
                        del waiting[sock]
            time.sleep(0.005)
        return len(waiting)

    def close(self) -> None:
        """Close them."""
        self._open.close()


def test_workers_share_the_work(lab: Lab) -> None:
    """Two processes without any privilege answer everybody, and the daemon shows what both did."""
    daemon = serve(lab, TO_EVERYBODY, *WORKERS)
    until(lambda: len(processes(lab)) == 2)
    askers = Askers(lab)
    missing = askers.unanswered(askers.send(), 10.0)
    state = daemon.wait(lambda state: state["servers"][0]["counters"]["received"] >= PORTS, 5)
    privileges = [
        line.split()[1]
        for process in processes(lab)
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith(("CapPrm", "CapEff", "NoNewPrivs"))
    ]
    askers.close()
    daemon.stop()

    assert missing == 0
    assert state["servers"][0]["counters"]["accepted"] == PORTS
    assert [(client["address"], client["packets"]) for client in state["servers"][0]["clients"]] == [
        ("127.0.0.1", PORTS)
    ]
    assert privileges == ["0" * 16, "0" * 16, "1"] * 2
    assert "Traceback" not in daemon.log()


def test_a_worker_that_is_killed_is_replaced(lab: Lab) -> None:
    """What comes to a dead worker's socket waits there for the next one: not one request is lost."""
    daemon = serve(lab, TO_EVERYBODY, *WORKERS)
    askers = Askers(lab)
    first = askers.unanswered(askers.send(), 10.0)
    before = processes(lab)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in processes(lab))
    missing = askers.unanswered(askers.send(), 10.0)
    after = processes(lab)
    again = askers.unanswered(askers.send(), 10.0)
    askers.close()
    daemon.stop()

    assert (first, missing, again) == (0, 0, 0)
    assert len(before) == len(after) == 2
    assert len(before.keys() & after.keys()) == 1
    assert daemon.log().count("has ended (signal 9)") == 1


def test_workers_end_with_a_daemon_that_is_killed(lab: Lab) -> None:
    """No daemon, no workers, and the port is free again."""
    daemon = serve(lab, TO_EVERYBODY, *WORKERS)
    askers = Askers(lab)
    missing = askers.unanswered(askers.send(), 10.0)  # so all of them have come up
    askers.close()
    parents = set(processes(lab).values())
    for parent in parents:
        os.kill(parent, signal.SIGKILL)
    until(lambda: not processes(lab), 5.0)
    daemon.wait_exit()
    with lab.open_socket() as sock:
        sock.bind(("127.0.0.1", 123))

    assert (missing, len(parents)) == (0, 1)


def test_stopping_answers_what_has_come(lab: Lab) -> None:
    """A daemon that is stopped ends soon, and what was in its sockets is answered."""
    daemon = serve(lab, TO_EVERYBODY, *WORKERS)
    askers = Askers(lab)
    askers.unanswered(askers.send(), 10.0)
    workers = processes(lab)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    requests = askers.send()
    (parent,) = set(workers.values())
    began = time.monotonic()
    os.kill(parent, signal.SIGTERM)
    for worker in workers:
        os.kill(worker, signal.SIGTERM)  # as systemd does: to all of a service's processes
        os.kill(worker, signal.SIGCONT)
    missing = askers.unanswered(requests, 10.0)
    daemon.wait_exit()
    took = time.monotonic() - began
    askers.close()

    assert missing == 0
    assert took < 5.0  # 0.1 on a machine that has nothing else to do
    assert processes(lab) == {}
    assert "has ended" not in daemon.log()


def test_a_second_daemon_gets_no_share(lab: Lab) -> None:
    """A port that workers share is taken all the same for everybody else, a daemon with workers too."""
    daemon = serve(lab, TO_EVERYBODY, *WORKERS)
    other = daemon.directory / "other"
    other.mkdir()
    text = daemon.file.read_text().replace(str(daemon.directory), str(other))
    (other / "ntptwist.toml").write_text(text)
    with (other / "log").open("wb") as log:
        command: list[str | Path] = [BIN / "ntptwist", "-c", other / "ntptwist.toml"]
        status = lab.popen(command, output=log, environment=ENVIRONMENT).wait(15)
    daemon.stop()

    assert status == 69
    assert "can't serve time on [::]:123: Address already in use" in (other / "log").read_text()


def test_the_number_of_workers_changes(lab: Lab) -> None:
    """A reload makes workers of a daemon that answers itself, and the other way round."""
    daemon = serve(lab, TO_EVERYBODY, "workers = 1")
    answers = []
    for number in (3, 1):
        text = daemon.file.read_text()
        daemon.file.write_text(re.sub("workers = .", f"workers = {number}", text))
        done = daemon.ctl("reload")
        assert done.returncode == 0, done.stderr
        assert len(processes(lab)) == (number if number > 1 else 0)
        answers.append(lab.ask(request(), "127.0.0.1", seconds=10.0))
    daemon.stop()

    assert None not in answers
    assert "Traceback" not in daemon.log()


def test_workers_serve_nts(lab: Lab) -> None:
    """The keys are the same at every worker: clients that come from ever new ports are served by both."""
    credentials = Credentials(lab)
    daemon = serve(lab, TO_EVERYBODY, 'require-nts = "ignore"', *WORKERS, credentials=credentials)
    client = ChronyClient(lab, "bookworm", "127.0.3.1", credentials=credentials).start()
    client.wait_synchronised()
    until(lambda: counters(daemon)["nts_accepted"] > 8)
    seen = counters(daemon)
    daemon.stop()

    assert seen["nts_received"] == seen["nts_accepted"]
    assert (seen["nts_nak"], seen["nts_denied"]) == (0, 0)
    assert "Traceback" not in daemon.log()
