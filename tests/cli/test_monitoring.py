"""Scripts and monitoring ask how the clock is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from ntptwist.cli.ctl import main
from ntptwist.cli.monitoring import seconds
from tests.cli.answering import Answering, ok
from tests.observe.canned import lost, status


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100ms", 0.1), ("2s", 2.0), ("2.5 s", 2.5), ("10us", 1e-5), ("10µs", 1e-5), ("5ns", 5e-9), ("3min", 180.0),
        ("0.1", 0.1), ("1e-3", 1e-3),
    ],
)  # fmt: skip
def test_durations_have_units(text: str, value: float) -> None:
    """A duration is read with its unit; without one it is in seconds."""
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1s", "0", "nan", "inf", "1 hour", "1e999"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(argparse.ArgumentTypeError, match="such as 100ms"):
        seconds(text)


@pytest.mark.parametrize(
    ("state", "options", "ended", "words"),
    [
        (status(), [], 0, "OK - the clock is 12.3 µs slow, certain to within 9.40 ms"),
        (status(), ["-w", "1ms", "-c", "10ms", "--max-error", "10ms"], 0, "OK"),
        (status(), ["-w", "10us", "-c", "10ms"], 1, "WARNING - the clock is 12.3 µs slow, certain to within 9.40 ms;"),
        (status(offset=-0.02), ["-w", "1ms", "-c", "10ms"], 2, "CRITICAL - the clock is 20.0 ms fast"),
        (status(), ["--max-error", "5ms"], 2, "it should be 5.00 ms"),
        (lost(), [], 2, "CRITICAL - not synchronized: waiting for 2 more sources"),
    ],
)
def test_check(
    daemon: Answering,
    capsys: pytest.CaptureFixture[str],
    state: dict[str, Any],
    options: list[str],
    ended: int,
    words: str,
) -> None:
    """``check`` tells monitoring its verdict by word and exit status."""
    daemon.answers["status"] = ok(state)

    assert main(["-c", str(daemon.config), "check", *options]) == ended
    assert words in capsys.readouterr().out


def test_performance_data(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the bar stand the figures with their limits, as monitoring plots them."""
    main(["-c", str(daemon.config), "check", "-w", "1ms", "-c", "10ms", "--max-error", "0.1"])
    figures = capsys.readouterr().out.split(" | ")[1].split()

    assert figures == [
        "offset=0.000012300s;-0.001:0.001;-0.01:0.01",
        "error_bound=0.009400000s;;0.1",
        "frequency=-3.5410",
        "stratum=2",
        "sources_used=3",
    ]


def test_check_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no daemon answers nothing is known: 3."""
    config = tmp_path / "x.toml"
    config.write_text(f'[control]\ndirectory = "{tmp_path}"\n')

    assert main(["-c", str(config), "check"]) == 3
    assert capsys.readouterr().out.startswith("NTPTWIST UNKNOWN - no daemon answers")


@pytest.mark.parametrize(
    ("options", "ended", "words"),
    [
        (["--max-error", "10ms"], 0, "synchronized: the clock is 12.3 µs slow"),
        (["--max-error", "1ms", "--timeout", "1ms"], 1, "synchronized, but less certain than to within 1.00 ms"),
    ],
)
def test_waiting_for_certainty(
    daemon: Answering, capsys: pytest.CaptureFixture[str], options: list[str], ended: int, words: str
) -> None:
    """``waitsync`` ends with 0 when the clock is certain enough, and with 1 when it was not in time."""
    assert main(["-c", str(daemon.config), "waitsync", "--interval", "10ms", *options]) == ended
    assert words in capsys.readouterr().out


def test_waiting_for_the_daemon_and_the_majority(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """``waitsync`` tells each state once, and goes on until the clock is right."""
    states = [b"", b"", ok(lost()), ok(lost())]

    def answer(_: dict[str, Any]) -> Any:
        if len(daemon.asked) < len(states):
            daemon.answers["status"] = states[len(daemon.asked)]
        if len(daemon.asked) == len(states):
            daemon.answers["status"] = ok(status())
        return lost()

    daemon.answers["status"] = answer
    ended = main(["-c", str(daemon.config), "waitsync", "--interval", "1ms", "--timeout", "50ms"])
    told = capsys.readouterr().out.splitlines()

    assert ended == 1
    assert told[0] == "not synchronized: waiting for 2 more sources"
    assert "hung up" in told[1]
