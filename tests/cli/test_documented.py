"""Every command and option of our programs is documented, in the pages from which the man pages are made too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ntptwist.cli import ctl, lab
from ntptwist.tap import Options

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "commands.rst").read_text(encoding="utf-8")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
CTL = [name for names in ctl.FAMILIES.values() for name in names]
LAB = ["run", "replay"]


def part(program: str) -> str:
    """Give what the reference, and the man page, say of a program."""
    return REFERENCE.partition(f".. begin {program}")[2].partition(f".. end {program}")[0]


def options(capsys: pytest.CaptureFixture[str], tool: str, *words: str) -> list[set[str]]:
    """Give the options that the help of a command names, each with its other names."""
    main = ctl.main if tool == "ctl" else lab.main
    assert main([*words, "--help"]) == 0
    _, _, listed = capsys.readouterr().out.partition("options:")
    entries = re.findall(r"^  (-.*?)(?:  .*)?$", listed, re.MULTILINE)
    return [set(OPTION.findall(entry)) for entry in entries if "--help" not in entry]


def undocumented(text: str, entries: list[set[str]]) -> list[set[str]]:
    """Give the options of which a text has no name."""
    named = {option for literal in re.findall(r"``([^`]+)``", text) for option in OPTION.findall(literal)}
    return [entry for entry in entries if not entry & named]


def test_the_help_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """What these tests read from a help text are its options."""
    assert {"--json"} in options(capsys, "ctl", "status")
    assert {"--seeds"} in options(capsys, "lab", "run")
    assert undocumented("``-v`` and ``--json``", [{"-v", "--verbose"}, {"--csv"}]) == [{"--csv"}]


@pytest.mark.parametrize("command", CTL)
def test_the_operators_tool(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Every command of ntptwist-ctl is explained, with all its options."""
    text = part("ntptwist-ctl(1)")

    assert re.search(rf"^``(.*``)?{command}\b", text, re.MULTILINE)
    assert undocumented(text, options(capsys, "ctl", command)) == []


@pytest.mark.parametrize("command", LAB)
def test_the_lab(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Every command of ntptwist-lab is explained, with all its options."""
    text = part("ntptwist-lab(1)")

    assert re.search(rf"^``(.*``)?{command}\b", text, re.MULTILINE)
    assert undocumented(text, options(capsys, "lab", command)) == []


def test_the_daemon() -> None:
    """Every option of the daemon is explained."""
    rows = [*Options.optParameters, *Options.optFlags]
    names = [{f"--{row[0]}"} for row in rows] + [{f"-{row[1]}"} for row in rows if row[1]]

    assert undocumented(part("ntptwist(8)"), names) == []
