"""
chrony's command and monitoring protocol, version 6: what chronyc sends to port 323 or to a UNIX socket.

A request has a header of 20 octets, a reply one of 28; everything is big-endian.  chronyc pads each request to the
length of the reply that it expects, so that no reply needs to be longer than its request: a reply that would be is not
made.  That length also tells which form of a reply that has grown over the years its chronyc knows.  Only requests that
read are known here.  The numbers and layouts are those of chrony 4.3 to 4.9, checked against its own programs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from ntptwist.errors import WireError
from ntptwist.timestamp import NANOSECONDS

VERSION: Final = 6
SMALLEST_REQUEST: Final = 20

_REQUEST = Struct("!BBBBHHIII")
_REPLY = Struct("!BBBBHHHHHHIII")
_IS_REQUEST, _IS_REPLY = 1, 2

_COEFFICIENT_BITS: Final = 25
_LARGEST_COEFFICIENT: Final = (1 << 24) - 1
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -64, 63

_INET4, _INET6, _ID = 1, 2, 3
_ADDRESS_SIZE = 20


class Command(IntEnum):
    """The requests that are answered."""

    NULL = 0
    N_SOURCES = 14
    SOURCE_DATA = 15
    TRACKING = 33
    SOURCE_STATS = 34
    ACTIVITY = 44
    SERVER_STATS = 54
    NTP_DATA = 57
    NTP_SOURCE_NAME = 65
    AUTH_DATA = 67
    SELECT_DATA = 69


class Reply(IntEnum):
    """The forms of replies."""

    NULL = 1
    N_SOURCES = 2
    SOURCE_DATA = 3
    TRACKING = 5
    SOURCE_STATS = 6
    ACTIVITY = 12
    NTP_DATA = 16
    NTP_SOURCE_NAME = 19
    AUTH_DATA = 20
    SELECT_DATA = 23
    SERVER_STATS_4_3 = 24
    SERVER_STATS = 25
    NTP_DATA_4_9 = 26


class Status(IntEnum):
    """How a request went."""

    SUCCESS = 0
    FAILED = 1
    UNAUTHORISED = 2
    INVALID = 3
    NO_SUCH_SOURCE = 4
    NOT_ENABLED = 6
    BAD_PACKET_VERSION = 18
    BAD_PACKET_LENGTH = 19


class SourceState(IntEnum):
    """What became of a source; chronyc shows them as ``*``, ``?``, ``x``, ``+`` and ``-``."""

    SELECTED = 0
    NOT_SELECTABLE = 1
    FALSETICKER = 2
    COMBINED = 4
    SELECTABLE = 5


class SourceMode(IntEnum):
    """The kind of a source; chronyc shows them as ``^`` and ``#``."""

    CLIENT = 0
    REFERENCE_CLOCK = 2


Address = IPv4Address | IPv6Address | bytes | int | None
"""An address; the octets of a reference id; the number of a source that has no address yet; none at all."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``size`` is its length on the wire, which no reply may pass."""

    command: int
    sequence: int
    data: bytes
    size: int
    version: int = VERSION


def parse(packet: bytes) -> Request:
    """Read a request; WireError for what is none."""
    if len(packet) < SMALLEST_REQUEST:
        raise WireError(f"{len(packet)} octets are no request: it has {SMALLEST_REQUEST} or more")
    version, kind, _, _, command, _, sequence, _, _ = _REQUEST.unpack_from(packet)
    if kind != _IS_REQUEST:
        raise WireError(f"a packet of type {kind} is no request")
    return Request(command, sequence, packet[_REQUEST.size :], len(packet), version)


def reply(request: Request, form: Reply, status: Status = Status.SUCCESS, body: bytes = b"") -> bytes | None:
    """Give the reply to a request; None where it would be longer than the request."""
    header = _REPLY.pack(
        VERSION, _IS_REPLY, 0, 0, request.command, form, status, 0, 0, 0, request.sequence & 0xFFFFFFFF, 0, 0
    )
    packet = header + body
    return packet if len(packet) <= request.size else None


def encode_float(value: float) -> bytes:
    """
    Give a number as chrony's own 32-bit float: a signed exponent of 7 bits, a signed coefficient of 25.

    It stands for ``coefficient * 2 ** (exponent - 25)``.  What is not a number becomes 0, what is too large the
    largest.
    """
    if math.isnan(value) or value == 0.0:
        return bytes(4)
    size = abs(value)
    mantissa, exponent = math.frexp(min(size, 2.0**_LARGEST_EXPONENT))
    exponent += 1
    shift = _COEFFICIENT_BITS - 1
    if exponent < _SMALLEST_EXPONENT:
        shift -= _SMALLEST_EXPONENT - exponent
        exponent = _SMALLEST_EXPONENT
    coefficient = round(math.ldexp(mantissa, shift))
    if coefficient > _LARGEST_COEFFICIENT:
        coefficient >>= 1
        exponent += 1
    if exponent > _LARGEST_EXPONENT:
        exponent, coefficient = _LARGEST_EXPONENT, _LARGEST_COEFFICIENT
    if value < 0:
        coefficient = -coefficient
    return ((exponent & 0x7F) << _COEFFICIENT_BITS | coefficient & 0x1FFFFFF).to_bytes(4, "big")


def decode_float(octets: bytes) -> float:
    """Give the number that four octets stand for."""
    word = int.from_bytes(octets, "big")
    exponent, coefficient = word >> _COEFFICIENT_BITS, word & 0x1FFFFFF
    if exponent > _LARGEST_EXPONENT:
        exponent -= 128
    if coefficient > _LARGEST_COEFFICIENT:
        coefficient -= 1 << _COEFFICIENT_BITS
    return math.ldexp(coefficient, exponent - _COEFFICIENT_BITS)


def floats(*values: float | None) -> bytes:
    """Give several numbers; what is not known is 0."""
    return b"".join(encode_float(value or 0.0) for value in values)


def encode_time(stamp: int) -> bytes:
    """Give a point in time (ns since 1970): 64 bits of seconds, 32 of nanoseconds."""
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    return (seconds & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big") + nanoseconds.to_bytes(4, "big")


def encode_address(address: Address) -> bytes:
    """Give an address in 20 octets; the octets of a reference id stand in an IPv4 address's place, as in chrony."""
    match address:
        case None:
            return bytes(20)
        case IPv6Address():
            return address.packed + _INET6.to_bytes(2, "big") + bytes(2)
        case int():
            return address.to_bytes(4, "big").ljust(16, b"\0") + _ID.to_bytes(2, "big") + bytes(2)
        case bytes():
            octets = address
        case _:
            octets = address.packed
    return octets[:4].ljust(16, b"\0") + _INET4.to_bytes(2, "big") + bytes(2)


def decode_address(octets: bytes) -> IPv4Address | IPv6Address | int | None:
    """Give the address in the first 20 octets; None for one of another family.  WireError where there are fewer."""
    if len(octets) < _ADDRESS_SIZE:
        raise WireError("the request ends within an address")
    match int.from_bytes(octets[16:18], "big"):
        case 1:
            return IPv4Address(octets[:4])
        case 2:
            return IPv6Address(octets[:16])
        case 3:
            return int.from_bytes(octets[:4], "big")
    return None


def decode_index(octets: bytes) -> int:
    """Give the number of a source; WireError where it is cut off."""
    if len(octets) < 4:
        raise WireError("the request ends within an index")
    return int.from_bytes(octets[:4], "big")


def counts(values: Sequence[int], octets: int = 8) -> bytes:
    """Give counters of so many octets each; one that is too large stays at the largest."""
    largest = (1 << 8 * octets) - 1
    return b"".join(min(value, largest).to_bytes(octets, "big") for value in values)
