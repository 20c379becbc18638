"""The embedded default, as a newcomer meets it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from twisted.internet import reactor, task
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from ntptwist.demo import Demo
from ntptwist.demo.screen import Screen


class Terminal(io.StringIO):
    """Takes what is printed, and says that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_table_stays_at_the_bottom() -> None:
    """On a terminal the table is drawn over the last one, and lines appear above it."""
    terminal = Terminal()
    screen = Screen(terminal)
    screen.draw(["one", "two"])
    screen.say("news")
    screen.draw(["three"])
    drawn = re.sub(r" *\d+\.\d s  ", "TIME ", terminal.getvalue())

    assert drawn == "one\ntwo\n\x1b[2F\x1b[JTIME news\nthree\n"


def test_no_escapes_into_a_file() -> None:
    """Where the output is no terminal, it is plain text."""
    output = io.StringIO()
    screen = Screen(output)
    screen.draw(["one"])
    screen.draw(["two"])

    assert output.getvalue() == "one\ntwo\n"
    assert screen.width() == 140


def test_shows_what_the_daemon_logs() -> None:
    """The daemon's own events are shown with their failures; what Twisted says of its sockets is not."""
    output = io.StringIO()
    screen = Screen(output)
    screen({"log_format": "new source", "log_namespace": "ntptwist.system", "log_level": LogLevel.info})
    screen({"log_format": "Starting factory", "log_namespace": "twisted.internet", "log_level": LogLevel.info})
    screen({"log_format": "oh", "log_namespace": "twisted", "log_failure": Failure(ValueError("dear"))})

    assert [line.split("s  ")[1] for line in output.getvalue().splitlines()] == ["new source", "oh: dear"]


@pytest.mark.limit(60)
async def test_steers_its_clock_to_the_truth() -> None:
    """The demo brings a clock that is 0.3 s off to within 100 µs, finds the wrong server, and leaves nothing behind."""
    output = io.StringIO()
    demo = Demo(reactor, output)
    demo.startService()
    while "within 100 µs" not in output.getvalue():
        await task.deferLater(reactor, 0.1)
    await demo.stopService()
    printed = output.getvalue()
    named = re.search(r"-c (\S+/ntptwist.toml) status", printed)

    assert "the clock is within 1 ms of the truth" in printed
    assert named is not None
    assert not Path(named[1]).exists()
    assert demo.exit_status == 0
