"""
The master keys of NTS over time: kept in a file, rotated, or read again whenever another host has rotated them.

A restart changes nothing: the file tells since when the current key is in use, so rotations stay where they were, and
those that were missed are made up for.  Between rotations monotonic time counts; a clock that is set does not matter.

Keys that can't be kept or read cost one line in the log, and the daemon goes on with those that it has: at worst its
clients make a new key exchange each.  A file that is there and was not understood is never overwritten, for nobody
knows what the operator has named there; where it is removed, the next rotation writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service

from ntptwist.errors import WireError
from ntptwist.kernel.files import read_file, replace_file
from ntptwist.log import Logger
from ntptwist.nts.keyset import KeySet, MasterKeys

LOOK_INTERVAL: Final = 10.0
"""Seconds after which a follower looks whether the file is another."""

FORBIDDEN: Final = 0o027
"""Whoever can read the keys can read every cookie, and with it the keys of a client; a group may be meant to."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The file that holds the keys; mode 0600 where it is ours."""

    path: Path

    def read(self) -> MasterKeys | None:
        """Give the keys, None when there is no file; OSError or WireError when it is no use."""
        try:
            return MasterKeys.parse(read_file(self.path, FORBIDDEN))
        except FileNotFoundError:
            return None

    def write(self, masters: MasterKeys) -> None:
        """Put keys in the place of what is there; OSError leaves it as it was."""
        replace_file(self.path, masters.serialize())

    def is_there(self) -> bool:
        """Tell whether something has the name, whatever it is."""
        return os.path.lexists(self.path)

    def mark(self) -> object:
        """Give what differs when the file was replaced or written, None when there is none."""
        try:
            status = self.path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _words(error: OSError | WireError) -> str:
    return error.reason if isinstance(error, WireError) else error.strerror or str(error)


class KeyRotation(Service):
    """
    Rotates the keys of a set every ``interval`` seconds, keeping ``stale`` old ones, and keeps them in a file.

    ``now`` gives the time in Unix seconds.  Without a file the keys end with the process.
    """

    log = Logger()

    def __init__(
        self,
        keys: KeySet,
        interval: int,
        stale: int,
        now: Callable[[], int],
        randbytes: Callable[[int], bytes],
        reactor: Any,
        file: KeyFile | None = None,
    ) -> None:
        self._keys = keys
        self._interval = interval
        self._stale = stale
        self._now = now
        self._randbytes = randbytes
        self._reactor = reactor
        self._file = file
        self._spared = False
        self._warned = False
        self._timer: Any = None

    def startService(self) -> None:
        """Take the keys from the file, or make new ones; make up for rotations that were missed."""
        super().startService()
        now = self._now()
        kept = self._read()
        masters = kept or MasterKeys.fresh(now, self._randbytes)
        masters = masters.caught_up(now, self._interval, self._stale, self._randbytes)
        self._keys.use(masters)
        if masters != kept:
            self._write(masters)
        age = max(now - masters.since, 0)
        self._timer = self._reactor.callLater(self._interval - age, self._rotate)

    def stopService(self) -> None:
        """Rotate no more; the keys stay in use as long as anybody uses the set."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rotate(self) -> None:
        self._timer = self._reactor.callLater(self._interval, self._rotate)
        masters = self._keys.masters.rotated(self._now(), self._stale, self._randbytes)
        self._keys.use(masters)
        self._write(masters)
        self.log.info("a new NTS master key is in use, {count} old ones are kept", count=masters.current)

    def _read(self) -> MasterKeys | None:
        if self._file is None:
            return None
        try:
            return self._file.read()
        except (OSError, WireError) as error:
            self._spared = True
            self.log.error(
                "NTS keys are new, every client needs a key exchange, and they are not kept: {path} is not used and "
                "left alone: {reason}",
                path=self._file.path,
                reason=_words(error),
            )
            return None

    def _write(self, masters: MasterKeys) -> None:
        """Keep keys, if there is a place; it is said once that there is none."""
        if self._file is None or (self._spared and self._file.is_there()):
            return
        try:
            self._file.write(masters)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self.log.error(
                    "NTS keys can't be kept over a restart: {reason}: {path}",
                    reason=_words(error),
                    path=self._file.path,
                )
        else:
            self._spared = self._warned = False


class KeyFollower(Service):
    """
    Uses the keys in a file that somebody else writes, and reads it again when it has changed.

    Until there are keys the set has ones of its own, and clients that come from elsewhere are told NTSN.
    """

    log = Logger()

    def __init__(self, keys: KeySet, reactor: Any, file: KeyFile) -> None:
        self._keys = keys
        self._reactor = reactor
        self._file = file
        self._mark: object = None
        self._timer: Any = None

    def startService(self) -> None:
        """Read the file now, and look at it from now on."""
        super().startService()
        self._mark = self._file.mark()
        self._read()
        self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK_INTERVAL, self._look)
        mark = self._file.mark()
        if mark != self._mark:
            self._mark = mark
            self._read()

    def _read(self) -> None:
        try:
            masters = self._file.read()
        except (OSError, WireError) as error:
            self._complain(_words(error))
            return
        if masters is None:
            self._complain("there is no such file")
            return
        self._keys.use(masters)
        self.log.info("{count} NTS keys were read: {path}", count=len(masters.keys), path=self._file.path)

    def _complain(self, reason: str) -> None:
        self.log.error(
            "the NTS keys stay as they are, {path} is not used: {reason}", path=self._file.path, reason=reason
        )
