"""Shells complete commands and options."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ntptwist.cli.ctl import FAMILIES, main

COMMANDS = [name for names in FAMILIES.values() for name in names]


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Give the script for a shell."""
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_completed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell's script knows every command and its options."""
    text = script(shell, capsys)

    assert [name for name in COMMANDS if name not in text] == []
    assert "max-error" in text
    assert "%(" not in text


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("ntptwist-ctl sta", ["stats", "status"]),
        ("ntptwist-ctl -c x so", ["sources"]),
        ("ntptwist-ctl sources --c", ["--csv"]),
        ("ntptwist-ctl completion ", ["bash", "fish", "zsh"]),
        ("ntptwist-ctl -c x waitsync --t", ["--timeout"]),
    ],
)
def test_bash_completes(
    typed: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A real bash gives the words that can follow."""
    asking = f"""
COMP_WORDS=({typed} {"''" if typed.endswith(" ") else ""})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_ntptwist_ctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", script("bash", capsys) + asking], capture_output=True, text=True, timeout=20, check=True
    )

    given = [word for word in sorted(done.stdout.split()) if not typed.endswith(" ") or not word.startswith("-")]
    assert given == words


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script is one that its shell understands."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    text = script(shell, capsys)
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, timeout=20, check=False)

    assert (done.returncode, done.stderr) == (0, "")
