"""The operator's tool."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ntptwist.cli.client import DEFAULT_DIRECTORY, NoDaemonError, RequestError, ask, control_directory
from ntptwist.cli.ctl import main
from tests.observe.test_screens import status


class Answering:
    """A daemon of a few lines: answers each connection with the same bytes."""

    def __init__(self, directory: Path, answer: bytes) -> None:
        self.config = directory / "ntptwist.toml"
        self.config.write_text(f'[control]\ndirectory = "{directory}"\n')
        self.directory = str(directory)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "observe.sock"))
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(5)
            connection.recv(4096)
            connection.sendall(self._answer)

    def close(self) -> None:
        """End."""
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answering]:
    """A daemon that is synchronised."""
    answering = Answering(tmp_path, json.dumps({"ok": True, "data": status()}).encode() + b"\n")
    yield answering
    answering.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [(["status"], "12.3 µs slow, certain to within 9.40 ms"), (["sources"], "used, best of 3")],
)
def test_screens(daemon: Answering, capsys: pytest.CaptureFixture[str], command: list[str], words: str) -> None:
    """``status`` and ``sources`` print what the daemon knows."""
    ended = main(["-c", str(daemon.config), *command])

    assert ended == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("command", "key"), [("status", "synchronized"), ("sources", "reason")])
def test_json(daemon: Answering, capsys: pytest.CaptureFixture[str], command: str, key: str) -> None:
    """``--json`` prints the daemon's data."""
    ended = main(["-c", str(daemon.config), command, "--json"])
    data: Any = json.loads(capsys.readouterr().out)

    assert ended == 0
    assert key in (data if command == "status" else data[0])


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
    answering = Answering(tmp_path, answer)
    with pytest.raises(error):
        ask(answering.directory, "status")
    answering.close()


def test_plain_letters_where_needed(daemon: Answering) -> None:
    """A terminal that knows only ASCII gets ``us``."""
    done = subprocess.run(
        [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(daemon.config), "status"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": "."},
        check=True,
        timeout=20,
    )

    assert b"12.3 us slow" in done.stdout


def test_starts_without_twisted() -> None:
    """The tool starts in milliseconds: Twisted is never imported."""
    code = "import sys, ntptwist.cli.ctl; print('twisted' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout == "False False\n"
