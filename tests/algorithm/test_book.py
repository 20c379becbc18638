"""The clock's book: the integral of what was applied, and what parts both axes."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.book import ClockBook, Displacement, ends_month
from ntptwist.algorithm.config import BOOK_LENGTH
from ntptwist.identifiers import Leap
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.algorithm.world import HandClock

NEW_YEAR = 1_798_761_600  # 2027-01-01 00:00 UTC


def test_integral_counts_what_the_clock_says_is_in_force() -> None:
    """The correction is what the kernel made of it, from when it took effect."""
    clock = HandClock()
    book = ClockBook(clock)
    clock.advance(10.0)
    book.steer(100.000001e-6)
    clock.advance(10.0)
    now = book.seconds(clock.read().monotonic)

    assert book.rate == pytest.approx(clock.frequency() * 1e-6)
    assert book.integral(now) == pytest.approx(10.001 * clock.frequency() * 1e-6, rel=1e-9)


def test_integral_of_the_past_is_known() -> None:
    """A measurement of an earlier time finds the correction that was in force then."""
    clock = HandClock()
    clock.tune(10.0)
    book = ClockBook(clock)
    for ppm in (20.0, 30.0):
        clock.advance(100.0)
        book.steer(ppm * 1e-6)
    clock.advance(100.0)

    assert book.integral(50.0) == pytest.approx(50 * 10e-6)
    assert book.integral(150.0) == pytest.approx(100 * 10e-6 + 50 * 20e-6, rel=1e-4)
    assert book.integral(250.0) == pytest.approx(100 * 10e-6 + 100 * 20e-6 + 50 * 30e-6, rel=1e-4)
    assert [10e-6, 20e-6, 30e-6] == pytest.approx([book.rate_at(time) for time in (50.0, 150.0, 250.0)])


def test_book_forgets_the_distant_past() -> None:
    """After thousands of changes the newest are still exact; before the oldest the correction is taken as constant."""
    clock = HandClock()
    book = ClockBook(clock)
    for change in range(BOOK_LENGTH + 10):
        clock.advance(1.0)
        book.steer((change % 7) * 1e-6)
    end = book.seconds(clock.read().monotonic)

    assert book.integral(end) - book.integral(end - 700.0) == pytest.approx(700 * 3e-6, rel=1e-3)
    assert book.rate_at(0.0) == book.rate_at(1.0)


def test_only_a_change_of_somebody_elses_frequency_is_entered() -> None:
    """In observe mode the correction is looked up, and the integral goes on from there."""
    clock = HandClock(steerable=False)
    book = ClockBook(clock)
    book.observe(clock.read().monotonic)
    clock.advance(10.0)
    clock.tune(50.0)
    book.observe(clock.read().monotonic)
    clock.advance(10.0)

    assert book.integral(book.seconds(clock.read().monotonic)) == pytest.approx(10 * 50e-6, rel=1e-3)


def test_own_step_parts_the_axes_and_is_no_news() -> None:
    """A step that we made is in the book."""
    clock = HandClock()
    book = ClockBook(clock)
    book.step(-123_456_789)

    assert Displacement() == book.check(clock.read(), Leap.NONE)
    assert clock.read().monotonic == book.stepped


def test_foreign_step_is_told_once() -> None:
    """What somebody else did is found to the nanosecond, and is in the book from then on."""
    clock = HandClock()
    book = ClockBook(clock)
    clock.meddle(-1_000_001)

    assert Displacement(foreign=-1_000_001) == book.check(clock.read(), Leap.NONE)
    assert Displacement() == book.check(clock.read(), Leap.NONE)


def test_sleep_explains_a_jump() -> None:
    """A suspend moves both axes' difference by what the machine slept."""
    clock = HandClock()
    book = ClockBook(clock)
    clock.sleep(77)
    found = book.check(clock.read(), Leap.NONE)

    assert (77 * NANOSECONDS, 0, 0) == found
    assert 77 * NANOSECONDS == found.total


def test_sleep_leap_and_meddling_are_told_apart() -> None:
    """A leap second during a suspend is a leap second; what neither explains is foreign."""
    clock = HandClock(start=Timestamp((NEW_YEAR - 50) * NANOSECONDS))
    book = ClockBook(clock)
    clock.sleep(100)
    clock.meddle(-NANOSECONDS)
    both = book.check(clock.read(), Leap.INSERT)
    clock.sleep(10)
    clock.meddle(300_000_000)

    assert Displacement(slept=100 * NANOSECONDS, leapt=-NANOSECONDS) == both
    assert Displacement(slept=10 * NANOSECONDS, foreign=300_000_000) == book.check(clock.read(), Leap.NONE)


def test_jump_without_enough_sleep_is_foreign() -> None:
    """A nap of a microsecond explains no jump of a second."""
    clock = HandClock()
    book = ClockBook(clock)
    clock.sleep(0, error=1e-6)
    clock.meddle(NANOSECONDS)

    assert NANOSECONDS + 1000 == book.check(clock.read(), Leap.NONE).foreign


@pytest.mark.parametrize(("second", "leaps"), [(0, True), (-2, True), (3599, True), (3700, False), (-86400, False)])
def test_leap_second_belongs_to_the_end_of_a_month(second: int, leaps: bool) -> None:
    """One second back counts as the announced leap within an hour of the end of a month only."""
    clock = HandClock(start=Timestamp((NEW_YEAR + 1 + second) * NANOSECONDS))
    book = ClockBook(clock)
    clock.meddle(-NANOSECONDS)

    assert leaps == bool(book.check(clock.read(), Leap.INSERT).leapt)


@pytest.mark.parametrize(
    ("day", "ends"),
    [(NEW_YEAR - 86400, True), (NEW_YEAR - 1, True), (NEW_YEAR, False), (NEW_YEAR - 86401, False), (10**15, False)],
)
def test_last_day_of_a_month_is_known(day: int, ends: bool) -> None:
    """On 31 December the month ends, on 30 December and 1 January it does not; the far future is no day."""
    assert ends == ends_month(Timestamp(day * NANOSECONDS))
