"""A packet is a header, extension fields and a MAC, and nothing else."""

from __future__ import annotations

import pytest

from ntptwist.errors import WireError
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import HEADER_SIZE, Header, Mode
from ntptwist.wire.mac import CRYPTO_NAK, MAC
from ntptwist.wire.message import Message

HEADER = Header(mode=Mode.SERVER, stratum=1, transmit_timestamp=7)
V3 = Header(version=3, mode=Mode.SERVER, stratum=1)
SHORT = ExtensionField(0x0104, b"a" * 12)
LONG = ExtensionField(0x0204, b"b" * 24)
MD5 = MAC(1, b"m" * 16)
SHA1 = MAC(2, b"s" * 20)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Message(HEADER), 48),
        (Message(HEADER, mac=CRYPTO_NAK), 52),
        (Message(HEADER, mac=MD5), 68),
        (Message(HEADER, mac=SHA1), 72),
        (Message(HEADER, (LONG,)), 76),
        (Message(HEADER, (SHORT, LONG)), 92),
        (Message(HEADER, (SHORT,), MD5), 84),
        (Message(HEADER, (SHORT, SHORT), SHA1), 104),
        (Message(HEADER, (LONG,), CRYPTO_NAK), 80),
        (Message(V3), 48),
        (Message(V3, mac=MD5), 68),
        (Message(V3, mac=SHA1), 72),
    ],
)
def test_what_is_written_is_read_again(message: Message, size: int) -> None:
    """Every combination that the RFCs allow survives the wire."""
    data = message.serialize()

    assert (len(data), Message.parse(data)) == (size, message)


def test_where_a_field_lies() -> None:
    """The place of a field in the raw packet follows from the sizes before it."""
    message = Message(HEADER, (SHORT, LONG, SHORT), MD5)
    data = message.serialize()
    offset = HEADER_SIZE
    for field in message.fields:
        assert data[offset : offset + field.size] == field.serialize()
        offset += field.size

    assert data[offset:] == MD5.serialize()


@pytest.mark.parametrize(
    ("fields", "mac"),
    [
        ((SHORT,), None),
        ((LONG, SHORT), None),
        ((SHORT,), CRYPTO_NAK),
        ((LONG, ExtensionField(1, bytes(16))), CRYPTO_NAK),
    ],
)
def test_a_last_field_that_looks_like_a_mac_is_not_made(fields: tuple[ExtensionField, ...], mac: MAC | None) -> None:
    """The last field begins at least 28 octets before the end, or nobody could read it as one (RFC 7822)."""
    with pytest.raises(ValueError, match="less than 28 octets"):
        Message(HEADER, fields, mac)


def test_version_3_has_no_fields() -> None:
    """Extension fields came with NTPv4."""
    with pytest.raises(ValueError, match="NTPv3"):
        Message(V3, (LONG,))


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"", "shorter than", 0),
        (V3.serialize() + LONG.serialize(), "neither", 48),
        (HEADER.serialize() + bytes(1), "neither", 48),
        (HEADER.serialize() + bytes(27), "neither", 48),
        (HEADER.serialize() + bytes(28), "can't have 0 octets", 50),
        (HEADER.serialize() + SHORT.serialize(), "neither", 48),
        (HEADER.serialize() + SHORT.serialize() + bytes(12), "neither", 64),
        (HEADER.serialize() + LONG.serialize() + bytes(8), "neither", 76),
        (HEADER.serialize() + LONG.serialize() + b"\0\0\0\7", "no digest", 76),
        (HEADER.serialize() + LONG.serialize()[:-1] + MD5.serialize()[:10], "neither", 76),
    ],
)
def test_everything_else_is_refused(data: bytes, reason: str, offset: int) -> None:
    """Octets that are no header, field or MAC make the packet bad, and the error says where."""
    with pytest.raises(WireError, match=reason) as caught:
        Message.parse(data)

    assert caught.value.offset == offset
