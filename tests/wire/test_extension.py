"""Extension fields are framed as RFC 7822 asks."""

from __future__ import annotations

import pytest

from ntptwist.errors import WireError
from ntptwist.wire.extension import MAXIMUM_SIZE, ExtensionField, parse_fields


def test_a_field_is_type_length_body() -> None:
    """The length counts the four octets before the body."""
    field = ExtensionField(0x0104, b"0123456789ab")

    assert field.serialize() == bytes.fromhex("0104 0010") + b"0123456789ab"


def test_fields_are_read_in_order() -> None:
    """Several fields are read, and where they end is told."""
    fields = (ExtensionField(0x0104, bytes(32)), ExtensionField(0x0204, b"x" * 28))
    data = b"head" + b"".join(field.serialize() for field in fields)

    assert parse_fields(data, 4) == (fields, len(data))


@pytest.mark.parametrize("trailer", [0, 4, 20, 24, 27])
def test_what_may_be_a_mac_is_left(trailer: int) -> None:
    """Fewer than 28 octets at the end are not read as a field."""
    field = ExtensionField(1, bytes(24))

    assert parse_fields(field.serialize() + bytes(trailer), 0) == ((field,), 28)


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, "can't have 0 octets"),
        (4, "can't have 4 octets"),
        (12, "can't have 12 octets"),
        (17, "can't have 17 octets"),
        (36, "reaches beyond the packet"),
        (0xFFFC, "reaches beyond the packet"),
    ],
)
def test_bad_lengths_are_refused(length: int, reason: str) -> None:
    """A length that is too short, odd or too long is refused, and the error points at it."""
    data = bytes(48) + b"\x01\x04" + length.to_bytes(2, "big") + bytes(28)

    with pytest.raises(WireError, match=reason) as caught:
        parse_fields(data, 48)

    assert caught.value.offset == 50


def test_the_error_points_at_the_bad_field() -> None:
    """The offset of an error counts the fields before it."""
    data = ExtensionField(1, bytes(28)).serialize() + bytes(32)

    with pytest.raises(WireError) as caught:
        parse_fields(data, 0)

    assert caught.value.offset == 34


@pytest.mark.parametrize(
    ("value", "size", "octets"), [(b"", 16, 16), (b"x" * 12, 16, 16), (b"x" * 13, 16, 20), (b"", 28, 28), (b"", 29, 32)]
)
def test_padding(value: bytes, size: int, octets: int) -> None:
    """A value is padded with zeros to whole words and to the smallest size."""
    field = ExtensionField.padded(7, value, size)

    assert (field.size, field.body) == (octets, value + bytes(octets - 4 - len(value)))


def test_the_longest_field() -> None:
    """A field may be as long as its length can say."""
    field = ExtensionField(7, bytes(MAXIMUM_SIZE - 4))

    assert parse_fields(field.serialize(), 0) == ((field,), MAXIMUM_SIZE)


@pytest.mark.parametrize(
    ("kind", "size"), [(-1, 12), (0x10000, 12), (1, 0), (1, 8), (1, 13), (1, MAXIMUM_SIZE), (1, 1 << 17)]
)
def test_impossible_fields_are_not_made(kind: int, size: int) -> None:
    """A field that can't be written is our own mistake."""
    with pytest.raises(ValueError, match="extension field"):
        ExtensionField(kind, bytes(size))
