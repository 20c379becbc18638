"""A scenario file is read with the daemon's words for what is wrong, and run to figures that limits hold."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ntptwist.errors import ConfigError
from ntptwist.identifiers import KissCode, Leap
from ntptwist.registry import find_driver
from ntptwist.sim import network, plot, verdict
from ntptwist.sim.scenario import (
    Disconnect,
    ForeignStep,
    LeapSecond,
    Limits,
    ReceiverPlan,
    Refuse,
    Restart,
    Scenario,
    Suspend,
    Window,
)
from ntptwist.sim.scenario_file import load, loads
from ntptwist.sim.trial import run

SMALL = """
title = "small"

[world]
duration = 3000
settle = 1000
offset = -0.1

[[server]]
address = "198.51.100.1"
path = { base = 100e-6, jitter = 100e-6 }

[[daemon.source]]
mode = "server"
address = "198.51.100.1"
"""

FULL = """
title = "everything that can be said"
nightly = true

[world]
seeds = [3, 5]
duration = 50_000
settle = 2000
start = 2026-06-30T12:00:00.5Z
offset = 0.2

[world.oscillator]
frequency = 100
wander = 1e-2
sines = [{ amplitude = 2, period = 3600 }]
frequency-jumps = [[10_000, -1]]
wander-jumps = [[20_000, 1]]

[[server]]
address = "198.51.100.1"
offset = 1e-3
frequency = 5
leap = "insert"
stratum = 2
reference-id = "PTP"
root-delay = 1e-3
root-dispersion = 2e-3
processing = 1e-5
kiss = "rate"
kiss-within = 4
path = { base = 1e-3, jitter = 1e-4, shape = "pareto" }
up = { loss = 0.1, duplication = 0.2, reordering = 0.3, hold = 1 }
down = { outages = [[5, 6]], routes = [[7, 1e-3]], congestions = [[8, 9, 10]], correlation = 60 }

[[server.change]]
at = 1000
kiss = "none"

[[server.change]]
at = 2000
silent = true

[[name]]
name = "ntp.example"
addresses = ["198.51.100.1"]
delay = 0.5

[receiver]
path = "/run/feed.sock"
pulse-jitter = 1e-7
sample-outages = [[1, 2]]

[[event]]
at = 1
kind = "step"
seconds = -0.5

[[event]]
at = 2
kind = "suspend"
seconds = 60
error = 0.1

[[event]]
at = 43_199.5
kind = "leap"
leap = "insert"

[[event]]
at = 4
kind = "disconnect"
seconds = 30

[[event]]
at = 5
kind = "restart"

[[event]]
at = 6
kind = "refuse"

[[daemon.source]]
mode = "server"
address = "ntp.example"

[limits]
rms = 1e-3
frequency = 0.5
below-1ms = 7
synchronized = false
used = ["198.51.100.1"]
told = ["somebody"]

[[limits.window]]
first = 10
last = 20
maximum = 1
"""


def small(more: str = "") -> Scenario:
    """Give a small scenario with more to its end."""
    return loads(SMALL + more, find_driver, "small.toml")


def test_everything_that_can_be_said() -> None:
    """Every key of a scenario file arrives where it belongs, ppm as fractions."""
    scenario = loads(FULL, find_driver, "/tmp/full.toml")
    (server,) = scenario.servers

    assert (scenario.name, scenario.nightly, scenario.seeds) == ("full", True, (3, 5))
    assert scenario.start == 1_782_820_800_500_000_000
    assert scenario.oscillator.frequency == pytest.approx(1e-4)
    assert scenario.oscillator.wander == pytest.approx(1e-8)
    assert scenario.oscillator.sines[0].amplitude == pytest.approx(2e-6)
    assert scenario.oscillator.frequency_jumps == ((10_000.0, -1e-6),)
    assert scenario.oscillator.wander_jumps == ((20_000.0, 1e-6),)
    assert server.behaviour.leap is Leap.INSERT
    assert server.behaviour.kiss is KissCode.RATE
    assert server.behaviour.reference_id == b"PTP\0"
    assert [(at, behaviour.kiss, behaviour.silent) for at, behaviour in server.changes] == [
        (1000.0, None, False),
        (2000.0, None, True),
    ]
    assert (server.up.base, server.up.loss, server.up.shape) == (1e-3, 0.1, network.pareto)
    assert (server.down.outages, server.down.routes) == (((5.0, 6.0),), ((7.0, 1e-3),))
    assert (server.down.congestions, server.down.correlation, server.down.loss) == (((8.0, 9.0, 10.0),), 60.0, 0.0)
    assert scenario.names[0].addresses == ("198.51.100.1",)
    assert scenario.receiver == ReceiverPlan("/run/feed.sock", pulse_jitter=1e-7, sample_outages=((1.0, 2.0),))
    assert scenario.events == (
        ForeignStep(1.0, -0.5),
        Suspend(2.0, 60.0, 0.1),
        LeapSecond(43_199.5, Leap.INSERT),
        Disconnect(4.0, 30.0),
        Restart(5.0),
        Refuse(6.0),
    )
    assert scenario.limits == Limits(
        rms=1e-3,
        frequency=0.5e-6,
        below_1ms=7,
        synchronized=False,
        used=("198.51.100.1",),
        told=("somebody",),
        windows=(Window(10, 20, maximum=1.0),),
    )
    assert [source.mode for source in scenario.config.sources] == ["server"]


def test_what_is_left_out() -> None:
    """A scenario needs little: an ordinary crystal, one seed, figures from a quarter of the time on, no limits."""
    scenario = loads("[daemon]\n", find_driver)

    assert (scenario.seeds, scenario.duration, scenario.settle) == ((1,), 40_000, 10_000)
    assert (scenario.oscillator.frequency, scenario.oscillator.wander) == (20e-6, 1e-9)
    assert scenario.limits == Limits()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("[limits]\nrmss = 1\n", "2: limits.rmss: unknown key (did you mean 'rms'?)"),
        ("[[event]]\nat = 1\nkind = 'stepp'\n", "3: event[1].kind: expected one of 'step', "),
        ("[[event]]\nat = 4000\nkind = 'refuse'\n", "2: event[1].at: expected a number from 0 to 3000"),
        ("[[server]]\naddress = 'ntp.example'\n", "2: server[2].address: 'ntp.example' does not appear"),
        ("[[server]]\naddress = '198.51.100.1'\n", "2: server[2].address: 198.51.100.1 is the address of"),
        (
            "[[server]]\naddress = '198.51.100.2'\npath = { outages = [1] }\n",
            "3: server[2].path.outages: expected a list of lists of 2 numbers",
        ),
        ("[[daemon.source]]\nmode = 'server'\n", "1: daemon.source[2].address: required key is missing"),
        ("[daemon.clock]\ncontrol = 'observe'\n", "1: daemon.clock: the clock of a scenario is its"),
        ("[limits]\nunused = ['198.51.100.9']\n", "2: limits.unused: no server has the address"),
    ],
)
def test_problems_have_their_lines(more: str, problem: str) -> None:
    """A mistake in a scenario is told with the line on which it stands."""
    with pytest.raises(ConfigError) as raised:
        small(more)
    line, text = problem.split(": ", 1)

    assert f"small.toml:{SMALL.count(chr(10)) + int(line)}: {text}" in str(raised.value)


@pytest.mark.parametrize(
    ("world", "problem"),
    [
        ("seeds = 3", "world.seeds: expected a list of whole numbers, not 3"),
        ("start = 5", "world.start: expected a date and a time, not 5"),
        ("duration = 10\nsettle = 10", "world.settle: expected a whole number from 0 to 9, not 10"),
    ],
)
def test_problems_of_the_world(world: str, problem: str) -> None:
    """Seeds are a list, a start is a date with a time, and figures need seconds to be drawn from."""
    with pytest.raises(ConfigError) as raised:
        loads(f"[world]\n{world}\n[daemon]\n", find_driver)

    assert problem in str(raised.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    """A file that is missing, enormous or not UTF-8 is a problem in one line."""
    enormous, latin = tmp_path / "enormous.toml", tmp_path / "latin.toml"
    enormous.write_bytes(b"#" * (1 << 20 | 1))
    latin.write_bytes(b'title = "caf\xe9"\n')
    problems = []
    for path in (tmp_path / "missing.toml", enormous, latin):
        with pytest.raises(ConfigError) as raised:
            load(str(path), find_driver)
        problems.append(str(raised.value).removeprefix(f"{path}: "))

    assert problems == [
        "can't be read: No such file or directory",
        "is longer than 1048576 octets",
        "octet 0xe9 is not UTF-8",
    ]


def test_the_same_seed_gives_the_same_run() -> None:
    """A trial is a function of its scenario and its seed."""
    scenario = small()
    reports = [run(scenario, seed) for seed in (1, 1, 2)]

    assert reports[0] == reports[1]
    assert reports[0].statistics != reports[2].statistics


def test_progress_is_told() -> None:
    """What is told of the progress adds up to the duration."""
    passed: list[float] = []
    run(small(), 1, passed.append)

    assert sum(passed) == pytest.approx(3000)
    assert len(passed) > 100


def test_limits_that_are_not_kept_are_told() -> None:
    """Each limit that a run does not keep is one line with what it was and what it may be."""
    limits = Limits(
        rms=1e-9,
        packets=1,
        steps=1,
        beyond_bound=0.0,
        synchronized=False,
        exit_status=70,
        used=("198.51.100.9",),
        unused=("198.51.100.1",),
        told=("panic",),
        untold=("synchronized",),
        windows=(Window(2000, 3000, rms=1.0, maximum=1e-9),),
    )
    scenario = small("[[limits.window]]\nfirst = 2000\n")
    report = run(scenario, 1)
    lines = verdict.broken(limits, report)

    assert [line.partition(":")[0] for line in lines] == [
        "RMS",
        "packets",
        "maximum from 2000 s to 3000 s",
        "the daemon ends synchronized",
        "exit status 0, not 70",
        "198.51.100.9 was never used",
        "198.51.100.1 was used",
        "no decision says 'panic'",
        "a decision says",
    ]


def test_what_never_came_is_later_than_everything() -> None:
    """The median of a time that half of the runs never reached is the latest of the other half."""
    scenario = small()
    reports = [run(scenario, seed) for seed in (1, 2)]
    never = run(loads("[world]\nduration = 3000\noffset = 1\n[daemon]\n", find_driver), 1)
    median = verdict.medians([*reports, never])

    assert never.statistics.below_1ms is None
    assert median.below_1ms == max(report.statistics.below_1ms or 0 for report in reports)
    assert "never" in "\n".join(verdict.table(scenario, [never]))


def test_a_daemon_that_ends_is_seen() -> None:
    """When the kernel refuses to be steered the daemon ends with status 70, and the world goes on."""
    report = run(small("[[event]]\nat = 1000\nkind = 'refuse'\n"), 1)

    assert report.exit_status == 70
    assert not report.synchronized
    assert report.looks[100].uncertainty is not None
    assert report.looks[-1].uncertainty is None
    assert report.statistics.seconds == 2000


def test_a_restarted_daemon_goes_on() -> None:
    """After a restart the daemon is another one that has what the first one kept."""
    report = run(small("[[event]]\nat = 1500\nkind = 'restart'\nseconds = 20\n"), 1)
    synchronized = [when for when, reason in report.told if reason.startswith("synchronized")]

    assert len(synchronized) == 2
    assert synchronized[1] == pytest.approx(1520, abs=1)
    assert report.statistics.maximum < 300e-6


def test_a_receiver_feeds_samples_and_pulses() -> None:
    """Sources of both kinds hear the receiver, and are missed when it is silent."""
    text = """
    [world]
    duration = 1000
    settle = 300
    [receiver]
    pulse-outages = [[500, 600]]
    [[daemon.source]]
    mode = "sock"
    path = "/run/gps.sock"
    precision = 1e-3
    [[daemon.source]]
    mode = "pps"
    path = "/dev/pps0"
    precision = 1e-6
    [[limits.window]]
    first = 300
    last = 500
    """
    report = run(loads(text, find_driver), 1)

    assert report.windows[0][0] < 1e-6
    assert report.used == {"/run/gps.sock", "/dev/pps0"}
    assert any("no sample for" in reason for _, reason in report.told)


def test_an_error_of_one_size_has_a_linear_axis() -> None:
    """A clock that nobody corrects drifts away on an axis with round marks."""
    scenario = loads("[world]\nduration = 10_000\n[daemon]\n", find_driver, "alone.toml")
    text = plot.svg(scenario, [run(scenario, 1)])

    assert all(f">{mark}</text>" in text for mark in ("-200 ms", "-100 ms", "0", "100 ms", "200 ms"))
    assert ">alone</text>" in text


def test_plots_are_small_pictures() -> None:
    """A plot is well-formed SVG with its title, marks for what happened, and some thousand octets for each run."""
    events = "".join(
        f"[[event]]\nat = {at}\nkind = '{kind}'\n"
        for at, kind in (
            (500, "step'\nseconds = 1e-2 #"),
            (1000, "suspend'\nseconds = 100 #"),
            (1500, "leap'\nleap = 'insert' #"),
            (1700, "disconnect'\nseconds = 60 #"),
            (2000, "restart"),
            (2500, "refuse"),
        )
    )
    scenario = loads(SMALL + events, find_driver, "small.toml")
    text = plot.svg(scenario, [run(scenario, seed) for seed in (1, 2)])
    words = [element.text for element in ET.fromstring(text).iter() if element.tag.endswith("text")]

    assert words[0] == "small"
    assert {
        "stepped by 10 ms",
        "asleep for 100 s",
        "leap second: insert",
        "no network for 60 s",
        "restart",
        "the kernel refuses",
    } <= set(words)
    assert "currentColor" in text
    assert len(text) < 24_000
