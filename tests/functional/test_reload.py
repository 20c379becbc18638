"""A real daemon is changed while it runs: by SIGHUP, by the tool, and by files that can't be used."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import BIN, SOURCE, Ntptwist
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

FOUR = [(f"127.0.1.{number}", 123) for number in range(1, 5)]
TWISTD = [BIN / "twistd", "-n", "--pidfile=", "ntptwist"]


def names(state: dict[str, Any]) -> list[str]:
    """Give the names of the sources."""
    return [row["name"].removesuffix(":123") for row in state["sources"]]


def logged(daemon: Ntptwist, words: str, seconds: float = 10.0) -> None:
    """Wait until the daemon has said something."""
    deadline = time.monotonic() + seconds
    while words not in daemon.log():
        assert time.monotonic() < deadline, daemon.log()
        time.sleep(0.05)


@pytest.mark.parametrize("command", [[BIN / "ntptwist"], TWISTD], ids=["console script", "twistd plugin"])
def test_hang_up(lab: Lab, command: list[str | Path]) -> None:
    """SIGHUP reads the file and its drop-ins anew; what did not change keeps its number."""
    daemon = Ntptwist(lab, FOUR, command=command).start()
    before = daemon.wait(lambda state: len(state["sources"]) == 4 and all(row["id"] for row in state["sources"]), 15)
    drop_ins = daemon.directory / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "20-more.toml").write_text(SOURCE.format(ip="127.0.1.6", port=123))
    (drop_ins / "10-more.toml").write_text(SOURCE.format(ip="127.0.1.5", port=123))
    daemon.file.write_text(daemon.file.read_text().replace("127.0.1.1:", "127.0.1.9:"))
    daemon.signal(signal.SIGHUP)
    after = daemon.wait(lambda state: len(state["sources"]) == 6 and all(row["id"] for row in state["sources"]), 10)
    daemon.stop()

    assert names(after) == ["127.0.1.9", "127.0.1.2", "127.0.1.3", "127.0.1.4", "127.0.1.5", "127.0.1.6"]
    assert [row["id"] for row in after["sources"][1:4]] == [row["id"] for row in before["sources"][1:]]
    assert "the configuration is read anew" in daemon.log()
    assert "source server 127.0.1.1:123 goes" in daemon.log()
    assert "source server 127.0.1.5:123 is new" in daemon.log()
    assert "Traceback" not in daemon.log()


def test_broken_files(lab: Lab) -> None:
    """All mistakes of all files are listed by the tool and in the log, and nothing changes."""
    daemon = Ntptwist(lab, FOUR).start()
    daemon.wait(lambda state: len(state["sources"]) == 4, 15)
    drop_ins = daemon.directory / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "a.toml").write_text('[clock]\ncontrol = "observe"\n')
    (drop_ins / "b.toml").write_text("[[source]\n")
    with daemon.file.open("a") as file:
        file.write("\n[observability]\nlog-levl = 'info'\n")
    done = daemon.ctl("reload")
    daemon.signal(signal.SIGHUP)
    logged(daemon, "b.toml:1: not valid TOML")
    state = daemon.status()
    daemon.stop()

    assert done.returncode == 78
    assert f"{drop_ins}/a.toml:1: clock: only [[source]] and [[server]] may stand in a drop-in" in done.stderr
    assert f"{drop_ins}/b.toml:1: not valid TOML" in done.stderr
    assert "did you mean 'log-level'?" in done.stderr
    assert done.stderr.endswith("nothing was changed\n")
    assert names(state) == [ip for ip, _ in FOUR]


def test_a_taken_port(lab: Lab) -> None:
    """A port that can't be had takes the whole change back, and the old server serves on."""
    daemon = Ntptwist(lab, FOUR)
    plain = daemon.file.read_text()
    server = '\n[[server]]\nlisten = "{}"\n'
    daemon.file.write_text(plain + server.format("127.0.0.1:123"))
    daemon.start()
    daemon.wait(lambda state: len(state["sources"]) == 4, 15)
    others = server.format("127.0.0.1:124") + server.format("203.0.113.77:123")
    daemon.file.write_text(plain.replace("127.0.1.1:", "127.0.1.9:") + others)
    refused = daemon.ctl("reload", "--json")
    state = daemon.status()
    daemon.file.write_text(plain + server.format("127.0.0.1:124"))
    accepted = daemon.ctl("reload")
    later = daemon.status()
    daemon.stop()

    assert refused.returncode != 0
    assert json.loads(refused.stdout)["problems"] == [
        "can't serve time on 203.0.113.77:123: Cannot assign requested address"
    ]
    assert names(state) == [ip for ip, _ in FOUR]
    assert [(each["address"], each["trouble"]) for each in state["servers"]] == [("127.0.0.1:123", None)]
    assert accepted.returncode == 0
    assert accepted.stdout == "server 127.0.0.1:123 goes\nserver 127.0.0.1:124 is new\n"
    assert [each["address"] for each in later["servers"]] == ["127.0.0.1:124"]


def test_one_source_after_the_other(lab: Lab) -> None:
    """Sources are added, taken offline and online, asked and removed, down to the last; each answer says what is."""
    daemon = Ntptwist(lab, FOUR[:1]).start()
    daemon.wait(lambda state: len(state["sources"]) == 1, 15)
    mode = stat.S_IMODE((daemon.directory / "control.sock").stat().st_mode)
    added = daemon.ctl("add", "127.0.1.2", "prefer=true", "poll-interval-limits.max=8")
    wrong = daemon.ctl("add", "127.0.1.3", "prefr=true")
    offline = daemon.ctl("offline", "127.0.1.2")
    state = daemon.status()
    online = daemon.ctl("online")
    burst = daemon.ctl("burst", "127.0.1.7")
    removed = daemon.ctl("remove", "127.0.1.1", "127.0.1.2")
    empty = daemon.status()
    daemon.stop()

    assert mode == 0o660
    assert added.stdout.splitlines()[0] == "source server 127.0.1.2:123 is new"
    assert "until the next reload or restart" in added.stderr
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (1, "prefr: unknown key (did you mean 'prefer'?)")
    assert offline.stdout == "source server 127.0.1.2:123 is offline\n"
    assert [row["reason"] for row in state["sources"]][1] == "taken offline by the operator"
    assert online.stdout == "source server 127.0.1.2:123 is online again\n"
    assert (burst.returncode, burst.stderr.splitlines()[0]) == (1, "no source is called '127.0.1.7'")
    assert "no source is left" in removed.stderr
    assert empty["sources"] == []
    assert f"add is asked for by user {os.getuid()}, process " in daemon.log()
