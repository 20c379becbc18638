"""What is kept of NTS over a restart: once, whole, and for nobody else's eyes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.nts.aead import Algorithm, SessionKeys
from ntptwist.nts.exchange import KeyExchangeResult
from ntptwist.ntske.store import SessionStore, read_time, write_time

SESSION = KeyExchangeResult(
    SessionKeys(Algorithm.AES_SIV_CMAC_256, b"C" * 32, b"S" * 32),
    (b"first cookie", b"second cookie"),
    "192.0.2.1",
    1123,
)


def store(directory: Path, address: str = "ntp.example:4460", trust: str = "t") -> SessionStore:
    """Give a store in a directory."""
    return SessionStore(str(directory), address, trust)


def file_of(kept: SessionStore) -> Path:
    """Give the file of a store."""
    assert kept.path is not None
    return kept.path


class Warnings:
    """Collects what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Take one."""
        self.lines.append(formatEvent(event))


@pytest.fixture
def warnings() -> Any:
    """Give what was logged during a test."""
    seen = Warnings()
    publisher: Any = globalLogPublisher
    publisher.addObserver(seen)
    yield seen.lines
    publisher.removeObserver(seen)


def test_a_session_comes_back(tmp_path: Path) -> None:
    """Keys, cookies and the place to go are as they were."""
    store(tmp_path).keep(SESSION)

    assert store(tmp_path).take() == SESSION


def test_once(tmp_path: Path) -> None:
    """A session is taken once: its cookies must not be used twice."""
    store(tmp_path).keep(SESSION)
    store(tmp_path).take()

    assert store(tmp_path).take() is None
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """The file has mode 0600 from its first moment, whatever the umask, and stands alone in the directory."""
    before = os.umask(0)
    try:
        store(tmp_path).keep(SESSION)
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()

    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o660, 0o644])
def test_a_file_that_others_can_read(tmp_path: Path, warnings: list[str], mode: int) -> None:
    """What others could have read is not used, and the operator is told."""
    kept = store(tmp_path)
    kept.keep(SESSION)
    file_of(kept).chmod(mode)

    assert kept.take() is None
    assert file_of(kept).exists()
    assert warnings == [
        f"the NTS session with ntp.example:4460 is not used: others have access to it (mode {mode:04o}): {kept.path}"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else(tmp_path: Path, warnings: list[str]) -> None:
    """What somebody else has put there is not used."""
    kept = store(tmp_path)
    kept.keep(SESSION)
    os.chown(file_of(kept), 65534, 65534)

    assert kept.take() is None
    assert "it belongs to somebody else" in warnings[0]


def test_a_link_is_not_followed(tmp_path: Path, warnings: list[str]) -> None:
    """A symbolic link is not followed, neither in reading nor in writing."""
    kept = store(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("{}")
    file_of(kept).symlink_to(victim)

    assert kept.take() is None
    assert len(warnings) == 1
    kept.keep(SESSION)
    assert victim.read_text() == "{}"
    assert kept.take() == SESSION


def test_a_directory_in_its_place(tmp_path: Path, warnings: list[str]) -> None:
    """Something else at that place is not used and not removed."""
    kept = store(tmp_path)
    file_of(kept).mkdir(mode=0o700)

    assert kept.take() is None
    kept.keep(SESSION)
    assert file_of(kept).is_dir()
    assert len(warnings) == 2
    assert [path for path in tmp_path.iterdir() if path != file_of(kept)] == []


def test_another_trust_or_address(tmp_path: Path) -> None:
    """After the authorities were changed, a session under the old ones is not used; nor that of another server."""
    store(tmp_path).keep(SESSION)
    other_address = store(tmp_path, "other.example:4460").take()

    assert other_address is None
    assert store(tmp_path, trust="u").take() is None


def damaged(**changes: Any) -> bytes:
    """Give a session's file with some values changed."""
    good = {
        "format": 1,
        "address": "ntp.example:4460",
        "trust": "t",
        "algorithm": 15,
        "c2s": "00" * 32,
        "s2c": "00" * 32,
        "cookies": ["aa"],
        "server": "192.0.2.1",
        "port": 123,
    }
    return json.dumps(good | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        damaged(algorithm=16),
        damaged(algorithm="15"),
        damaged(c2s="00"),
        damaged(s2c="zz"),
        damaged(cookies=[]),
        damaged(cookies=[""]),
        damaged(cookies=["aa" * 257]),
        damaged(cookies=None),
        damaged(server=None),
        damaged(port=0),
        damaged(port=65536),
        damaged(port="123"),
    ],
)
def test_a_damaged_file(tmp_path: Path, warnings: list[str], content: bytes) -> None:
    """A file that is not what we wrote costs a warning and a new key exchange, never more."""
    kept = store(tmp_path)
    file_of(kept).write_bytes(content)
    file_of(kept).chmod(0o600)

    assert kept.take() is None
    assert warnings == [f"the NTS session with ntp.example:4460 is not used: damaged: {kept.path}"]


def test_a_file_of_another_format(tmp_path: Path, warnings: list[str]) -> None:
    """A file of a later version is not used; that is no damage."""
    kept = store(tmp_path)
    file_of(kept).write_bytes(damaged(format=2))
    file_of(kept).chmod(0o600)

    assert kept.take() is None
    assert warnings == []


def test_no_directory(warnings: list[str]) -> None:
    """Without a state directory nothing is kept and nothing is said."""
    nowhere = SessionStore(None, "ntp.example:4460", "t")
    nowhere.keep(SESSION)

    assert nowhere.take() is None
    assert warnings == []


def test_a_directory_that_is_not_there(tmp_path: Path, warnings: list[str]) -> None:
    """A directory that is missing costs a warning when something is to be kept."""
    missing = store(tmp_path / "missing")
    missing.keep(SESSION)

    assert missing.take() is None
    assert warnings == [f"can't keep the NTS session with ntp.example:4460: No such file or directory: {missing.path}"]


def test_the_leftover_of_a_crash(tmp_path: Path) -> None:
    """A half-written file of a process that died with our number is no obstacle."""
    kept = store(tmp_path)
    file_of(kept).with_name(f".{file_of(kept).name}.{os.getpid()}").write_text("half")
    kept.keep(SESSION)

    assert kept.take() == SESSION


def test_nothing_secret_in_the_warnings(tmp_path: Path, warnings: list[str]) -> None:
    """No warning holds keys or cookies."""
    kept = store(tmp_path)
    kept.keep(SESSION)
    file_of(kept).chmod(0o644)
    kept.take()
    shown = "".join(warnings) + repr(SESSION) + repr(kept)

    for secret in (b"C" * 32, b"S" * 32, b"first cookie"):
        assert secret.hex() not in shown
        assert secret.decode() not in shown


MOMENT = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def test_the_time_comes_back(tmp_path: Path) -> None:
    """A time that was noted is read again, in UTC, with a file that people can read."""
    write_time(str(tmp_path), MOMENT.astimezone(timezone(timedelta(hours=2))))

    assert read_time(str(tmp_path)) == MOMENT
    assert (tmp_path / "last-known-time").read_text() == "2026-11-22T12:30:00+00:00\n"


@pytest.mark.parametrize("content", ["", "yesterday", "2026-11-22T12:30:00", "\udcff"])
def test_what_is_no_time(tmp_path: Path, content: str) -> None:
    """A file that holds no time, or one without a time zone, is as good as none."""
    (tmp_path / "last-known-time").write_text(content, errors="surrogateescape")

    assert read_time(str(tmp_path)) is None


def test_no_time_was_noted(tmp_path: Path) -> None:
    """Without a file there is no time."""
    assert read_time(str(tmp_path)) is None


def test_a_time_that_others_can_write(tmp_path: Path) -> None:
    """A time that others could have put there does not count."""
    write_time(str(tmp_path), MOMENT)
    (tmp_path / "last-known-time").chmod(0o666)

    assert read_time(str(tmp_path)) is None
