"""The socket that samples are written to: who may write, what it replaces, and what it takes over."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ntptwist.errors import DeviceError
from ntptwist.kernel.unixsocket import Access, FeedSocket, open_answers, open_feed, passed_sockets

ALONE: dict[str, str] = {}
"""The environment of a process that systemd did not start."""


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    """Give what closes what a test has opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path for a socket."""
    return tmp_path / "gps.sock"


def opened(resources: ExitStack, path: Path, access: Access = Access()) -> FeedSocket:  # noqa: B008 - it is frozen
    """Open the socket of a process on its own."""
    feed = open_feed(str(path), access, ALONE)
    resources.callback(feed.close)
    return feed


def send(path: Path, data: bytes) -> None:
    """Write a datagram to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, str(path))


def mode_of(path: Path) -> int:
    """Give the permissions of a socket."""
    found = path.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    return stat.S_IMODE(found.st_mode)


def test_datagrams_come_in(resources: ExitStack, path: Path) -> None:
    """What is written is read, one datagram after the other, and nobody waits."""
    feed = opened(resources, path)
    send(path, b"one")
    send(path, b"x" * 300)

    assert [(b"one", None), (b"x" * 256, None), None] == [feed.receive_from(256) for _ in range(3)]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_mode_does_not_depend_on_the_umask(resources: ExitStack, path: Path, mode: int, umask: int) -> None:
    """The socket has the mode that was asked for, whatever umask the daemon was started with."""
    before = os.umask(umask)
    resources.callback(os.umask, before)
    opened(resources, path, Access(mode))

    assert mode == mode_of(path)


def test_only_the_owner_may_write_unless_told_otherwise(resources: ExitStack, path: Path) -> None:
    """Whoever can write can set the clock: by default that is the owner alone."""
    opened(resources, path)

    assert 0o600 == mode_of(path)


def test_nobody_else_may_write_in_between(path: Path) -> None:
    """From the moment the path exists the socket is the owner's alone, even with a umask of 0."""
    script = """if True:
        import os, socket, stat, sys
        from pathlib import Path
        from ntptwist.kernel import unixsocket
        os.umask(0)
        seen = []
        def look(event, args):
            if event == "os.chmod" and not isinstance(args[0], int):
                seen.append(os.lstat(args[0]).st_mode)
        sys.addaudithook(look)
        unixsocket.open_feed(sys.argv[1], unixsocket.Access(0o666), {})
        print(*(oct(stat.S_IMODE(mode)) for mode in seen if stat.S_ISSOCK(mode)))
    """
    said = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)

    assert ["0o600"] == said.stdout.split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group(resources: ExitStack, path: Path) -> None:
    """Owner and group are set by name or by number."""
    opened(resources, path, Access(0o660, "nobody", 12345))
    found = path.lstat()

    assert (65534, 12345, 0o660) == (found.st_uid, found.st_gid, mode_of(path))


@pytest.mark.parametrize(
    ("access", "reason"),
    [
        (Access(owner="no-such-user"), "there is no user called 'no-such-user'"),
        (Access(group="no-such-group"), "there is no group called 'no-such-group'"),
    ],
)
def test_unknown_owner(path: Path, access: Access, reason: str) -> None:
    """A user or a group that does not exist is named, and no socket is left behind."""
    with pytest.raises(DeviceError, match=reason):
        open_feed(str(path), access, ALONE)

    assert not path.exists()


def test_a_dead_socket_is_replaced(resources: ExitStack, path: Path) -> None:
    """What a process that has crashed left behind is no obstacle."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
    feed = opened(resources, path)
    send(path, b"alive")

    assert (b"alive", None) == feed.receive_from(256)


def test_a_live_socket_is_left_alone(resources: ExitStack, path: Path) -> None:
    """A path that another process reads from is refused."""
    other = opened(resources, path)
    with pytest.raises(DeviceError, match="another process reads from the socket there"):
        open_feed(str(path), Access(), ALONE)
    send(path, b"for the other")

    assert (b"for the other", None) == other.receive_from(256)


def test_a_live_stream_socket_is_left_alone(path: Path) -> None:
    """A server of another kind at the path is refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(DeviceError, match="there is a socket of another kind"):
            open_feed(str(path), Access(), ALONE)

        assert path.exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("directory", "there is a directory"), ("file", "there is a file"), ("symlink", "there is a symbolic link")],
)
def test_what_is_no_socket_is_left_alone(path: Path, kind: str, reason: str) -> None:
    """A directory, a file or a symbolic link at the path is refused by name, and stays."""
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to("elsewhere.sock")
    with pytest.raises(DeviceError, match=f"{reason}, no socket; it was left alone"):
        open_feed(str(path), Access(), ALONE)

    assert path.is_symlink() or path.exists()
    assert not (path.parent / "elsewhere.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(("uid", "name"), [(65534, "user nobody"), (54321, "user 54321")])
def test_somebody_elses_socket_is_left_alone(path: Path, uid: int, name: str) -> None:
    """A socket that belongs to another user is refused, dead or not, and its owner is named."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(str(path))
    os.chown(path, uid, uid)
    with pytest.raises(DeviceError, match=f"the socket there belongs to {name}"):
        open_feed(str(path), Access(), ALONE)

    assert path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_our_own_socket_is_replaced_whoever_owns_it(resources: ExitStack, path: Path) -> None:
    """A dead socket that was given to the configured owner is ours."""
    access = Access(owner=65534)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
    os.chown(path, 65534, 0)
    opened(resources, path, access)

    assert 65534 == path.lstat().st_uid


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/gps.sock", "No such file or directory"),
        ("x" * 200, "AF_UNIX path too long"),
        ("f/s", "Not a directory"),
    ],
)
def test_where_no_socket_can_be(tmp_path: Path, name: str, reason: str) -> None:
    """A missing directory and a path that is too long are told as such."""
    (tmp_path / "f").touch()
    with pytest.raises(DeviceError, match=f"can't make the socket: {reason}"):
        open_feed(str(tmp_path / name), Access(), ALONE)


def test_close_takes_the_path_away(resources: ExitStack, path: Path) -> None:
    """A socket of ours goes with us; closing it once more does no harm."""
    feed = opened(resources, path)
    feed.close()
    feed.close()

    assert not path.exists()
    assert -1 == feed.fileno()


def test_close_leaves_another_socket_there(resources: ExitStack, path: Path) -> None:
    """What somebody has put in its place meanwhile is not ours to take away."""
    feed = opened(resources, path)
    path.unlink()
    path.write_text("other")
    feed.close()

    assert "other" == path.read_text()


def run(script: str, *arguments: str, **options: object) -> str:
    """Run a script in a process of its own and give what it prints."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, **options)  # type: ignore[call-overload]  # what it is given fits
    return str(done.stdout)


PASSED = """if True:
    import os, sys
    os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[2]))
    from ntptwist.kernel.unixsocket import Access, open_feed, passed_sockets
    print(passed_sockets(os.environ).get(sys.argv[1]))
    feed = open_feed(sys.argv[1], Access())
    print(feed.receive_from(256), feed.outlives)
    feed.close()
    again = open_feed(sys.argv[1], Access())
    print(again.receive_from(256))
"""


def test_systemd_hands_over_a_socket(path: Path) -> None:
    """A socket that systemd holds is taken over with all that waits in it, twice if need be, and its path stays."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        held.bind(str(path))
        send(path, b"waiting")
        send(path, b"still")
        said = pass_on([other, held], path)

    assert ["4", "(b'waiting', None) True", "(b'still', None)"] == said.splitlines()
    assert path.exists()


def test_sockets_for_another_process_are_not_ours(tmp_path: Path) -> None:
    """LISTEN_PID says whom systemd means: a child that merely inherits the environment is not it."""
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(str(tmp_path / "held.sock"))
        said = pass_on([held], path, away=1)

    assert ["None", "None False", "None"] == said.splitlines()


def pass_on(sockets: list[socket.socket], path: Path, away: int = 0) -> str:
    """Run a script with sockets from descriptor 3 on, as systemd does."""

    def arrange() -> None:
        for number, each in enumerate(copies):
            os.dup2(each, 3 + number)

    # first out of the way, then to their places: they may be in each other's
    copies = [os.dup2(each.fileno(), 100 + number) for number, each in enumerate(sockets)]
    environment = {**os.environ, "LISTEN_FDS": str(len(sockets)), "NOTIFY_SOCKET": ""}
    try:
        return run(PASSED, str(path), str(away), env=environment, preexec_fn=arrange, close_fds=False)
    finally:
        for each in copies:
            os.close(each)


@pytest.mark.parametrize("count", ["", "x", "-1", "99999999", "1e3", "0"])
def test_a_count_that_is_none(count: str) -> None:
    """A LISTEN_FDS that is no count passes nothing."""
    assert passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}) == {}


STORED = """if True:
    import os, sys
    from ntptwist.kernel.unixsocket import Access, open_feed
    feed = open_feed(sys.argv[1], Access())
    print(feed.outlives)
    feed.close()
    again = open_feed(sys.argv[1], Access())
    print(again.outlives, again.receive_from(256))
"""


@pytest.mark.parametrize("abstract", [False, True], ids=["a path", "an abstract name"])
def test_systemd_keeps_a_socket(path: Path, abstract: bool) -> None:
    """A socket of ours is offered to the descriptor store, outlives us there, and is found again."""
    name = f"\0ntptwist-test-{os.getpid()}" if abstract else str(path.parent / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(name)
        said = run(STORED, str(path), env={**os.environ, "NOTIFY_SOCKET": name.replace("\0", "@")})
        message, descriptors, _, _ = socket.recv_fds(notify, 256, 4)
    send(path, b"after its end")
    with socket.socket(fileno=descriptors[0]) as kept:
        data = kept.recv(256)

    assert ["True", "True None"] == said.splitlines()
    assert b"FDSTORE=1\nFDNAME=feed" == message
    assert b"after its end" == data


def test_a_store_that_does_not_answer(resources: ExitStack, path: Path) -> None:
    """Where nobody keeps it, the socket is one like any other."""
    feed = open_feed(str(path), Access(), {"NOTIFY_SOCKET": str(path.parent / "nobody")})
    resources.callback(feed.close)

    assert not feed.outlives


def test_what_is_asked_is_answered(resources: ExitStack, path: Path) -> None:
    """A socket that answers knows the path of whoever asked; systemd is not offered it, and its path goes with it."""
    answering = open_answers(str(path), Access(0o666))
    resources.callback(answering.close)
    asking = resources.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    asking.bind(str(path.with_name("asking")))
    asking.sendto(b"who?", str(path))
    asked = answering.receive_from(256)
    answering.send_to(b"me", str(path.with_name("asking")))

    assert asked == (b"who?", str(path.with_name("asking")))
    assert asking.recv(256) == b"me"
    assert mode_of(path) == 0o666
    answering.close()
    assert not path.exists()


def test_an_answering_socket_replaces_no_file(path: Path) -> None:
    """What is no socket of ours is left alone."""
    path.write_text("")
    with pytest.raises(DeviceError, match="there is a file"):
        open_answers(str(path), Access())
