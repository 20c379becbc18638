"""
What an association wants done: the shell executes these in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntptwist.identifiers import KissCode
from ntptwist.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Send:
    """Send this datagram to the server, from a fresh port (RFC 9109)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call ``poll`` after this many seconds; no other timer is running then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Hand this measurement to the algorithm."""

    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Kissed:
    """The server sent a kiss-o'-death that is acted upon; ``explanation`` says in a sentence what follows."""

    code: KissCode
    explanation: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The server is unreachable: the source has come to its end."""

    explanation: str


@dataclass(frozen=True, slots=True)
class Demobilize:
    """The server wants us to stay away: the source has come to its end and must not come back there."""

    explanation: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A datagram was not used; ``reason`` says in a sentence why."""

    reason: str


Action = Send | SetTimer | Measured | Kissed | Reset | Demobilize | Dropped
