"""The 48-octet header is read and written as RFC 5905, figure 8, lays it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.wire.header import HEADER_SIZE, Header, Mode

OCTETS = bytes.fromhex(
    "64 02 06 ec 00000a00 00010280 c0000201e6000000 00000001 e6000001 80000000 e6000002 40000000 e6000003 ffffffff"
)
HEADER = Header(
    leap=Leap.INSERT,
    version=4,
    mode=Mode.SERVER,
    stratum=2,
    poll=6,
    precision=-20,
    root_delay=0x0A00,
    root_dispersion=0x10280,
    reference_id=ReferenceId.of_address("192.0.2.1"),
    reference_timestamp=0xE600000000000001,
    origin_timestamp=0xE600000180000000,
    receive_timestamp=0xE600000240000000,
    transmit_timestamp=0xE6000003FFFFFFFF,
)


def test_octets_become_fields() -> None:
    """Every field of a server's header is found where the RFC puts it."""
    assert Header.parse(OCTETS) == HEADER


def test_fields_become_octets() -> None:
    """Every field is written where the RFC puts it."""
    assert HEADER.serialize() == OCTETS


def test_what_follows_the_header_is_not_read() -> None:
    """A packet with extension fields has the same header as one without."""
    assert Header.parse(OCTETS + b"more") == HEADER


@pytest.mark.parametrize("size", [0, 1, 47])
def test_too_short(size: int) -> None:
    """A packet shorter than a header is refused, and the error says where it ends."""
    with pytest.raises(WireError) as caught:
        Header.parse(OCTETS[:size])

    assert caught.value.offset == size


@pytest.mark.parametrize("version", [0, 1, 2, 5, 6, 7])
def test_other_versions_are_refused(version: int) -> None:
    """Only versions 3 and 4 have this layout with certainty."""
    with pytest.raises(WireError, match=f"NTP version {version} is unknown here") as caught:
        Header.parse(bytes([version << 3 | 4]) + OCTETS[1:])

    assert caught.value.offset == 0


@pytest.mark.parametrize("version", [2, 5, 8])
def test_other_versions_are_not_written(version: int) -> None:
    """A header of an unknown version is our own mistake, and would spoil the leap indicator."""
    with pytest.raises(ValueError, match=f"NTP version {version} is unknown here"):
        replace(HEADER, version=version).serialize()


@pytest.mark.parametrize("leap", Leap)
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("mode", Mode)
def test_first_octet(leap: Leap, version: int, mode: Mode) -> None:
    """Leap, version and mode share an octet without disturbing each other."""
    header = Header(leap=leap, version=version, mode=mode)

    assert (leap << 6 | version << 3 | mode, header) == (header.serialize()[0], Header.parse(header.serialize()))


@pytest.mark.parametrize(("octet", "exponent"), [(0x00, 0), (0x7F, 127), (0x80, -128), (0xFA, -6), (0xFF, -1)])
def test_exponents_are_signed(octet: int, exponent: int) -> None:
    """Poll and precision are powers of two that may be below a second."""
    header = Header.parse(OCTETS[:2] + bytes([octet, octet]) + OCTETS[4:])

    assert (header.poll, header.precision) == (exponent, exponent)


@pytest.mark.parametrize(
    "header",
    [
        replace(HEADER, stratum=256),
        replace(HEADER, poll=128),
        replace(HEADER, precision=-129),
        replace(HEADER, root_delay=-1),
        replace(HEADER, root_dispersion=1 << 32),
        replace(HEADER, transmit_timestamp=1 << 64),
    ],
)
def test_fields_out_of_range_are_not_written(header: Header) -> None:
    """A value that does not fit is refused rather than cut."""
    with pytest.raises(ValueError, match="out of its range"):
        header.serialize()


def test_defaults_say_nothing() -> None:
    """A header that is given nothing is an NTPv4 client's and otherwise zero."""
    assert Header().serialize() == b"\x23" + bytes(HEADER_SIZE - 1)
