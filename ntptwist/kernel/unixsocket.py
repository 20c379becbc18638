"""
The UNIX datagram socket at a path that other programs write samples to: made by us, or handed over by systemd.

Whoever may write to it can set the clock, so it is nobody's but the owner's from its first moment: Linux gives a bound
socket the mode of its descriptor, less the umask, so the mode is set before there is a path.  What stands at the path
is replaced only when it is a socket of ours that nobody reads any more; everything else is refused by name.

gpsd connects to the path once, when it opens a device.  A socket that is made anew gets nothing until gpsd is restarted
too; only one that outlives this process does better, so systemd is offered ours (descriptor store), and what systemd
hands over (sd_listen_fds(3)) is preferred where it is bound to the same path.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from errno import ECONNREFUSED, ENOENT
from pathlib import Path
from typing import Any

from ntptwist.errors import DeviceError

LONGEST_PATH = 107
"""Octets; ``sockaddr_un`` has 108, the last for NUL."""
FIRST_PASSED = 3
"""The first descriptor that systemd passes (SD_LISTEN_FDS_START)."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may write to the socket: its mode, and a user and a group by name or number; None leaves it the process's."""

    mode: int = 0o600
    owner: str | int | None = None
    group: str | int | None = None


class FeedSocket:
    """
    A bound UNIX datagram socket that does not block.

    ``outlives`` says that systemd keeps it, so that the path stays when it is closed.
    """

    __slots__ = ("_identity", "_socket", "outlives", "path")

    def __init__(self, sock: socket.socket, path: str, *, outlives: bool) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the name of the method says it
        self.path = path
        self.outlives = outlives
        self._socket = sock
        self._identity = _identity(path)

    def fileno(self) -> int:
        """Give the descriptor; -1 after ``close``."""
        return self._socket.fileno()

    def receive_from(self, size: int) -> tuple[bytes, Any] | None:
        """Give the next datagram, cut to ``size`` octets, and the path of its sender, nothing where it has none."""
        try:
            return self._socket.recvfrom(size)
        except (BlockingIOError, InterruptedError):
            return None

    def send_to(self, data: bytes, path: Any) -> None:
        """Send a datagram to a path; OSError when nobody takes it at once."""
        self._socket.sendto(data, path)

    def close(self) -> None:
        """Close it; the path goes too, unless somebody keeps the socket or has put another one there."""
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        if not self.outlives and self._identity is not None and _identity(self.path) == self._identity:
            Path(self.path).unlink(missing_ok=True)


_kept: dict[str, int] = {}
"""The sockets that systemd keeps, by path: a source that is stopped and started in one process finds its own again."""


def open_feed(path: str, access: Access, environ: Mapping[str, str] = os.environ) -> FeedSocket:
    """
    Give the socket at a path: the one that systemd keeps, else a new one.

    DeviceError, with the reason, when there can be none.
    """
    for passed, descriptor in passed_sockets(environ).items():
        _kept.setdefault(passed, descriptor)
    if path in _kept:
        return FeedSocket(socket.socket(fileno=os.dup(_kept[path])), path, outlives=True)
    sock = _bound(path, access)
    stored = _store(sock, environ)
    if stored:
        _kept[path] = os.dup(sock.fileno())
    return FeedSocket(sock, path, outlives=stored)


def open_answers(path: str, access: Access) -> FeedSocket:
    """Give a new socket at a path, one that answers what is asked; DeviceError when there can be none."""
    return FeedSocket(_bound(path, access), path, outlives=False)


def _bound(path: str, access: Access) -> socket.socket:
    try:
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            _bind(sock, path, access)
            undo.pop_all()
    except OSError as error:
        raise DeviceError(f"{path}: can't make the socket: {error.strerror or error}") from error
    return sock


def passed_sockets(environ: Mapping[str, str]) -> dict[str, int]:
    """Give the UNIX datagram sockets that systemd has passed to this very process, by the path each is bound to."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environ.get("LISTEN_FDS", "")
    found = {}
    for descriptor in range(FIRST_PASSED, FIRST_PASSED + int(count if count.isdecimal() and len(count) < 5 else 0)):
        path = _bound_path(descriptor)
        if path is not None:
            found[path] = descriptor
    return found


def _bound_path(descriptor: int) -> str | None:
    """Give the path of a UNIX datagram socket; None when the descriptor is anything else."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            name = sock.getsockname()
            fits = sock.family == socket.AF_UNIX and sock.type == socket.SOCK_DGRAM and isinstance(name, str)
    except OSError:
        return None
    return name if fits and name else None


def _store(sock: socket.socket, environ: Mapping[str, str]) -> bool:
    """Offer a socket to systemd's descriptor store (sd_notify(3), FDSTORE=1); tell whether it may be there now."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            socket.send_fds(notify, [b"FDSTORE=1\nFDNAME=feed"], [sock.fileno()])
    except OSError:
        return False
    return True


def _bind(sock: socket.socket, path: str, access: Access) -> None:
    """Bind to a path with the rights that were asked for, and no more at any moment; OSError or DeviceError."""
    owner, group = _user(access.owner), _group(access.group)
    _clear(path, {os.geteuid(), owner})
    os.fchmod(sock.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    sock.bind(path)
    with ExitStack() as undo:
        undo.callback(Path(path).unlink)
        if owner >= 0 or group >= 0:
            os.chown(path, owner, group, follow_symlinks=False)
        Path(path).chmod(access.mode)
        undo.pop_all()


def _clear(path: str, owners: set[int]) -> None:
    """Take away a socket that nobody reads any more; DeviceError for whatever else is at the path."""
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise DeviceError(f"{path}: there is {_kind(found.st_mode)}, no socket; it was left alone")
    if found.st_uid not in owners:
        raise DeviceError(f"{path}: the socket there belongs to {_name(found.st_uid)}; it was left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        reply = asking.connect_ex(path)
    if reply == 0:
        raise DeviceError(f"{path}: another process reads from the socket there")
    if reply == ECONNREFUSED:
        Path(path).unlink()
    elif reply != ENOENT:
        raise DeviceError(f"{path}: there is a socket of another kind: {os.strerror(reply)}")


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a directory" if stat.S_ISDIR(mode) else "a file"


def _identity(path: str) -> tuple[int, int] | None:
    """Give what tells the file at a path from every other."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _user(owner: str | int | None) -> int:
    """Give the number of a user, -1 for None; DeviceError when there is no such user."""
    if isinstance(owner, str):
        try:
            return pwd.getpwnam(owner).pw_uid
        except KeyError as error:
            raise DeviceError(f"there is no user called {owner!r}") from error
    return -1 if owner is None else owner


def _group(group: str | int | None) -> int:
    """Give the number of a group, -1 for None; DeviceError when there is no such group."""
    if isinstance(group, str):
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise DeviceError(f"there is no group called {group!r}") from error
    return -1 if group is None else group
