"""When sources are asked."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.config import POLL_RULES, PollLimits, Profile
from ntptwist.algorithm.poll import PollSchedule
from ntptwist.timestamp import Monotonic

NOW = Monotonic(0)


def _after_burst(limits: PollLimits) -> PollSchedule:
    poll = PollSchedule(limits)
    for _ in range(5):
        poll.polled(NOW)
        poll.answered()
        poll.counted()
    return poll


def _adapt(poll: PollSchedule, sigma: float, times: int, used: bool = True) -> list[int]:
    """Adapt to an estimate of that many times the deviation of a sample; give the exponents."""
    exponents = []
    for _ in range(times):
        poll.adapt((sigma * sigma, 0.0, 0.0), 0.0, 1.0, used=used)
        exponents.append(poll.exponent)
    return exponents


def test_burst_gives_up_after_eight_requests() -> None:
    """A source that never answers is asked eight times in a row and then at half its interval, not below the least."""
    poll = PollSchedule(PollLimits(6, 10))

    assert [2.0] * 8 + [64.0] * 2 == [poll.polled(NOW) for _ in range(10)]


def test_interval_is_approached_after_the_burst() -> None:
    """The gaps after the burst grow by a half power of two each: the first long one needs a known frequency."""
    poll = _after_burst(PollLimits(5, 10))
    poll.adapt((1e-6, 0.0, 1e-8), 0.0, 1.0, used=True)
    paces = []
    intervals = []
    for _ in range(9):
        intervals.append(poll.polled(NOW))
        paces.append(poll.pace)
        poll.answered()

    assert pytest.approx([2.0 ** (1 + k / 2) for k in range(1, 9)] + [32.0]) == intervals
    assert intervals == pytest.approx(paces)
    assert 32.0 == poll.interval


def test_approach_ends_when_the_frequency_is_known() -> None:
    """As soon as a whole interval would not make the clock much less certain, as after a warm start, it is taken."""
    poll = _after_burst(PollLimits(6, 10))
    drifting, known = (1e-8, 0.0, 1e-8), (1e-8, 0.0, 1e-12)
    poll.adapt(drifting, 0.0, 1.0, used=True)
    short = poll.pace
    poll.adapt(known, 0.0, 1.0, used=True)

    assert 2.0 == short
    assert [64.0, 64.0] == [poll.pace, poll.polled(NOW)]


def test_burst_is_no_slower_than_the_polls() -> None:
    """A source that is polled four times a second is not asked more slowly at the start."""
    poll = PollSchedule(PollLimits(-2, 4))

    assert [0.25] * 9 == [poll.polled(NOW) for _ in range(9)]


def test_lost_reply_halves_the_next_interval() -> None:
    """After a lost reply the source is asked again in half the time, once."""
    poll = _after_burst(PollLimits(4, 10))
    _adapt(poll, 0.1, 4)
    intervals = [poll.polled(NOW)]
    intervals.append(poll.polled(NOW))
    poll.answered()
    intervals.append(poll.polled(NOW))

    assert [32.0, 16.0, 32.0] == intervals


def test_four_good_predictions_double_the_interval() -> None:
    """The interval grows by one power of two for every four replies that were not needed, up to the limit."""
    assert [4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6] == _adapt(_after_burst(PollLimits(4, 6)), 0.1, 12)


def test_two_bad_predictions_halve_it() -> None:
    """The interval shrinks after two replies that came too late, down to the limit."""
    poll = _after_burst(PollLimits(4, 6))
    _adapt(poll, 0.1, 8)

    assert [6, 5, 5, 4, 4, 4] == _adapt(poll, 10.0, 6)


def test_prediction_between_both_keeps_it() -> None:
    """A prediction that is good now but would not be after twice the interval undoes what was counted."""
    poll = _after_burst(PollLimits(4, 6))
    _adapt(poll, 0.1, 3)
    for _ in range(5):
        poll.adapt((0.0, 0.0, 0.5 * 2.25 / 256.0), 0.0, 1.0, used=True)
    exponents = _adapt(poll, 0.1, 4)

    assert [4, 4, 4, 5] == exponents


def test_source_that_is_not_used_is_in_no_hurry() -> None:
    """A falseticker is soon asked at the longest interval."""
    assert 6 == _adapt(_after_burst(PollLimits(4, 6)), 10.0, 8, used=False)[-1]


def test_verification_asks_quickly_again() -> None:
    """After an accident there are four quick replies, at most six requests."""
    poll = _after_burst(PollLimits(6, 6))
    _adapt(poll, 0.1, 1)
    poll.verify()

    assert [2.0] * 6 + [64.0] == [poll.polled(NOW) for _ in range(7)]
    assert poll.in_burst


def test_last_two_requests_are_remembered() -> None:
    """An interleaved reply belongs to the request before the last."""
    poll = PollSchedule(PollLimits())
    poll.polled(Monotonic(1))
    poll.polled(Monotonic(2))

    assert (2, 1) == (poll.sent, poll.sent_before)


@pytest.mark.parametrize("exponent", [-2, 0, 17])
def test_limits_may_be_one_interval(exponent: int) -> None:
    """With equal limits the interval never changes."""
    assert {exponent} == set(_adapt(_after_burst(PollLimits(exponent, exponent)), 0.1, 9))


@pytest.mark.parametrize(
    ("profile", "exponent"), [(Profile.ACCURACY, 6), (Profile.BALANCED, 6), (Profile.FRUGAL, 7)], ids=str
)
def test_a_frugal_profile_waits_longer(profile: Profile, exponent: int) -> None:
    """A prediction that is twice as bad as one sample is in no hurry only for who wants few packets."""
    poll = PollSchedule(PollLimits())
    for _ in range(4):
        poll.adapt((4e-8, 0.0, 0.0), 0.0, 1e-8, POLL_RULES[profile], used=True)

    assert poll.exponent == exponent


@pytest.mark.parametrize(
    ("profile", "exponent"), [(Profile.ACCURACY, 6), (Profile.BALANCED, 7), (Profile.FRUGAL, 7)], ids=str
)
def test_accuracy_is_kept_up(profile: Profile, exponent: int) -> None:
    """A clock that is far better known than by one sample is let go only where accuracy is not all that counts."""
    poll = PollSchedule(PollLimits())
    for _ in range(4):
        poll.adapt((1e-12, 0.0, 1e-15), 0.0, 1e-8, POLL_RULES[profile], used=True)

    assert poll.exponent == exponent
