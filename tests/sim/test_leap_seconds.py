"""Leap seconds in the whole daemon: the right day, the list beside the servers, and servers that smear."""

from __future__ import annotations

import hashlib
from pathlib import Path as File

import pytest

from ntptwist.identifiers import Leap
from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.server import Behaviour
from ntptwist.sim.timeline import Timeline
from ntptwist.sim.world import World
from ntptwist.timestamp import EPOCH_OFFSET, NANOSECONDS, Timestamp
from tests.sim.daemon import STEADY, VirtualDaemon

pytestmark = pytest.mark.lengthy

NEAR = Path(1e-3, 1e-4)
NOON = Timestamp(Timeline().start + (180 * 86400 + 43_200) * NANOSECONDS)
"""Of 30 June 2026."""

ORDINARY = OscillatorModel(frequency=20e-6, wander=1e-9)


def servers(count: int) -> str:
    """Give a configuration with so many servers."""
    return STEADY + "".join(f'[[source]]\nmode = "server"\naddress = "198.51.100.{n}"\n' for n in range(1, count + 1))


def test_an_announcement_days_before_is_not_a_leap_second_today() -> None:
    """Servers may announce it all month; the kernel, which would make it at midnight, is told on the last day."""
    world = World(1, oscillator=ORDINARY, start=Timestamp(NOON - 2 * 86400 * NANOSECONDS))
    world.add_server("198.51.100.1", Behaviour(leap=Leap.INSERT), up=NEAR)
    told = []
    with VirtualDaemon(world, servers(1)) as daemon:
        for _ in range(2):
            daemon.run(86_000)
            assert world.clock.status is not None
            told.append((world.clock.status.leap, daemon.snapshot().time.leap))

    assert told == [(Leap.NONE, Leap.INSERT), (Leap.INSERT, Leap.INSERT)]
    assert world.statistics(5_000).maximum < 100e-6


def test_the_list_announces_what_a_server_does_not_know(tmp_path: File) -> None:
    """With one server that announces nothing the list has the kernel insert the second, and nothing is disturbed."""
    start = 1_767_225_600 + EPOCH_OFFSET + 181 * 86400
    fields = [str(start - 10**7), str(start + 10**7), "2272060800", "10", str(start), "11"]
    octets = hashlib.sha1("".join(fields).encode(), usedforsecurity=False).digest()
    words = " ".join(f"{int.from_bytes(octets[i : i + 4], 'big'):08x}" for i in range(0, 20, 4))
    file = tmp_path / "leap-seconds.list"
    file.write_text("#$ {}\n#@ {}\n{} {}\n{} {}\n#h {words}\n".format(*fields, words=words))
    world = World(1, oscillator=ORDINARY, start=Timestamp(NOON + NANOSECONDS // 2))
    world.add_server("198.51.100.1", up=NEAR)
    world.leap_second(43_199.5, Leap.INSERT)
    text = f'{servers(1)}[synchronization]\nleap-seconds-file = "{file}"\n'
    with VirtualDaemon(world, text) as daemon:
        daemon.run(50_000)
        told = [entry.reason for entry in daemon.system.journal if "leap" in entry.reason]

    assert told == ["a leap second is to be inserted", "a leap second was inserted"]
    assert world.statistics(5_000).maximum < 100e-6
    assert world.clock.steps <= 1


def test_a_server_that_smears_is_refused_beside_those_that_do_not() -> None:
    """From noon on one of four runs 11.6 ppm slow to hide the leap second: it is left out within minutes."""
    world = World(1, oscillator=ORDINARY, start=Timestamp(NOON - 7200 * NANOSECONDS))
    smear = 1 / 86400
    for number in range(1, 5):
        server = world.add_server(f"198.51.100.{number}", up=NEAR)
        if number == 1:
            world.at(7200, server.behave, Behaviour(offset=7200 * smear, frequency=-smear))
    with VirtualDaemon(world, servers(4)) as daemon:
        daemon.run(7200)
        before = daemon.snapshot().sources[0].estimate.selected
        found = daemon.run_until(lambda snapshot: "falseticker" in snapshot.sources[0].estimate.reason, 900)
        daemon.run(20_000)
        after = [row.estimate.selected for row in daemon.snapshot().sources]

    assert before
    assert found < 300
    assert after == [False, True, True, True]
    assert world.statistics(3_600).maximum < 300e-6
