"""Replies by columns: what is plain, and every place where an era or a lane ends."""

from __future__ import annotations

import pytest

from ntptwist.protocol.columns import CAPACITY, common_reply, first_octets, lanes_of
from ntptwist.protocol.server import Face
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import EPOCH_OFFSET, NANOSECONDS, Monotonic, Timestamp, encode_timestamp
from tests.protocol.rows import Rows

NOW = 1_800_000_000 * NANOSECONDS
ERA_END = ((1 << 32) - EPOCH_OFFSET) * NANOSECONDS
PLAIN = bytes((0x23,)).ljust(48, b"\0")


def timestamps(rows: Rows, row: int) -> tuple[int, int]:
    """Give the receive and transmit timestamps of a reply."""
    reply = rows.reply(row)
    return int.from_bytes(reply[32:40]), int.from_bytes(reply[40:48])


def test_first_octets_of_replies() -> None:
    """Client mode of an accepted version becomes server mode with our leap indicator, all else 0."""
    table = first_octets(0x40, frozenset({4}))

    assert {octet: reply for octet, reply in enumerate(table) if reply} == dict.fromkeys((0x23, 0x63, 0xA3, 0xE3), 0x64)


def test_plain_requests_are_told_from_others() -> None:
    """A row of another mode or version has no first octet for its reply."""
    rows = Rows([PLAIN, b"\x24", b"\x1b", b"\x16"], [NOW] * 4)

    assert rows.columns.firsts(4, first_octets(0, frozenset({3, 4}))) == bytes((0x24, 0, 0x1C, 0))


def test_interleaved_mode_is_noticed() -> None:
    """One request whose origin timestamp has its lowest bit set is found among others."""
    odd = bytes((0x23,)).ljust(31, b"\xfe") + b"\x01" + bytes(16)
    rows = Rows([PLAIN, odd, PLAIN], [NOW] * 3)

    assert [rows.columns.asks_interleaved(count) for count in (1, 2, 3)] == [False, True, True]
    assert [rows.columns.origin_is_odd(row) for row in range(3)] == [False, True, False]


def test_rows_that_are_not_answered_stay_as_they_are() -> None:
    """Only as many replies are written as there are requests."""
    rows = Rows([PLAIN] * 2, [NOW] * 2)
    rows.columns.answer(b"\x24", 0)
    rows.columns.depart(1, Timestamp(NOW), 0)

    assert rows.reply(1) == bytes(48)


def test_what_replies_have_in_common() -> None:
    """Stratum, precision, root delay and dispersion, reference id and time stand in every row once they are written."""
    face = Face(TimeSnapshot(stratum=3, reference_time=Timestamp(NOW)), Timestamp(NOW), Monotonic(0))
    rows = Rows([PLAIN] * CAPACITY, [NOW] * CAPACITY)
    rows.columns.common(common_reply(face))

    assert {rows.reply(row) for row in range(CAPACITY)} == {bytes((0, 3, 0, 0xEC)) + face.rest + bytes(24)}


@pytest.mark.parametrize("count", [1, 2, CAPACITY])
def test_an_era_ends_in_the_middle_of_a_batch(count: int) -> None:
    """In 2036 the seconds start from 0 again, in every row where they should."""
    stamps = [ERA_END - 3 + row for row in range(count)]
    rows = Rows([PLAIN] * count, stamps)
    rows.columns.answer(bytes((0x24,)) * count, 0)
    rows.columns.depart(count, Timestamp(ERA_END - 2), 1)
    for row, stamp in enumerate(stamps):
        received, sent = timestamps(rows, row)

        assert abs((received - encode_timestamp(Timestamp(stamp)) + (1 << 63)) % (1 << 64) - (1 << 63)) <= 2
        assert abs((sent - encode_timestamp(Timestamp(stamp + 1)) + (1 << 63)) % (1 << 64) - (1 << 63)) <= 6 + row


def test_each_reply_leaves_after_the_one_before() -> None:
    """The transmit timestamps are as far apart as sending takes; where rows are left out the ranks say how far."""
    rows = Rows([PLAIN] * 4, [NOW] * 4)
    rows.columns.depart(4, Timestamp(NOW), 1000)
    every = [timestamps(rows, row)[1] for row in range(4)]
    rows.columns.depart(4, Timestamp(NOW), 1000, lanes_of([0, 0, 1, 2]))
    some = [timestamps(rows, row)[1] for row in range(4)]
    start = encode_timestamp(Timestamp(NOW))

    assert [value - start & ~1 for value in every] == [0, 4294, 8588, 12882]
    assert some == [every[0], every[0], every[1], every[2]]
