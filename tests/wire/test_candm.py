"""chrony's command protocol, octet by octet as chrony 4.3 and 4.9 write it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.errors import WireError
from ntptwist.wire.candm import (
    Command,
    Reply,
    Request,
    Status,
    counts,
    decode_address,
    decode_float,
    decode_index,
    encode_address,
    encode_float,
    encode_time,
    floats,
    parse,
    reply,
)

HEADER = pack("!BBBBHHIII", 6, 1, 0, 0, Command.SOURCE_DATA, 3, 0xFFFFFFFE, 0, 0)


def test_a_request() -> None:
    """The command, the sequence number and the padded length of a request are read."""
    request = parse(HEADER + bytes(56))

    assert request == Request(Command.SOURCE_DATA, 0xFFFFFFFE, bytes(56), 76, 6)


@pytest.mark.parametrize("packet", [b"", HEADER[:-1], HEADER[:1] + b"\2" + HEADER[2:]])
def test_what_is_no_request(packet: bytes) -> None:
    """What is too short, or a reply, is refused."""
    with pytest.raises(WireError):
        parse(packet)


def test_a_reply() -> None:
    """A reply repeats command and sequence number; it is as chronyd writes it."""
    made = reply(parse(HEADER + bytes(12)), Reply.N_SOURCES, body=b"\0\0\0\4")

    assert made == bytes.fromhex("06020000 000f0002 0000 0000 0000 0000 fffffffe 00000000 00000000 00000004")


@pytest.mark.parametrize(("room", "fits"), [(12, True), (11, False)])
def test_no_reply_is_longer_than_its_request(room: int, fits: bool) -> None:
    """A reply that would be longer than what was sent is not made."""
    assert (reply(parse(HEADER + bytes(room)), Reply.NULL, Status.FAILED, bytes(4)) is not None) is fits


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (0.0, "00000000"),
        (float("nan"), "00000000"),
        (1.0, "04800000"),
        (-1.0, "05800000"),
        (1.0 - 2.0**-40, "04800000"),
        (0.5, "02800000"),
        (2.0**-90, "80000000"),
        (1e-300, "80000000"),
        (float("inf"), "7effffff"),
        (-float("inf"), "7f000001"),
        (1e30, "7effffff"),
    ],
)
def test_floats_at_the_edges(value: float, octets: str) -> None:
    """1.0 is as chronyd sends it, what is too large is the largest there is, what is too small is nothing."""
    assert encode_float(value).hex() == octets


@given(st.floats(min_value=1e-15, max_value=1e15) | st.floats(min_value=-1e15, max_value=-1e-15))
def test_floats_come_back(value: float) -> None:
    """A number keeps its sign and 23 bits."""
    assert decode_float(encode_float(value)) == pytest.approx(value, rel=2.0**-23)


@given(st.integers(0, (1 << 32) - 1))
def test_any_word_is_a_float(word: int) -> None:
    """Whatever four octets say can be read, and written and read again."""
    value = decode_float(word.to_bytes(4, "big"))

    assert decode_float(encode_float(value)) == pytest.approx(value, rel=2.0**-22, abs=2.0**-80)


def test_what_is_not_known_is_nothing() -> None:
    """A number that is not known is sent as 0."""
    assert floats(None, 1.0) == encode_float(0.0) + encode_float(1.0)


def test_times() -> None:
    """A point in time is 64 bits of seconds and 32 of nanoseconds."""
    assert encode_time(0x1_0000_0002 * 10**9 + 3).hex() == "000000010000000200000003"


@pytest.mark.parametrize(
    ("address", "octets", "back"),
    [
        (None, "00000000 000000000000000000000000 0000 0000", None),
        (IPv4Address("127.0.1.4"), "7f000104 000000000000000000000000 0001 0000", IPv4Address("127.0.1.4")),
        (IPv6Address("2001:db8::1"), "20010db8 000000000000000000000001 0002 0000", IPv6Address("2001:db8::1")),
        (b"GPS\0", "47505300 000000000000000000000000 0001 0000", IPv4Address("71.80.83.0")),
        (5, "00000005 000000000000000000000000 0003 0000", 5),
    ],
)
def test_addresses(address: IPv4Address | IPv6Address | bytes | int | None, octets: str, back: object) -> None:
    """Addresses are as chronyd sends them; the id of a reference clock stands in an address' place."""
    made = encode_address(address)

    assert made == bytes.fromhex(octets)
    assert decode_address(made) == back


@pytest.mark.parametrize("decode", [decode_address, decode_index])
def test_what_is_cut_off(decode: object) -> None:
    """A request that ends too early is refused."""
    with pytest.raises(WireError):
        decode(b"\0\0\0")  # type: ignore[operator]  # one of both


def test_an_index() -> None:
    """The number of a source is four octets, whatever follows."""
    assert decode_index(b"\0\0\1\2rest") == 0x102


def test_counters_stay_at_their_largest() -> None:
    """A counter that does not fit does not start again at 0."""
    assert counts([1, 1 << 40], 4).hex() == "00000001ffffffff"
