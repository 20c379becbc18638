"""The file that carries what is known of the clock over a restart."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.algorithm.memory import ClockMemory, KnownOffset, NoiseMemory, PathMemory
from ntptwist.identifiers import ReferenceId
from ntptwist.state import WRITE_INTERVAL, ClockState, StateFile
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp

PATH = PathMemory(
    frequency=1.25e-6,
    frequency_variance=1e-16,
    wander=1e-18,
    shape=0.1,
    base=1e-4,
    base_variance=1e-12,
    asymmetry=-3e-5,
    noise=NoiseMemory(0.0128, 64.0, 0.003, 0.004),
    offset=KnownOffset(-1e-6, 1e-12, 0.0),
)
MEMORY = ClockMemory(
    reading=ClockReading(Timestamp(1_800_000_000_123_456_789), Monotonic(987_654_321), 17),
    rate=1.1e-6,
    frequency=1.2e-6,
    frequency_variance=1e-16,
    wander=1e-17,
    paths={ReferenceId(b"\xc0\x00\x02\x01"): PATH, ReferenceId(b"\0\0\0\1"): replace(PATH, offset=None)},
)


class StubController:
    """An algorithm with a memory."""

    def __init__(self, known: ClockMemory | None = MEMORY) -> None:
        self.known = known
        self.restored: list[ClockMemory] = []

    def restore(self, memory: ClockMemory) -> None:
        """Note it."""
        self.restored.append(memory)

    def memory(self) -> ClockMemory | None:
        """Give it."""
        return self.known


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged as a warning."""
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "warn":
            told.append(str(formatEvent(event)))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield told
    publisher.removeObserver(observe)


def service(directory: Path, controller: StubController, reactor: Clock | None = None) -> ClockState:
    """Give the service of a directory."""
    return ClockState(str(directory), controller, reactor or Clock())  # type: ignore[arg-type]  # all that it asks of one


def test_everything_comes_back(tmp_path: Path) -> None:
    """What was written is read to the last digit, and nobody else may write the file."""
    file = StateFile(tmp_path / "clock.json")
    file.write(MEMORY)

    assert file.read() == MEMORY
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]


def test_nothing_was_kept(tmp_path: Path, warnings: list[str]) -> None:
    """At the very first start there is no file, and that is no cause for a word."""
    controller = StubController(None)
    state = service(tmp_path, controller)
    state.startService()
    state.stopService()

    assert controller.restored == []
    assert warnings == []
    assert list(tmp_path.iterdir()) == []


def test_written_each_hour_and_at_the_stop(tmp_path: Path) -> None:
    """An hour at most is lost by a crash, nothing by a stop."""
    reactor, controller = Clock(), StubController()
    state = service(tmp_path, controller, reactor)
    state.startService()
    before = state.file.read()
    reactor.pump([WRITE_INTERVAL, WRITE_INTERVAL / 2])
    after = state.file.read()
    state.file.path.unlink()
    reactor.advance(WRITE_INTERVAL / 2)
    again = state.file.read()
    state.file.path.unlink()
    state.stopService()
    at_the_stop = state.file.read()
    state.file.path.unlink()
    state.stopService()

    assert (before, after, again, at_the_stop) == (None, MEMORY, MEMORY, MEMORY)
    assert state.file.read() is None
    assert reactor.getDelayedCalls() == []


def test_restored_once(tmp_path: Path) -> None:
    """A daemon that is stopped and started in one process does not go back to what it knew at first."""
    StateFile(tmp_path / "clock.json").write(MEMORY)
    controller = StubController()
    state = service(tmp_path, controller)
    for _ in range(2):
        state.startService()
        state.stopService()

    assert controller.restored == [MEMORY]


DAMAGES: dict[str, Any] = {
    "format": 2,
    "local": "today",
    "monotonic": 1 << 63,
    "asleep": True,
    "rate": 2.0,
    "frequency": float("nan"),
    "frequency-variance": 0.0,
    "wander": -1e-17,
    "paths": [],
}


@pytest.mark.parametrize("key", DAMAGES)
def test_damaged_values(tmp_path: Path, warnings: list[str], key: str) -> None:
    """A value that can't be right makes the file worthless: one warning, and a start without it."""
    state = service(tmp_path, StubController())
    state.file.write(MEMORY)
    content = json.loads(state.file.path.read_text())
    content[key] = DAMAGES[key]
    state.file.path.write_text(json.dumps(content))
    state.startService()
    state.stopService()

    assert warnings == [f"starting without what was known: it is damaged: {state.file.path}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", 17.0),
        ("base_variance", float("inf")),
        ("noise", [1.0, 0.0, 1.0, 1.0]),
        ("noise", [1.0]),
        ("offset", [0.0, -1.0, 0.0]),
        ("asymmetry", None),
        ("shape", False),
        ("frequency", 10**400),
    ],
)
def test_damaged_paths(tmp_path: Path, key: str, value: object) -> None:
    """The same holds for what is kept of a path."""
    file = StateFile(tmp_path / "clock.json")
    file.write(MEMORY)
    content = json.loads(file.path.read_text())
    content["paths"]["c0000201"][key] = value
    file.path.write_text(json.dumps(content))

    with pytest.raises(ValueError, match="damaged"):
        file.read()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', "[" * 20_000, '{"format": 1, "paths": {"x": 1}}', "\udcff"]
)
def test_not_such_a_file(tmp_path: Path, text: str) -> None:
    """Whatever else stands in the file, it is refused as damaged."""
    file = StateFile(tmp_path / "clock.json")
    file.path.write_text(text, errors="surrogateescape")
    file.path.chmod(0o600)

    with pytest.raises(ValueError, match="damaged"):
        file.read()


def test_too_many_paths(tmp_path: Path) -> None:
    """A file with more paths than are ever written is not ours."""
    file = StateFile(tmp_path / "clock.json")
    file.write(MEMORY)
    content = json.loads(file.path.read_text())
    content["paths"] = {number.to_bytes(4, "big").hex(): {} for number in range(100)}
    file.path.write_text(json.dumps(content))

    with pytest.raises(ValueError, match="damaged"):
        file.read()


def test_a_file_that_others_could_have_written(tmp_path: Path, warnings: list[str]) -> None:
    """Who can write the file can set the clock's frequency, so a file that others may write is not believed."""
    state = service(tmp_path, controller := StubController())
    state.file.write(MEMORY)
    state.file.path.chmod(0o666)
    state.startService()
    state.stopService()

    assert controller.restored == []
    assert warnings == [f"starting without what was known: others have access to it (mode 0666): {state.file.path}"]


def test_a_directory_that_is_not_there(tmp_path: Path, warnings: list[str]) -> None:
    """Without the directory nothing can be kept: that is said once, and again after it was possible meanwhile."""
    directory = tmp_path / "state"
    reactor = Clock()
    state = service(directory, StubController(), reactor)
    state.startService()
    reactor.pump([WRITE_INTERVAL, WRITE_INTERVAL])
    once = list(warnings)
    directory.mkdir()
    reactor.advance(WRITE_INTERVAL)
    state.file.path.unlink()
    directory.rmdir()
    state.stopService()

    assert once == [f"can't keep what is known: No such file or directory: {state.file.path}"]
    assert warnings == once * 2
