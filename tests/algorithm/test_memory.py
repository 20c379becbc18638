"""What outlives a filter: it helps as far as it deserves after its time, and never stands in the way."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ntptwist.algorithm.config import (
    BASE_MEMORY,
    REMEMBERED_AFTER,
    REMEMBERED_PATHS,
    RESTART_DOUBT,
    PollLimits,
    StepPolicy,
    SynchronizationPolicy,
)
from ntptwist.algorithm.filter import TwoWayFilter
from ntptwist.algorithm.memory import ClockMemory, KnownOffset, NoiseMemory, PathMemory, RememberedPaths
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp
from tests.algorithm.world import START, HandClock, World, server_id

HERE = ReferenceId.of_address("192.0.2.1")
PATH = PathMemory(
    frequency=1e-6,
    frequency_variance=1e-16,
    wander=1e-18,
    shape=0.1,
    base=1e-4,
    base_variance=1e-12,
    asymmetry=0.0,
    noise=NoiseMemory(2e-4 * 64, 64.0, 1e-4 * 64, 1e-4 * 64),
    offset=KnownOffset(1e-6, 1e-12, 0.0),
)
READING = ClockReading(START, Monotonic(5 * NANOSECONDS))
CLOCK = ClockMemory(READING, 1e-6, 1e-6, 1e-16, 1e-18, {HERE: PATH})


def later(seconds: int, moved: int = 0, asleep: int = 0) -> ClockReading:
    """Give the reading so many seconds later, after ``local`` was moved by some nanoseconds."""
    passed = seconds * NANOSECONDS
    return ClockReading(Timestamp(START + passed + moved), Monotonic(READING.monotonic + passed), asleep)


def resumed(known: PathMemory, outward: float = 1.5e-4, homeward: float = 1.5e-4) -> TwoWayFilter:
    """Give a filter that starts from a memory and one exchange."""
    return TwoWayFilter(outward, homeward, outward + homeward, 0.0, 0.0, 0.0, 1e-6, known)


def test_uncertainty_grows_with_age() -> None:
    """An offset is predicted onwards with its variance, exactly as a filter would; the base becomes vague in a day."""
    day = PATH.aged(BASE_MEMORY, BASE_MEMORY * 2e-6)

    assert day.offset is not None
    assert day.offset.offset == pytest.approx(1e-6 + BASE_MEMORY * (1e-6 - 2e-6))
    assert day.offset.variance == pytest.approx(1e-12 + 1e-16 * BASE_MEMORY**2 + 1e-18 * BASE_MEMORY**3 / 3)
    assert day.offset.covariance == pytest.approx(1e-16 * BASE_MEMORY + 1e-18 * BASE_MEMORY**2 / 2)
    assert day.frequency_variance == pytest.approx(1e-16 + 1e-18 * BASE_MEMORY)
    assert day.base_variance == pytest.approx(1e-12 + 2e-4**2 / 8)
    assert PATH.aged(10 * BASE_MEMORY, None).base_variance == day.base_variance


def test_an_untouched_clock_keeps_its_offset() -> None:
    """A minute after a stop on a clock that nobody touched everything is known, the offset too."""
    path = CLOCK.at(later(60), 1e-6).paths[HERE]

    assert path.offset is not None
    assert path.offset.offset == pytest.approx(1e-6)
    assert path.frequency_variance == pytest.approx(1e-16 + 60 * 1e-18)


def test_a_small_step_while_nobody_watched_is_counted() -> None:
    """What moved the clock by less than a foreign step is seen in its axes, and the offset moves with it."""
    path = CLOCK.at(later(60, moved=300_000), 1e-6).paths[HERE]

    assert path.offset is not None
    assert path.offset.offset == pytest.approx(1e-6 - 300e-6)


@pytest.mark.parametrize(
    ("reading", "rate"),
    [
        (later(60, moved=2_000_000), 1e-6),
        (later(60, asleep=NANOSECONDS), 1e-6),
        (later(60), 2e-6),
        (READING._replace(monotonic=Monotonic(0), local=Timestamp(START - 5 * NANOSECONDS)), 1e-6),
    ],
    ids=["stepped", "slept", "steered by somebody", "earlier"],
)
def test_a_clock_that_was_touched_keeps_frequency_and_paths(reading: ClockReading, rate: float) -> None:
    """After a reboot, a step, a suspend, or somebody else's steering the offset is not known any more."""
    known = CLOCK.at(reading, rate)

    assert known.paths[HERE].offset is None
    assert known.paths[HERE].base == PATH.base
    assert known.frequency == CLOCK.frequency
    assert known.frequency_variance >= RESTART_DOUBT**2
    assert known.paths[HERE].frequency_variance >= RESTART_DOUBT**2


def test_paths_are_remembered_within_bounds() -> None:
    """The paths remembered last are kept; remembering one again makes it the newest."""
    paths = RememberedPaths()
    ids = [ReferenceId(number.to_bytes(4, "big")) for number in range(REMEMBERED_PATHS + 1)]
    for address in ids[:-1]:
        paths.keep(address, PATH, 0.0, 0.0)
    paths.keep(ids[0], PATH, 0.0, 0.0)
    paths.keep(ids[-1], PATH, 0.0, 0.0)
    known = paths.recall_all(0.0, 0.0)

    assert len(known) == REMEMBERED_PATHS
    assert ids[0] in known
    assert ids[1] not in known
    assert paths.recall(ids[1], 0.0, 0.0) is None


def test_a_resumed_filter_knows_its_path_at_once() -> None:
    """After the first exchange the clock is as well known as before, a new filter only to the delay."""
    cold, warm = TwoWayFilter(1.5e-4, 1.5e-4, 3e-4, 0.0, 0.0, 0.0), resumed(PATH)

    assert warm.p00 < 1.1e-12 < cold.p00
    assert warm.p11 == pytest.approx(PATH.frequency_variance, rel=0.01)
    assert warm.base == pytest.approx(PATH.base, rel=0.05)


def test_a_resumed_filter_without_an_offset_takes_it_from_the_exchange() -> None:
    """With an unknown offset the first exchange counts in full, under the noise that is known."""
    warm = resumed(replace(PATH, offset=None), 2.0001, -1.9998)

    assert warm.offset == pytest.approx(2.0, abs=2e-4)
    assert 1e-5 < warm.p00**0.5 < 1e-4


def test_an_offset_that_the_exchange_contradicts_is_dropped() -> None:
    """A clock that was moved by an hour in spite of all signs does not keep its filter from resuming the path."""
    warm = resumed(PATH, 3600.00015, -3599.99985)

    assert warm.offset == pytest.approx(3600.0, abs=1e-3)


@pytest.mark.parametrize("delay", [5e-5, 5e-3], ids=["shorter", "longer"])
def test_another_path_is_not_resumed(delay: float) -> None:
    """An exchange that did not go over the path that is remembered starts a filter afresh."""
    fresh = TwoWayFilter(delay / 2, delay / 2, delay, 0.0, 0.0, 0.0, 1e-6)
    filter_ = resumed(PATH, delay / 2, delay / 2)

    assert (filter_.base, filter_.p00, filter_.p11) == (fresh.base, fresh.p00, fresh.p11)


def test_an_asymmetry_is_resumed() -> None:
    """What a change of route once taught of both ways is applied from the first exchange on."""
    warm = resumed(replace(PATH, asymmetry=5e-4, base=6e-4), 11.5e-4, 1.5e-4)

    assert warm.offset == pytest.approx(0.0, abs=1e-5)
    assert warm.asymmetry == 5e-4


def test_a_memory_that_is_no_belief_starts_afresh() -> None:
    """Covariances that rounding or worse has made impossible do no harm."""
    warm = resumed(replace(PATH, frequency=1e300, offset=KnownOffset(0.0, 1e-12, 1e200)))

    assert warm.offset == pytest.approx(0.0, abs=1e-4)


def test_remembering_loses_nothing_of_the_noise() -> None:
    """The noise scales of both ways go on exactly where they stood."""
    random = Random(1)
    filter_ = TwoWayFilter(2e-4, 2e-4, 4e-4, 0.0, 0.0, 0.0)
    for k in range(1, 200):
        there, back = 1e-4 + random.expovariate(1e4), 1e-4 + random.expovariate(3e4)
        filter_.update(there, back, there + back, k * 16.0, 0.0, 0.0)
    known = filter_.remember()
    noise = type(filter_.noise).resume(known.noise)

    assert (noise.outward, noise.homeward) == (filter_.noise.outward, filter_.noise.homeward)
    assert known.offset == KnownOffset(filter_.offset, filter_.p00, filter_.p01)


def test_nothing_is_worth_keeping_at_first() -> None:
    """A controller that knows nothing yet has no memory, and one exchange is not worth being remembered as a path."""
    world = World()
    before = world.controller.memory()
    world.ask()
    after = world.controller.memory()

    assert before is None
    assert after is not None
    assert after.paths == {}


def settled(clock: HandClock | None = None) -> World:
    """Give a world whose controller has kept an oscillator that is 20 ppm fast for half an hour, and may step it."""
    world = World(clock or HandClock(drift=20.0), policy=SynchronizationPolicy(step_policy=StepPolicy.ALWAYS))
    world.ask_all(REMEMBERED_AFTER)
    world.ask_all(25, pause=64.0)
    return world


def test_frequency_is_applied_before_the_first_poll() -> None:
    """A restarted controller corrects the oscillator's error at its first timer, when nobody has been asked yet."""
    known = settled().controller.memory()
    assert known is not None
    clock = HandClock(drift=20.0)
    world = World(clock)
    world.controller.restore(known)
    world.take(world.controller.timer())

    assert clock.frequency() == pytest.approx(-20.0, abs=0.1)
    assert clock.steps == []


def test_an_observed_clock_is_not_touched_by_a_restart() -> None:
    """Where the clock is only observed the frequency is known and not applied."""
    known = settled().controller.memory()
    assert known is not None
    world = World(HandClock(drift=20.0, steerable=False))
    world.controller.restore(known)
    world.take(world.controller.timer())
    world.controller.release()
    world.ask()

    assert world.clock.settings == []
    assert world.controller.estimate(SourceId(0)).frequency == pytest.approx(-20.0, abs=0.1)


def test_release_ends_a_slew() -> None:
    """Whoever stops leaves the clock at the frequency that its oscillator needs."""
    world = settled()
    world.ask(server_error=1e-3)
    slewing = world.clock.frequency()
    needed = world.controller.estimate(SourceId(0)).frequency
    assert needed is not None
    world.controller.release()
    world.controller.release()

    assert abs(slewing - needed) > 1.0
    assert world.clock.frequency() == pytest.approx(needed, abs=1e-3)


def test_a_server_that_comes_back_resumes_its_path() -> None:
    """A source that ended and begins again at the same address is as good after its first answer as it was."""
    world = settled()
    world.take(world.controller.remove_source(SourceId(0)))
    world.take(world.controller.remove_source(SourceId(0)))
    world.controller.add_source(SourceId(1), PollLimits(), server_id(SourceId(0)))
    world.ask(SourceId(1))
    back = world.controller.estimate(SourceId(1))
    world.controller.add_source(SourceId(2), PollLimits(), server_id(SourceId(2)))
    world.ask(SourceId(2))
    stranger = world.controller.estimate(SourceId(2))

    assert back.uncertainty is not None
    assert stranger.uncertainty is not None
    assert back.uncertainty < stranger.uncertainty / 3


@pytest.mark.parametrize("disturb", ["step", "sleep"])
def test_a_moved_clock_makes_offsets_forgotten(disturb: str) -> None:
    """A remembered offset does not survive that the clock was moved; what is known of the path does."""
    world = settled()
    world.take(world.controller.remove_source(SourceId(0)))
    if disturb == "step":
        world.controller.add_source(SourceId(1), PollLimits(), server_id(SourceId(1)))
        world.ask(SourceId(1), server_error=0.02)
    else:
        world.clock.sleep(3600)
        world.take(world.controller.timer())
    known = world.controller.memory()
    assert known is not None

    assert known.paths[server_id(SourceId(0))].offset is None
