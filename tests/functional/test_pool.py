"""A pool of real servers whose name is resolved by the system's resolver from a real name server."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import Ntptwist
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

NAME = "pool.dns.test"
NAME_SERVER = "127.0.0.53"
DEAD, SIX = "127.0.6.9", "2001:db8::1"
HOSTS = tuple(f"127.0.6.{each}" for each in range(1, 6))
RESOLVER = f"""
file=$(readlink -f /etc/resolv.conf)
mkdir -p "$(dirname "$file")"
test -e "$file" || : > "$file"
printf 'nameserver {NAME_SERVER}\\noptions timeout:1\\n' > /run/ours
mount --bind /run/ours "$file"
"""


class Names:
    """The lab's name server, and what it was asked."""

    def __init__(self, lab: Lab, *addresses: str) -> None:
        """Start it and let the lab's resolver ask it and nobody else."""
        self._log = lab.directory / "questions"
        script = Path(__file__).with_name("nameserver.py")
        lab.popen([sys.executable, script, NAME_SERVER, self._log, NAME, *addresses])
        lab.run(["sh", "-e", "-c", RESOLVER])
        deadline = time.monotonic() + 10
        while not self._log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def questions(self, kind: str) -> int:
        """Give how often the addresses of one family (A, AAAA) were asked for."""
        return self._log.read_text().splitlines().count(f"{kind} {NAME}")


def pool_of(lab: Lab, text: str = "") -> Ntptwist:
    """Make a daemon with one pool."""
    daemon = Ntptwist(lab, [], minimum=0)
    with daemon.file.open("a") as file:
        file.write(f'\n[[source]]\nmode = "pool"\naddress = "{NAME}"\n{text}')
    return daemon


def selected(state: dict[str, Any]) -> set[str]:
    """Give the addresses that are used."""
    return {row["address"].removesuffix(":123") for row in state["sources"] if row["selected"]}


def test_a_pool_of_real_servers(lab: Lab) -> None:
    """A dead member and one without a route are passed over, a lost one is replaced, and DNS is asked once."""
    servers = [Chrony(lab, "bookworm", ip=ip, stratum=1).start() for ip in HOSTS]
    for server in servers:
        server.wait_synchronised(15)
    names = Names(lab, DEAD, SIX, *HOSTS)
    daemon = pool_of(lab).start()
    settled = daemon.wait(lambda state: selected(state) == set(HOSTS[:4]), 30)
    servers[0].stop()
    replaced = daemon.wait(lambda state: selected(state) == set(HOSTS[1:]), 60)
    shown = daemon.ctl("sources").stdout
    status = daemon.stop()

    assert settled["synchronized"]
    assert {row["name"] for row in settled["sources"]} == {f"{NAME}:123"}
    assert replaced["synchronized"]
    assert f"{HOSTS[4]} ({NAME})" in shown
    assert f"4 of 4 members; last dropped: {HOSTS[0]} (Connection refused)" in shown
    assert (names.questions("A"), names.questions("AAAA")) == (1, 1)
    assert status == 0


def test_a_lying_member_is_outvoted(lab: Lab) -> None:
    """A member whose time is wrong is a falseticker at once, and shown as one; it stays until it has been for long."""
    servers = [Chrony(lab, "bookworm", ip=ip, stratum=1).start() for ip in HOSTS[:3]]
    for server in servers:
        server.wait_synchronised(15)
    wrong = f"server {HOSTS[0]} iburst minpoll -2 maxpoll 0 offset 0.1\nmakestep 0.001 3\n"
    Chrony(lab, "bookworm", ip=HOSTS[3], extra=wrong).start().wait_synchronised(30)
    Names(lab, HOSTS[3], *HOSTS[:3])
    daemon = pool_of(lab).start()
    state = daemon.wait(lambda state: selected(state) == set(HOSTS[:3]), 30)
    (row,) = [row for row in state["sources"] if row["address"] == f"{HOSTS[3]}:123"]
    daemon.stop()

    assert row["reason"].startswith("falseticker")
