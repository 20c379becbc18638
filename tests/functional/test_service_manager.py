"""The daemon under a service manager, what it logs in everyday life, and what it writes for other tools."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.functional.daemon import BIN, Ntptwist
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

VIRTUAL = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = 40.0'
LOGGING = "server 127.0.1.1 iburst minpoll -2 maxpoll -1\nlog tracking measurements statistics\nlogdir {directory}"
FIGURES = re.compile(r"\d+(\.\d+)?")


def told(manager: socket.socket, seconds: float, until: str) -> list[str]:
    """Give the lines that a service manager is told, up to one that begins so."""
    lines: list[str] = []
    deadline = time.monotonic() + seconds
    while not any(line.startswith(until) for line in lines):
        manager.settimeout(max(deadline - time.monotonic(), 0.01))
        lines += manager.recv(4096).decode().split("\n")
    return lines


@pytest.mark.parametrize(
    "command",
    [[BIN / "ntptwist"], [BIN / "twistd", "-n", "--pidfile=", "ntptwist"]],
    ids=["console script", "twistd plugin"],
)
def test_a_service_manager(lab: Lab, command: list[str | Path]) -> None:
    """It is told when the daemon answers, how the clock is, that the reactor lives, of reloads and of the stop."""
    path = lab.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        environment = ["/usr/bin/env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=500000"]
        server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
        daemon = Ntptwist(lab, [server.address], minimum=0, command=[*environment, *command]).start()
        started = told(manager, 15, "READY=1")
        answered = bool(daemon.status())
        synchronised = told(manager, 15, "STATUS=clock")
        daemon.ctl("reload")
        told(manager, 5, "RELOADING=1")
        reloaded = told(manager, 5, "READY=1")
        daemon.stop()
        stopping = told(manager, 5, "STOPPING=1")

    assert started == ["READY=1"]
    assert answered
    assert synchronised.count("WATCHDOG=1") >= 2
    assert re.match(r"STATUS=clock .+ (slow|fast), certain to within .+: synchronized", synchronised[-1])
    assert reloaded[-1] == "READY=1"
    assert stopping[-1] == "STOPPING=1"


def test_one_line_for_each_change_of_state(lab: Lab) -> None:
    """At the everyday level nothing is logged for a measurement, and no change of state is told twice."""
    server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address], minimum=-2).start()
    daemon.wait(lambda state: bool(state["synchronized"]), 15)
    before = daemon.log()
    state = daemon.wait(lambda state: state["sources"][0]["measurements"] >= 20, 30)
    after = daemon.log()
    server.stop()
    daemon.wait(lambda state: state["sources"][0]["reach"] == 0, 30)
    daemon.stop()
    lines = Counter(FIGURES.sub("#", line) for line in daemon.log().splitlines())

    assert state["sources"][0]["received"] >= 20
    assert after == before
    assert [line for line, count in lines.items() if count > 1] == []


def written(lab: Lab, style: str) -> dict[str, list[str]]:
    """Give the statistics of a daemon whose clock starts 0.3 s slow and runs 40 ppm fast, by the name of the file."""
    server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
    daemon = Ntptwist(lab, [server.address], minimum=-2, clock=VIRTUAL)
    directory = daemon.directory / "statistics"
    with daemon.file.open("a") as file:
        file.write(f'\n[statistics]\ndirectory = "{directory}"\nformat = "{style}"\n')
    daemon.start().wait(lambda state: bool(state["sources"]) and state["sources"][0]["measurements"] >= 16, 30)
    daemon.stop()
    return {file.name.rpartition(".")[0]: file.read_text().splitlines() for file in directory.iterdir()}


def test_statistics_of_ntpd(lab: Lab) -> None:
    """In ntpd's files a slow clock has a positive offset, and a fast one gets a negative frequency."""
    files = written(lab, "ntpd")

    assert files.keys() == {"loopstats", "peerstats"}
    assert float(files["peerstats"][0].split()[4]) == pytest.approx(0.3, abs=0.01)
    assert float(files["loopstats"][-1].split()[3]) == pytest.approx(-40, abs=5)


def test_statistics_of_chrony(lab: Lab) -> None:
    """Chrony's files have a real chronyd's columns, and its signs: a fast clock has a positive frequency."""
    files = written(lab, "chrony")
    directory = lab.directory / "logged"
    directory.mkdir()
    Chrony(lab, "sid", ip="127.0.1.7", extra=LOGGING.format(directory=directory)).start().wait_synchronised(15)
    theirs = {file.name: file.read_text().splitlines() for file in directory.iterdir()}

    assert files.keys() == theirs.keys() == {"measurements.log", "statistics.log", "tracking.log"}
    for name, lines in files.items():
        assert lines[:3] == theirs[name][:3]
        assert len(lines[3].split()) == len(theirs[name][-1].split())
    assert float(files["measurements.log"][3].split()[11]) == pytest.approx(0.3, abs=0.01)
    assert float(files["tracking.log"][-1].split()[4]) == pytest.approx(40, abs=5)


def test_the_journal(lab: Lab) -> None:
    """Where standard error is the journal, decisions are entries with their kind and source, and no text is printed."""
    directory = lab.directory / "journal"
    directory.mkdir()
    lab.run(["mount", "-t", "tmpfs", "none", "/run"])
    lab.run(["mkdir", "-p", "/run/systemd/journal"])
    lab.run(["mount", "--bind", directory, "/run/systemd/journal"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(directory / "socket"))
        server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
        log = lab.directory / "ntptwist" / "log"
        log.parent.mkdir()
        log.touch()
        stream = f"JOURNAL_STREAM={log.stat().st_dev}:{log.stat().st_ino}"
        daemon = Ntptwist(lab, [server.address], command=["/usr/bin/env", stream, BIN / "ntptwist"]).start()
        entry: dict[str, str] = {}
        entries = []
        while entry.get("NTPTWIST_KIND") != "synchronized":
            journal.settimeout(15)
            entry = dict(line.split("=", 1) for line in journal.recv(65_536).decode().splitlines())
            entries.append(entry)
        daemon.stop()

    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "ntptwist"
    assert "127.0.1.1:123" in {each.get("NTPTWIST_SOURCE") for each in entries}
    assert daemon.log() == ""
