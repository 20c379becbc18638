"""``watch`` on a pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ntptwist.cli.watch import ENTER, LEAVE
from tests.cli.answering import ENVIRONMENT, Answering, ok
from tests.observe.canned import events, lost

PATIENCE = 10.0


class Terminal:
    """A terminal with ``watch`` in it; ``seen`` is all that was written."""

    def __init__(self, config: Path, **environment: str) -> None:
        self._master, self.slave = pty.openpty()
        self.resize(100, 24)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(config), "watch"],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**ENVIRONMENT, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment},
            start_new_session=True,
        )

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def _read(self) -> None:
        ready, _, _ = select.select([self._master], [], [], 0.1)
        if ready:
            self.seen += os.read(self._master, 65536)

    def until(self, true: Callable[[str], bool]) -> str:
        """Wait for a frame of which this is true, and give it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._read()
            frames = self.seen.decode(errors="replace").split("\x1b[H")
            if len(frames) > 1 and frames[-1].endswith("\x1b[J") and true(frames[-1]):
                return frames[-1]
        raise AssertionError(f"not seen in {self.seen.decode(errors='replace')[-3000:]}")

    def end(self) -> int:
        """Wait for its end and give its exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            self._read()
        status = self.process.wait(1)
        self._read()
        return status

    def is_restored(self) -> bool:
        """Tell whether the terminal is as it was: its settings, its screen, its cursor."""
        text = self.seen.decode(errors="replace")
        return termios.tcgetattr(self.slave) == self.before and text.endswith(LEAVE) and text.startswith(ENTER)

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


@pytest.fixture
def terminal(daemon: Answering) -> Iterator[Terminal]:
    """A terminal that watches a daemon."""
    daemon.answers["events"] = lambda request: [each for each in events() if each["number"] > request.get("after", 0)]
    there = Terminal(daemon.config)
    yield there
    there.close()


def plain(frame: str) -> str:
    """Give a frame without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).replace("\r", "")


def test_q_quits(terminal: Terminal) -> None:
    """The screen shows the sources, and q leaves the terminal as it was."""
    frame = plain(terminal.until(lambda frame: "ntp1.example.net" in frame))
    terminal.type(b"q")

    assert terminal.end() == 0
    assert terminal.is_restored()
    assert "SYNCHRONIZED" in frame
    assert len(frame.splitlines()) == 24
    assert max(map(len, frame.splitlines())) <= 100


def test_keys_sort_choose_and_explain(terminal: Terminal) -> None:
    """s sorts, arrows choose, Enter says why, Escape goes back."""
    terminal.until(lambda frame: ">* ntp1" in plain(frame))
    terminal.type(b"\x1b[B\x1bOB")
    terminal.until(lambda frame: ">+ 192.0.2.17" in plain(frame))
    terminal.type(b"\x1b[A")
    terminal.until(lambda frame: ">+ /dev/pps0" in plain(frame))
    terminal.type(b"s")
    terminal.until(lambda frame: "sort: offset" in plain(frame))
    terminal.type(b"\r")
    terminal.until(lambda frame: "3 of 4 votes agree" in plain(frame))
    terminal.type(b"\x1b")
    terminal.until(lambda frame: "sort: offset" in plain(frame))
    terminal.type(b"q")

    assert terminal.end() == 0
    assert terminal.is_restored()


def test_the_screen_follows_the_size(terminal: Terminal) -> None:
    """When the terminal changes its size the next frame fits."""
    terminal.until(lambda frame: len(frame.splitlines()) == 24)
    terminal.resize(60, 10)
    terminal.process.send_signal(signal.SIGWINCH)
    frame = plain(terminal.until(lambda frame: len(frame.splitlines()) == 10))

    assert max(map(len, frame.splitlines())) <= 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_a_clean_terminal(terminal: Terminal, number: signal.Signals) -> None:
    """A signal that ends it leaves the terminal as it was."""
    terminal.until(lambda frame: "ntp1" in frame)
    terminal.process.send_signal(number)

    assert terminal.end() == 0
    assert terminal.is_restored()


def test_a_suspension_leaves_a_clean_terminal(terminal: Terminal) -> None:
    """Ctrl-Z gives the terminal back; when it goes on, so does the screen."""
    terminal.until(lambda frame: "ntp1" in frame)
    terminal.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
    suspended = termios.tcgetattr(terminal.slave)
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until(lambda frame: "ntp1" in frame)
    terminal.type(b"q")

    assert os.WIFSTOPPED(status)
    assert suspended == terminal.before
    assert terminal.end() == 0


def test_a_daemon_that_goes_and_comes_back(daemon: Answering, terminal: Terminal) -> None:
    """While no daemon answers the screen says so, and goes on when it does."""
    terminal.until(lambda frame: "ntp1" in frame)
    good, daemon.answers["status"] = daemon.answers["status"], b""
    terminal.until(lambda frame: "what follows is old" in frame)
    daemon.answers["status"] = ok(lost())
    terminal.until(lambda frame: "NOT SYNCHRONIZED" in frame)
    daemon.answers["status"] = good
    terminal.until(lambda frame: "stratum 2" in frame)


def test_without_colours_and_utf_8(daemon: Answering) -> None:
    """NO_COLOR and a locale without UTF-8 are respected."""
    terminal = Terminal(daemon.config, NO_COLOR="1", PYTHONIOENCODING="ascii")
    terminal.until(lambda frame: "12.3 us" in frame)
    terminal.type(b"q")
    status = terminal.end()
    terminal.close()

    assert status == 0
    assert terminal.seen.isascii()
    assert re.findall(rb"\x1b\[[0-9]*m", terminal.seen) == []


def test_colours_on_a_terminal(terminal: Terminal) -> None:
    """A terminal gets colours."""
    assert "\x1b[32m" in terminal.until(lambda frame: "ntp1" in frame)


def test_without_a_terminal(daemon: Answering) -> None:
    """Into a pipe nothing is drawn: 64."""
    done = subprocess.run(
        [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(daemon.config), "watch"],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=20, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip

    assert done.returncode == 64
    assert "needs a terminal" in done.stderr
