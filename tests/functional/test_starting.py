"""Every way of starting the daemon, and every way in which it must refuse to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.functional.daemon import BIN, ROOT, Ntptwist
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

SOURCES = [("127.0.1.1", 123)]


@pytest.mark.parametrize(
    "command",
    [
        [BIN / "ntptwist"],
        [BIN / "twistd", "-n", "--pidfile=", "ntptwist"],
        [sys.executable, "-m", "ntptwist.cli.daemon"],
    ],
    ids=["console script", "twistd plugin", "module"],
)
def test_ways_of_starting(lab: Lab, command: list[str | Path]) -> None:
    """The console script, the twistd plugin and the module start the same daemon, and SIGTERM ends it."""
    daemon = Ntptwist(lab, SOURCES, command=command).start()
    state = daemon.wait(lambda state: bool(state["sources"]), 15)
    daemon.stop()

    assert state["sources"][0]["name"] == "127.0.1.1:123"
    assert state["control"] == "observe"
    assert "Traceback" not in daemon.log()


def test_tac_file(lab: Lab) -> None:
    """``twistd -ny etc/ntptwist.tac`` starts the same daemon."""
    daemon = Ntptwist(lab, SOURCES, command=[BIN / "twistd", "--pidfile="])
    daemon.start("-ny", str(ROOT / "etc/ntptwist.tac"))
    state = daemon.wait(lambda state: bool(state["sources"]), 15)
    daemon.stop()

    assert state["control"] == "observe"


@pytest.mark.parametrize(
    "command",
    [[BIN / "ntptwist"], [BIN / "twistd", "-n", "--pidfile=", "ntptwist"]],
    ids=["console script", "twistd plugin"],
)
def test_no_privilege(lab: Lab, command: list[str | Path]) -> None:
    """Without CAP_SYS_TIME a daemon that is to steer the system's clock says so in one line and ends with 70."""
    daemon = Ntptwist(lab, SOURCES, clock='control = "system"', command=command).start()
    status = daemon.wait_exit(15)
    complaints = [line for line in daemon.log().splitlines() if "CAP_SYS_TIME" in line]

    assert status == 70
    assert len(complaints) == 1
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize(
    "command",
    [[BIN / "ntptwist"], [BIN / "twistd", "-n", "--pidfile=", "ntptwist"]],
    ids=["console script", "twistd plugin"],
)
def test_an_address_that_can_not_be_had(lab: Lab, command: list[str | Path]) -> None:
    """A server whose address is taken, or not this machine's, is one line and 69, before the clock is touched."""
    daemon = Ntptwist(lab, SOURCES, clock='control = "system"', command=command)
    with daemon.file.open("a") as file:
        file.write('\n[[server]]\nlisten = "203.0.113.77:123"\nallowlist = { filter = [] }\n')
    status = daemon.start().wait_exit(15)
    complaints = [line for line in daemon.log().splitlines() if "203.0.113.77" in line]

    assert status == 69
    assert len(complaints) == 1
    assert "can't serve time on 203.0.113.77:123: Cannot assign requested address" in complaints[0]
    assert "CAP_SYS_TIME" not in daemon.log()
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize(
    "command",
    [[BIN / "ntptwist"], [BIN / "twistd", "-n", "--pidfile=", "ntptwist"]],
    ids=["console script", "twistd plugin"],
)
def test_wrong_configuration(lab: Lab, command: list[str | Path]) -> None:
    """A configuration with mistakes is refused with all of them, each with its line, and 78."""
    daemon = Ntptwist(lab, SOURCES, command=command)
    with daemon.file.open("a") as file:
        file.write('\n[[source]]\nmode = "servr"\naddress = "x"\n\n[observability]\nlog-levl = "info"\n')
    lines = len(daemon.file.read_text().splitlines())
    status = daemon.start().wait_exit(15)
    log = daemon.log()

    assert status == 78
    assert f"ntptwist.toml:{lines - 4}: " in log
    assert f"ntptwist.toml:{lines}: observability.log-levl" in log
    assert "did you mean 'log-level'?" in log
    assert "Traceback" not in log


def test_check_config(lab: Lab) -> None:
    """``ntptwist-ctl check-config`` reads the file as the daemon will."""
    daemon = Ntptwist(lab, SOURCES)
    good = daemon.ctl("check-config")
    daemon.file.write_text("[sourc]\n")
    bad = daemon.ctl("check-config")

    assert good.returncode == 0
    assert "good, 1 sources" in good.stdout
    assert bad.returncode == 78
    assert "ntptwist.toml:1: sourc" in bad.stderr


def test_no_clock_control(lab: Lab) -> None:
    """``--no-clock-control`` overrides the configuration and needs no privilege."""
    daemon = Ntptwist(lab, SOURCES, clock='control = "system"')
    daemon.start("-c", str(daemon.file), "--no-clock-control")
    state = daemon.wait(bool, 15)
    daemon.stop()

    assert state["control"] == "observe"


def test_demo(lab: Lab) -> None:
    """``ntptwist --demo`` synchronises its virtual clock, says so, finds the wrong server and ends on the pulse."""
    daemon = Ntptwist(lab, [])
    daemon.start("--demo")
    named: list[str] = []

    def config_named() -> bool:
        named[:] = [word for word in daemon.log().split() if word.endswith("ntptwist.toml")]
        return bool(named)

    deadline = 100
    while not config_named() and deadline:
        lab.run(["sleep", "0.1"])
        deadline -= 1
    shutil.copy(named[0], daemon.file)
    state = daemon.wait(lambda state: state["sources"][3]["reason"].startswith("falseticker"), 20)
    daemon.wait(lambda state: "within 100 µs" in daemon.log(), 40)
    pulses = daemon.wait(lambda state: state["sources"][-1]["selected"], 60)
    daemon.stop()

    assert "the clock is within 1 ms of the truth" in daemon.log()
    assert state["synchronized"]
    assert not state["sources"][3]["selected"]
    assert [row["mode"] for row in pulses["sources"]] == [*["server"] * 4, "nts", *["pool"] * 4, "sock", "pps"]
    assert pulses["sources"][4]["nts_cookies"] == 8
    assert not Path(named[0]).exists()
