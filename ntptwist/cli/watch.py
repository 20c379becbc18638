"""
``watch``: the live screen on a terminal, redrawn each second.

The terminal is put back as it was on every way out: a key, a signal, an error, a suspension (Ctrl-Z).  Escape sequences
are those that every terminal of the last decades knows (ECMA-48, and xterm's alternate screen).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ntptwist.cli.client import EX_OK, EX_USAGE, NoDaemonError, RequestError, ask, control_directory
from ntptwist.cli.terminal import PLAIN, is_plain, paint_for
from ntptwist.observe.live import LiveView
from ntptwist.observe.words import Paint

REDRAW = 1.0
ESCAPE_TIME = 0.05
"""Seconds in which the rest of an escape sequence follows its first octet; a key that was pressed stands alone."""

ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"

KEYS = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\r": "enter", b"\n": "enter", b"\x1b": "escape", b"\x7f": "escape", b"q": "q", b"s": "s", b"\x04": "q",
}  # fmt: skip


def register(subparsers: Any) -> None:
    """Add the command to a parser."""
    text = "everything, live: q quits, s sorts, arrows choose a source, Enter says why"
    subparsers.add_parser("watch", help=text, description=text)


def run(options: Any) -> int:
    """Show the screen until a key or a signal ends it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("ntptwist-ctl: watch needs a terminal; status and sources don't", file=sys.stderr)
        return EX_USAGE
    directory = control_directory(options.config)
    view = LiveView(socket.gethostname())
    view.update(ask(directory, "status"), ask(directory, "events"))
    Screen(view, directory).show()
    return EX_OK


class Screen:
    """A terminal and the view that it shows."""

    def __init__(self, view: LiveView, directory: str) -> None:
        self._view = view
        self._directory = directory
        self._paint: Paint = paint_for(sys.stdout)
        self._plain = is_plain(sys.stdout)
        self._terminal = sys.stdin.fileno()
        self._before: list[Any] = []
        self._typed = b""

    def show(self) -> None:
        """Draw and take keys until the end."""
        with _signals() as woken:
            self._before = termios.tcgetattr(self._terminal)
            self._enter()
            try:
                self._run(woken)
            finally:
                self._leave()

    def _run(self, woken: int) -> None:
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + REDRAW
                self._ask()
            self._draw()
            ready, _, _ = select.select([self._terminal, woken], [], [], max(due - time.monotonic(), 0.0))
            if woken in ready and not self._signalled(os.read(woken, 64)):
                return
            if self._terminal in ready and not self._keys():
                return

    def _ask(self) -> None:
        """Ask the daemon; while it does not answer, what is known stays."""
        view = self._view
        try:
            status = ask(self._directory, "status", timeout=REDRAW)
            view.update(status, ask(self._directory, "events", after=view.last_event, timeout=REDRAW))
            self._ask_why()
        except (NoDaemonError, RequestError) as error:
            view.trouble = str(error)

    def _ask_why(self) -> None:
        if self._view.details:
            self._view.answer = ask(self._directory, "why", source=self._view.chosen, timeout=REDRAW)

    def _draw(self) -> None:
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = self._view.frame(max(size.columns, 20), max(size.lines, 4), self._paint)
        text = "\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J"
        sys.stdout.write(text.translate(PLAIN) if self._plain else text)
        sys.stdout.flush()

    def _keys(self) -> bool:
        """Take what was typed; tell whether to go on."""
        octets = os.read(self._terminal, 1024)
        if not octets:
            return False  # the terminal is gone
        self._typed += octets
        if self._typed.endswith((b"\x1b", b"\x1b[", b"\x1bO")):
            more, _, _ = select.select([self._terminal], [], [], ESCAPE_TIME)
            self._typed += os.read(self._terminal, 1024) if more else b""
        for key in _split(self._typed):
            if not self._view.press(KEYS.get(key, "")):
                return False
        self._typed = b""
        try:
            self._ask_why()
        except (NoDaemonError, RequestError) as error:
            self._view.trouble = str(error)
        return True

    def _signalled(self, numbers: bytes) -> bool:
        """Take signals; tell whether to go on.  A changed size needs nothing but to be drawn anew."""
        if not set(numbers).isdisjoint(_ENDING):
            return False
        if signal.SIGTSTP in numbers:
            self._leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._enter()
        return True

    def _enter(self) -> None:
        tty.setcbreak(self._terminal)
        sys.stdout.write(ENTER)
        sys.stdout.flush()

    def _leave(self) -> None:
        try:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
        finally:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)


_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def _signals() -> Iterator[int]:
    """Have signals told as octets on a descriptor, so that they wake a select, as long as this lasts."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    numbers = [signal.SIGWINCH, signal.SIGTSTP, *_ENDING]
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    woken = signal.set_wakeup_fd(writable)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(woken)
        for number, action in before.items():
            signal.signal(number, action)
        os.close(readable)
        os.close(writable)


def _split(octets: bytes) -> Iterator[bytes]:
    """Give the keys one by one: an escape sequence is one, and so is any other octet."""
    while octets:
        length = 3 if octets[:2] in (b"\x1b[", b"\x1bO") and len(octets) > 2 else 1
        yield octets[:length]
        octets = octets[length:]
