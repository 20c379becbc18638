"""
Small files of our own, for what is kept over a restart.

A file is written aside and renamed into place, so it is whole or not there; it is read only if nobody else could have
had a hand in it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

LARGEST_FILE: Final = 65536
"""Octets that are read; ours are far smaller."""


class RefusedError(OSError):
    """A file is there and must not be used; ``strerror`` says why."""


def replace_file(path: Path, content: bytes) -> None:
    """Put a file of our own, mode 0600, in the place of another; OSError leaves the old one as it was."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        aside.unlink()  # of a process that had our number and died
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink()
        raise


def read_file(path: Path, forbidden: int) -> bytes:
    """
    Read a small file that belongs to us, or to root, who could do as we do; OSError otherwise.

    ``forbidden`` are the permission bits that it must not have, for whoever has them could have looked or meddled.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(0, "it is no file")
        if status.st_uid not in (0, os.geteuid()):
            raise RefusedError(0, "it belongs to somebody else")
        if status.st_mode & forbidden:
            raise RefusedError(0, f"others have access to it (mode {stat.S_IMODE(status.st_mode):04o})")
        return os.read(descriptor, LARGEST_FILE)
    finally:
        os.close(descriptor)
