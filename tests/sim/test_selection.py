"""Sources that an operator has said something of, and one that drifts, in the whole daemon."""

from __future__ import annotations

import pytest

from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.server import Behaviour
from ntptwist.sim.world import World
from tests.sim.daemon import STEADY, VirtualDaemon

pytestmark = pytest.mark.lengthy

NEAR = Path(1e-3, 1e-4)
ORDINARY = OscillatorModel(frequency=20e-6, wander=1e-9)


def servers(count: int, *options: str) -> str:
    """Give a configuration with so many servers, the first ones with options."""
    lines = [*options, *[""] * (count - len(options))]
    return STEADY + "".join(
        f'[[source]]\nmode = "server"\naddress = "198.51.100.{number}"\n{more}\n'
        for number, more in enumerate(lines, 1)
    )


def test_a_server_that_drifts() -> None:
    """Scenario e2: a server that drifts by 5 ppm is left out after five minutes, its offset would show it after ten."""
    world = World(1, oscillator=ORDINARY)
    for number in range(1, 5):
        behaviour = Behaviour(frequency=5e-6 if number == 1 else 0.0)
        world.add_server(f"198.51.100.{number}", behaviour, up=NEAR)
    with VirtualDaemon(world, servers(4)) as daemon:
        found = daemon.run_until(lambda snapshot: "falseticker" in snapshot.sources[0].estimate.reason, 1000)
        reason = daemon.snapshot().sources[0].estimate.reason
        daemon.run(7200)
        accused = [entry.reason for entry in daemon.system.journal if "falseticker" in entry.reason]

    assert found < 400
    assert reason.startswith("falseticker: drifts by")
    assert len(accused) == 1
    assert world.statistics(700).maximum < 50e-6


def test_a_group_of_wrong_servers_is_outvoted() -> None:
    """Three servers of one operator that are wrong together have one vote against two."""
    world = World(1, oscillator=ORDINARY)
    for number in range(1, 6):
        world.add_server(f"198.51.100.{number}", Behaviour(offset=0.1 if number <= 3 else 0.0), up=NEAR)
    with VirtualDaemon(world, servers(5, *['group = "theirs"'] * 3)) as daemon:
        daemon.run(1800)
        reasons = [row.estimate.reason for row in daemon.snapshot().sources]

    assert all(reason.startswith("falseticker") for reason in reasons[:3])
    assert abs(world.clock.true_offset()) < 1e-4


def test_a_required_server_is_waited_for() -> None:
    """The clock is left alone until a required server answers, and is right at once when it does."""
    world = World(1, oscillator=ORDINARY, offset=-0.2)
    late = world.add_server("198.51.100.1", Behaviour(silent=True), up=NEAR)
    for number in range(2, 4):
        world.add_server(f"198.51.100.{number}", up=NEAR)
    with VirtualDaemon(world, servers(3, "require = true")) as daemon:
        daemon.run(300)
        before = world.clock.steps
        late.behave(Behaviour())
        daemon.run_until(lambda snapshot: snapshot.synchronized, 600)

    assert before == 0
    assert abs(world.clock.true_offset()) < 1e-3


def test_profiles_trade_packets_for_accuracy() -> None:
    """More packets make a better clock, fewer a worse one; the limits of the poll interval hold for all."""
    figures = {}
    for profile in ("accuracy", "balanced", "frugal"):
        world = World(1, oscillator=OscillatorModel(frequency=100e-6, wander=1e-9))
        world.add_server("198.51.100.1", up=Path(50e-6, 20e-6))
        text = f'[[source]]\nmode = "server"\naddress = "198.51.100.1"\n[synchronization]\nprofile = "{profile}"\n'
        with VirtualDaemon(world, text) as daemon:
            daemon.run(40_000)
        figures[profile] = world.statistics(10_000)

    assert figures["accuracy"].rms < figures["balanced"].rms / 1.5
    assert figures["accuracy"].packets > 2 * figures["balanced"].packets
    assert figures["frugal"].packets < 0.7 * figures["balanced"].packets
    assert figures["frugal"].packets > 40
