"""
Transmit stamps that come late, and link-local addresses, in a network namespace whose loopback delays datagrams.

Trap: a stamp that a queueing discipline holds up arrives in the error queue when nobody expects it.  Reactors on epoll
and poll then close Twisted's own port, those on select and asyncio spin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.net.conftest import KINDS

PROGRAM = Path(__file__).with_name("slow_network.py")
ROOT = PROGRAM.parents[2]
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
TOOLS = ("unshare", "ip", "tc")


def namespace_is_to_be_had() -> bool:
    """Tell whether a namespace with a token bucket can be made here."""
    if os.geteuid() != 0 or not all(shutil.which(tool, path=PATH) for tool in TOOLS):
        return False
    bucket = "tc qdisc add dev lo root tbf rate 8kbit burst 200 limit 1000"
    made = subprocess.run(
        ["unshare", "--net", *bucket.split()], env={"PATH": PATH}, capture_output=True, check=False, timeout=10
    )
    return made.returncode == 0


pytestmark = pytest.mark.skipif(
    not namespace_is_to_be_had(), reason="needs root, iproute2 and a kernel with network namespaces and sch_tbf"
)


@pytest.fixture(scope="module", params=KINDS)
def told(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Give what the program tells on one kind of reactor, for each address."""
    run = subprocess.run(
        ["unshare", "--net", sys.executable, PROGRAM, request.param],
        env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    exchanges: list[dict[str, Any]] = json.loads(run.stdout)
    return exchanges


def test_late_stamp_follows_the_users(told: list[dict[str, Any]]) -> None:
    """The protocol has the user-space stamp when write returns, and the driver's as soon as that is taken."""
    for exchange in told:
        at_once, late = exchange["transmitted"]

        assert 0 <= at_once <= exchange["write"] < late <= exchange["served"]


def test_late_stamp_neither_closes_nor_spins(told: list[dict[str, Any]]) -> None:
    """All three replies arrive, both protocols live, and the reactor was called a few times only."""
    for exchange in told:
        assert (exchange["received"], exchange["lives"]) == (3, ["started", "started"])
        assert exchange["calls"] < 20


def test_link_local_addresses_keep_their_scope(told: list[dict[str, Any]]) -> None:
    """A link-local address is written with its interface, towards the kernel and towards protocols."""
    for exchange in told:
        assert exchange["sources"] == [exchange["host"]]
