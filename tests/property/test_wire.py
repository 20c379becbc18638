"""Any octets are an NTP packet or refused with a WireError, and reading and writing lose nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.wire.extension import ExtensionField, parse_fields
from ntptwist.wire.header import HEADER_SIZE, Header, Mode
from ntptwist.wire.mac import CRYPTO_NAK, MAC
from ntptwist.wire.message import Message

Result = TypeVar("Result")

exponents = st.integers(-128, 127)
shorts = st.integers(0, 2**32 - 1)
timestamps = st.integers(0, 2**64 - 1)
headers = st.builds(
    Header,
    leap=st.sampled_from(Leap),
    version=st.sampled_from([3, 4]),
    mode=st.sampled_from(Mode),
    stratum=st.integers(0, 255),
    poll=exponents,
    precision=exponents,
    root_delay=shorts,
    root_dispersion=shorts,
    reference_id=st.binary(min_size=4, max_size=4).map(ReferenceId),
    reference_timestamp=timestamps,
    origin_timestamp=timestamps,
    receive_timestamp=timestamps,
    transmit_timestamp=timestamps,
)
fields = st.builds(
    ExtensionField,
    type=st.integers(0, 0xFFFF),
    body=st.integers(3, 60).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
)
digests = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=20, max_size=20))
macs = st.one_of(st.none(), st.just(CRYPTO_NAK), st.builds(MAC, shorts, digests))


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Draw a packet that can be written."""
    header = draw(headers)
    mac = draw(macs)
    chain = tuple(draw(st.lists(fields, max_size=4))) if header.version == 4 else ()
    if chain and chain[-1].size + (mac.size if mac is not None else 0) < 28:
        chain = (*chain, ExtensionField.padded(0, b"", 28))
    return Message(header, chain, mac)


@given(messages())
def test_what_is_written_is_read_again(message: Message) -> None:
    """Every packet that can be made comes back from the wire as it was."""
    assert Message.parse(message.serialize()) == message


def attempt(read: Callable[[], Result]) -> Result | WireError:
    """Give what is read, or the error that says why not; every other exception fails the test."""
    try:
        return read()
    except WireError as error:
        return error


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    """Bad octets give a WireError that points into the packet, and good ones are kept to the octet."""
    message = attempt(lambda: Message.parse(data))

    if isinstance(message, WireError):
        assert 0 <= message.offset <= len(data)
    else:
        assert message.serialize() == data


@given(st.sampled_from([3, 4]), st.binary(max_size=120), st.binary(min_size=47, max_size=47))
def test_any_trailer_is_read_or_refused(version: int, trailer: bytes, rest: bytes) -> None:
    """A good header with anything behind it is kept to the octet or refused where the header has ended."""
    data = bytes([version << 3 | 4]) + rest + trailer
    message = attempt(lambda: Message.parse(data))

    if isinstance(message, WireError):
        assert HEADER_SIZE <= message.offset <= len(data)
    else:
        assert message.serialize() == data


@given(messages(), st.data())
def test_a_packet_cut_short_is_not_taken_for_itself(message: Message, data: st.DataObject) -> None:
    """A packet that lost its end is refused or is visibly another one."""
    octets = message.serialize()
    kept = octets[: data.draw(st.integers(0, len(octets) - 1))]

    assert attempt(lambda: Message.parse(kept)) != message


@given(messages(), st.data())
def test_one_octet_changed(message: Message, data: st.DataObject) -> None:
    """A packet with one octet changed is refused or is visibly another one."""
    octets = bytearray(message.serialize())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))

    assert attempt(lambda: Message.parse(bytes(octets))) != message


@given(st.binary(max_size=60), st.lists(fields, max_size=3), st.binary(max_size=100))
def test_fields_are_read_from_any_place(before: bytes, chain: list[ExtensionField], after: bytes) -> None:
    """Fields are read from where they begin to where only a MAC finds room, or refused at a place behind that."""
    data = before + b"".join(field.serialize() for field in chain) + after
    result = attempt(lambda: parse_fields(data, len(before)))

    if isinstance(result, WireError):
        assert len(before) <= result.offset < len(data)
    else:
        found, end = result
        assert b"".join(field.serialize() for field in found) == data[len(before) : end]
        assert len(data) - end < 28


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_octets_are_a_mac_or_refused(before: bytes, trailer: bytes) -> None:
    """What is left after the fields is a MAC, kept to the octet, or refused where it begins."""
    mac = attempt(lambda: MAC.parse(before + trailer, len(before)))

    if isinstance(mac, WireError):
        assert mac.offset == len(before)
    else:
        assert mac.serialize() == trailer


@given(st.integers(0, 0xFFFF), st.binary(max_size=100), st.integers(0, 100))
def test_padding_keeps_the_value(kind: int, value: bytes, size: int) -> None:
    """A padded field begins with its value, ends with zeros and has a size that RFC 7822 allows."""
    field = ExtensionField.padded(kind, value, max(size, 16))

    assert field.body == value + bytes(len(field.body) - len(value))
    assert field.size % 4 == 0
    assert max(size, 16) <= field.size < max(size, 16, len(value) + 4) + 4
