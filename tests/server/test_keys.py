"""The master keys of NTS, over rotations, restarts and copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.nts.keyset import KeySet, MasterKeys
from ntptwist.server.keys import LOOK_INTERVAL, KeyFile, KeyFollower, KeyRotation
from tests.nts.pair import session

DAY = 86_400
START = 1_800_000_000


class Machine:
    """A machine whose daemon can be started again and again; time is virtual."""

    def __init__(self, path: Path | None, interval: int = DAY, stale: int = 7) -> None:
        self.clock = Clock()
        self.wrong = 0
        self.file = KeyFile(path) if path is not None else None
        self.random = Random(7)
        self.interval = interval
        self.stale = stale

    def now(self) -> int:
        """Give the time in Unix seconds."""
        return START + self.wrong + int(self.clock.seconds())

    def start(self) -> KeyRotation:
        """Start the daemon's rotation; ``keys`` are its keys."""
        self.keys = KeySet.fresh(self.random.randbytes)
        rotation = KeyRotation(
            self.keys, self.interval, self.stale, self.now, self.random.randbytes, self.clock, self.file
        )
        rotation.startService()
        return rotation

    def sleep(self, seconds: float, step: float = 3600.0) -> None:
        """Let time pass, hour by hour."""
        self.clock.pump([step] * int(seconds / step))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the name of the file."""
    return tmp_path / "nts-keys"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Give the lines of warnings and errors that are logged."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name in ("warn", "error", "critical"):
            seen.append(formatEvent(event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield seen
    publisher.removeObserver(observe)


def test_new_keys_are_kept(path: Path) -> None:
    """The first start makes keys and a file that nobody else can read; the second start has the same keys."""
    machine = Machine(path)
    machine.start().stopService()
    first = machine.keys.masters
    machine.start().stopService()

    assert machine.keys.masters == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert MasterKeys.parse(path.read_bytes()) == first


def test_rotation(path: Path) -> None:
    """Each day the next key comes into use, in the file too, and cookies of the last week open."""
    machine = Machine(path)
    rotation = machine.start()
    cookies = []
    for _ in range(10):
        cookies.append(machine.keys.make_cookies(session(), 1)[0])
        machine.sleep(DAY)
    opened = [machine.keys.open_cookie(cookie) is not None for cookie in cookies]
    rotation.stopService()

    assert opened == [False] * 3 + [True] * 7
    assert MasterKeys.parse(path.read_bytes()) == machine.keys.masters
    assert machine.keys.masters.since == START + 10 * DAY


def test_restarts_do_not_postpone(path: Path) -> None:
    """A daemon that is restarted every six hours rotates as often as one that is not."""
    machine = Machine(path)
    for _ in range(4 * 5 + 1):
        rotation = machine.start()
        machine.sleep(DAY / 4)
        rotation.stopService()

    assert machine.keys.masters.since == START + 5 * DAY
    assert machine.keys.masters.current == 5


def test_a_long_pause_is_made_up_for(path: Path) -> None:
    """After three and a half days off, the keys of three more days are gone, and half a day later the next one goes."""
    machine = Machine(path, stale=2)
    rotation = machine.start()
    cookie = machine.keys.make_cookies(session(), 1)[0]
    machine.sleep(DAY)
    young = machine.keys.make_cookies(session(), 1)[0]
    rotation.stopService()
    machine.sleep(1.5 * DAY)
    rotation = machine.start()
    opened = [machine.keys.open_cookie(each) is not None for each in (cookie, young)]
    machine.sleep(DAY / 2)
    later = [machine.keys.open_cookie(each) is not None for each in (cookie, young)]
    rotation.stopService()

    assert opened == [True, True]
    assert later == [False, True]


def test_a_stepped_clock_rotates_nothing(path: Path) -> None:
    """While the daemon runs, the time between two rotations is a day however the clock is set."""
    machine = Machine(path)
    rotation = machine.start()
    machine.sleep(DAY / 2)
    machine.wrong = 1000 * DAY
    machine.sleep(DAY / 4)
    before = machine.keys.masters.current
    machine.sleep(DAY / 4)
    rotation.stopService()

    assert (before, machine.keys.masters.current) == (0, 1)


def test_without_a_file() -> None:
    """Without a file keys are rotated too, and a restart has new ones."""
    machine = Machine(None)
    rotation = machine.start()
    first = machine.keys.masters
    machine.sleep(DAY)
    rotated = machine.keys.masters
    rotation.stopService()
    machine.start().stopService()

    assert rotated.keys[:2] == first.keys
    assert not set(machine.keys.masters.keys) & set(rotated.keys)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(20)])
def test_a_file_that_is_something_else(path: Path, content: bytes, lines: list[str]) -> None:
    """A file that was not understood is never overwritten: one line, and keys that are not kept."""
    path.write_bytes(content)
    path.chmod(0o600)
    machine = Machine(path)
    rotation = machine.start()
    machine.sleep(3 * DAY)
    working = machine.keys.open_cookie(machine.keys.make_cookies(session(), 1)[0])
    rotation.stopService()

    assert working == session()
    assert path.read_bytes() == content
    assert len(lines) == 1
    assert str(path) in lines[0]


def test_once_it_is_removed_the_keys_are_kept(path: Path, lines: list[str]) -> None:
    """When the operator takes the wrong file away, the next rotation keeps the keys."""
    path.write_bytes(b"wrong")
    path.chmod(0o600)
    machine = Machine(path)
    rotation = machine.start()
    path.unlink()
    machine.sleep(2 * DAY)
    rotation.stopService()

    assert MasterKeys.parse(path.read_bytes()) == machine.keys.masters
    assert len(lines) == 1


@pytest.mark.parametrize(("mode", "used"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)])
def test_permissions(path: Path, lines: list[str], mode: int, used: bool) -> None:
    """Keys that everybody can read, or that others can write, are not used; a group may read them."""
    masters = MasterKeys.fresh(START, Random(3).randbytes)
    path.write_bytes(masters.serialize())
    path.chmod(mode)
    machine = Machine(path)
    machine.start().stopService()

    assert (machine.keys.masters == masters) is used
    assert [f"others have access to it (mode {mode:04o})" in line for line in lines] == [True] * (not used)


def test_every_octet_damaged(path: Path) -> None:
    """Whichever octet of the file is damaged, the daemon starts and has keys that work."""
    machine = Machine(path)
    machine.start().stopService()
    content = path.read_bytes()
    works = []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        machine.start().stopService()
        works.append(machine.keys.open_cookie(machine.keys.make_cookies(session(), 1)[0]) == session())
        path.unlink(missing_ok=True)
        path.touch(0o600)

    assert works == [True] * (20 + 2 * 64)


def test_a_directory_that_is_missing(tmp_path: Path, lines: list[str]) -> None:
    """Where the file can't be written, one line says so and rotation goes on; once it can, the keys are kept."""
    path = tmp_path / "missing" / "nts-keys"
    machine = Machine(path)
    rotation = machine.start()
    machine.sleep(2 * DAY)
    before = list(lines)
    path.parent.mkdir()
    machine.sleep(DAY)
    rotation.stopService()

    assert before == [f"NTS keys can't be kept over a restart: No such file or directory: {path}"]
    assert lines == before
    assert MasterKeys.parse(path.read_bytes()).current == 3


def test_a_follower(path: Path) -> None:
    """A host that follows opens the cookies of the host that rotates, at any time, and never writes."""
    machine = Machine(path)
    rotation = machine.start()
    copy = path.with_name("copy")
    followed = KeySet.fresh(Random(9).randbytes)
    follower = KeyFollower(followed, machine.clock, KeyFile(copy))
    opened = []
    for day in range(12):
        opened.append(followed.open_cookie(machine.keys.make_cookies(session(), 1)[0]) is not None)
        aside = path.with_name("aside")
        aside.write_bytes(path.read_bytes())  # copied once a day, half a day after the rotation
        aside.chmod(0o640)
        aside.replace(copy)
        if day == 0:
            follower.startService()
        machine.sleep(DAY)
    written = copy.read_bytes()
    follower.stopService()
    rotation.stopService()

    assert opened == [False] + [True] * 11
    assert MasterKeys.parse(written) == followed.masters


def test_a_follower_without_a_file(path: Path, lines: list[str]) -> None:
    """A follower waits for its file with one line, and takes the keys within seconds once it is there."""
    clock = Clock()
    keys = KeySet.fresh(Random(9).randbytes)
    follower = KeyFollower(keys, clock, KeyFile(path))
    follower.startService()
    clock.pump([LOOK_INTERVAL] * 10)
    before = list(lines)
    masters = MasterKeys.fresh(START, Random(3).randbytes)
    KeyFile(path).write(masters)
    clock.advance(LOOK_INTERVAL)
    follower.stopService()

    assert before == [f"the NTS keys stay as they are, {path} is not used: there is no such file"]
    assert keys.masters == masters


def test_a_follower_keeps_what_it_has(path: Path, lines: list[str]) -> None:
    """A copy that is damaged, or that is taken away, costs a line each and no key."""
    masters = MasterKeys.fresh(START, Random(3).randbytes)
    KeyFile(path).write(masters)
    clock = Clock()
    keys = KeySet.fresh(Random(9).randbytes)
    follower = KeyFollower(keys, clock, KeyFile(path))
    follower.startService()
    path.write_bytes(b"half")
    clock.pump([LOOK_INTERVAL] * 5)
    path.unlink()
    clock.pump([LOOK_INTERVAL] * 5)
    follower.stopService()

    assert keys.masters == masters
    assert len(lines) == 2


def test_an_unchanged_file_is_not_read(path: Path) -> None:
    """A follower does not read a file that is as it was: what it was given meanwhile stays."""
    KeyFile(path).write(MasterKeys.fresh(START, Random(3).randbytes))
    clock = Clock()
    keys = KeySet.fresh(Random(9).randbytes)
    follower = KeyFollower(keys, clock, KeyFile(path))
    follower.startService()
    mine = MasterKeys.fresh(START, Random(4).randbytes)
    keys.use(mine)
    clock.pump([LOOK_INTERVAL] * 5)
    os.utime(path, ns=(1, 1))
    before = keys.masters
    clock.advance(LOOK_INTERVAL)
    follower.stopService()

    assert before == mine
    assert keys.masters != mine


def test_stopped_before_it_was_started(path: Path) -> None:
    """A service that was never started can be stopped."""
    keys = KeySet.fresh(Random(9).randbytes)
    KeyFollower(keys, Clock(), KeyFile(path)).stopService()
    KeyRotation(keys, DAY, 7, int, Random(1).randbytes, Clock()).stopService()

    assert not path.exists()
