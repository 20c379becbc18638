"""The command line of the daemon, and what it is made into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.python.usage import UsageError

import ntptwist
from ntptwist.cli.daemon import main
from ntptwist.demo import Demo
from ntptwist.log import set_log_level
from ntptwist.service import Daemon
from ntptwist.sim.world import World
from ntptwist.tap import Options, build, check_config

GOOD = '[clock]\ncontrol = "system"\n\n[[source]]\nmode = "server"\naddress = "192.0.2.1"\n'


def parsed(*words: str) -> Options:
    """Give the options of a command line."""
    options = Options()
    options.parseOptions(list(words))
    return options


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration that is good."""
    path = tmp_path / "ntptwist.toml"
    path.write_text(GOOD)
    return str(path)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--log-level", "loud"], "--log-level: 'loud' is none of trace, debug, info, warn, error"),
        (["--demo", "-c", "x"], "--demo brings its own configuration: leave --config out"),
        (["--nonsense"], "option --nonsense not recognized"),
        (["something"], "Wrong number of arguments."),
    ],
)
def test_what_can_not_be_meant_is_refused(words: list[str], complaint: str) -> None:
    """A wrong command line says what is wrong with it."""
    with pytest.raises(UsageError, match=complaint):
        parsed(*words)


def test_usage_error_of_the_console_script(capsys: pytest.CaptureFixture[str]) -> None:
    """The console script ends with 64 after a wrong command line."""
    assert main(["--nonsense"]) == 64
    assert "option --nonsense not recognized" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` shows the version and ends well."""
    with pytest.raises(SystemExit) as end:
        parsed("--version")

    assert end.value.code == 0
    assert capsys.readouterr().out == f"ntptwist {ntptwist.__version__}\n"


def build_virtually(*words: str) -> Any:
    """Build what the options ask for around a virtual reactor."""
    try:
        return build(parsed(*words), Unscheduled())
    finally:
        set_log_level("info")


class Unscheduled:
    """As much of a real reactor as building needs: it has no delayed calls yet, and gets its time axis replaced."""

    def __init__(self) -> None:
        self._world = World()

    def getDelayedCalls(self) -> list[Any]:
        """None so far."""
        return []

    def seconds(self) -> float:
        """Wall time, as Twisted's reactors have it at first."""
        return 1.8e9

    def __getattr__(self, name: str) -> Any:
        """The rest is the virtual reactor's."""
        return getattr(self._world.reactor, name)


def test_builds_the_daemon(config: str) -> None:
    """The options become a service with one spawner for each source."""
    service = build_virtually("-c", config)

    assert isinstance(service, Daemon)
    assert IService.providedBy(service)
    assert service.clock.control == "system"
    assert service.system is not None
    assert len(list(service.system)) == 1


def test_no_clock_control(config: str) -> None:
    """``--no-clock-control`` overrides the configuration."""
    assert build_virtually("-c", config, "--no-clock-control").clock.control == "observe"


def test_demo() -> None:
    """``--demo`` needs no configuration."""
    assert isinstance(build_virtually("--demo"), Demo)


def test_warnings_are_shown(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a configuration warns of is printed once, and stops nothing."""
    Path(config).write_text(GOOD + 'ntp-version = "auto"\n')
    build_virtually("-c", config, "-l", "error")

    assert capsys.readouterr().err.startswith(f"warning: {config}:7: ")


def test_check_config(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check-config`` says what it understood."""
    Path(config).write_text(GOOD + 'ntp-version = "auto"\n')
    status = check_config(parsed("-c", config, "--check-config"))
    printed = capsys.readouterr().out

    assert status == 0
    assert printed.endswith("good, 1 sources, the clock is controlled as 'system'\n")
    assert printed.startswith("warning: ")
    assert main(["-c", config, "--check-config"]) == 0


def test_all_problems_at_once(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that can't be used ends the daemon with 78, after a line for each problem."""
    Path(config).write_text("[sourc]\n[clock]\ncontrol = 3\n")
    with pytest.raises(SystemExit) as end:
        build_virtually("-c", config)

    assert end.value.code == 78
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()] == ["1", "3"]


def test_no_configuration_at_all(nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a configuration the first thing that helps is said."""
    with pytest.raises(SystemExit) as end:
        build_virtually("-c", nothing)

    assert end.value.code == 78
    assert "No such file" in capsys.readouterr().err


@pytest.fixture
def nothing(tmp_path: Path) -> str:
    """A path where nothing is."""
    return str(tmp_path / "nothing.toml")
