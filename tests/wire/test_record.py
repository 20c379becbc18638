"""The records of NTS key establishment are framed as RFC 8915 asks."""

from __future__ import annotations

import pytest

from ntptwist.errors import WireError
from ntptwist.wire.record import MAXIMUM_MESSAGE, Record, RecordReader, RecordType

REQUEST = bytes.fromhex("80010002 0000 80040002 000f 80000000")


def test_a_known_request_is_read() -> None:
    """The smallest request that clients make: NTPv4, AES-SIV-CMAC-256, end."""
    records = list(RecordReader().read(REQUEST))

    assert records == [
        Record(RecordType.NEXT_PROTOCOL, b"\x00\x00", critical=True),
        Record(RecordType.AEAD_ALGORITHM, b"\x00\x0f", critical=True),
        Record(RecordType.END_OF_MESSAGE, critical=True),
    ]


def test_and_written_to_the_octet() -> None:
    """What is written is what others read."""
    records = [
        Record.of_numbers(RecordType.NEXT_PROTOCOL, 0),
        Record.of_numbers(RecordType.AEAD_ALGORITHM, 15),
        Record(RecordType.END_OF_MESSAGE, critical=True),
    ]

    assert b"".join(record.serialize() for record in records) == REQUEST


def test_one_octet_at_a_time() -> None:
    """Records that come in single octets are given as soon as they are complete."""
    reader = RecordReader()
    given = [
        (index, record.type) for index in range(len(REQUEST)) for record in reader.read(REQUEST[index : index + 1])
    ]

    assert given == [(5, 1), (11, 4), (15, 0)]


def test_what_follows_the_end_is_dropped() -> None:
    """After the end of the message nothing is read, however long it claims to be."""
    reader = RecordReader()

    assert len(list(reader.read(REQUEST + bytes.fromhex("0005ffff") + bytes(1000)))) == 3


def test_a_message_that_is_too_long() -> None:
    """A record that would make the message longer than the limit is refused by its head alone."""
    reader = RecordReader()

    with pytest.raises(WireError, match="longer than 16384 octets"):
        list(reader.read(Record(5, bytes(MAXIMUM_MESSAGE - 4)).serialize() + b"\x00\x05\x00\x00"))


def test_many_small_records_are_too_long_as_well() -> None:
    """The limit counts the records that were given."""
    reader = RecordReader(12)
    first = list(reader.read(Record(5, bytes(4)).serialize()))

    assert len(first) == 1
    with pytest.raises(WireError, match="longer than 12 octets"):
        list(reader.read(Record(5, bytes(4)).serialize()))


def test_numbers() -> None:
    """A body is read as numbers of 16 bits."""
    assert Record(4, bytes.fromhex("0011000f001e")).numbers() == (17, 15, 30)
    assert Record(4).numbers() == ()


def test_an_odd_octet_is_no_number() -> None:
    """Half a number is refused."""
    with pytest.raises(WireError, match="3 octets"):
        Record(4, bytes(3)).numbers()


def test_the_critical_bit_is_no_part_of_the_type() -> None:
    """An unknown critical record has its own type and is told to be critical."""
    (record,) = RecordReader().read(bytes.fromhex("ffff0001aa"))

    assert (record.type, record.critical, record.body) == (0x7FFF, True, b"\xaa")


@pytest.mark.parametrize(("kind", "size"), [(-1, 0), (0x8000, 0), (5, 0x10000)])
def test_impossible_records_are_not_made(kind: int, size: int) -> None:
    """A record that can't be written is our own mistake."""
    with pytest.raises(ValueError, match="a record"):
        Record(kind, bytes(size))


def test_a_body_is_not_shown() -> None:
    """Whatever prints a record does not print a cookie."""
    assert "secret" not in repr(Record(RecordType.NEW_COOKIE, b"secret"))
