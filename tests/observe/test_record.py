"""The record is kept as an operator would wish: private, bounded, and never a danger to the daemon."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from ntptwist.observe.record import RecordFile


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Give the errors that were logged."""
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            told.append(str(event["log_format"]).format(**event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield told
    publisher.removeObserver(observe)


def started(path: Path) -> RecordFile:
    """Give a record that has begun."""
    file = RecordFile(str(path))
    file.privilegedStartService()
    file.startService()
    return file


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """The file has mode 0600 even where another one stood."""
    path = tmp_path / "record"
    path.touch(mode=0o666)
    started(path).stopService()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    """What was recorded before a restart stays, and what is written before the start waits for it."""
    path = tmp_path / "record"
    for number in (1, 2):
        file = RecordFile(str(path))
        file.write([number])
        early = path.exists() and path.read_text(encoding="utf-8")
        file.startService()
        file.stopService()

    assert early == "[1]\n"
    assert path.read_text(encoding="utf-8") == "[1]\n[2]\n"


def test_much_is_written_at_once(tmp_path: Path) -> None:
    """Lines wait until there are 64 KiB of them, a minute has passed or something was decided."""
    path = tmp_path / "record"
    file = started(path)
    file.write(["x" * 1000])
    few = path.stat().st_size
    for _ in range(70):
        file.write(["x" * 1000])
    many = path.stat().st_size
    file.stopService()

    assert few == 0
    assert many > 1 << 16


@pytest.mark.parametrize("place", ["missing/record", "directory", "link", "pipe", "full"])
def test_a_record_that_can_not_be_written_is_one_error(tmp_path: Path, errors: list[str], place: str) -> None:
    """Without its directory, on something else than a file, or on a full disk the record ends with one line of log."""
    path = tmp_path / place
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    file = RecordFile("/dev/full" if place == "full" else str(path))
    file.privilegedStartService()
    file.startService()
    for number in range(3):
        file.write([number])
        file.flush()
    file.rotate()
    file.stopService()
    os.close(reader)

    assert len(errors) == 1
    assert errors[0].endswith("nothing more is recorded")
    assert not (tmp_path / "target").exists()
