"""What a worker gives up, seen by the kernel."""

from __future__ import annotations

import subprocess
import sys

from ntptwist.kernel.confine import DESCRIPTORS

LOOK = """
import resource
from ntptwist.kernel.confine import confine
confine()
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs")):
        print(*line.split())
for limit in (resource.RLIMIT_CORE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
    print(*resource.getrlimit(limit))
"""


def test_nothing_is_left() -> None:
    """A process that has confined itself has no capability, can gain none, and its limits can't be raised again."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=30)
    lines = done.stdout.splitlines()
    state = dict(line.split(maxsplit=1) for line in lines[:-3])

    assert [int(state[kind], 16) for kind in ("CapInh:", "CapPrm:", "CapEff:", "CapAmb:")] == [0, 0, 0, 0]
    assert state["NoNewPrivs:"] == "1"
    assert lines[-3:] == ["0 0", "0 0", f"{DESCRIPTORS} {DESCRIPTORS}"]
