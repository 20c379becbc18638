"""A real gpsd, with a receiver whose sentences are invented, drives our daemon through shared memory."""

from __future__ import annotations

import pytest

from tests.functional.peers.gps import LATENESS_S, Gpsd
from tests.functional.peers.lab import Lab
from tests.functional.test_gpsd import GOOD, Watched, settled

pytestmark = pytest.mark.functional

SHM = f"""
[[source]]
mode = "shm"
unit = 0
precision = 1e-3
accuracy = 0.02
offset = {LATENESS_S}
reference-id = "GPS"
"""


@pytest.mark.parametrize("first", ["gpsd", "ours"])
def test_gpsd_drives_the_clock_through_shared_memory(lab: Lab, first: str) -> None:
    """What a real gpsd writes to unit 0 brings the clock to the truth, whichever of both daemons was there first."""
    gpsd = Gpsd(lab)
    watched = Watched(lab, SHM)
    if first == "gpsd":
        gpsd.start()
    watched.start()
    watched.wait(bool, 20, gpsd)
    if first == "ours":
        gpsd.start()
    lines = watched.wait(settled, 40, gpsd)
    segments = lab.run(["cat", "/proc/sysvipc/shm"]).splitlines()
    state = watched.daemon.status()

    assert max(abs(line["error"]) for line in lines[-3:]) < GOOD
    assert any(line.split()[0] == str(0x4E545030) and line.split()[2] == "600" for line in segments[1:])
    assert [(row["name"], row["mode"]) for row in state["sources"]] == [("shm unit 0", "shm")]
