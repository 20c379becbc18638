"""A record of the daemon, replayed, decides the very same; with other settings it shows what they would have done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from ntptwist.algorithm.config import PollLimits, SynchronizationPolicy
from ntptwist.errors import ConfigError
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.interfaces import IClockController
from ntptwist.observe.record import RecordFile, RecordingController
from ntptwist.registry import find_driver
from ntptwist.sim.replay import ReplayError, read_record, replay, settings
from ntptwist.sim.scenario_file import loads
from ntptwist.sim.trial import Report, run
from ntptwist.sim.world import World

WORLD = """
[world]
duration = 20_000
offset = 0.3
oscillator = { frequency = 100, wander = 1e-2 }

[[server]]
address = "198.51.100.1"
path = { base = 1e-3, jitter = 100e-6, loss = 0.1 }

[[server]]
address = "198.51.100.2"
path = { base = 1e-3, jitter = 100e-6 }

[[server.change]]
at = 14_000
silent = true

[[server]]
address = "198.51.100.3"
jumps = [[4000, 1.0]]
path = { base = 1e-3, jitter = 100e-6 }

[[event]]
at = 10_000
kind = "step"
seconds = 0.5

[[event]]
at = 12_000
kind = "suspend"
seconds = 1000
error = 0.2

[[daemon.source]]
mode = "server"
address = "198.51.100.1"

[[daemon.source]]
mode = "server"
address = "198.51.100.2"

[[daemon.source]]
mode = "server"
address = "198.51.100.3"
"""
RESTART = """
[[event]]
at = 15_000
kind = "restart"
seconds = 5
"""
REFUSE = """
[[event]]
at = 15_000
kind = "refuse"
"""


def recorded(path: Path, more: str = "") -> Report:
    """Run the daemon for some hours, in which a good deal happens, and have it record itself."""
    text = f'{WORLD}{more}\n[daemon.observability]\nrecord = "{path}"\n'
    return run(loads(text, find_driver), 1)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the record of some hours with a restart."""
    path: Path = tmp_path_factory.mktemp("record") / "record"
    recorded(path, RESTART)
    return path


def rewritten(record: Path, path: Path, change: Callable[[list[Any]], list[Any] | None]) -> Path:
    """Give a record whose lines were changed; None leaves one out."""
    lines = [change(json.loads(line)) for line in record.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None), encoding="utf-8")
    return path


def test_recording_changes_nothing(tmp_path: Path) -> None:
    """The clock of a daemon that records itself is the same to the last bit."""
    report = recorded(tmp_path / "record")

    assert run(loads(WORLD, find_driver), 1) == report


def test_a_replay_equals_the_record(record: Path) -> None:
    """Through steps, a suspend, a lost server, a liar and a restart every decision and every steering is the same."""
    outcomes = [replay(lines) for lines in read_record(str(record))]
    calls = {line.call for lines in read_record(str(record)) for line in lines}
    kinds = {decision.kind for outcome in outcomes for decision in outcome.course.decisions}

    assert [(outcome.differing, outcome.middle) for outcome in outcomes] == [(None, False), (None, False)]
    assert {"begin", "add_source", "next_poll", "measured", "timer", "memory", "restore", "release"} <= calls
    assert {"step", "foreign step", "suspended", "selection", "synchronized"} <= kinds
    assert sum(outcome.calls for outcome in outcomes) > 1000


def test_a_refusal_of_the_kernel_is_replayed(tmp_path: Path) -> None:
    """A clock that could not be steered can't be steered in the replay either."""
    report = recorded(tmp_path / "record", REFUSE)
    (outcome,) = [replay(lines) for lines in read_record(str(tmp_path / "record"))]

    assert report.exit_status == 70
    assert outcome.differing is None


@pytest.mark.lengthy
def test_pulses_are_replayed(tmp_path: Path) -> None:
    """Samples and pulses of a receiver are in the record too, and moved when the clock is steered otherwise."""
    text = f"""
    [world]
    duration = 3000
    offset = 0.1
    [receiver]
    [[daemon.source]]
    mode = "sock"
    path = "/run/gps.sock"
    precision = 1e-3
    [[daemon.source]]
    mode = "pps"
    path = "/dev/pps0"
    precision = 1e-6
    [daemon.observability]
    record = "{tmp_path / "record"}"
    """
    run(loads(text, find_driver), 1)
    (run_lines,) = read_record(str(tmp_path / "record"))
    was = replay(run_lines)
    never = replay(run_lines, settings(["synchronization.step-policy=never"])).course

    assert was.differing is None
    assert (was.course.steps, never.steps) == (1, 0)
    assert abs(was.course.offset) < 1e-6
    assert abs(never.offset) < 10e-6


@pytest.mark.parametrize("kind", ["f", "s"])
def test_another_steering_is_seen(record: Path, tmp_path: Path, kind: str) -> None:
    """A replay that steers otherwise than the record, if only in the last bit, says from which call on."""
    changed: list[str] = []

    def change(line: list[Any]) -> list[Any]:
        for act in line[2]:
            if act[0] == kind and not changed and act[1]:
                act[1] += 1 if kind == "s" else 1e-12
                changed.append(line[0])
        return line

    first, *_ = [replay(lines) for lines in read_record(str(rewritten(record, tmp_path / "changed", change)))]

    assert changed
    assert first.differing is not None


def test_another_decision_is_seen(record: Path, tmp_path: Path) -> None:
    """A record of which a measurement was lost no longer fits."""
    dropped: list[str] = []

    def change(line: list[Any]) -> list[Any] | None:
        if line[0] == "measured" and not dropped:
            dropped.append(line[0])
            return None
        return line

    first, *_ = [replay(lines) for lines in read_record(str(rewritten(record, tmp_path / "changed", change)))]

    assert first.differing is not None


def test_a_setting_that_says_the_same_changes_nothing(record: Path) -> None:
    """With the recorded settings said once more, what would have been is what was."""
    run_lines = next(read_record(str(record)))
    was = replay(run_lines).course
    same = replay(run_lines, settings(["synchronization.step-policy=startup"])).course

    assert same == was


def test_what_other_settings_would_have_done(record: Path) -> None:
    """Had steps been forbidden, the clock would have been slewed to the same time by the same measurements."""
    run_lines = next(read_record(str(record)))
    was = replay(run_lines).course
    never = replay(run_lines, settings(["synchronization.step-policy=never"])).course

    assert (was.steps, never.steps) == (2, 0)
    assert was.rms < 1e-3 < never.rms
    assert abs(never.offset) < 5e-3
    assert never.frequency == pytest.approx(was.frequency, abs=2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("synchronization.step-policy=now", "--set:1: synchronization.step-policy: expected one of"),
        ("synchronization.steps=3", "--set:1: synchronization.steps: unknown key"),
        ("source-defaults.x=3", "source-defaults: unknown key"),
        ("synchronization", "--set:1: "),
        ("a b=3", "--set:1: not valid TOML"),
    ],
)
def test_settings_that_can_not_be(change: str, problem: str) -> None:
    """A setting that the daemon would refuse is refused with its words."""
    with pytest.raises(ConfigError) as raised:
        settings([change])

    assert problem in str(raised.value)


def test_a_full_file_is_followed_by_another(record: Path, tmp_path: Path) -> None:
    """A record of two files is replayed as one; without the first it is told that the beginning is missing."""
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    header = json.loads(lines[0])
    (split,) = [number for number, line in enumerate(lines) if number == 300]
    middle = json.loads(json.dumps(header))
    middle[1][0] |= {
        "middle": True,
        "sources": [json.loads(line)[1] for line in lines if '"add_source"' in line[:14]][:3],
    }
    path = tmp_path / "record"
    (tmp_path / "record.1").write_text("".join(lines[:split]), encoding="utf-8")
    path.write_text(json.dumps(middle) + "\n" + "".join(lines[split:]), encoding="utf-8")
    whole = [replay(run_lines).differing for run_lines in read_record(str(path))]
    (tmp_path / "record.1").unlink()
    first, *_ = [replay(run_lines) for run_lines in read_record(str(path))]

    assert whole == [None, None]
    assert first.middle
    assert first.course.offsets


def test_files_are_exchanged_when_they_are_full(tmp_path: Path) -> None:
    """A record never needs more than two files of its largest size; what was in the last but one is gone."""
    file = RecordFile(str(tmp_path / "record"), largest=1000)
    file.privilegedStartService()
    file.startService()
    for number in range(100):
        file.write([number, "x" * 40])
        if file.is_full:
            file.rotate()
    file.stopService()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    texts = [(tmp_path / name).read_text(encoding="utf-8") for name in ("record.1", "record")]
    numbers = [json.loads(line)[0] for line in "".join(texts).splitlines()]

    assert sorted(sizes) == ["record", "record.1"]
    assert max(sizes.values()) < 1100
    assert numbers == list(range(numbers[0], 100))


def test_a_daemon_whose_record_was_full(tmp_path: Path) -> None:
    """The recorder begins a new file by itself; two files are replayed as one run, and the newest one alone nearly."""
    world = World(1)
    file = RecordFile(str(tmp_path / "record"), largest=30_000)
    file.startService()
    controller = RecordingController(SynchronizationPolicy(), world.clock, file)
    controller.add_source(SourceId(1), PollLimits(), ReferenceId.of_address("198.51.100.1"))
    for _ in range(400):
        controller.next_poll(SourceId(1))
        world.run(controller.timer().next_update)
    file.stopService()
    ((header, *lines),) = list(read_record(str(tmp_path / "record")))
    (tmp_path / "record.1").unlink()
    (newest,) = [replay(run_lines) for run_lines in read_record(str(tmp_path / "record"))]

    assert verifyObject(IClockController, controller)
    assert header.given[0]["middle"] is False
    assert len(lines) == 801
    assert replay([header, *lines]).differing is None
    assert newest.middle
    assert 100 < newest.calls < 801


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense\n", "record:1: not a line of a record"),
        ('["timer"]\n', "record:1: not a line of a record"),
        ('["timer",[],[],null]\n', "record:1: the record does not begin with a beginning"),
        ('["begin",[{"format":99}],[],null]\n', "record:1: format 99, this is for format 1"),
    ],
)
def test_what_is_no_record(tmp_path: Path, text: str, problem: str) -> None:
    """Another file than a record is refused with the line that shows it."""
    path = tmp_path / "record"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ReplayError, match=problem):
        list(read_record(str(path)))


def test_the_end_of_a_killed_daemon(record: Path, tmp_path: Path) -> None:
    """A last line that was written in part is left out."""
    path = tmp_path / "record"
    path.write_text(record.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    outcomes = [replay(lines) for lines in read_record(str(path))]

    assert [outcome.differing for outcome in outcomes] == [None, None]
