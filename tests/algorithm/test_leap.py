"""The list of leap seconds: it is read as published, says what a server would say, and nothing after its end."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from ntptwist.algorithm.config import SynchronizationPolicy
from ntptwist.algorithm.leap import LeapSecond, LeapTable, parse_leap_table
from ntptwist.identifiers import Leap
from ntptwist.timestamp import NANOSECONDS, Timestamp
from tests.algorithm.world import HandClock, World

PUBLISHED = """\
#	The list as the IERS published it for the end of 2016, without most of its words and seconds.
#$	 3676924800
#@	3707596800
#
2272060800	10	# 1 Jan 1972
2287785600	11	# 1 Jul 1972
3644697600	36	# 1 Jul 2015

3692217600	37	# 1 Jan 2017
#h	{}
"""


def hashed(text: str) -> str:
    """Give a list its hash."""
    digits = "".join("".join(line.lstrip("#$@").partition("#")[0].split()) for line in text.splitlines()[1:-1])
    octets = hashlib.sha1(digits.encode(), usedforsecurity=False).digest()
    return text.format(" ".join(f"{int.from_bytes(octets[i : i + 4], 'big'):x}" for i in range(0, 20, 4)))


def local(*moment: int) -> Timestamp:
    """Give a time of UTC."""
    return Timestamp(int(datetime(*moment, tzinfo=UTC).timestamp()) * NANOSECONDS)  # type: ignore[misc, arg-type]


TABLE = parse_leap_table(hashed(PUBLISHED))


def test_the_list_as_published() -> None:
    """Times are counted from 1970, the words behind a # are left out."""
    assert TABLE.seconds[-1] == LeapSecond(1_483_228_800, 37)
    assert len(TABLE.seconds) == 4
    assert TABLE.expires == 1_498_608_000


@pytest.mark.parametrize(
    ("moment", "leap"),
    [
        ((2016, 11, 30, 23, 59, 59), Leap.NONE),
        ((2016, 12, 1), Leap.INSERT),
        ((2016, 12, 31, 23, 59, 59), Leap.INSERT),
        ((2017, 1, 1), Leap.NONE),
        ((2015, 6, 15), Leap.INSERT),
        ((2017, 6, 27), Leap.NONE),
        ((2017, 6, 28), None),
    ],
)
def test_announced_during_the_month(moment: tuple[int, ...], leap: Leap | None) -> None:
    """From the first of the month on, until it happens; when the list has expired it says nothing."""
    assert TABLE.announces(local(*moment)) is leap


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ((1971, 12, 31), None),
        ((2016, 12, 31), 36),
        ((2017, 1, 1), 37),
        ((2017, 6, 27), 37),
        ((2017, 6, 28), None),
    ],
)
def test_ahead_of_utc(moment: tuple[int, ...], seconds: int | None) -> None:
    """TAI - UTC changes with the leap second; before the first entry and after the end of the list nobody knows."""
    assert seconds == TABLE.tai(local(*moment))


def test_a_new_list_votes_from_then_on() -> None:
    """The list can be replaced while the algorithm is at work."""
    world = World(HandClock(start=local(2016, 12, 31, 12)), 1, SynchronizationPolicy())
    world.ask_all(4)
    before = world.update.time.leap
    world.controller.leap_table = TABLE
    world.ask_all(1)

    assert (before, world.update.time.leap) == (Leap.NONE, Leap.INSERT)
    assert world.controller.leap_table is TABLE


def test_a_deleted_second() -> None:
    """Where TAI - UTC becomes smaller a second is left out; it has never happened."""
    table = LeapTable((LeapSecond(0, 37), LeapSecond(local(2030, 7, 1) // NANOSECONDS, 36)), 1 << 40)

    assert table.announces(local(2030, 6, 1)) is Leap.DELETE


@pytest.mark.parametrize("year", [-500_000, 500_000])
def test_beyond_the_calendar(year: int) -> None:
    """A clock that shows no year that there is does no harm."""
    assert LeapTable(TABLE.seconds, 1 << 80).announces(Timestamp(year * 31_556_952 * NANOSECONDS)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (hashed(PUBLISHED).replace("3692217600", "3692217601"), "its hash is missing or wrong"),
        ("\n".join(hashed(PUBLISHED).splitlines()[:-1]), "its hash is missing or wrong"),
        ("", "its hash is missing or wrong"),
        ("Not found", "it is no list of leap seconds"),
        ("one two three", "it is no list of leap seconds"),
        ("#@\n", "it is no list of leap seconds"),
        ("#h zebra\n", "it is no list of leap seconds"),
        (hashed("#\n#$ 1\n#@ 2\n#h {}\n"), "it is incomplete"),
        (hashed("#\n#$ 1\n1 1\n#h {}\n"), "it is incomplete"),
        (hashed("#\n#@ 9\n2 2\n1 1\n#h {}\n"), "it is incomplete"),
    ],
)
def test_lists_that_are_refused(text: str, reason: str) -> None:
    """A list that somebody changed, or only half of one, is not believed."""
    with pytest.raises(ValueError, match=reason):
        parse_leap_table(text)


def test_the_list_has_one_vote() -> None:
    """Against one server that knows nothing of it the list decides, against two it is outvoted."""
    announced = []
    for servers in (1, 2):
        policy = SynchronizationPolicy(voting_sources=servers, leap_table=TABLE)
        world = World(HandClock(start=local(2016, 12, 31, 12)), servers, policy)
        world.ask_all(4)
        announced.append(world.update.time.leap)

    assert announced == [Leap.INSERT, Leap.NONE]


def test_an_expired_list_does_not_vote() -> None:
    """What a list of yesterday does not know a server may know."""
    policy = SynchronizationPolicy(leap_table=TABLE)
    world = World(HandClock(start=local(2026, 6, 30, 12)), 1, policy)
    world.ask_all(4, leap=Leap.INSERT)

    assert world.update.time.leap is Leap.INSERT
