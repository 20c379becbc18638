"""Log events as entries of the journal."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from ntptwist.algorithm.update import Decision, DecisionKind
from ntptwist.journald import JournalObserver, journal_observer


class Journal:
    """The journal's end of the protocol, and the text log beside it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(self.path)
        self.text: list[LogEvent] = []
        self.observer = JournalObserver(self.text.append, self.path)

    def entry(self) -> dict[str, str]:
        """Read the next entry as systemd's documentation says."""
        octets, entry = self.socket.recv(1 << 20), {}
        while octets:
            line, _, octets = octets.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                size = int.from_bytes(octets[:8], "little")
                value, octets = octets[8 : 8 + size], octets[9 + size :]
            entry[name.decode()] = value.decode()
        return entry


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal that listens."""
    made = Journal(tmp_path / "socket")
    yield made
    made.observer.close()
    made.socket.close()


def event(level: Any, format: str, **keys: Any) -> LogEvent:  # noqa: A002 - Twisted's name
    """Make an event as a Logger does."""
    return {
        "log_level": level,
        "log_format": format,
        "log_namespace": "ntptwist.system.System",
        "log_time": 0.0,
        **keys,
    }


def test_a_decision(journal: Journal) -> None:
    """A decision carries its kind, its source and its amount in fields of their own."""
    decision = Decision(DecisionKind.STEP, "stepped by -0.482 s", -0.482)
    about = "ntp1.example.net:123: "
    journal.observer(event(LogLevel.warn, "{about}{reason}", about=about, reason=decision.reason, decision=decision))

    assert journal.entry() == {
        "MESSAGE": "ntp1.example.net:123: stepped by -0.482 s",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "ntptwist",
        "NTPTWIST_LOGGER": "ntptwist.system.System",
        "NTPTWIST_SOURCE": "ntp1.example.net:123",
        "NTPTWIST_KIND": "step",
        "NTPTWIST_AMOUNT": "-0.482",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (LogLevel.critical, "2"),
        (LogLevel.error, "3"),
        (LogLevel.warn, "4"),
        (LogLevel.info, "6"),
        (LogLevel.debug, "7"),
    ],
)
def test_levels_are_priorities(journal: Journal, level: Any, priority: str) -> None:
    """Each level has the priority of syslog that means the same to an operator."""
    journal.observer(event(level, "{source}: something", source="ntp2"))
    entry = journal.entry()

    assert entry["PRIORITY"] == priority
    assert entry["NTPTWIST_SOURCE"] == "ntp2"
    assert "NTPTWIST_KIND" not in entry


def test_several_lines(journal: Journal) -> None:
    """A traceback is one entry, and a line of it that looks like a field is none."""
    failure = Failure(ValueError("first\nPRIORITY=0\nµs"))
    journal.observer(event(LogLevel.critical, "it failed", log_failure=failure))
    entry = journal.entry()

    assert entry["PRIORITY"] == "2"
    assert entry["MESSAGE"].startswith("it failed\nTraceback")
    assert "PRIORITY=0\nµs" in entry["MESSAGE"]


def test_what_the_journal_does_not_take(journal: Journal) -> None:
    """An entry that is too large, or comes while nobody listens, is in the text log."""
    journal.observer(event(LogLevel.info, "x" * (1 << 20)))
    Path(journal.path).unlink()
    journal.observer(event(LogLevel.info, "hello"))

    assert [len(each["log_format"]) for each in journal.text] == [1 << 20, 5]


def test_where_the_output_is_not_the_journal(journal: Journal, tmp_path: Path) -> None:
    """Only where JOURNAL_STREAM names what standard error is are entries written; not in a shell started from there."""
    status = os.fstat(sys.__stderr__.fileno())  # type: ignore[union-attr]
    stream = f"{status.st_dev}:{status.st_ino}"
    descriptor = sys.__stderr__.fileno()  # type: ignore[union-attr]
    found = journal_observer({"JOURNAL_STREAM": stream}, descriptor, journal.path)
    assert found is not None
    found(event(LogLevel.info, "hello"))
    found.close()

    assert journal.entry()["MESSAGE"] == "hello"
    assert journal_observer({}, descriptor) is None
    assert journal_observer({"JOURNAL_STREAM": "1:2"}, descriptor) is None
    assert journal_observer({"JOURNAL_STREAM": stream}, 99_999) is None
