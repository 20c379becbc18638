"""The units for systemd, looked at by systemd's own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "etc" / "systemd"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as they would be installed, with the programs where they are here."""
    copies = []
    for unit in sorted(UNITS.glob("*.service")):
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(unit.read_text().replace("/usr/bin/", f"{Path(sys.executable).parent}/"))
    return copies


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run([str(ANALYZE), *words], capture_output=True, text=True, timeout=60, check=False)


def test_verify(units: list[Path]) -> None:
    """Systemd understands every line, and finds what the units name."""
    done = analyze("verify", "--man=no", *units)
    complaints = [line for line in done.stderr.splitlines() if "ntptwist" in line]

    assert len(units) == 2
    assert complaints == []
    assert done.returncode == 0


@pytest.mark.parametrize(("unit", "limit"), [("ntptwist.service", 2.5), ("ntptwist-wait.service", 2.5)])
def test_exposure(units: list[Path], unit: str, limit: float) -> None:
    """By systemd's own count of what a service may do the daemon may do little."""
    (path,) = [each for each in units if each.name == unit]
    done = analyze("security", "--offline=true", "--no-pager", path)
    found = EXPOSURE.search(done.stdout)

    assert found is not None, done.stderr
    assert float(found[1]) <= limit


def test_a_panic_is_not_started_again() -> None:
    """After an exit for which somebody has to look first, systemd leaves the daemon stopped."""
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", (UNITS / "ntptwist.service").read_text(), re.MULTILINE)

    assert line.split() == ["64", "70", "78"]
