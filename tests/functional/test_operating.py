"""What an operator does with the tool, against the real daemon and real servers."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable

import pytest

from tests.functional.daemon import BIN, Ntptwist
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

NOBODY = "127.0.1.9"
VIRTUAL = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = 40.0'


@pytest.fixture
def daemon(lab: Lab) -> Ntptwist:
    """The daemon with two good servers and one that does not answer, ready to be started."""
    good = [Chrony(lab, "sid", ip=f"127.0.1.{each}", stratum=1).start() for each in (1, 2)]
    addresses = [server.wait_synchronised(15).address for server in good]
    return Ntptwist(lab, [*addresses, (NOBODY, 123)], clock=VIRTUAL, minimum=2)


def told(daemon: Ntptwist, *words: str) -> str:
    """Give what a command prints; it has to succeed."""
    done = daemon.ctl(*words)

    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_day_in_the_life_of_an_operator(daemon: Ntptwist) -> None:
    """Waiting, looking, asking why and monitoring all work on a daemon that was just started."""
    before = daemon.ctl("check")
    daemon.start()
    waited = told(daemon, "waitsync", "--max-error", "100ms", "--timeout", "15s")
    daemon.wait(lambda state: state["sources"][0]["measurements"] >= 4, 15)
    status, sources, silent = told(daemon, "status"), told(daemon, "sources"), told(daemon, "why", NOBODY)
    rows = list(csv.DictReader(io.StringIO(told(daemon, "sources", "--csv"))))
    journal = [json.loads(line) for line in told(daemon, "events", "--json").splitlines()]
    checks = [daemon.ctl("check", *options).returncode for options in ([], ["-w", "1ns"], ["--max-error", "1ns"])]
    good = [row["id"] for row in rows if row["selected"] == "True"]

    assert before.returncode == 3
    assert "synchronized: the clock is" in waited
    assert status.startswith("Synchronized")
    assert "Intervals (" in sources
    assert "0 of the last 8 polls answered" in silent
    assert len(good) == 2
    assert "used" in told(daemon, "why", good[0])
    assert "the clock was 300 ms slow: stepped forward" in told(daemon, "why")
    assert told(daemon, "tracking").startswith("Reference ID    : ")
    assert told(daemon, "stats").count("\n") >= 4
    assert [entry["number"] for entry in journal] == list(range(1, len(journal) + 1))
    assert {"source", "selection", "step", "synchronized"} <= {entry["kind"] for entry in journal}
    assert checks == [0, 1, 2]
    assert daemon.stop() == 0


def test_events_are_followed_until_the_daemon_ends(daemon: Ntptwist) -> None:
    """``events --follow`` tells of each decision as it is made, and ends with the daemon: 69."""
    daemon.start()
    daemon.wait(bool, 15)
    command = [*daemon.lab.entering(), str(BIN / "ntptwist-ctl"), "-c", str(daemon.file), "events", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        daemon.wait(lambda state: state["synchronized"], 20)
        daemon.wait(lambda state: state["last_event"] >= 4, 20)
        daemon.stop()
        printed, complaint = following.communicate(timeout=20)

    assert "synchronized: 2 of 2 sources agree" in printed
    assert "the daemon hung up" in complaint
    assert following.returncode == 69


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (("drivers",), lambda printed: "pool " in printed and "pps " in printed),
        (("drivers", "--json"), lambda printed: json.loads(printed)["broken"] == []),
        (("completion", "bash"), lambda printed: "complete -F" in printed),
    ],
)
def test_what_needs_no_daemon(daemon: Ntptwist, words: tuple[str, ...], holds: Callable[[str], bool]) -> None:
    """The installed drivers and the completion are told without a daemon."""
    assert holds(told(daemon, *words))
