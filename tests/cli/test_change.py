"""The commands that change a running daemon, and what they print."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ntptwist.cli.change import spelled_out
from ntptwist.cli.ctl import main
from ntptwist.cli.sync import agreed

DONE = {"done": True, "changes": ["it is so now"], "later": ["later"], "warnings": ["mind"], "problems": []}
REFUSED = {"done": False, "changes": [], "later": [], "warnings": [], "problems": ["it can't be", "it must not be"]}


class Answering:
    """A daemon of a few lines: answers each request with what it is given, and keeps the requests."""

    def __init__(self, directory: Path, answers: dict[str, Any]) -> None:
        self.config = directory / "ntptwist.toml"
        self.config.write_text(f'[control]\ndirectory = "{directory}"\n')
        self.requests: list[dict[str, Any]] = []
        self._answers = answers
        self._listeners = []
        for name in ("control.sock", "observe.sock"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(directory / name))
            listener.listen()
            self._listeners.append(listener)
            threading.Thread(target=self._serve, args=[listener], daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                request = json.loads(file.readline())
                self.requests.append(request)
                answer = {"ok": True, "data": self._answers[request["command"]]}
                file.write(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        """End."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


STATUS = {"state": "synchronized", "offset": 0.25, "error_bound": 0.01}
ANSWERS = dict.fromkeys(("add", "remove", "online", "offline", "burst", "step"), DONE)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answering]:
    """A daemon that does everything but reload."""
    answering = Answering(tmp_path, ANSWERS | {"reload": REFUSED, "status": STATUS})
    yield answering
    answering.close()


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["remove", "a", "b"], {"command": "remove", "sources": ["a", "b"]}),
        (["online"], {"command": "online", "sources": []}),
        (["offline", "a"], {"command": "offline", "sources": ["a"]}),
        (["burst"], {"command": "burst", "sources": []}),
        (["add", "ntp.example", "prefer=true"], {"words": ["mode=server", "address=ntp.example", "prefer=true"]}),
        (["add", "mode=pool", "address=x"], {"words": ["mode=pool", "address=x"]}),
    ],
)
def test_requests(daemon: Answering, words: list[str], request_: dict[str, Any]) -> None:
    """Each command asks the daemon for what it says."""
    ended = main(["-c", str(daemon.config), *words])

    assert ended == 0
    assert daemon.requests == [{"command": words[0]} | request_]


def piped(daemon: Answering, typed: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose standard input is no terminal."""
    command = [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(daemon.config), *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=20, check=False)


def test_a_table_from_a_file(daemon: Answering) -> None:
    """``add -`` takes TOML as it stands in a file."""
    done = piped(daemon, "[[source]]\nmode = 'pps'\n", "add", "-")

    assert done.returncode == 0
    assert daemon.requests[0]["source"] == "[[source]]\nmode = 'pps'\n"
    assert main(["-c", str(daemon.config), "add", "-", "mode=pps"]) == 64


def test_what_is_printed(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """What is different goes to standard output, what an operator should know to standard error."""
    ended = main(["-c", str(daemon.config), "offline"])
    printed = capsys.readouterr()

    assert ended == 0
    assert printed.out == "it is so now\n"
    assert printed.err == "note: later\nnote: mind\n"


def test_problems(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is printed, and that nothing has changed."""
    ended = main(["-c", str(daemon.config), "reload"])
    printed = capsys.readouterr()

    assert ended == 78
    assert printed.out == ""
    assert printed.err == "it can't be\nit must not be\nnothing was changed\n"


def test_json(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints the daemon's answer."""
    ended = main(["-c", str(daemon.config), "reload", "--json"])

    assert ended == 78
    assert json.loads(capsys.readouterr().out) == REFUSED


@pytest.mark.parametrize("words", [["remove"], ["add"], ["reload", "now"], ["sync"]])
def test_wrong_usage(daemon: Answering, words: list[str]) -> None:
    """A command without what it is about is refused before the daemon is asked."""
    ended = main(["-c", str(daemon.config), *words])

    assert ended == 64
    assert daemon.requests == []


def test_addresses_stand_for_servers() -> None:
    """The commonest source needs no more than its address."""
    assert spelled_out(["ntp.example"]) == ["mode=server", "address=ntp.example"]
    assert spelled_out(["mode=nts", "ntp.example"]) == ["mode=nts", "address=ntp.example"]


def test_sync(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--yes`` the clock is stepped after its offset was shown."""
    ended = main(["-c", str(daemon.config), "sync", "--once", "--yes"])

    assert ended == 0
    assert [request["command"] for request in daemon.requests] == ["status", "step"]
    assert capsys.readouterr().out == "the clock is 250 ms slow, certain to within 10.0 ms\nit is so now\n"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        """Be a terminal."""
        return True


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("yesterday\n", False)],
)
def test_sync_asks(capsys: pytest.CaptureFixture[str], typed: str, wanted: bool) -> None:
    """On a terminal nothing is stepped without a yes."""
    answer = agreed(-2.0, 0.01, yes=False, answers=Terminal(typed))

    assert answer == wanted
    assert capsys.readouterr().out == (
        "the clock is 2.00 s fast, certain to within 10.0 ms\nStep it by that now? [y/N] "
    )


def test_sync_without_a_terminal(daemon: Answering) -> None:
    """Where nobody can be asked the offset is shown and nothing is stepped."""
    done = piped(daemon, "y\n", "sync", "--once")

    assert done.returncode == 1
    assert "250 ms slow" in done.stdout
    assert "not stepped: there is no terminal to ask on" in done.stderr
    assert len(daemon.requests) == 1


def test_sync_of_a_daemon_that_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While nobody tells the time there is nothing to step by."""
    answering = Answering(tmp_path, {"status": {"state": "waiting for 2 more sources"}})
    ended = main(["-c", str(answering.config), "sync", "--once", "--yes"])
    answering.close()

    assert ended == 1
    assert capsys.readouterr().err == "the clock is not stepped: waiting for 2 more sources\n"
