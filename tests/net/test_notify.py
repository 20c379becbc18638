"""What the service manager is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ntptwist.net.notify import Notifier


class Manager:
    """A service manager's end of the protocol."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address.replace("@", "\0", 1))
        self.environment = {"NOTIFY_SOCKET": address}

    def told(self) -> list[list[str]]:
        """Give what it was told since the last look, each message as its lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager at a path, and one with an abstract name."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ntptwist-test-{os.getpid()}-{tmp_path.name}"
    made = Manager(name)
    yield made
    made.socket.close()


def test_the_life_of_a_service(manager: Manager) -> None:
    """Ready comes when the reactor runs, then the state whenever it has changed, and the stop at once."""
    clock, status = Clock(), ["waiting"]
    notifier = Notifier(clock, lambda: status[0], manager.environment)
    notifier.startService()
    before = manager.told()
    clock.advance(0)
    started = manager.told()
    clock.pump([10, 10])
    unchanged = manager.told()
    status[0] = "clock 12 µs\nslow"
    clock.advance(10)
    changed = manager.told()
    notifier.stopService()

    assert before == []
    assert started == [["READY=1"], ["STATUS=waiting"]]
    assert unchanged == []
    assert changed == [["STATUS=clock 12 µs slow"]]
    assert manager.told() == [["STOPPING=1"]]
    assert clock.getDelayedCalls() == []


def test_a_reload(manager: Manager) -> None:
    """A reload begins with the time at which it began, and ends with being ready."""
    notifier = Notifier(Clock(), str, manager.environment)
    notifier.reloading()
    notifier.reloaded()
    (begun, time), ended = manager.told()

    assert begun == "RELOADING=1"
    assert int(time.removeprefix("MONOTONIC_USEC=")) > 0
    assert ended == ["READY=1"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "6000000"}, [["WATCHDOG=1"]] * 3),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": str(os.getpid())}, [["WATCHDOG=1"]] * 3),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"}, []),
        ({"WATCHDOG_USEC": "0"}, []),
        ({"WATCHDOG_USEC": "soon"}, []),
    ],
)
def test_the_watchdog(manager: Manager, environment: dict[str, str], expected: list[list[str]]) -> None:
    """It is fed at half its time where it is meant for this process, and not where it is another's, or nonsense."""
    clock = Clock()
    notifier = Notifier(clock, lambda: "as ever", {**manager.environment, **environment})
    notifier.startService()
    clock.advance(0)
    manager.told()
    clock.pump([3, 3, 3])
    told = manager.told()
    notifier.stopService()

    assert told == expected


def test_no_manager() -> None:
    """Where there is no service manager nothing happens at all."""
    clock = Clock()
    notifier = Notifier(clock, str, {})
    notifier.startService()
    notifier.reloading()
    calls = clock.getDelayedCalls()
    notifier.stopService()

    assert calls == []


@pytest.mark.parametrize("path", ["nobody", "x" * 200])
def test_a_manager_that_is_gone(tmp_path: Path, path: str) -> None:
    """What can't be told is one line in the log, and the daemon goes on."""
    clock = Clock()
    notifier = Notifier(clock, str, {"NOTIFY_SOCKET": str(tmp_path / path)})
    with capturedLogs() as events:
        notifier.startService()
        clock.pump([0, 10, 10])
        notifier.stopService()

    assert len(events) == 1
    assert formatEvent(events[0]).startswith("the service manager can't be told: ")
