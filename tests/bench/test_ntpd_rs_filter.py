"""The restated filter of ntpd-rs does what ntpd-rs' own does, digit by digit."""

from __future__ import annotations

import pytest

from bench.ntpd_rs_filter import MEDDLING, SAMPLES, Estimate, Sample, SourceFilter, chance
from ntptwist.algorithm.config import PollLimits

FRACTION = 2.0**32 - 1.0
"""ntpd-rs takes so many for a second, of 2**32, wherever it turns fixed point into seconds."""

# seconds after the start, offset and delay in 32.32 fixed point; then what ntpd-rs' filter made of them:
# offset, frequency, the covariance's three elements, wander, delay
RECORDED = """
16  956625  45390203 0.00022273161453724178 0 0.010568230182530412 0 100 1e-08 0.010568230182530412
32  2513410 44722800 0.00040396524136978326 0 0.010568230182530412 0 100 1e-08 0.010568230182530412
48  1903162 45870885 0.000417014972093441 0 0.010680147682009299 0 100 1e-08 0.010680147682009299
64  2861425 43043134 0.0004793180852381788 0 0.010680147682009299 0 100 1e-08 0.010680147682009299
80  3274481 44985319 0.0005359343719985183 0 0.010680147682009299 0 100 1e-08 0.010680147682009299
96  5044222 44481911 0.0006423535525431749 0 0.010680147682009299 0 100 1e-08 0.010680147682009299
112 5296805 46903062 0.0007267685475721749 0 0.010920470117339974 0 100 1e-08 0.010920470117339974
128 6122202 46367963 0.0008141020081970147 0 1.7765134376877328e-07 0 1e-08 1e-16 0.010528755289392722
144 6114303 46335531 0.0014187686409402522 3.53392934254628e-05 2.168786473069927e-08 1.2675311882396978e-09 \
7.229992959414026e-10 1e-16 0.01055626795523713
160 8176509 44761002 0.0019102511391429007 3.1501858985024056e-05 2.0010891741095325e-08 1.0384642962085512e-09 \
1.1079257845278503e-10 1e-16 0.010557379779768498
176 8266773 44422898 0.002030070320652346 1.8266400795639574e-05 1.7555837764958194e-08 6.047713922424341e-10 \
3.478756849991751e-11 1e-16 0.010515237811607132
192 8771636 44720581 0.002105557981834628 1.277119215700081e-05 1.0348497566037679e-08 2.6233291837676113e-10 \
1.1998320795794404e-11 1e-16 0.010564057944706655
"""


def sample(number: int, offset: float = 0.0, delay: float = 0.01, every: float = 16.0) -> Sample:
    """Give the exchange of a numbered poll."""
    return Sample(offset, delay, number * every, number * every)


def started(limits: PollLimits, delay: float = 0.01) -> SourceFilter:
    """Give a filter that has its first samples behind it; their delays and offsets differ a little."""
    source = SourceFilter(limits)
    for number in range(SAMPLES):
        source.measured(sample(number, 1e-4 * (-1) ** number, delay + 1e-5 * (-1) ** number))
    return source


def test_every_figure_is_that_of_ntpd_rs() -> None:
    """Twelve samples, eight of them the first, give the estimates that ntpd-rs itself printed."""
    source = SourceFilter(PollLimits(4, 10))
    found, recorded = [], []
    for line in RECORDED.strip().splitlines():
        after, offset, delay, *figures = map(float, line.split())
        local = after * 2.0**32 / FRACTION
        snapshot = source.measured(Sample(offset / FRACTION, delay / FRACTION, local, after))
        assert snapshot is not None
        e = snapshot.estimate
        found.append([e.offset, e.frequency, e.p00, e.p01, e.p11, e.wander, snapshot.delay])
        recorded.append(figures)

    for mine, theirs in zip(found, recorded, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-12, abs=0)


@pytest.mark.parametrize(("residual", "probability"), [(0.4307, 2 / 3), (0.9674, 1 / 3), (4.892, 1e-6)])
def test_residuals_at_which_scores_change(residual: float, probability: float) -> None:
    """The bounds of the wander score, and of the return to quick polls, lie at these many standard deviations."""
    assert probability == pytest.approx(chance(residual**2), rel=5e-3)


def test_only_one_outlier_is_ever_rejected() -> None:
    """The first delay far beyond the others is dropped; the second is believed, however long after."""
    source = started(PollLimits(4, 4))
    first = source.measured(sample(SAMPLES, delay=0.5))
    for number in range(SAMPLES + 1, SAMPLES + 20):
        source.measured(sample(number, 0.0, 0.01 + 1e-5 * (-1) ** number))

    assert first is None
    assert source.measured(sample(SAMPLES + 20, delay=0.5)) is not None


def test_a_clock_set_by_somebody_starts_the_filter_afresh() -> None:
    """When local time jumps and monotonic time does not, the sample is lost and the first eight begin again."""
    source = started(PollLimits(4, 4))
    jumped = source.measured(Sample(0.0, 0.01, 8 * 16.0 + MEDDLING + 1.0, 8 * 16.0))

    assert jumped is None
    assert source.estimate is None


def test_a_sample_from_before_the_estimate_is_ignored() -> None:
    """What was measured before the time for which the filter already knows better changes nothing."""
    source = started(PollLimits(4, 4))
    source.steered(0.0, 1000.0)
    before = source.estimate

    assert source.measured(sample(SAMPLES)) is None
    assert before == source.estimate


def test_own_steps_move_estimate_and_first_samples() -> None:
    """After a step of our own the offset is smaller by as much, before and after the eighth sample."""
    young, old = SourceFilter(PollLimits(4, 4)), started(PollLimits(4, 4))
    young.measured(sample(0, 0.5))
    young.stepped(0.5)
    old.stepped(0.5)
    second = young.measured(Sample(0.0, 0.01, 16.5, 16.0))

    assert second is not None
    assert second.estimate.offset == 0.0
    assert old.estimate is not None
    assert old.estimate.offset == pytest.approx(-0.5)
    assert old.measured(Sample(-0.5, 0.01, 8 * 16.0 + 0.5, 8 * 16.0)) is not None


def test_what_is_past_predicts_nothing() -> None:
    """An estimate can't be brought back to an earlier time."""
    estimate = Estimate(1.0, 1e-6, 1e-6, 0.0, 1e-12, 100.0, 1e-16)

    assert estimate.at(50.0) is estimate
    assert estimate.at(200.0).offset == pytest.approx(1.0001)


def test_polls_grow_rare_while_samples_weigh_little_and_quick_again_after_a_surprise() -> None:
    """Noisy delays make samples weigh little: after sixteen of them polls double; a great residual ends that."""
    source = SourceFilter(PollLimits(4, 10))
    time, polls = 0.0, []
    for number in range(120):
        time += 2.0**source.desired
        source.measured(Sample(0.0, 0.01 + 1e-3 * (number % 2), time, time))
        polls.append(source.desired)
    time += 2.0**source.desired
    source.measured(Sample(0.1, 0.01, time, time))

    assert polls[0] == 4
    assert polls == sorted(polls)
    assert polls[-1] > 5
    assert source.desired == 4


def test_polls_grow_quicker_while_samples_weigh_much() -> None:
    """When the clock wanders by more than a sample is wrong, more samples are asked for."""
    source = SourceFilter(PollLimits(0, 4))
    time, offset = 0.0, 0.0
    for number in range(60):
        time += 2.0**source.desired
        offset += 1e-4 * (1 if number % 4 < 2 else -1)
        source.measured(Sample(offset, 0.01 + 1e-7 * (number % 2), time, time))

    assert source.desired < 4
