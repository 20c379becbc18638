"""The drop-ins beside a configuration file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.files import MOST_DROP_INS, drop_ins
from ntptwist.config.loader import load
from ntptwist.config.model import Config
from ntptwist.errors import ConfigError
from tests.config.stub import find_driver

SOURCE = '[[source]]\nmode = "server"\naddress = "{}"\n'
SERVER = '[[server]]\nlisten = "127.0.0.1:{}"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with one source, and a directory for drop-ins."""
    path = tmp_path / "ntptwist.toml"
    path.write_text("[source-defaults]\npoll-interval-limits.min = 3\n" + SOURCE.format("192.0.2.1"))
    path.chmod(0o644)
    (tmp_path / "conf.d").mkdir()
    return path


def put(file: Path, name: str, text: str) -> Path:
    """Put a drop-in beside a configuration."""
    path = file.parent / "conf.d" / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def problems(file: Path) -> list[str]:
    """Give the problems of a configuration, without its directory."""
    with pytest.raises(ConfigError) as caught:
        load(str(file), find_driver)
    return [problem.replace(f"{file.parent}/", "") for problem in caught.value.problems]


def addresses(config: Config) -> list[str]:
    """Give the addresses of the sources."""
    return [entry.configuration.address.host for entry in config.sources]


def test_drop_ins_add_sources_and_servers_by_name(file: Path) -> None:
    """They are read in the order of their names, after the file, whose defaults hold for them too."""
    put(file, "20.toml", SOURCE.format("192.0.2.3") + SERVER.format(124))
    second = put(file, "10.toml", SOURCE.format("192.0.2.2"))
    put(file, ".10.toml", "an editor's leftover")
    put(file, "10.toml~", "another one")
    config = load(str(file), find_driver)

    assert addresses(config) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert {entry.configuration.limits for entry in config.sources} == {PollLimits(3, 10)}
    assert config.sources[1].location == f"{second}:1"
    assert [str(server.listen) for server in config.servers] == ["127.0.0.1:124"]
    assert config.policy.voting_sources == 3
    assert config.path == str(file)
    assert config.warnings == ()


def test_no_directory_is_no_problem(tmp_path: Path) -> None:
    """Who has no drop-ins needs no directory."""
    path = tmp_path / "ntptwist.toml"
    path.write_text(SOURCE.format("192.0.2.1"))

    assert addresses(load(str(path), find_driver)) == ["192.0.2.1"]


def test_every_mistake_of_every_file_is_told(file: Path) -> None:
    """One broken file hides nothing of the others, and each message names its file and line."""
    file.write_text("x = 1\n" + SERVER.format(124))
    put(file, "a.toml", "[clock]\ncontrol = 'observe'\n")
    put(file, "b.toml", "[[source]\n")
    put(file, "c.toml", SERVER.format(124) + "[[source]]\nmode = 'server'\naddr = '192.0.2.1'\n")

    assert [problem.partition(" not valid")[0].partition(" shares")[0] for problem in problems(file)] == [
        "ntptwist.toml:1: x: unknown key",
        "conf.d/a.toml:1: clock: only [[source]] and [[server]] may stand in a drop-in",
        "conf.d/b.toml:1:",
        "conf.d/c.toml:2: server[1].listen: 127.0.0.1:124",
        "conf.d/c.toml:3: source[1].address: required key is missing",
        "conf.d/c.toml:5: source[1].addr: unknown key (did you mean 'address'?)",
    ]


def test_a_broken_file_hides_no_drop_in(file: Path) -> None:
    """Also where the file itself is no TOML."""
    file.write_text("= 1\n")
    put(file, "a.toml", "[clock]\n")

    assert len(problems(file)) == 2


def test_warnings_of_drop_ins(file: Path) -> None:
    """A drop-in that everybody may write is a warning, like the file itself."""
    path = put(file, "a.toml", SOURCE.format("192.0.2.2"))
    path.chmod(0o666)

    assert load(str(file), find_driver).warnings == (f"{path}: everybody on this machine may write to it",)


def test_a_directory_that_can_not_be_read(file: Path) -> None:
    """What should be a directory and is none is a problem: sources might be missing."""
    (file.parent / "conf.d").rmdir()
    (file.parent / "conf.d").write_text("")

    assert problems(file) == ["conf.d: can't be read: Not a directory"]


def test_a_file_that_can_not_be_read(file: Path) -> None:
    """A link that leads nowhere is a problem for the same reason."""
    (file.parent / "conf.d" / "a.toml").symlink_to("nowhere")

    assert problems(file) == ["conf.d/a.toml: can't be read: No such file or directory"]


def test_a_file_that_never_ends(file: Path) -> None:
    """Something that is no regular file is refused before it is opened."""
    os.mkfifo(file.parent / "conf.d" / "a.toml")

    assert problems(file) == ["conf.d/a.toml: is not a regular file"]


def test_too_many_files(file: Path) -> None:
    """Nobody means so many."""
    for number in range(MOST_DROP_INS + 1):
        put(file, f"{number}.toml", "")
    with pytest.raises(ConfigError, match="has more than 1000 files"):
        drop_ins(str(file))
