"""``sync --once`` beside a running daemon, and where none runs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.functional.daemon import BIN, SOURCE, Ntptwist
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

REFERENCES = ["127.0.1.1", "127.0.1.2", "127.0.1.3"]
QUICK = "\n[source-defaults]\npoll-interval-limits = { min = -2, max = 6 }\n"
SERVER = '\n[[server]]\nlisten = "{}:123"\nallowlist = {{ filter = ["127.0.0.0/8"] }}\n'


@pytest.fixture
def reference(lab: Lab) -> Ntptwist:
    """A daemon that serves this machine's own clock, at three addresses."""
    daemon = Ntptwist(lab, [])
    text = daemon.file.read_text() + "\n[synchronization]\nlocal-stratum = 1\n"
    daemon.file.write_text(text + "".join(map(SERVER.format, REFERENCES)))
    daemon.start()
    daemon.wait(lambda state: len(state["servers"]) == 3, 15)
    return daemon


def sync(lab: Lab, file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the tool with a configuration of its own."""
    command: Sequence[str] = [str(BIN / "ntptwist-ctl"), "-c", str(file), "sync", "--once", *words]
    return subprocess.run([*lab.entering(), *command], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("control", ["system", "observe"])
def test_no_daemon(lab: Lab, reference: Ntptwist, control: str) -> None:
    """The sources are asked at once; without the privilege, or where nothing may be steered, one line says so."""
    file = reference.directory / "other.toml"
    sources = "".join(SOURCE.format(ip=ip, port=123) for ip in REFERENCES)
    file.write_text(f'[clock]\ncontrol = "{control}"\n[control]\ndirectory = "/nonexistent"\n{QUICK}{sources}')
    done = sync(lab, file, "--yes")
    asked = sync(lab, file)
    reference.stop()

    assert done.stdout.startswith("the clock is ")
    assert ", certain to within " in done.stdout
    assert done.returncode == (70 if control == "system" else 1)
    assert ("CAP_SYS_TIME is missing" if control == "system" else "control = 'observe'") in done.stderr
    assert asked.returncode == 1
    assert "not stepped: there is no terminal to ask on" in asked.stderr
    assert "Traceback" not in done.stderr + asked.stderr


def test_a_running_daemon(lab: Lab, reference: Ntptwist, tmp_path: Path) -> None:
    """A daemon that keeps a clock steps it when it is told to, and keeps it on."""
    file = tmp_path / "virtual.toml"
    sources = "".join(SOURCE.format(ip=ip, port=123) for ip in REFERENCES)
    file.write_text(
        '[clock]\ncontrol = "virtual"\nvirtual-offset = 0.4\n[synchronization]\nstep-policy = "never"\n'
        f'[control]\ndirectory = "{tmp_path}/run"\n{sources}'
    )
    with (tmp_path / "log").open("ab") as log:
        lab.popen([BIN / "ntptwist", "-c", file], output=log)
    for _ in range(100):
        if (tmp_path / "run" / "observe.sock").exists():
            break
        lab.run(["sleep", "0.1"])
    done = sync(lab, file, "--yes")
    for _ in range(100):
        if done.returncode == 0:
            break
        lab.run(["sleep", "0.2"])
        done = sync(lab, file, "--yes")
    reference.stop()

    assert done.stdout.splitlines()[1:] == ["the clock was stepped"]
    assert "ms slow, certain to within" in done.stdout
    assert "slow: stepped forward" in (tmp_path / "log").read_text()
