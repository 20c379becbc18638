"""The lab's command: what it prints, draws and answers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ntptwist.cli.lab import Bar, main

SCENARIO = """
title = "one server"
[world]
duration = 2000
settle = 500
offset = 0.1
[[server]]
address = "198.51.100.1"
path = {{ base = 1e-3, jitter = 100e-6 }}
[[daemon.source]]
mode = "server"
address = "198.51.100.1"
[daemon.observability]
record = "{record}"
[limits]
rms = {rms}
"""


def scenario(directory: Path, name: str = "one.toml", rms: float = 1.0) -> str:
    """Write a small scenario that records itself, and give its path."""
    path = directory / name
    path.write_text(SCENARIO.format(rms=rms, record=directory / "record"), encoding="utf-8")
    return str(path)


def test_figures_of_every_seed_and_their_median(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run prints a line for each seed and one for the median, and what was decided when asked to."""
    status = main(["run", scenario(tmp_path), "--seeds", "2", "--jobs", "1", "--decisions"])
    lines = capsys.readouterr().out.splitlines()

    assert status == 0
    assert lines[0] == "one: one server"
    assert lines[1].split()[:3] == ["seed", "RMS", "maximum"]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "median"]
    assert any("stepped forward  (seed 2)" in line for line in lines)


class Terminal(io.StringIO):
    """What is printed on a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_bar_shows_the_progress() -> None:
    """On a terminal one line tells how far it is, and makes room for the figures; elsewhere there is none."""
    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        bar = Bar(864_000, output)
        bar.add(216_000)
        bar.add(0)
        bar.show(864_000)
        bar.erase()
        bar.erase()
    drawn = [line.strip() for line in terminal.getvalue().split("\r")]

    assert drawn[1] == f"[{'#' * 10}{' ' * 30}]  25% of 10.0 days"
    assert drawn[2].endswith("100% of 10.0 days")
    assert drawn[3:] == ["", ""]
    assert file.getvalue() == ""


def test_several_processes_give_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many processes share the work changes nothing in the figures."""
    path = scenario(tmp_path)
    outputs = []
    for jobs in ("1", "2"):
        assert main(["run", path, "--seeds", "3,4", "--jobs", jobs, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))

    assert outputs[0] == outputs[1]
    assert [run["seed"] for run in outputs[0][0]["runs"]] == [3, 4]
    assert 0 < outputs[0][0]["median"]["rms"] < 1e-3


def test_a_limit_that_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 1 when a scenario does not keep its limits, and the line says which."""
    status = main(["run", scenario(tmp_path, rms=1e-9), "--jobs", "1"])

    assert status == 1
    assert "not kept: RMS: " in capsys.readouterr().out


def test_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One scenario is drawn into a file, several into a directory that is made."""
    one, two = scenario(tmp_path), scenario(tmp_path, "two.toml")
    single = main(["run", one, "--jobs", "1", "--plot", str(tmp_path / "error.svg")])
    several = main(["run", one, two, "--jobs", "1", "--plot", str(tmp_path / "plots")])

    assert (single, several) == (0, 0)
    assert (tmp_path / "error.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["one.svg", "two.svg"]
    assert capsys.readouterr().out.count("one server") == 3


def test_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A replay says that all is as recorded; with other settings it shows both sides."""
    main(["run", scenario(tmp_path), "--jobs", "1"])
    record = str(tmp_path / "record")
    capsys.readouterr()
    status = [main(["replay", record])]
    plain = capsys.readouterr().out
    status.append(main(["replay", record, "--set", "synchronization.step-policy=never"]))
    both = capsys.readouterr().out

    assert status == [0, 0]
    assert "every decision and every steering value equals the record" in plain
    assert "stepped forward" in plain
    assert "synchronization.step-policy=never" in both
    assert "< the clock was" in both
    assert "= synchronized" in both


def test_a_record_that_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 1 when the replay decides otherwise than the record."""
    main(["run", scenario(tmp_path), "--jobs", "1"])
    record = tmp_path / "record"
    lines = [line for line in record.read_text(encoding="utf-8").splitlines(keepends=True) if "STEP" not in line]
    record.write_text("".join(lines), encoding="utf-8")
    status = main(["replay", str(record)])
    middle = json.loads(lines[0])
    middle[1][0]["middle"] = True
    record.write_text(json.dumps(middle) + "\n" + "".join(lines[1:]), encoding="utf-8")
    lenient = main(["replay", str(record)])
    told = capsys.readouterr().out

    assert (status, lenient) == (1, 0)
    assert "differs from the record at call" in told
    assert "replayed from the middle" in told


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        ([], 64),
        (["run"], 64),
        (["run", "x.toml", "--seeds", "0"], 64),
        (["run", "/nonexistent/x.toml"], 78),
        (["replay", "/nonexistent/record"], 78),
        (["replay", "/nonexistent/record", "--set", "synchronization.x=1"], 78),
    ],
)
def test_command_lines(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is 64, a file that can't be used is 78, each with a line about it."""
    assert main(arguments) == status
    told = capsys.readouterr()

    assert told.out or told.err
