"""Whatever is measured, and in whatever order things happen, the algorithm neither raises nor believes nonsense."""

from __future__ import annotations

import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.algorithm.belief import inverse_mills
from ntptwist.algorithm.config import PollLimits, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.filter import TwoWayFilter, plausible
from ntptwist.algorithm.pulse import OneWayFilter
from ntptwist.algorithm.select import Interval, find_majority
from ntptwist.algorithm.words import duration
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.measurement import OneWayMeasurement, TwoWayMeasurement
from ntptwist.timestamp import Monotonic, Timestamp
from tests.algorithm.world import HandClock, World

anything = st.floats()
stamps = st.integers(-(1 << 200), 1 << 200)
times = st.one_of(anything, st.floats(-1.0, 1.0), st.floats(0.0, 1e-3))


@given(times, times, times, st.lists(st.tuples(times, times, times, times, times, times), max_size=12))
def test_filter_of_a_server_takes_anything(
    outward: float, homeward: float, delay: float, rest: list[tuple[float, float, float, float, float, float]]
) -> None:
    """After any plausible start any floats give a finite belief of positive variance, and no exception."""
    if not plausible(outward, homeward, delay):
        return
    belief = TwoWayFilter(outward, homeward, delay, 0.0, 0.0, 0.0)
    for there, back, whole, elapsed, integral, correction in rest:
        belief.update(there, back, whole, belief.time + elapsed, integral, correction)

        assert math.isfinite(belief.offset)
        assert math.isfinite(belief.frequency)
        assert belief.p00 > 0.0
        assert belief.p11 > 0.0
        assert belief.noise.offset_variance > 0.0
        assert all(math.isfinite(value) for value in belief.at(belief.time + 1e6, belief.integral))


@given(
    st.floats(-1e9, 1e9),
    st.floats(0.0, exclude_min=True),
    st.none() | st.floats(1e-3, 1e6),
    st.lists(st.tuples(times, times, times), max_size=20),
)
def test_filter_of_pulses_takes_anything(
    offset: float, precision: float, period: float | None, rest: list[tuple[float, float, float]]
) -> None:
    """Any floats give a finite belief of positive variance, and no exception."""
    belief = OneWayFilter(offset, precision, period, 0.0, 0.0, 0.0, 1e-5)
    for measured, elapsed, integral in rest:
        belief.update(measured, belief.time + elapsed, integral)

        assert math.isfinite(belief.offset)
        assert belief.p00 > 0.0
        assert belief.p11 > 0.0


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_inverse_mills_is_positive_and_above_its_argument(a: float) -> None:
    """phi/Phi is not negative and a + phi/Phi positive, for every number there is."""
    r, excess, log_below = inverse_mills(a)

    assert r >= 0.0
    assert excess > 0.0
    assert log_below <= 0.0


@given(st.lists(st.tuples(st.floats(-10.0, 10.0), st.floats(0.0, 10.0)), min_size=1, max_size=9), st.integers(0, 9))
def test_majority_is_what_counting_finds(sources: list[tuple[float, float]], agreeing: int) -> None:
    """The overlap holds as many intervals as any point does, and the common interval lies in every one of them."""
    intervals = [Interval(middle - radius, middle + radius) for middle, radius in sources]
    majority = find_majority(intervals, agreeing)
    most = max(sum(other.low <= one.low <= other.high for other in intervals) for one in intervals)
    members = [one for one in intervals if one.low <= majority.common.low and one.high >= majority.common.high]

    assert most == majority.agree
    assert most == len(members)
    assert majority.holds == (most >= agreeing and 2 * most > len(intervals))


@given(anything)
def test_every_duration_has_words(seconds: float) -> None:
    """Every float is a duration that can be written."""
    assert duration(seconds)


two_way = st.builds(
    TwoWayMeasurement,
    *[stamps.map(Timestamp)] * 4,
    monotonic=stamps.map(Monotonic),
    leap=st.sampled_from(Leap),
    stratum=st.integers(0, 255),
    reference_id=st.binary(min_size=4, max_size=4).map(ReferenceId),
    root_delay=anything,
    root_dispersion=anything,
    precision=st.integers(-128, 127),
    interleaved=st.booleans(),
)
one_way = st.builds(
    OneWayMeasurement,
    anything,
    stamps.map(Timestamp),
    stamps.map(Monotonic),
    anything,
    leap=st.sampled_from(Leap),
    period=st.none() | anything,
)


@given(st.lists(two_way | one_way, max_size=8))
def test_controller_takes_any_measurement(measurements: list[TwoWayMeasurement | OneWayMeasurement]) -> None:
    """No stamps and no floats from outside make the controller raise, and what it serves stays within its ranges."""
    world = World(count=2)
    world.ask_all(2)
    for measurement in measurements:
        world.controller.next_poll(SourceId(1))
        world.take(world.controller.measured(SourceId(1), measurement))
        world.ask(SourceId(0))
        _is_sane(world)


@given(st.integers(0, 1 << 32), st.sampled_from(StepPolicy), st.booleans())
def test_controller_survives_any_order_of_events(seed: int, policy: StepPolicy, steerable: bool) -> None:
    """Measurements, silence, steps, suspends, removals and pulses in any order keep everything it says in range."""
    random = Random(seed)
    clock = HandClock(random.randrange(-(10**10), 10**10), random.uniform(-400.0, 400.0), steerable=steerable)
    world = World(clock, 3, SynchronizationPolicy(voting_sources=3, step_policy=policy), PollLimits(-2, 6))
    pulse = SourceId(7)
    world.controller.add_source(pulse, PollLimits(0, 0), ReferenceId.of_text("PPS"))
    for _ in range(40):
        event = random.randrange(9)
        if event < 4:
            world.ask(
                random.choice(world.sources),
                random.choice((0.0, 0.0, 1e-3, random.uniform(-5.0, 5.0))),
                outward=random.expovariate(1e3),
                homeward=random.expovariate(1e3),
                leap=random.choice(list(Leap)),
                root_dispersion=random.choice((0.0, 1e-3, 2.0)),
            )
        elif event == 4:
            world.pass_time(random.expovariate(0.1))
        elif event == 5:
            clock.meddle(random.randrange(-(10**12), 10**12))
        elif event == 6:
            clock.sleep(random.randrange(10000), random.uniform(0.0, 1.0))
        elif event == 7:
            world.pulse(pulse, random.choice((0.0, 0.0, random.random())), random.choice((1.0, 1.0, None)))
        else:
            gone = random.choice(world.sources)
            world.take(world.controller.remove_source(gone))
            world.controller.add_source(gone, PollLimits(-2, 6), ReferenceId(bytes(4)))
        _is_sane(world)


def _is_sane(world: World) -> None:
    """State what must hold of everything that the controller says."""
    served, status = world.update.time, world.controller.status()

    assert 0.0 <= world.update.next_update <= 8.0
    assert served.synchronized == status.synchronized
    assert 0.0 <= served.root_dispersion(Monotonic(served.monotonic + 10**15)) <= 16.0
    assert 1 <= served.stratum <= 16
    assert abs(status.frequency) <= 500.0
    assert status.error_bound is None or status.error_bound >= 0.0
    for source in (*world.sources, SourceId(7)):
        estimate = world.controller.estimate(source)
        assert estimate.reason
        assert estimate.offset is None or math.isfinite(estimate.offset)
        assert estimate.uncertainty is None or estimate.uncertainty >= 0.0
