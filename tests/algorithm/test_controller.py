"""The controller as the system sees it: what it makes of measurements, of silence, and of those who meddle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.algorithm.config import PanicThreshold, PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.update import DecisionKind
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.interfaces import IClockController
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.algorithm.world import HandClock, World, server_id

NEW_YEAR = Timestamp(1_798_761_600 * NANOSECONDS)  # 2027-01-01 00:00 UTC
PPS = SourceId(9)


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
    for _ in range(6):
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
    assert world.clock.error == pytest.approx(0.0, abs=20e-6)


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


def test_foreign_step_is_undone_exactly_and_verified() -> None:
    """Somebody steps the clock by half a second: it is undone to the nanosecond, and four quick polls follow."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    before = world.clock.error
    world.clock.meddle(500_000_000)
    world.pass_time(8.0)
    polls = [world.controller.next_poll(SourceId(0)) for _ in range(7)]

    assert [-500_000_000] == world.clock.steps
    assert world.clock.error == pytest.approx(before, abs=1e-6)
    assert DecisionKind.FOREIGN_STEP == world.kinds()[-1]
    assert [2.0] * 6 + [64.0] == polls
    assert (0, 0.0) == (world.controller.status().steps, world.controller.status().accumulated_steps)


def test_foreign_step_is_reported_so_that_sources_drop_what_is_under_way() -> None:
    """The update that undoes a foreign step says by how much the clock was stepped."""
    world = World()
    world.ask()
    world.clock.meddle(2_000_000)

    assert -2_000_000 == world.controller.timer().stepped


def test_small_difference_between_the_axes_is_no_foreign_step() -> None:
    """Half a millisecond between two readings of the clock is not undone."""
    world = World()
    world.ask()
    world.clock.meddle(500_000)
    world.pass_time(8.0)

    assert [] == world.clock.steps


def test_foreign_step_before_the_first_correction_is_taken_into_account() -> None:
    """Before the clock is ours a foreign step is left alone, and the first correction knows of it."""
    world = World(count=3)
    world.ask(SourceId(0))
    world.clock.meddle(100_000_000)
    world.ask(SourceId(1))
    world.ask(SourceId(2))

    assert 1 == len(world.clock.steps)
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)
    assert [DecisionKind.FOREIGN_STEP, DecisionKind.STEP, DecisionKind.SYNCHRONIZED] == world.kinds()


def test_suspend_is_not_undone_and_what_it_did_is_measured() -> None:
    """After an hour of sleep the clock is 0.3 s off by its battery clock: nothing is undone, the next answer tells."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.pass_time(1000.0)
    world.clock.sleep(3600, error=0.3)
    world.pass_time(8.0)
    steps, dispersion = list(world.clock.steps), world.update.time.root_dispersion(world.update.time.monotonic)
    quick = world.controller.next_poll(SourceId(0))
    world.ask()

    assert [] == steps
    assert DecisionKind.SUSPENDED in world.kinds()
    assert dispersion > 0.9
    assert 2.0 == quick
    assert world.clock.error == pytest.approx(0.0, abs=1e-3)


def test_foreign_step_during_a_suspend_is_still_undone() -> None:
    """Of a jump that sleep explains in part, the rest is undone."""
    world = World()
    world.ask_all(6)
    world.clock.sleep(100)
    world.clock.meddle(5 * NANOSECONDS)
    world.pass_time(8.0)

    assert [-5 * NANOSECONDS] == world.clock.steps
    assert [DecisionKind.SUSPENDED, DecisionKind.FOREIGN_STEP] == world.kinds()[-2:]


@pytest.mark.parametrize(("leap", "moved"), [(Leap.INSERT, -NANOSECONDS), (Leap.DELETE, NANOSECONDS)])
def test_announced_leap_second_is_not_undone(leap: Leap, moved: int) -> None:
    """At the end of a month one second is the leap second that the kernel made; it is not announced any longer."""
    world = World(HandClock(start=Timestamp(NEW_YEAR - 20 * NANOSECONDS)))
    world.ask(leap=leap)
    world.pass_time(22.0)
    world.clock.meddle(moved)
    world.pass_time(8.0)
    world.ask(SourceId(0), moved / NANOSECONDS, leap=leap)

    assert [] == world.clock.steps
    assert Leap.NONE is world.update.time.leap
    assert [DecisionKind.SYNCHRONIZED, DecisionKind.LEAP, DecisionKind.LEAP] == sorted(
        world.kinds(), key=lambda kind: kind is DecisionKind.LEAP
    )


@pytest.mark.parametrize(
    ("leap", "before"), [(Leap.NONE, 20), (Leap.DELETE, 20), (Leap.INSERT, 10 * 86400), (Leap.INSERT, 86420)]
)
def test_second_that_was_not_announced_for_now_is_undone(leap: Leap, before: int) -> None:
    """One second back is somebody's step unless an inserted second was announced and the month just ended."""
    world = World(HandClock(start=Timestamp(NEW_YEAR - before * NANOSECONDS)))
    world.ask(leap=leap)
    world.pass_time(22.0)
    world.clock.meddle(-NANOSECONDS)
    world.pass_time(8.0)

    assert [NANOSECONDS] == world.clock.steps


def test_observed_clock_is_never_touched() -> None:
    """In observe mode the clock is only read, yet offset, status and selection are told as they are."""
    world = World(HandClock(error=40_000_000, steerable=False))
    world.ask_all(6)
    world.clock.meddle(7_000_000)
    world.pass_time(8.0)
    world.ask_all(2)
    status = world.controller.status()

    assert ([], []) == (world.clock.steps, world.clock.settings)
    assert status.synchronized
    assert status.offset == pytest.approx(-0.047, abs=1e-4)
    assert world.controller.estimate(SourceId(0)).offset == pytest.approx(-0.047, abs=1e-4)
    assert world.update.time.root_dispersion(world.update.time.monotonic) > 0.046
    assert DecisionKind.FOREIGN_STEP in world.kinds()


def test_observed_clock_that_somebody_else_tunes_is_followed() -> None:
    """In observe mode another daemon's change of frequency is no change of the oscillator."""
    world = World(HandClock(drift=20.0, steerable=False), limits=PollLimits(4, 4))
    world.ask_all(40, pause=16.0)
    world.clock.tune(-20.0)
    world.ask_all(20, pause=16.0)

    assert world.controller.estimate(SourceId(0)).frequency == pytest.approx(-20.0, abs=0.2)
    assert -20.0 == world.controller.status().frequency


def test_startup_step_beyond_its_threshold_is_a_panic() -> None:
    """A first step of two days back is refused, and nothing touches the clock from then on."""
    world = World(HandClock(error=2 * 86400 * NANOSECONDS))
    world.ask_all(3)

    assert ([], []) == (world.clock.steps, world.clock.settings)
    assert DecisionKind.PANIC == world.kinds()[0]
    assert 1 == world.kinds().count(DecisionKind.PANIC)
    assert "panic: a correction was refused" == world.controller.status().state
    assert not world.controller.status().synchronized
    assert not world.update.time.synchronized


def test_panicked_controller_undoes_nothing() -> None:
    """After a panic even a foreign step stays: the clock is not in our hands any more."""
    world = World(HandClock(error=2 * 86400 * NANOSECONDS))
    world.ask()
    world.clock.meddle(NANOSECONDS)
    world.pass_time(8.0)

    assert [] == world.clock.steps


def test_source_that_jumps_beyond_the_threshold_is_a_panic_later_on() -> None:
    """When the only server moves by 2000 s after an hour, the clock is neither stepped nor slewed after it."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.ask_all(60, pause=64.0)
    settings = len(world.clock.settings)
    for _ in range(4):
        world.ask(SourceId(0), 2000.0)
        world.clock.advance(2.0)

    assert DecisionKind.PANIC == world.kinds()[-1]
    assert DecisionKind.RESET in world.kinds()
    assert [] == world.clock.steps
    assert all(abs(ppm) < 1.0 for ppm in world.clock.settings[settings:])


def test_silent_source_is_held_over_and_at_last_given_up() -> None:
    """Without answers the frequency stays, the dispersion grows, and past 1.5 s the clock is not served any more."""
    world = World(HandClock(drift=30.0), limits=PollLimits(6, 6))
    world.ask_all(6)
    world.ask_all(10, pause=64.0)
    world.pass_time(1000.0)
    silent, held = world.controller.estimate(SourceId(0)), world.controller.status()
    dispersion = world.update.time.root_dispersion(world.update.time.monotonic)
    frequency = world.clock.frequency()
    world.clock.advance(1e9)
    world.take(world.controller.timer())
    lost = world.controller.status()

    assert "no answer for 8 polls" == silent.reason
    assert held.synchronized
    assert held.state.startswith("holding over for 10")
    assert frequency == pytest.approx(-30.0, abs=0.1)
    assert dispersion < 1e-3
    assert not lost.synchronized
    assert lost.since is None
    assert lost.state.startswith("unsynchronized: nobody has confirmed the clock for")
    assert (Leap.UNSYNCHRONIZED, 16) == (world.update.time.leap, world.update.time.stratum)
    assert DecisionKind.UNSYNCHRONIZED == world.kinds()[-1]


def test_clock_that_was_given_up_may_be_stepped_again() -> None:
    """After years of silence the first answers set the clock as at the start."""
    world = World(limits=PollLimits(6, 6))
    world.ask_all(6)
    world.clock.drift = 0.001
    world.clock.advance(1e9)
    world.take(world.controller.timer())
    for _ in range(3):
        world.ask()
        world.pass_time(2.0)

    assert world.controller.status().synchronized
    assert world.clock.error == pytest.approx(0.0, abs=1e-3)
    assert [] != world.clock.steps


def test_answer_that_crosses_our_own_step_is_dropped() -> None:
    """A request that was sent before the clock was stepped gives no measurement, also not a late event."""
    world = World(HandClock(error=100_000_000), count=3)
    late = world.exchange(SourceId(2))
    for source in world.sources[:2]:
        world.ask(source)
    count = world.controller.estimate(SourceId(2)).measurements
    world.take(world.controller.measured(SourceId(2), late))

    assert 1 == len(world.clock.steps)
    assert 0 == count
    assert 0 == world.controller.estimate(SourceId(2)).measurements


def test_answer_to_an_unknown_request_is_judged_by_its_stamps() -> None:
    """Where no request was noted, the time between both stamps tells whether a step lies between them."""
    world = World(HandClock(error=100_000_000), count=3)
    late = world.exchange(SourceId(2), poll=False)
    for source in world.sources[:2]:
        world.ask(source)
    world.take(world.controller.measured(SourceId(2), late))
    good = world.exchange(SourceId(2), poll=False)
    world.take(world.controller.measured(SourceId(2), good))

    assert 1 == world.controller.estimate(SourceId(2)).measurements


def test_interleaved_measurement_counts_for_its_own_time() -> None:
    """A measurement that comes one poll late, when the clock was slewed meanwhile, is as good as one in time."""
    world = World(HandClock(error=4_000_000, drift=20.0), limits=PollLimits(4, 4))
    world.ask_all(6)
    late = replace(world.exchange(), interleaved=True)
    world.pass_time(16.0)
    world.controller.next_poll(SourceId(0))
    world.take(world.controller.measured(SourceId(0), late))
    estimate = world.controller.estimate(SourceId(0))

    assert estimate.offset == pytest.approx(-world.clock.error, abs=5e-6)
    assert late.monotonic == estimate.last_measurement


def test_interleaved_measurement_from_before_a_step_is_dropped() -> None:
    """After a step the next interleaved answer still belongs to the request before it."""
    world = World(limits=PollLimits(4, 4))
    world.ask_all(6)
    late = replace(world.exchange(), interleaved=True)
    world.clock.meddle(NANOSECONDS)
    world.pass_time(16.0)
    world.controller.next_poll(SourceId(0))
    count = world.controller.estimate(SourceId(0)).measurements
    world.take(world.controller.measured(SourceId(0), late))

    assert count == world.controller.estimate(SourceId(0)).measurements


def test_measurement_of_a_source_that_is_gone_is_ignored() -> None:
    """A reply that comes after its source was removed changes nothing."""
    world = World(HandClock(error=100_000_000))
    late = world.exchange()
    world.take(world.controller.remove_source(SourceId(0)))
    update = world.take(world.controller.measured(SourceId(0), late))

    assert (0, ()) == (update.stepped, update.decisions)
    assert "no measurement yet" == world.controller.estimate(SourceId(0)).reason


def test_removing_the_used_source_starts_to_hold_over() -> None:
    """When the only source is removed the clock goes on as it is."""
    world = World()
    world.ask_all(3)
    world.take(world.controller.remove_source(SourceId(0)))
    world.clock.advance(5.5)

    assert () == world.controller.status().used
    assert "holding over for 7 s" == world.controller.status().state


def test_polls_begin_with_a_burst_and_then_take_their_interval() -> None:
    """A source is asked every 2 s until five answers came, then at its smallest interval; a lost one halves none."""
    world = World(limits=PollLimits(4, 6))
    first = world.controller.next_poll(SourceId(0))
    for _ in range(5):
        world.take(world.controller.measured(SourceId(0), world.exchange(poll=False)))
        world.pass_time(2.0)

    assert 2.0 == first
    assert 16.0 == world.controller.next_poll(SourceId(0))
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


def test_pulses_take_over_once_they_can_be_numbered() -> None:
    """A pulse each second steers alone, first of all sources, while the server only agrees."""
    world = World(HandClock(error=30_000_000, drift=10.0), limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.pulse(PPS)
    early = world.controller.estimate(PPS).reason
    world.ask_all(6)
    for _ in range(60):
        world.pulse(PPS)
        world.clock.advance(0.2)
    world.ask()
    status = world.controller.status()

    assert "waiting for other sources to number its pulses" == early
    assert (PPS,) == status.used
    assert (1, ReferenceId.of_text("PPS")) == (world.update.time.stratum, world.update.time.reference_id)
    assert "agrees with the pulses that are used" == world.controller.estimate(SourceId(0)).reason
    assert world.clock.error == pytest.approx(0.0, abs=1e-7)


def test_pulses_go_on_when_the_server_falls_silent() -> None:
    """Pulses that are numbered keep the clock when no server answers any more; when they end too, it holds over."""
    world = World(HandClock(drift=10.0), limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(400):
        world.pulse(PPS)
        world.clock.advance(0.2)
    alone = world.controller.status()
    world.pass_time(100.0)

    assert ((PPS,), "synchronized") == (alone.used, alone.state)
    assert world.controller.estimate(PPS).reason.startswith("no sample for")
    assert world.controller.status().state.startswith("holding over for")
    assert world.clock.error == pytest.approx(0.0, abs=1e-6)


def test_pulse_that_the_majority_contradicts_is_not_used() -> None:
    """A pulse 0.1 s late is a falseticker as soon as it is numbered."""
    world = World(limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(3):
        world.pulse(PPS, late=0.1)
        world.clock.advance(0.2)

    assert world.controller.estimate(PPS).reason.startswith("falseticker: 100 ms from")
    assert (SourceId(0),) == world.controller.status().used


def test_pulses_can_not_be_numbered_by_a_clock_that_is_far_off() -> None:
    """While a clock that must not be stepped is 0.4 s off, its pulses wait."""
    world = World(HandClock(error=400_000_000), policy=SynchronizationPolicy(step_policy=StepPolicy.NEVER))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    world.pulse(PPS)

    assert "waiting for other sources to number its pulses" == world.controller.estimate(PPS).reason


def test_late_pulse_is_gated() -> None:
    """One pulse that is 1 ms late among good ones does not move the clock."""
    world = World(limits=PollLimits(4, 4))
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    world.ask_all(6)
    for _ in range(30):
        world.pulse(PPS)
        world.clock.advance(0.2)
    settings = len(world.clock.settings)
    world.pulse(PPS, late=1e-3)

    assert settings == len(world.clock.settings)


def test_samples_of_gpsd_can_vote() -> None:
    """A source of whole offsets is enough for a clock that needs one source."""
    world = World(HandClock(error=100_000_000), count=0, policy=SynchronizationPolicy())
    world.controller.add_source(PPS, PollLimits(0, 0), ReferenceId.of_text("SOCK"))
    world.pulse(PPS, period=None)

    assert 1 == len(world.clock.steps)
    assert "used" == world.controller.estimate(PPS).reason
    assert 1 == world.update.time.stratum


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


def test_accumulated_steps_are_bounded() -> None:
    """Steps after the first correction add up, and what goes beyond the threshold is refused."""
    policy = SynchronizationPolicy(
        step_policy=StepPolicy.ALWAYS,
        accumulated_step_panic_threshold=0.5,
        single_step_panic_threshold=PanicThreshold(10.0, 10.0),
    )
    world = World(HandClock(error=NANOSECONDS), policy=policy)
    world.ask()
    for error in (0.4, 0.8):
        for _ in range(4):
            world.ask(SourceId(0), error)
            world.clock.advance(2.0)

    assert 2 == world.controller.status().steps
    assert world.controller.status().accumulated_steps == pytest.approx(0.4, abs=1e-3)
    assert DecisionKind.PANIC == world.kinds()[-1]


def test_estimate_and_status_change_nothing() -> None:
    """Asking for the state a hundred times is reading the clock and nothing else."""
    world = World(count=3)
    world.ask_all(3)
    settings = list(world.clock.settings)
    first = (world.controller.status(), [world.controller.estimate(source) for source in world.sources])
    second = (world.controller.status(), [world.controller.estimate(source) for source in world.sources])

    assert first == second
    assert settings == world.clock.settings
