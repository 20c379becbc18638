"""A file gives one frozen configuration, or all its problems at once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import stat
from pathlib import Path

import pytest

from ntptwist.algorithm.config import PanicThreshold, PollLimits, Profile, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.leap import LeapSecond, LeapTable
from ntptwist.config.files import LARGEST_FILE
from ntptwist.config.loader import load, loads
from ntptwist.config.model import ClockSettings, Config, ObservabilitySettings, SourceEntry
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError
from tests.config.stub import CrowdConfiguration, ServerConfiguration, find_driver

LEVELS = "'trace', 'debug', 'info', 'warn', 'error'"
SOURCE = '[[source]]\nmode = "server"\naddress = "192.0.2.1"\n'


def problems(text: str) -> tuple[str, ...]:
    """Give the problems of a text, without its name."""
    with pytest.raises(ConfigError) as caught:
        loads(text, find_driver)
    return tuple(problem.removeprefix("<text>") for problem in caught.value.problems)


def warnings(text: str) -> tuple[str, ...]:
    """Give the warnings of a text with one source, without its name; the source stands below."""
    return tuple(warning.removeprefix("<text>") for warning in loads(text + "\n" + SOURCE, find_driver).warnings)


def test_an_empty_text_has_all_defaults() -> None:
    """With nothing configured everything has its default, and the missing sources are a warning."""
    config = loads("", find_driver)

    assert Config(policy=SynchronizationPolicy(voting_sources=0)) == config
    assert config.warnings == ("<text>: no source is configured: the clock is left alone",)


def test_every_key() -> None:
    """Each key arrives in the configuration."""
    config = loads(
        """
        [source-defaults]
        poll-interval-limits = { min = 3, max = 9 }
        [[source]]
        mode = "server"
        address = "ntp.example.net:124"
        ntp-version = 3
        poll-interval-limits.max = 7
        [[source]]
        mode = "crowd"
        votes = 4
        [synchronization]
        minimum-agreeing-sources = 2
        step-policy = "never"
        profile = "frugal"
        startup-step-panic-threshold = { backward = 10 }
        single-step-panic-threshold = 5.5
        accumulated-step-panic-threshold = 1800
        local-stratum = 10
        warn-on-jump = true
        [clock]
        control = "virtual"
        virtual-offset = -0.25
        virtual-frequency = 20
        [observability]
        log-level = "debug"
        [control]
        directory = "/tmp/control"
        [state]
        directory = "/tmp/state"
        """,
        find_driver,
        "f.toml",
    )

    assert config == Config(
        path="f.toml",
        sources=(
            SourceEntry("server", ServerConfiguration(HostPort("ntp.example.net", 124), PollLimits(3, 7), 3)),
            SourceEntry("crowd", CrowdConfiguration(4)),
        ),
        source_defaults=PollLimits(3, 9),
        policy=SynchronizationPolicy(
            voting_sources=5,
            minimum_agreeing_sources=2,
            step_policy=StepPolicy.NEVER,
            startup_step_panic_threshold=PanicThreshold(math.inf, 10.0),
            single_step_panic_threshold=PanicThreshold(5.5, 5.5),
            accumulated_step_panic_threshold=1800.0,
            local_stratum=10,
            profile=Profile.FRUGAL,
        ),
        clock=ClockSettings("virtual", -0.25, 20.0),
        control_directory="/tmp/control",
        state_directory="/tmp/state",
        observability=ObservabilitySettings("debug"),
    )
    assert [source.location for source in config.sources] == ["f.toml:4", "f.toml:9"]
    assert config.warnings == ()


def test_a_source_that_only_moved_is_the_same() -> None:
    """Two files that say the same are equal, wherever their sources stand."""
    assert loads(SOURCE, find_driver) == loads(f"\n\n{SOURCE}", find_driver)


def test_a_configuration_without_clock_control() -> None:
    """The same configuration can be run on a clock that is never touched."""
    config = loads(f'[clock]\ncontrol = "virtual"\nvirtual-offset = 1\n{SOURCE}', find_driver)

    assert dataclasses.replace(config, clock=ClockSettings("observe")) == config.without_clock_control()


def test_all_problems_at_once() -> None:
    """One reading tells everything that is wrong, from top to bottom."""
    text = """\
stray = 1

[source-defaults]
poll-interval-limits = { min = 4, max = 3 }

[[source]]
mode = "server"
addr = "ntp.example.net"

[[source]]
mode = "nts-pool"
address = "pool.example.net"
count = 4

[[source]]
address = "x"

[[source]]
mode = "sever"

[[source]]
mode = "server"
address = "1.2.3"
poll-interval-limits = { min = 4.0, max = true }

[[server]]
listen = "[::]:123"
lisen = 1
[synchronisation]

[synchronization]
minimum-agreeing-sources = 0
single-step-panic-threshold = { forwards = 1, backward = -1 }

[observability]
log-level = "warning"
"""

    assert problems(text) == (
        ":1: stray: unknown key (did you mean 'state'?)",
        ":4: source-defaults.poll-interval-limits: min 4 is greater than max 3",
        ":6: source[1].address: required key is missing",
        ":8: source[1].addr: unknown key (did you mean 'address'?)",
        ":11: source[2].mode: mode 'nts-pool' is not built yet",
        ":15: source[3].mode: required key is missing",
        ":19: source[4].mode: no driver called 'sever'; found: server, crowd, broken",
        ":23: source[5].address: '1.2.3' is neither a host name nor an address",
        ":24: source[5].poll-interval-limits.min: expected a whole number from -2 to 17, not 4.0",
        ":24: source[5].poll-interval-limits.max: expected a whole number from -2 to 17, not true",
        ":28: server[1].lisen: unknown key (did you mean 'listen'?)",
        ":29: synchronisation: unknown key (did you mean 'synchronization'?)",
        ":32: synchronization.minimum-agreeing-sources: expected a whole number of at least 1, not 0",
        ":33: synchronization.single-step-panic-threshold.backward: expected a number of at least 0 or inf, not -1",
        ":33: synchronization.single-step-panic-threshold.forwards: unknown key (did you mean 'forward'?)",
        f":36: observability.log-level: expected one of {LEVELS}, not 'warning' (did you mean 'warn'?)",
    )


@pytest.mark.parametrize("mode", ["nts-pool", "csptp"])
def test_kinds_of_sources_that_are_not_built_yet(mode: str) -> None:
    """A kind of source that ntpd-rs has and this daemon has not is refused by name, whatever else it says."""
    assert problems(f'[[source]]\nmode = "{mode}"\nwhatever = 1\n') == (
        f":2: source[1].mode: mode '{mode}' is not built yet",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[csptp]", ":1: csptp: CSPTP is not built yet"),
        ("[[csptp-server]]", ":1: csptp-server: CSPTP is not built yet"),
    ],
)
def test_servers_that_are_not_built_yet(text: str, problem: str) -> None:
    """A section that would make this machine serve is refused: leaving it out in silence would be worse."""
    assert problems(text) == (problem,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[source]\nmode = 'server'", ":1: source: expected tables with [[source]] above each, not a table"),
        ("[[source]]\nmode = 4\nx = 1", ":2: source[1].mode: expected a text, not 4"),
        ("[[source]]\nmode = 'broken'\nx = 1", ":2: source[1].mode: driver 'broken' can't be loaded for <text>:1"),
        ("[[clock]]", ":1: clock: expected a table, not a list"),
        ("[synchronization]\nalgorithm = 1", ":2: synchronization.algorithm: expected a table, not 1"),
        (
            "[synchronization.algorithm]\nstep-treshold = 1",
            ":2: synchronization.algorithm.step-treshold: unknown key (did you mean 'step-threshold'?)",
        ),
        (
            "[synchronization]\nstep-policy = 'sometimes'",
            ":2: synchronization.step-policy: expected one of 'startup', 'always', 'never', not 'sometimes'",
        ),
        (
            "[synchronization]\naccumulated-step-panic-threshold = 'inf'",
            ":2: synchronization.accumulated-step-panic-threshold: expected a number of at least 0, not 'inf'",
        ),
        (
            "[synchronization]\nstartup-step-panic-threshold = nan",
            ":2: synchronization.startup-step-panic-threshold: expected a number of at least 0 or inf, not nan",
        ),
        (
            "[synchronization]\nlocal-stratum = 17",
            ":2: synchronization.local-stratum: expected a whole number from 1 to 16, not 17",
        ),
        ("[synchronization]\nwarn-on-jump = 1", ":2: synchronization.warn-on-jump: expected true or false, not 1"),
        (
            "[clock]\ncontrol = 'none'",
            ":2: clock.control: expected one of 'system', 'observe', 'virtual', not 'none'",
        ),
        (
            "[clock]\nvirtual-offset = 1e10",
            ":2: clock.virtual-offset: expected a number from -2147483648 to 2147483648, not 10000000000.0",
        ),
        (
            "[clock]\nvirtual-frequency = -1e6",
            ":2: clock.virtual-frequency: expected a number from -100000 to 100000, not -1000000.0",
        ),
        ("[control]\ndirectory = 'run'", ":2: control.directory: expected an absolute path, not 'run'"),
        ("[state]\ndirectory = 7", ":2: state.directory: expected an absolute path, not 7"),
    ],
)
def test_single_problems(text: str, problem: str) -> None:
    """Each kind of mistake has its words."""
    assert problems(text) == (problem,)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "[source-defaults]\ninitial-poll-interval = 4",
            ":2: source-defaults.initial-poll-interval: has no effect: every source starts at the algorithm's own pace",
        ),
        (
            "[synchronization]\nminimum-agreeing-sources = 2",
            ":2: synchronization.minimum-agreeing-sources: 2 must agree but only 1 can vote: the clock is left alone",
        ),
        (
            "[synchronization]\nreference-id = 'GPS'",
            ":2: synchronization.reference-id: has no effect: local-stratum is 16",
        ),
        (
            "[synchronization]\nwarn-on-jump = false",
            ":2: synchronization.warn-on-jump: has no effect: every step is logged",
        ),
        (
            "[synchronization.algorithm]\nstep-threshold = 0.1\nmeddling-threshold = 'any'",
            ":1: synchronization.algorithm: has no effect: this daemon's own filter and steering need no tuning",
        ),
        (
            "[clock]\nvirtual-offset = 1",
            ":2: clock.virtual-offset: has no effect: only a clock with control = 'virtual' takes it",
        ),
        (
            "[clock]\nclock = '/dev/ptp0'\ninterface = 'eth0'\ntimestamp-mode = 'hardware'",
            ":1: clock: clock, interface, timestamp-mode have no effect: hardware clocks are not built yet",
        ),
        (
            "[observability]\nlog-path = '/run/x'\nansi-colors = true",
            ":1: observability: log-path, ansi-colors have no effect: not built yet",
        ),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    """What has no effect, or not the one that was meant, is a warning."""
    assert warnings(text) == (warning,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", PanicThreshold(7.0, 7.0)),
        ("'inf'", PanicThreshold()),
        ("inf", PanicThreshold()),
        ("{}", PanicThreshold()),
        ("{ forward = 1.5 }", PanicThreshold(forward=1.5)),
        ("{ forward = 'inf', backward = 0 }", PanicThreshold(backward=0.0)),
    ],
)
def test_panic_thresholds(text: str, expected: PanicThreshold) -> None:
    """A threshold is one number, "inf", or a table whose missing direction is unlimited."""
    policy = loads(f"[synchronization]\nsingle-step-panic-threshold = {text}\n", find_driver).policy

    assert expected == policy.single_step_panic_threshold


def test_no_accumulated_threshold() -> None:
    """The accumulated threshold 0 stands for none, as in ntpd-rs."""
    policy = loads("[synchronization]\naccumulated-step-panic-threshold = 0\n", find_driver).policy

    assert policy.accumulated_step_panic_threshold is None


def test_sources_without_a_vote() -> None:
    """Sources that can't vote are counted as their driver says, and a clock that nobody can vote for is told."""
    config = loads('[[source]]\nmode = "crowd"\nvotes = 0\n', find_driver)

    assert config.policy.voting_sources == 0
    assert config.warnings == (
        "<text>: synchronization.minimum-agreeing-sources: 1 must agree but only 0 can vote: the clock is left alone",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\nb = \n", ":2: not valid TOML at column 5: Invalid value"),
        ("a = 1\nb = [1,\n", ":2: not valid TOML at the end: Invalid value"),
        ("[a]\n[a]\n", ":2: not valid TOML at column 3: Cannot declare ('a',) twice"),
        (f"a = {'1' * 5000}", ": not valid TOML: an integer has too many digits"),
        (f"a = {'[' * 5000}{']' * 5000}", ": arrays or tables are nested too deeply"),
    ],
)
def test_no_toml(text: str, problem: str) -> None:
    """A text that is no TOML is refused with the place where reading failed."""
    assert problems(text) == (problem,)


def test_windows_line_ends() -> None:
    """A file from an editor with other line ends counts its lines right."""
    assert problems("[control]\r\n\r\nx = 1\r\n") == (":3: control.x: unknown key",)


def test_a_file(tmp_path: Path) -> None:
    """A file is read with its name in the configuration and in every message."""
    path = tmp_path / "ntptwist.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    path.chmod(0o644)
    config = load(str(path), find_driver)

    assert (str(path), f"{path}:1", ()) == (config.path, config.sources[0].location, config.warnings)


def test_a_file_that_everybody_may_write(tmp_path: Path) -> None:
    """Who can write the file can set the clock, so a world-writable one is a warning, before all others."""
    path = tmp_path / "ntptwist.toml"
    path.write_text("")
    path.chmod(0o600 | stat.S_IWOTH)

    assert load(str(path), find_driver).warnings == (
        f"{path}: everybody on this machine may write to it",
        f"{path}: no source is configured: the clock is left alone",
    )


def test_a_file_with_problems_names_itself(tmp_path: Path) -> None:
    """The name of the file stands before each problem."""
    path = tmp_path / "ntptwist.toml"
    path.write_text("x = 1\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path), find_driver)

    assert (f"{path}:1: x: unknown key",) == caught.value.problems


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is told in the kernel's words."""
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        load(str(path), find_driver)

    assert (f"{path}: can't be read: No such file or directory",) == caught.value.problems


def test_a_directory(tmp_path: Path) -> None:
    """A directory is no configuration."""
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path), find_driver)

    assert (f"{tmp_path}: can't be read: Is a directory",) == caught.value.problems


def test_other_encodings(tmp_path: Path) -> None:
    """A file in another encoding is refused with the line of the first octet that can't be read."""
    path = tmp_path / "ntptwist.toml"
    path.write_bytes(b"# a\n# b\xfcro\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path), find_driver)

    assert (f"{path}:2: octet 0xfc is not UTF-8",) == caught.value.problems


def test_an_enormous_file(tmp_path: Path) -> None:
    """A file that can't be meant is refused before it is read whole; the largest is still read."""
    path = tmp_path / "ntptwist.toml"
    path.write_bytes(b"#" * LARGEST_FILE)
    largest = load(str(path), find_driver)
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError) as caught:
        load(str(path), find_driver)

    assert largest.sources == ()
    assert (f"{path}: is longer than 1048576 octets",) == caught.value.problems


def test_a_list_of_leap_seconds(tmp_path: Path) -> None:
    """The list is read with the configuration; one that can't be used costs a warning and no start."""
    file = tmp_path / "leap-seconds.list"
    text = f'{SOURCE}[synchronization]\nleap-seconds-file = "{file}"\n'
    missing = loads(text, find_driver, "f.toml")
    file.write_text("#@ 3707596800\n2272060800 10\n#h c3b49b67 0 0 0 0\n")
    changed = loads(text, find_driver, "f.toml")
    digits = hashlib.sha1(b"3707596800227206080010", usedforsecurity=False).digest()
    words = " ".join(digits[i : i + 4].hex() for i in range(0, 20, 4))
    file.write_text(f"#@ 3707596800\n2272060800 10\n#h {words}\n")
    whole = loads(text, find_driver, "f.toml")
    key = "f.toml:5: synchronization.leap-seconds-file: is not used:"

    assert missing.warnings == (f"{key} can't be read: No such file or directory: {file}",)
    assert changed.warnings == (f"{key} its hash is missing or wrong: {file}",)
    assert whole.warnings == ()
    assert (missing.policy.leap_table, changed.policy.leap_table) == (None, None)
    assert whole.policy.leap_table == LeapTable((LeapSecond(63_072_000, 10),), 1_498_608_000)
