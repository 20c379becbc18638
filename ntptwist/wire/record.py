"""
The records of NTS key establishment (RFC 8915, section 4): a type with a critical bit, a length, a body.

A message is a run of records that an End of Message closes.  It comes through TLS in pieces of any size, so what reads
it keeps an unfinished record for later; what the records mean is the business of ``nts.exchange``.

Bodies hold cookies, so no record shows its body when it is printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Final

from ntptwist.errors import WireError

MAXIMUM_MESSAGE: Final = 16384
"""Octets of a message that are read; eight cookies of the largest size take 2,080."""

_LAYOUT = Struct("!HH")
_NUMBER = Struct("!H")
_CRITICAL = 0x8000


class RecordType(IntEnum):
    """
    The record types that are understood here (RFC 8915, section 7.6).

    COMPLIANT_EXPORT is chrony's: both ends derive the keys of AES-128-GCM-SIV as RFC 8915 says, which older ones don't.
    """

    END_OF_MESSAGE = 0
    NEXT_PROTOCOL = 1
    ERROR = 2
    WARNING = 3
    AEAD_ALGORITHM = 4
    NEW_COOKIE = 5
    NTP_SERVER = 6
    NTP_PORT = 7
    COMPLIANT_EXPORT = 1024


@dataclass(frozen=True, slots=True)
class Record:
    """
    One record: ``type`` is an unsigned 15-bit number, ``body`` up to 65,535 octets; ValueError otherwise.

    ``critical`` says that whoever does not know the type must refuse the message.
    """

    type: int
    body: bytes = field(default=b"", repr=False)
    critical: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.type < _CRITICAL:
            raise ValueError(f"a record type has 15 bits, {self.type} has not")
        if len(self.body) > 0xFFFF:
            raise ValueError(f"a record can't have a body of {len(self.body)} octets")

    def serialize(self) -> bytes:
        """Give the record as it stands in a message."""
        return _LAYOUT.pack(self.type | (_CRITICAL if self.critical else 0), len(self.body)) + self.body

    def numbers(self) -> tuple[int, ...]:
        """Read the body as 16-bit numbers; WireError when it has an odd octet."""
        if len(self.body) % _NUMBER.size:
            raise WireError(f"a list of 16-bit numbers can't have {len(self.body)} octets")
        return tuple(number for (number,) in _NUMBER.iter_unpack(self.body))

    @classmethod
    def of_numbers(cls, kind: int, *numbers: int, critical: bool = True) -> Record:
        """Make a record whose body is a list of 16-bit numbers."""
        return cls(kind, b"".join(_NUMBER.pack(number) for number in numbers), critical)


class RecordReader:
    """Takes the octets of one message as they come and gives its records as they are complete."""

    __slots__ = ("_buffer", "_limit", "_taken")

    def __init__(self, limit: int = MAXIMUM_MESSAGE) -> None:
        self._buffer = b""
        self._taken = 0  # octets of the records that were given
        self._limit = limit

    def read(self, data: bytes) -> Iterator[Record]:
        """
        Take some octets and give the records that they complete, one after the other.

        The octets after an End of Message are dropped.  WireError where a record says that the message is longer than
        the limit; there is no reading on after that.
        """
        self._buffer += data
        while len(self._buffer) >= _LAYOUT.size:
            kind, length = _LAYOUT.unpack_from(self._buffer)
            end = _LAYOUT.size + length
            if self._taken + end > self._limit:
                raise WireError(f"the message is longer than {self._limit} octets", self._taken)
            if len(self._buffer) < end:
                return
            record = Record(kind & ~_CRITICAL, self._buffer[_LAYOUT.size : end], kind >= _CRITICAL)
            self._buffer = self._buffer[end:]
            self._taken += end
            if record.type == RecordType.END_OF_MESSAGE:
                self._buffer = b""
            yield record
