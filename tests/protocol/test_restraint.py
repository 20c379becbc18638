"""A server that asks for fewer requests gets them, and is forgiven in time."""

from __future__ import annotations

from ntptwist.algorithm.config import PollLimits
from ntptwist.protocol.restraint import RELENT_AFTER, Restraint


def test_no_restraint_at_first() -> None:
    """A server that never complained may be asked as often as the algorithm likes."""
    restraint = Restraint(PollLimits(6, 10))
    restraint.answered()

    assert restraint.exponent is None


def test_each_kiss_doubles_the_interval() -> None:
    """The interval grows from the smallest one by a factor of two with each kiss, to the largest and no further."""
    restraint = Restraint(PollLimits(6, 10))

    assert [restraint.kissed(6) for _ in range(6)] == [7, 8, 9, 10, 10, 10]


def test_never_faster_than_what_was_refused() -> None:
    """A request that was refused at a longer interval is not repeated at a shorter one."""
    assert Restraint(PollLimits(4, 10)).kissed(9) == 9


def test_the_operator_has_the_last_word() -> None:
    """The largest interval of the configuration is not exceeded."""
    assert Restraint(PollLimits(6, 8)).kissed(12) == 8


def test_good_replies_relent() -> None:
    """After some good replies the interval is halved, until nothing is left of the kiss."""
    restraint = Restraint(PollLimits(6, 10))
    restraint.kissed(6)
    restraint.kissed(7)
    seen = []
    for _ in range(2 * RELENT_AFTER):
        restraint.answered()
        seen.append(restraint.exponent)

    assert seen == [8] * (RELENT_AFTER - 1) + [7] * RELENT_AFTER + [None]


def test_a_kiss_starts_the_count_again() -> None:
    """Good replies before a kiss do not count towards forgiving it."""
    restraint = Restraint(PollLimits(6, 10))
    restraint.kissed(6)
    for _ in range(RELENT_AFTER - 1):
        restraint.answered()
    restraint.kissed(7)
    restraint.answered()

    assert restraint.exponent == 8


def test_one_fixed_interval() -> None:
    """Where the operator allows one interval only, a kiss forbids shorter ones for a while and then is forgotten."""
    restraint = Restraint(PollLimits(6, 6))
    first = restraint.kissed(1)
    for _ in range(RELENT_AFTER):
        restraint.answered()

    assert (first, restraint.exponent) == (6, None)
