"""
The files of a configuration: the one that was named, and the drop-ins beside it.

Packages and scripts put sources and servers into ``conf.d/*.toml`` beside the file without editing what an operator
wrote.  A name that begins with a dot is an editor's leftover.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ntptwist.errors import ConfigError

LARGEST_FILE = 1 << 20
MOST_DROP_INS = 1000
DROP_INS = "conf.d"


def drop_ins(path: str) -> list[str]:
    """Give the drop-ins of a configuration, by name; ConfigError when their directory can't be read."""
    directory = Path(path).parent / DROP_INS
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix == ".toml" and not each.name.startswith("."))
        special = [each for each in found if each.exists() and not each.is_file()]  # reading a FIFO would never end
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{directory}: can't be read: {error.strerror}") from error
    if special:
        raise ConfigError(*(f"{each}: is not a regular file" for each in special))
    if len(found) > MOST_DROP_INS:
        raise ConfigError(f"{directory}: has more than {MOST_DROP_INS} files")
    return [str(each) for each in found]


def read_text(path: str) -> tuple[str, tuple[str, ...]]:
    """Give the text of a file, and warnings about the file itself; ConfigError when it is none that can be read."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path}: is longer than {LARGEST_FILE} octets")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: octet {content[error.start]:#04x} is not UTF-8") from error
    return text, (f"{path}: everybody on this machine may write to it",) if mode & stat.S_IWOTH else ()
