"""The operator's tool."""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ntptwist.cli.client import DEFAULT_DIRECTORY, NoDaemonError, RequestError, ask, control_directory
from ntptwist.cli.ctl import FAMILIES, main
from tests.cli.answering import ENVIRONMENT, Answering


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status"], "12.3 µs slow, certain to within 9.40 ms"),
        (["sources"], "falseticker: 251 ms from the majority"),
        (["sources", "-v"], "+ says that this clock is slow"),
        (["tracking"], "Frequency       : -3.541 ppm +/- 0.045 ppm"),
        (["stats"], "2 x the reply is a duplicate"),
        (["why"], "3 of 4 votes agree, and 3 have to before the clock is touched."),
        (["why", "198.51.100.4"], "from -9.00 ms to +9.10 ms"),
        (["events"], "the clock was 482 ms slow: stepped forward"),
        (["check"], "NTPTWIST OK"),
        (["waitsync"], "synchronized: the clock is 12.3 µs slow"),
        (["metrics"], "ntp_up 1\n"),
    ],
)
def test_screens(daemon: Answering, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    """Each command prints what the daemon knows."""
    ended = main(["-c", str(daemon.config), *words])
    printed = capsys.readouterr().out

    assert ended == 0
    assert told in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["status"], "synchronized"), (["sources"], "reason"), (["tracking"], "wander"), (["stats"], "drops"),
        (["why"], "events"),
    ],
)  # fmt: skip
def test_json(daemon: Answering, capsys: pytest.CaptureFixture[str], words: list[str], key: str) -> None:
    """``--json`` prints the daemon's data."""
    ended = main(["-c", str(daemon.config), *words, "--json"])
    data: Any = json.loads(capsys.readouterr().out)

    assert ended == 0
    assert key in (data[0] if isinstance(data, list) else data)


@pytest.mark.parametrize(
    ("command", "rows", "field", "value"),
    [
        ("status", 1, "stratum", "2"), ("tracking", 1, "frequency", "-3.541"), ("sources", 5, "standing", "best"),
        ("stats", 5, "measurements", "9"), ("events", 2, "reason", "the clock was 482 ms slow: stepped forward"),
    ],
)  # fmt: skip
def test_csv(
    daemon: Answering, capsys: pytest.CaptureFixture[str], command: str, rows: int, field: str, value: str
) -> None:
    """``--csv`` prints a line of names and one for each row, in seconds and ppm."""
    ended = main(["-c", str(daemon.config), command, "--csv"])
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert ended == 0
    assert len(table) == rows
    assert table[0][field] == value


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_events_are_followed(daemon: Answering, capsys: pytest.CaptureFixture[str], form: list[str]) -> None:
    """``events --follow`` goes on with what the daemon tells, until that ends: 69."""
    ended = main(["-c", str(daemon.config), "events", "--follow", "--after", "6", *form])
    captured = capsys.readouterr()

    assert ended == 69
    assert "the daemon hung up" in captured.err
    assert captured.out.count("482 ms slow") == 2
    assert captured.out.count("number") == {"": 0, "--json": 4, "--csv": 1}["".join(form)]
    assert daemon.asked == [{"command": "events", "after": 6, "follow": True}]


def test_refusals_are_told(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """What the daemon refuses is told in its own words."""
    daemon.answers["why"] = b'{"ok": false, "error": "no source \'x\'; there are: none"}\n'
    ended = main(["-c", str(daemon.config), "why", "x"])

    assert ended == 1
    assert capsys.readouterr().err == "ntptwist-ctl: no source 'x'; there are: none\n"


def test_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a daemon the tool says where it looked, and ends with 69."""
    config = tmp_path / "x.toml"
    config.write_text(f'[control]\ndirectory = "{tmp_path}"\n')
    ended = main(["-c", str(config), "status"])

    assert ended == 69
    assert capsys.readouterr().err == (
        f"ntptwist-ctl: no daemon answers at {tmp_path}/observe.sock: No such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [[], ["reboot"], ["status", "--xml"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is answered with the usage and 64."""
    ended = main(arguments)

    assert ended == 64
    assert "usage:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` is not an error."""
    ended = main(["--version"])

    assert ended == 0
    assert capsys.readouterr().out.startswith("ntptwist ")


def test_directory_from_the_configuration(tmp_path: Path) -> None:
    """The socket is looked for where the configuration puts it, else at the default place."""
    good, silent, broken = tmp_path / "good", tmp_path / "silent", tmp_path / "broken"
    good.write_text('[control]\ndirectory = "/somewhere"\n')
    silent.write_text("control = 3\n")
    broken.write_text("= 3\n")

    assert control_directory(str(good)) == "/somewhere"
    assert control_directory(str(silent)) == DEFAULT_DIRECTORY
    with pytest.raises(NoDaemonError, match="broken"):
        control_directory(str(broken))
    with pytest.raises(NoDaemonError, match="No such file"):
        control_directory(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"", NoDaemonError), (b"half", NoDaemonError), (b'{"ok": false, "error": "no"}\n', RequestError)],
)
def test_a_daemon_that_does_not_answer_well(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    """A daemon that hangs up, or refuses, gives an error and never a traceback."""
    answering = Answering(tmp_path, {"status": answer})
    with pytest.raises(error):
        ask(answering.directory, "status")
    answering.close()


def test_plain_letters_where_needed(daemon: Answering) -> None:
    """A terminal that knows only ASCII gets ``us``."""
    done = subprocess.run(
        [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(daemon.config), "status"],
        capture_output=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        check=True,
        timeout=20,
    )

    assert b"12.3 us slow" in done.stdout


def test_only_what_is_asked_for_is_imported() -> None:
    """A command does not pay for the others."""
    code = "import sys; from ntptwist.cli.ctl import parser; parser(['status']); print('termios' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout == "False\n"


def test_every_command_is_in_its_family() -> None:
    """The table of families names exactly the commands that they register."""
    for module, names in FAMILIES.items():
        top = argparse.ArgumentParser()
        subparsers = top.add_subparsers()
        import_module(module).register(subparsers)

        assert tuple(subparsers.choices) == names


def test_a_reader_that_has_seen_enough(daemon: Answering) -> None:
    """``ntptwist-ctl events | head`` ends quietly."""
    command = f"{sys.executable} -m ntptwist.cli.ctl -c {daemon.config} sources | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, timeout=20, check=True
    )

    assert done.stdout == "0\n"
    assert done.stderr == ""


def test_starts_without_twisted() -> None:
    """The tool starts in milliseconds: Twisted is never imported, whatever is asked."""
    code = "import sys; from ntptwist.cli.ctl import parser; parser(); print(*[name in sys.modules for name in NAMES])"
    code = code.replace("NAMES", "('twisted', 'asyncio')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout == "False False\n"
