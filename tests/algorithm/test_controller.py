"""The controller as the system sees it: what it makes of measurements, and what it says of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ntptwist.algorithm.config import PollLimits, SynchronizationPolicy
from ntptwist.algorithm.update import DecisionKind
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.interfaces import IClockController
from ntptwist.timestamp import Monotonic, Timestamp
from tests.algorithm.world import HandClock, World, server_id


def test_provides_its_interface() -> None:
    """The controller offers what the system calls."""
    assert IClockController.providedBy(World().controller)


def test_first_answer_steps_a_clock_that_is_far_off() -> None:
    """With one source its first answer is enough: a clock 100 ms fast is right at once."""
    world = World(HandClock(error=100_000_000))
    update = world.ask()

    assert -100_000_000 == update.stepped
    assert [DecisionKind.STEP, DecisionKind.SYNCHRONIZED] == world.kinds()
    assert update.time.synchronized
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)


def test_small_offset_is_slewed_and_the_slew_ends() -> None:
    """A clock 1 ms slow is not stepped: it runs faster for a few seconds and then as its oscillator needs."""
    world = World(HandClock(error=-1_000_000))
    world.ask()
    faster = world.clock.frequency()
    world.pass_time(6.0)

    assert [] == world.clock.steps
    assert faster == pytest.approx(250.0, abs=1.0)
    assert world.clock.frequency() == pytest.approx(0.0, abs=1.0)
    assert world.clock.error == pytest.approx(0.0, abs=10e-6)


def test_frequency_of_the_oscillator_is_learnt() -> None:
    """After some minutes at 16 s the frequency of an oscillator 50 ppm fast is known to a hundredth of a ppm."""
    world = World(HandClock(drift=50.0), limits=PollLimits(4, 4))
    world.ask_all(6)
    world.ask_all(60, pause=16.0)
    status = world.controller.status()

    assert status.frequency == pytest.approx(-50.0, abs=0.01)
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)
    assert status.offset is not None
    assert status.error_bound is not None
    assert abs(world.clock.error) < status.error_bound < 1e-3
    assert "synchronized" == status.state


def test_waits_until_most_sources_have_answered() -> None:
    """With four sources configured the first two answers do not touch the clock."""
    world = World(HandClock(error=100_000_000), count=4)
    world.ask(SourceId(0))
    world.ask(SourceId(1))
    state, reason = world.controller.status().state, world.controller.estimate(SourceId(0)).reason
    world.ask(SourceId(2))

    assert "waiting for 1 more source" == state
    assert "waiting for a majority of the sources to answer" == reason
    assert 1 == len(world.clock.steps)


def test_waits_no_longer_than_eight_seconds_for_silent_sources() -> None:
    """When only two of four answer and two suffice, the clock is set by them 8 s after the first poll."""
    policy = SynchronizationPolicy(voting_sources=4, minimum_agreeing_sources=2)
    world = World(HandClock(error=100_000_000), 4, policy)
    world.ask(SourceId(0))
    world.ask(SourceId(1))
    world.pass_time(7.5)
    before = list(world.clock.steps)
    world.pass_time(1.0)

    assert [] == before
    assert 1 == len(world.clock.steps)
    assert world.controller.status().synchronized


def test_minimum_of_agreeing_sources_is_never_undercut() -> None:
    """Two sources never set a clock that needs three, however long they agree."""
    policy = SynchronizationPolicy(voting_sources=2, minimum_agreeing_sources=3)
    world = World(HandClock(error=100_000_000), 2, policy)
    world.ask_all(20)

    assert [] == world.clock.steps
    assert "waiting for 1 more source" == world.controller.status().state
    assert "no majority: 2 of 2 agree, 3 needed" == world.controller.estimate(SourceId(0)).reason
    assert not world.update.time.synchronized


def test_falseticker_is_named_and_not_followed() -> None:
    """One of four servers that is 0.1 s wrong is told so, and the clock follows the others."""
    world = World(HandClock(error=3_000_000), 4)
    for _ in range(10):  # a burst, and as many of the approach: corrections are as short as its intervals
        world.ask(SourceId(0), 0.1)
        for source in world.sources[1:]:
            world.ask(source)
        world.pass_time(2.0)
    world.pass_time(70.0)
    liar = world.controller.estimate(SourceId(0))

    assert liar.reason.startswith("falseticker: 100")
    assert not liar.selected
    assert {SourceId(1), SourceId(2), SourceId(3)} == set(world.controller.status().used)
    assert world.controller.estimate(world.controller.status().used[0]).reason == "used, best of 3"
    assert world.clock.error == pytest.approx(0.0, abs=5e-6)


def test_sources_of_no_use_are_named_while_others_tell_the_time() -> None:
    """A falseticker and a server that lost its own source could be replaced, but nobody while there is no majority."""
    world = World(count=5)
    world.ask(SourceId(0), 0.1)
    world.ask(SourceId(1), leap=Leap.UNSYNCHRONIZED)
    nobody = world.controller.rejected()
    for source in world.sources[2:]:
        world.ask(source)

    assert {} == nobody
    assert {SourceId(0), SourceId(1)} == set(world.controller.rejected())
    assert "server is not synchronized" == world.controller.rejected()[SourceId(1)]


def test_no_majority_leaves_the_clock_alone() -> None:
    """Two servers that contradict each other don't touch the clock, and both are told why."""
    world = World(count=2)
    world.ask(SourceId(0), 0.05)
    world.ask(SourceId(1), -0.05)

    assert ([], []) == (world.clock.steps, world.clock.settings)
    assert "no majority: 1 of 2 agree, 2 needed" == world.controller.estimate(SourceId(1)).reason
    assert "unsynchronized: 1 of 2 sources agree, 2 needed" == world.controller.status().state


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"leap": Leap.UNSYNCHRONIZED}, "server is not synchronized"),
        ({"stratum": 16}, "stratum 16 is not below 16"),
        ({"stratum": 0}, "stratum 0 is not below 16"),
        ({"stratum": 2, "reference_id": ReferenceId(b"\x0a\0\0\x01")}, "server is synchronized to us (loop)"),
        ({"root_dispersion": 2.0}, "root distance 2 s is too large"),
    ],
)
def test_server_that_can_not_be_used_is_refused_with_a_reason(server: dict[str, object], reason: str) -> None:
    """A server that is unsynchronized, too far down, a loop, or too far away is not used, and it says why."""
    world = World()
    world.controller.own_addresses = frozenset({ReferenceId(b"\x0a\0\0\x01")})
    world.ask(SourceId(0), 0.5, **server)

    assert reason == world.controller.estimate(SourceId(0)).reason
    assert [] == world.clock.steps


def test_primary_server_with_our_address_as_its_id_is_no_loop() -> None:
    """The reference id of a stratum 1 server names its clock, so four letters that look like our address are none."""
    world = World()
    world.controller.own_addresses = frozenset({ReferenceId(b"GPS\0")})
    world.ask()

    assert world.controller.estimate(SourceId(0)).selected


def test_local_stratum_bounds_the_servers() -> None:
    """A daemon that serves stratum 5 on its own does not follow stratum 5."""
    world = World(policy=SynchronizationPolicy(local_stratum=5))
    world.ask(stratum=5)

    assert "stratum 5 is not below 5" == world.controller.estimate(SourceId(0)).reason


def test_snapshot_comes_from_the_best_source() -> None:
    """Stratum, reference id, root delay and dispersion are those of the source with the smallest root distance."""
    world = World(count=3)
    for source, dispersion in zip(world.sources, (0.003, 0.001, 0.002), strict=True):
        update = world.ask(source, stratum=2 + source, root_dispersion=dispersion, root_delay=0.004)

    assert (4, server_id(SourceId(1))) == (update.time.stratum, update.time.reference_id)
    assert update.time.root_delay == pytest.approx(0.0042, abs=1e-5)
    assert 0.001 <= update.time.root_dispersion(update.time.monotonic) < 0.0013
    assert update.time.reference_time > 0
    assert SourceId(1) == world.controller.status().used[0]


def test_leap_second_needs_more_than_half_of_the_used_sources() -> None:
    """Two of three announce a leap second, then one: it is announced, and then no more."""
    world = World(count=3)
    for source, leap in zip(world.sources, (Leap.INSERT, Leap.INSERT, Leap.NONE), strict=True):
        world.ask(source, leap=leap)
    announced = world.update.time.leap
    world.ask(SourceId(0))

    assert Leap.INSERT is announced
    assert Leap.NONE is world.update.time.leap
    assert 2 == world.kinds().count(DecisionKind.LEAP)


def test_measurement_of_a_source_that_is_gone_is_ignored() -> None:
    """A reply that comes after its source was removed changes nothing."""
    world = World(HandClock(error=100_000_000))
    late = world.exchange()
    world.take(world.controller.remove_source(SourceId(0)))
    update = world.take(world.controller.measured(SourceId(0), late))

    assert (0, ()) == (update.stepped, update.decisions)
    assert "no measurement yet" == world.controller.estimate(SourceId(0)).reason


def test_polls_begin_with_a_burst_and_then_approach_their_interval() -> None:
    """A source is asked every 2 s until five answers came, then at intervals that grow to the smallest."""
    world = World(limits=PollLimits(4, 6))
    first = world.controller.next_poll(SourceId(0))
    for _ in range(5):
        world.take(world.controller.measured(SourceId(0), world.exchange(poll=False)))
        world.pass_time(2.0)
    polls = [world.controller.next_poll(SourceId(0)) for _ in range(7)]

    assert 2.0 == first
    assert pytest.approx([2.0 * 2.0 ** (k / 2) for k in range(1, 7)] + [16.0]) == polls
    assert 4 == world.controller.desired_poll(SourceId(0))


def test_quiet_clock_is_asked_less_often() -> None:
    """A good clock behind a noisy path is soon asked at the longest interval."""
    world = World(limits=PollLimits(4, 6))
    for round_ in range(60):
        world.ask(outward=100e-6 + 10e-6 * (round_ % 7), homeward=100e-6 + 10e-6 * (round_ % 5))
        world.pass_time(16.0)

    assert 6 == world.controller.desired_poll(SourceId(0))


def test_changed_route_is_told() -> None:
    """When one path becomes 1 ms longer the clock stays where it is, and the log says that the route changed."""
    world = World(limits=PollLimits(4, 4))
    world.ask_all(40, pause=16.0)
    for _ in range(20):
        world.ask(outward=1.1e-3)
        world.pass_time(16.0)

    assert [DecisionKind.SYNCHRONIZED, DecisionKind.RESET] == world.kinds()
    assert world.clock.error == pytest.approx(0.0, abs=60e-6)


def test_implausible_measurement_is_refused_and_named() -> None:
    """A reply that came before it was asked for by ten seconds is no measurement."""
    world = World()
    world.ask(outward=-10.0)

    assert "its measurements are implausible" == world.controller.estimate(SourceId(0)).reason
    assert [] == world.kinds()


def test_source_that_only_gives_nonsense_is_implausible_when_its_good_time_is_over() -> None:
    """A source that once was good and has sent nonsense for 8 polls is called implausible, not silent."""
    world = World(limits=PollLimits(4, 4))
    world.ask_all(6)
    world.pass_time(1000.0)
    world.ask(outward=-10.0)

    assert "its measurements are implausible" == world.controller.estimate(SourceId(0)).reason


def test_estimate_and_status_change_nothing() -> None:
    """Asking for the state a hundred times is reading the clock and nothing else."""
    world = World(count=3)
    world.ask_all(3)
    settings = list(world.clock.settings)
    first = (world.controller.status(), [world.controller.estimate(source) for source in world.sources])
    second = (world.controller.status(), [world.controller.estimate(source) for source in world.sources])

    assert first == second
    assert settings == world.clock.settings


@pytest.mark.parametrize(
    "change",
    [
        {"t1": Timestamp(-(1 << 70))},
        {"t2": Timestamp(1 << 90)},
        {"monotonic": Monotonic(1 << 70)},
        {"root_delay": math.nan},
        {"root_delay": -1.0},
        {"root_dispersion": math.inf},
    ],
)
def test_measurement_out_of_range_is_refused(change: dict[str, Any]) -> None:
    """Stamps that no clock shows and root values that the wire can't carry are no measurement."""
    world = World()
    world.take(world.controller.measured(SourceId(0), replace(world.exchange(), **change)))

    assert "its measurements are implausible" == world.controller.estimate(SourceId(0)).reason
