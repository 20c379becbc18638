"""Names on the wire and in the daemon read as people and RFCs write them."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.identifiers import NO_REFERENCE, EndReason, KissCode, Leap, ReferenceId, SourceEnd


@pytest.mark.parametrize(
    ("leap", "number", "word"),
    [
        (Leap.NONE, 0, "none"),
        (Leap.INSERT, 1, "insert"),
        (Leap.DELETE, 2, "delete"),
        (Leap.UNSYNCHRONIZED, 3, "unsynchronized"),
    ],
)
def test_leap_indicators(leap: Leap, number: int, word: str) -> None:
    """The numbers are those of the wire, the words those of the screens."""
    assert (int(leap), str(leap), Leap(number)) == (number, word, leap)


def test_kiss_codes_are_four_letters() -> None:
    """A kiss code is found by the octets of the reference id that carries it."""
    assert [KissCode(ReferenceId.of_text(code.name)) for code in KissCode] == list(KissCode)


def test_the_end_of_a_source_has_a_reason_and_an_explanation() -> None:
    """The reason is for the spawner, the explanation for people."""
    end = SourceEnd(EndReason.UNREACHABLE, "no reply to 3 requests")

    assert (end.reason.value, end.explanation) == ("no answers", "no reply to 3 requests")


def test_no_reference_id_is_zero() -> None:
    """A reference id that is given nothing says nothing."""
    assert ReferenceId() == bytes(4)


@pytest.mark.parametrize("octets", [b"", b"GPS", b"LOCAL"])
def test_a_reference_id_has_four_octets(octets: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=f"four octets, not {len(octets)}"):
        ReferenceId(octets)


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        ("192.0.2.1", bytes([192, 0, 2, 1])),
        (IPv4Address("192.0.2.1"), bytes([192, 0, 2, 1])),
        ("::ffff:192.0.2.1", bytes([192, 0, 2, 1])),
        (IPv6Address("::ffff:192.0.2.1"), bytes([192, 0, 2, 1])),
        ("::1", bytes.fromhex("cf404dc8")),
        (IPv6Address("2001:db8::1"), hashlib.md5(IPv6Address("2001:db8::1").packed).digest()[:4]),
        ("fe80::1%eth0", hashlib.md5(IPv6Address("fe80::1").packed).digest()[:4]),
        (IPv6Address("fe80::1%eth0"), hashlib.md5(IPv6Address("fe80::1").packed).digest()[:4]),
    ],
)
def test_the_id_of_an_address(address: str | IPv4Address | IPv6Address, octets: bytes) -> None:
    """An IPv4 address is its own id, also when mapped into IPv6; of an IPv6 address it is the start of its MD5."""
    assert ReferenceId.of_address(address) == octets


@pytest.mark.parametrize("address", ["", "ntp.example", "192.0.2.256", "1:2:3"])
def test_the_id_of_no_address(address: str) -> None:
    """A name is no address."""
    with pytest.raises(ValueError, match="does not appear to be"):
        ReferenceId.of_address(address)


@pytest.mark.parametrize(("text", "octets"), [("GPS", b"GPS\0"), ("PPS", b"PPS\0"), ("XNON", b"XNON"), ("", bytes(4))])
def test_the_id_of_a_text(text: str, octets: bytes) -> None:
    """Letters are padded with NUL."""
    assert ReferenceId.of_text(text) == octets


@pytest.mark.parametrize("text", ["LOCAL", "µs"])
def test_the_id_of_no_text(text: str) -> None:
    """What does not fit or is no ASCII is refused."""
    with pytest.raises(ValueError, match=r"four octets|ascii"):
        ReferenceId.of_text(text)


@pytest.mark.parametrize(
    ("octets", "stratum", "shown"),
    [
        (b"GPS\0", 1, "GPS"),
        (b"PPS ", 1, "PPS"),
        (b"RATE", 0, "RATE"),
        (b"GPS\0", 2, "47505300"),
        (bytes([192, 0, 2, 1]), 2, "C0000201"),
        (bytes([192, 0, 2, 1]), 1, "C0000201"),
        (bytes(4), 0, "00000000"),
        (b"\0GPS", 1, "00475053"),
        (b"G\nS\0", 1, "470A5300"),
        (b"\x1b[2J", 1, "1B5B324A"),
    ],
)
def test_how_people_see_it(octets: bytes, stratum: int, shown: str) -> None:
    """Letters up to stratum 1, hexadecimal above and for everything that a terminal should not be sent."""
    assert ReferenceId(octets).text(stratum) == shown


@given(st.binary(min_size=4, max_size=4), st.integers(0, 255))
def test_any_id_can_be_shown(octets: bytes, stratum: int) -> None:
    """Whatever a server sends is shown in one to eight printable characters."""
    shown = ReferenceId(octets).text(stratum)

    assert 1 <= len(shown) <= 8
    assert shown.isascii()
    assert shown.isprintable()


def test_what_an_unsynchronized_daemon_reports() -> None:
    """The id begins with X, which RFC 5905 leaves to experiments, so no client takes it for an address or a kiss."""
    assert NO_REFERENCE.text(0) == "XNON"
