"""A daemon that uses no NTS does not load it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from twisted.internet import reactor
from ntptwist.config.loader import loads
from ntptwist.registry import drivers, find_driver
from ntptwist.service import make_service
make_service(loads(sys.argv[1], find_driver), reactor)
drivers()
print(sorted(name for name in sys.modules if name.split(".")[:2] in (["ntptwist", "nts"], ["ntptwist", "ntske"])))
"""
SOURCE = '[[source]]\nmode = "{mode}"\naddress = "192.0.2.1"\n'


@pytest.mark.parametrize(("mode", "loaded"), [("server", False), ("pool", False), ("nts", True)])
def test_only_who_needs_it_loads_it(mode: str, loaded: bool) -> None:
    """Plain servers and pools start without NTS; the third case shows that this test sees the difference."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, SOURCE.format(mode=mode)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    assert ("ntptwist.ntske.client" in done.stdout) is loaded
    assert (done.stdout.strip() == "[]") is not loaded
