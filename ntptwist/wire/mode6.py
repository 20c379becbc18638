"""
Control messages of NTP, mode 6 (RFC 9327): what ntpq asks, and what it understands.

A header of 12 octets, then text: variables as ``name=value``, separated by commas.  An answer of more than 468 octets
comes in fragments, each a datagram of its own.  Answers are longer than questions, so nobody but this very machine is
answered.  Only reading exists here: status, variables, and those of reference clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap

LARGEST_FRAGMENT: Final = 468
"""Octets of data in one message (RFC 9327, section 2)."""

_HEADER = Struct("!BBHHHHH")
_MODE = 6
_RESPONSE, _ERROR, _MORE = 0x80, 0x40, 0x20


class Operation(IntEnum):
    """The questions that are answered (RFC 9327, section 2)."""

    READ_STATUS = 1
    READ_VARIABLES = 2
    READ_CLOCK_VARIABLES = 4


class Failure(IntEnum):
    """Why there is no answer (RFC 9327, section 3.4)."""

    UNSPECIFIED = 0
    FORMAT = 2
    OPERATION = 3
    ASSOCIATION = 4
    VARIABLE = 5
    PROHIBITED = 7


class Selection(IntEnum):
    """What the selection made of a source (RFC 9327, section 3.2)."""

    REJECTED = 0
    FALSETICKER = 1
    EXCESS = 2
    OUTLIER = 3
    CANDIDATE = 4
    BACKUP = 5
    SYSTEM_PEER = 6
    PPS_PEER = 7


class ClockSource(IntEnum):
    """What the clock is kept by (RFC 9327, section 3.1)."""

    UNSPECIFIED = 0
    PPS = 1
    RADIO = 4
    NTP = 6


@dataclass(frozen=True, slots=True)
class Query:
    """One question; ``names`` are the variables asked for, empty for all that there are."""

    version: int
    operation: int
    sequence: int
    association: int
    names: tuple[str, ...] = ()


def parse(packet: bytes) -> Query:
    """Read a question; WireError for what is none."""
    if len(packet) < _HEADER.size:
        raise WireError(f"{len(packet)} octets are no control message: it has {_HEADER.size} or more")
    first, second, sequence, _, association, offset, count = _HEADER.unpack_from(packet)
    if first & 7 != _MODE or second & (_RESPONSE | _ERROR | _MORE):
        raise WireError("no question of mode 6")
    if offset or _HEADER.size + count > len(packet):
        raise WireError("a question in fragments, or cut off")
    text = packet[_HEADER.size : _HEADER.size + count].decode("ascii", "replace")
    names = tuple(name for part in text.split(",") if (name := part.partition("=")[0].strip(" \0\r\n")))
    return Query(first >> 3 & 7, second & 0x1F, sequence, association, names)


def answer(query: Query, status: int, data: bytes) -> list[bytes]:
    """Give the datagrams of an answer; ``status`` is that of the system or of the source."""
    parts = range(0, max(len(data), 1), LARGEST_FRAGMENT)
    return [
        _message(query, _RESPONSE | (_MORE if at != parts[-1] else 0), status, at, data[at : at + LARGEST_FRAGMENT])
        for at in parts
    ]


def refusal(query: Query, failure: Failure) -> bytes:
    """Give the datagram that says that there is no answer."""
    return _message(query, _RESPONSE | _ERROR, failure << 8, 0, b"")


def _message(query: Query, flags: int, status: int, offset: int, data: bytes) -> bytes:
    header = _HEADER.pack(
        query.version << 3 | _MODE,
        flags | query.operation,
        query.sequence,
        status,
        query.association,
        offset,
        len(data),
    )
    return header + data + bytes(-len(data) % 4)


def system_status(leap: Leap, source: ClockSource) -> int:
    """Give the system status word; no events are counted."""
    return leap << 14 | source << 8


def peer_status(selection: Selection, *, reachable: bool, authenticated: bool) -> int:
    """Give the status word of a source; all of ours are configured."""
    authentication = 0x6000 if authenticated else 0
    return 0x8000 | authentication | (0x1000 if reachable else 0) | selection << 8


def text(variables: dict[str, object]) -> bytes:
    """Give variables as an answer writes them; lines are broken for people."""
    return ",\r\n".join(f"{name}={value}" for name, value in variables.items()).encode("ascii", "replace")
