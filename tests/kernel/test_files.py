"""Small files of our own: whole or not there, and read only when nobody else had a hand in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ntptwist.kernel.files import LARGEST_FILE, read_file, replace_file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A file comes back as it was, and stands alone in its directory."""
    file = tmp_path / "file"
    replace_file(file, b"old")
    replace_file(file, b"new")

    assert read_file(file, forbidden=0o077) == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_mode_from_the_first_moment(tmp_path: Path) -> None:
    """A file has mode 0600, whatever the umask and whatever was there before."""
    file = tmp_path / "file"
    file.touch(mode=0o666)
    before = os.umask(0)
    try:
        replace_file(file, b"secret")
    finally:
        os.umask(before)

    assert file.stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """When the new file can't take the place, what was there stays and nothing is left beside it."""
    place = tmp_path / "file"
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(place, b"new")

    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("mode", "forbidden", "allowed"), [(0o644, 0o022, True), (0o644, 0o077, False), (0o662, 0o022, False)]
)
def test_forbidden_permissions(tmp_path: Path, mode: int, forbidden: int, allowed: bool) -> None:
    """A file that others may read, or write, is refused where that matters, with its mode."""
    file = tmp_path / "file"
    replace_file(file, b"content")
    file.chmod(mode)

    if allowed:
        assert read_file(file, forbidden) == b"content"
    else:
        with pytest.raises(OSError, match=f"others have access to it .mode {mode:04o}."):
            read_file(file, forbidden)


def test_no_file(tmp_path: Path) -> None:
    """A pipe, a directory or a link is not read, and nothing waits for a writer."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "directory").mkdir()

    for name, words in (("pipe", "no file"), ("directory", "no file"), ("link", "symbolic links")):
        with pytest.raises(OSError, match=words):
            read_file(tmp_path / name, 0o077)


def test_a_huge_file_is_cut(tmp_path: Path) -> None:
    """No more is read than any file of ours can have."""
    file = tmp_path / "file"
    replace_file(file, bytes(2 * LARGEST_FILE))

    assert len(read_file(file, 0o077)) == LARGEST_FILE
