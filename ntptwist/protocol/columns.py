"""
Replies to a whole batch of plain requests at once, by columns instead of one by one.

A plain request is what nearly all clients send: 48 octets of an accepted version in client mode, whose origin timestamp
has its lowest bit clear (so it does not ask for interleaved mode).  The replies to all of them in a batch differ in
five places only: the first octet, the poll exponent, and the origin, receive and transmit timestamps.  Each of these is
a *column*: the same place of every row, which a ``memoryview`` with a stride copies in one call.

==================  ==========================================================================================
octet 0             leap | version | mode: a table of 256 octets (``bytes.translate``), 0 where not plain
octet 2             poll exponent, copied
octets 24..31       origin timestamp := the request's transmit timestamp (octets 40..47), copied
octets 32..39       receive timestamp, lowest bit set
octets 40..47       transmit timestamp, lowest bit clear
==================  ==========================================================================================

The timestamps of all rows are computed in one integer, of which each row has a *lane* of 64 bits; one multiplication
then serves all rows.  From a timespec, in each lane:

    fraction = (nanoseconds * SCALE + 2**29) >> 30    SCALE = 2**62 / 10**9, rounded: nanoseconds * 2**32 / 10**9
    value = seconds mod 2**32 * 2**32 + fraction + correction

The product is less than 2**30 * 2**32.2, so it stays in its lane.  SCALE is wrong by 1/2 at most, hence the fraction by
2**30 / 2 / 2**30 = 1/2, and by another 1/2 because it is rounded, as the correction is.  The sum may exceed its lane:
the correction contains the distance of the epochs, and an era ends in 2036.  It then carries 1 into the next lane,
where that is worth 2**-32 s.  All in all a value is within 3 * 2**-32 s of what ``encode_timestamp`` gives, less than
the nanosecond in which the kernel stamps.

Reading the lanes as little-endian and writing them as big-endian turns each value into network order, and the rows
around; a stride of -1 turns these back.  So the machine has to be a little-endian one.

Apart from that, what is written here is what ``protocol.server.Responder`` answers to each request
alone; a property test says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ntptwist.protocol.server import Face
from ntptwist.timestamp import NANOSECONDS, Timestamp, encode_timestamp
from ntptwist.wire.header import HEADER_SIZE, Mode

CAPACITY: Final = 64
"""Rows at most."""

_ROUNDING = 30
_SCALE = ((1 << 32 + _ROUNDING) + NANOSECONDS // 2) // NANOSECONDS
_LOW_32 = int.from_bytes(b"\0\0\0\0\xff\xff\xff\xff" * CAPACITY)
_EVEN = int.from_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xfe" * CAPACITY)

_EVEN_OCTETS = bytes(range(0, 256, 2))
_HEADER_WORDS = HEADER_SIZE // 8
_ORIGIN, _RECEIVE, _TRANSMIT = 3, 4, 5  # words of a header


class _Views(NamedTuple):
    """The columns of the first so many rows, and the lanes for as many; making them takes longer than using them."""

    first: memoryview
    poll: memoryview
    origin_low: memoryview
    transmit: memoryview
    seconds: memoryview
    nanoseconds: memoryview
    first_out: memoryview
    poll_out: memoryview
    origin_out: memoryview
    receive_out: memoryview
    transmit_out: memoryview
    ones: int
    ranks: int
    all_bits: int


class Columns:
    """
    The columns of a batch: requests and the kernel's stamps of them in, replies out.

    ``requests`` holds a request every ``spacing`` octets (a multiple of 8).  ``stamps`` are words of 64 bits; every
    ``stamp_spacing`` of them begins a timespec of CLOCK_REALTIME, seconds and nanoseconds.  ``replies`` is written in
    place, 48 octets a row.  None of the three is copied or kept elsewhere.
    """

    __slots__ = ("_replies", "_views", "_whole")

    def __init__(
        self, requests: memoryview, spacing: int, stamps: memoryview, stamp_spacing: int, replies: memoryview
    ) -> None:
        words = replies.cast("Q")
        self._replies = replies
        self._whole = (
            requests[0::spacing],
            requests[2::spacing],
            requests[31::spacing],
            requests.cast("Q")[_TRANSMIT :: spacing // 8],
            stamps[0::stamp_spacing],
            stamps[1::stamp_spacing],
            replies[0::HEADER_SIZE],
            replies[2::HEADER_SIZE],
            words[_ORIGIN::_HEADER_WORDS],
            words[_RECEIVE::_HEADER_WORDS],
            words[_TRANSMIT::_HEADER_WORDS],
        )
        self._views: list[_Views | None] = [None] * (CAPACITY + 1)

    def _view(self, count: int) -> _Views:
        views = self._views[count]
        if views is None:
            ones = sum(1 << 64 * row for row in range(count))
            ranks = sum(row << 64 * row for row in range(count))
            columns = [column[:count] for column in self._whole]
            views = _Views(*columns, ones, ranks, (1 << 64 * count) - 1)  # type: ignore[call-arg, arg-type]
            self._views[count] = views
        return views

    def firsts(self, count: int, table: bytes) -> bytes:
        """Give the first octets of the replies to the first ``count`` requests; 0 where that is not plain."""
        return self._view(count).first.tobytes().translate(table)

    def asks_interleaved(self, count: int) -> bool:
        """Tell whether the origin timestamp of any of the first ``count`` requests has its lowest bit set."""
        return bool(self._view(count).origin_low.tobytes().translate(None, _EVEN_OCTETS))

    def origin_is_odd(self, row: int) -> bool:
        """Tell whether the origin timestamp of a request has its lowest bit set."""
        return bool(self._whole[2][row] & 1)

    def common(self, octets: bytes) -> None:
        """Write what all replies have in common until it is written anew: the 48 octets of one, in every row."""
        self._replies[:] = octets * (len(self._replies) // HEADER_SIZE)

    def answer(self, firsts: bytes, correction: int) -> None:
        """
        Write what replies do not have in common, all but their transmit timestamps, for as many as are ``firsts``.

        ``correction`` is the nanoseconds by which the local clock is ahead of CLOCK_REALTIME.
        """
        view = self._view(len(firsts))
        view.first_out[:] = memoryview(firsts)
        view.poll_out[:] = view.poll
        view.origin_out[:] = view.transmit
        seconds = int.from_bytes(view.seconds.tobytes(), "little")
        nanoseconds = int.from_bytes(view.nanoseconds.tobytes(), "little")
        ones = view.ones
        values = ((seconds & _LOW_32) << 32) + (nanoseconds * _SCALE + (ones << _ROUNDING - 1) >> _ROUNDING & _LOW_32)
        values += ones * encode_timestamp(Timestamp(correction))
        view.receive_out[:] = _network_order((values | ones) & view.all_bits, len(firsts))

    def depart(self, count: int, transmit: Timestamp, step: int, ranks: int | None = None) -> None:
        """
        Write the transmit timestamps of the first ``count`` replies.

        The reply of rank r leaves ``step * r`` nanoseconds after ``transmit``.  The ranks are those of the rows unless
        they are given as lanes (see ``lanes_of``).
        """
        view = self._view(count)
        late = (view.ranks if ranks is None else ranks) * ((step << 32) // NANOSECONDS)
        values = view.ones * encode_timestamp(transmit) + late
        view.transmit_out[:] = _network_order(values & _EVEN & view.all_bits, count)


def _network_order(values: int, count: int) -> memoryview:
    """Give the words of all lanes in network order, the first row first."""
    return memoryview(values.to_bytes(8 * count, "big")).cast("Q")[::-1]


def lanes_of(numbers: list[int]) -> int:
    """Give lanes that hold these numbers, the first row first."""
    return int.from_bytes(b"".join(number.to_bytes(8, "little") for number in numbers), "little")


def first_octets(leap: int, versions: frozenset[int]) -> bytes:
    """
    Give the table that maps a plain request's first octet to that of its reply, and all others to 0.

    ``leap`` is the leap indicator where it stands in the octet, as in a ``Face``.
    """
    table = bytearray(256)
    for asked in range(0, 256, 64):
        for version in versions:
            table[asked | version << 3 | Mode.CLIENT] = leap | version << 3 | Mode.SERVER
    return bytes(table)


def common_reply(face: Face) -> bytes:
    """Give what the replies of a moment have in common, as the 48 octets of one."""
    return bytes((0, face.stratum, 0, face.precision)) + face.rest + bytes(24)
