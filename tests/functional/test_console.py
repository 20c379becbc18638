"""The console of the real daemon, where the configuration allows one."""

from __future__ import annotations

import subprocess

import pytest

from tests.functional.daemon import BIN, Ntptwist
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

SOURCES = [("127.0.1.1", 123)]


def typed(daemon: Ntptwist, text: str) -> subprocess.CompletedProcess[str]:
    """Hand lines to the console."""
    command = [*daemon.lab.entering(), str(BIN / "ntptwist-ctl"), "-c", str(daemon.file), "console"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)


def test_the_console(lab: Lab) -> None:
    """Where it is enabled the parts of the daemon can be looked at, a mistake costs nothing, uses are logged."""
    daemon = Ntptwist(lab, SOURCES)
    with daemon.file.open("a") as file:
        file.write("\n[console]\nenabled = true\n")
    daemon.start().wait(lambda state: bool(state["sources"]), 15)
    shown = typed(daemon, "status()\nclock.control\nconfig.console\nraise SystemExit(1)\n")
    mistaken = typed(daemon, "1 / 0\nsources()\nsources['127.0.1.1:123'].observe().mode\n")
    alive = bool(daemon.status())
    daemon.stop()

    assert "Not synchronized" in shown.stdout
    assert "'observe'" in shown.stdout
    assert "True" in shown.stdout
    assert "ZeroDivisionError" in mistaken.stdout
    assert "Why" in mistaken.stdout
    assert "'server'" in mistaken.stdout
    assert alive
    assert daemon.log().count("console: opened by user") == 2
    assert "Traceback" not in daemon.log()


def test_no_console(lab: Lab) -> None:
    """As shipped there is none, nothing of it is loaded, and the tool says what is missing."""
    daemon = Ntptwist(lab, SOURCES).start()
    daemon.wait(lambda state: bool(state["sources"]), 15)
    refused = typed(daemon, "status()\n")
    daemon.stop()

    assert refused.returncode == 69
    assert "is [console] enabled in its configuration?" in refused.stderr
    assert not (daemon.directory / "console.sock").exists()
