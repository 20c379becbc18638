"""
Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), on buffers that are made once.

A server of many clients spends most of its time on the way into the kernel and out again.  Here a call takes up to 64
requests in and another sends all replies.  Nothing is allocated for a datagram: both calls work on one set of rows,
and whoever answers reads and writes these as columns (``ntptwist.protocol.columns``) or one row at a time.

Every row has, at the same place in each:

* a request of up to 2048 octets,
* the sender's address (struct sockaddr_in or sockaddr_in6), which is where the reply goes,
* a control buffer, into which the kernel writes the receive stamp (SCM_TIMESTAMPING, 64 octets with its header) and
  then, on a socket bound to a wildcard, the packet's own destination (IP_PKTINFO or IPV6_PKTINFO).  A reply carries the
  latter back from where it lies: it leaves from the address that was asked, by whatever interface leads to the client,
* a reply of 48 octets, and two struct mmsghdr, one for each direction.

Receive stamps are taken of everything.  A transmit stamp costs a message on the error queue, so it is taken only of
what is sent with a request for one (a SO_TIMESTAMPING control message, Linux 4.8).  The kernel numbers these from 0
(SOF_TIMESTAMPING_OPT_ID), and ``read_error_queue`` of ``ntptwist.kernel.timestamping`` reads them.

The layouts are those of Linux with 64-bit pointers, little-endian (which the columns need): see ``supported``.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Sequence
from errno import EAGAIN, EINTR
from struct import Struct
from typing import Final, NamedTuple

from ntptwist.kernel.timestamping import (
    KEYS,
    MAXIMUM_DATAGRAM,
    SO_TIMESTAMPING,
    STAMP_OF_THIS,
    STAMPS_ON_REQUEST,
    KernelSocket,
    read_error_queue,
    restart_keys,
    tell_destinations,
)
from ntptwist.timestamp import NANOSECONDS, Timestamp

CAPACITY: Final = 64
"""Rows of a batch; larger ones are no faster and leave the caches."""

REQUEST_SPACING: Final = MAXIMUM_DATAGRAM + 64
"""Octets from one request to the next: not a power of two, or all rows would meet in the same lines of the cache."""

REPLY_SIZE: Final = 48
CONTROL_SPACING: Final = 192

_NAME_SPACING = 32
_MESSAGE = Struct("=Qii")  # struct cmsghdr
_STAMP_SPACE = 64  # a struct cmsghdr and three timespecs
_REQUEST = Struct("=QiiIxxxx")  # a struct cmsghdr, and the flags of SO_TIMESTAMPING
_HEADER = Struct("=QIxxxxQQQQixxxxIxxxx")  # struct mmsghdr
_VECTOR = Struct("=QQ")  # struct iovec
_VECTOR_WORD, _CONTROL_WORD, _CONTROL_SIZE_WORD = 2, 4, 5  # of a struct mmsghdr, in units of 64 bits
_NAME_SIZE_WORD, _FLAGS_WORD, _LENGTH_WORD = 2, 12, 14  # the same in units of 32 bits
_HEADER_WORDS = _HEADER.size // 8
_LONGEST = 1 << 16
_TRUNCATED = int(socket.MSG_TRUNC)  # an enum's operators take a microsecond


class _Layout:
    """Where things lie in the address and the control messages of a family; ``interface`` is the index's place."""

    def __init__(self, name: int, address: int, address_size: int, information: int, interface: int) -> None:
        self.name = name
        self.address = address
        self.address_size = address_size
        self.information = information
        self.interface = _STAMP_SPACE + interface


_LAYOUTS = {
    socket.AF_INET: _Layout(16, 4, 4, 32, 16),
    socket.AF_INET6: _Layout(28, 8, 16, 40, 32),
}


def supported() -> bool:
    """Tell whether this machine has the two calls, in the layout that is written here."""
    return (
        sys.platform == "linux"
        and sys.byteorder == "little"
        and ctypes.sizeof(ctypes.c_void_p) == 8
        and all(hasattr(_libc(), name) for name in ("recvmmsg", "sendmmsg"))
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _address(buffer: bytearray) -> int:
    """Give where a buffer lies; it must neither be resized nor freed."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Sent(NamedTuple):
    """What came of sending: how many were refused, and the number of the first stamp that was asked for, if any."""

    refused: int
    key: int | None


class _Part(NamedTuple):
    """What each row has of a buffer: its place is ``start`` octets after that of the row, its length ``size``."""

    buffer: bytearray
    size: int
    start: int = 0

    def at(self, row: int) -> int:
        """Give where it lies."""
        return _address(self.buffer) + len(self.buffer) // CAPACITY * row + self.start


def _headers(name: _Part, data: _Part, control: _Part) -> tuple[bytearray, bytearray]:
    """Give a struct mmsghdr for each row, and the struct iovec that each of them points to."""
    headers, vectors = bytearray(CAPACITY * _HEADER.size), bytearray(CAPACITY * _VECTOR.size)
    vector = _Part(vectors, 1)  # of these the kernel wants the number
    for row in range(CAPACITY):
        parts = (part for each in (name, vector, control) for part in (each.at(row), each.size))
        _HEADER.pack_into(headers, row * _HEADER.size, *parts, 0, 0)
        _VECTOR.pack_into(vectors, row * _VECTOR.size, data.at(row), data.size)
    return headers, vectors


class Batch:
    """
    A socket's rows for up to 64 datagrams that are received and answered together.

    ``sock`` is bound and remains its owner's; it sends nothing but through here.  One with ``destinations`` is told
    where each packet went to, and replies from there.  ``requests`` and ``replies`` are octets and ``stamps`` words of
    64 bits, for columns.  ``awaits_stamps`` is set by what asks for one.  OSError when the kernel can't stamp.
    """

    def __init__(self, sock: KernelSocket, *, destinations: bool) -> None:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS_ON_REQUEST)
        if destinations:
            tell_destinations(sock)
        libc = _libc()
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg
        self._recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._socket = sock
        self._fd = sock.fileno()
        self._layout = layout = _LAYOUTS[sock.family]
        self._destinations = destinations
        self._information = layout.information if destinations else 0
        self._next_key = 0
        self.awaits_stamps = False
        self._prepared = 0, 0, 0
        requests, replies = bytearray(CAPACITY * REQUEST_SPACING), bytearray(CAPACITY * REPLY_SIZE)
        names, control = bytearray(CAPACITY * _NAME_SPACING), bytearray(CAPACITY * CONTROL_SPACING)
        incoming, vectors = _headers(
            _Part(names, _NAME_SPACING), _Part(requests, MAXIMUM_DATAGRAM), _Part(control, CONTROL_SPACING)
        )
        outgoing, more_vectors = _headers(
            _Part(names, layout.name),
            _Part(replies, REPLY_SIZE),
            _Part(control, self._information, _STAMP_SPACE),
        )
        self._kept = vectors, more_vectors  # the kernel reads them, nobody else holds them
        self._fresh, self._plain = bytes(incoming), bytes(outgoing)
        chosen = bytearray(len(outgoing))  # what is sent with requests for stamps, or is only a part of the rows
        self._incoming_at, self._outgoing_at, self._chosen_at = _address(incoming), _address(outgoing), _address(chosen)
        self._incoming, self._outgoing, self._chosen = memoryview(incoming), memoryview(outgoing), memoryview(chosen)
        self._single = bytearray(_VECTOR.size)
        single_reply = bytearray(_LONGEST)
        self._single_reply = memoryview(single_reply)
        self._single_at, self._single_reply_at = _address(self._single), _address(single_reply)
        self._chosen_words = self._chosen.cast("Q")
        self._asking = bytearray(2 * CONTROL_SPACING)  # the control messages of what asks for a stamp
        for offset in (0, CONTROL_SPACING):
            _REQUEST.pack_into(
                self._asking, offset, _MESSAGE.size + 4, socket.SOL_SOCKET, SO_TIMESTAMPING, STAMP_OF_THIS
            )
        self.requests, self.replies = memoryview(requests), memoryview(replies)
        self.stamps = memoryview(control)[_MESSAGE.size : -_MESSAGE.size].cast("Q")
        self._names, self._control = names, memoryview(control)
        self._interfaces = self._control.cast("I")[layout.interface // 4 :: CONTROL_SPACING // 4]
        self._no_interfaces = memoryview(bytes(4 * CAPACITY)).cast("I")
        self._lengths = self._incoming.cast("I")[_LENGTH_WORD :: 2 * _HEADER_WORDS]
        self._name_sizes = self._incoming.cast("I")[_NAME_SIZE_WORD :: 2 * _HEADER_WORDS]
        self._flags = self._incoming.cast("I")[_FLAGS_WORD :: 2 * _HEADER_WORDS]
        self._sizes = self._incoming.cast("Q")[_CONTROL_SIZE_WORD::_HEADER_WORDS]
        self._stamped_size = _STAMP_SPACE + self._information
        self._headers = incoming
        for row in range(CAPACITY):  # what the kernel makes of the headers when it receives 48 octets with a stamp
            self._lengths[row], self._sizes[row] = REPLY_SIZE, self._stamped_size
            self._name_sizes[row] = layout.name
        self._expected = bytes(incoming)

    def receive(self) -> int:
        """Receive what has arrived, as far as there are rows; give the number of datagrams.  OSError as recvmsg(2)."""
        self._incoming[:] = self._fresh
        count: int = self._recvmmsg(self._fd, self._incoming_at, CAPACITY, socket.MSG_DONTWAIT, None)
        if count < 0:
            errno = ctypes.get_errno()
            if errno in (EAGAIN, EINTR):
                return 0
            raise OSError(errno, os.strerror(errno))
        if self._destinations:
            # The route to the client decides on the interface; its scope, where it has one, is in its address.
            self._interfaces[:count] = self._no_interfaces[:count]
        return count

    def all_plain(self, count: int) -> bool:
        """Tell whether the first rows all have 48 octets and a stamp, which is true of nearly every batch."""
        size = count * _HEADER.size
        return self._headers[:size] == self._expected[:size]

    def is_plain(self, row: int) -> bool:
        """Tell whether a row has 48 octets."""
        return self._lengths[row] == REPLY_SIZE

    def is_usable(self, row: int) -> bool:
        """Tell whether a row is whole and has a stamp, without which there is no receive timestamp to send."""
        return self._sizes[row] == self._stamped_size and not self._flags[row] & _TRUNCATED

    def request(self, row: int) -> bytes:
        """Give a row's request."""
        start = row * REQUEST_SPACING
        return self.requests[start : start + self._lengths[row]].tobytes()

    def address(self, row: int) -> bytes:
        """Give the packed address of a row's sender, 4 or 16 octets."""
        start = row * _NAME_SPACING + self._layout.address
        return bytes(self._names[start : start + self._layout.address_size])

    def addresses(self, count: int) -> list[bytes]:
        """Give the packed addresses of the senders of the first rows."""
        layout = self._layout
        names = bytes(self._names[: count * _NAME_SPACING])
        size = layout.address_size
        return [names[start : start + size] for start in range(layout.address, len(names), _NAME_SPACING)]

    def stamp(self, row: int) -> Timestamp:
        """Give when a row came in, by CLOCK_REALTIME."""
        seconds, nanoseconds = self.stamps[row * CONTROL_SPACING // 8 : row * CONTROL_SPACING // 8 + 2]
        return Timestamp(seconds * NANOSECONDS + nanoseconds)

    def prepare(self, rows: Sequence[int], *, stamped: bool = False) -> None:
        """
        Say which replies are to be sent: the first so many rows (a range from 0), or a list of rows in its order.

        When ``stamped``, ask for the stamps of the first and the last; two rows have two numbers, one has one.  All
        this takes microseconds, more when it is done for once: it must not lie between a reading of the clock that
        goes into the replies and their departure.
        """
        count = len(rows)
        at, size = self._outgoing_at, _HEADER.size
        if not isinstance(rows, range):
            at = self._chosen_at
            self._chosen[: count * size] = b"".join(self._plain[row * size : (row + 1) * size] for row in rows)
        elif stamped:
            at = self._chosen_at
            self._chosen[: count * size] = self._plain[: count * size]
        if stamped:
            for position in {0, count - 1}:
                self._ask(position, rows[position], min(position, 1) * CONTROL_SPACING)
        self._prepared = at, count, min(count, 2) if stamped else 0

    def send(self) -> Sent:
        """Send what was prepared."""
        at, count, stamps = self._prepared
        return self._numbered(self._send_all(at, count), stamps)

    def reply(self, row: int, data: bytes, *, stamped: bool = False) -> Sent:
        """Send a reply of at most 65,536 octets to the sender of a row, with its stamp asked for or not."""
        self._chosen[: _HEADER.size] = self._plain[row * _HEADER.size : (row + 1) * _HEADER.size]
        self._single_reply[: len(data)] = data
        _VECTOR.pack_into(self._single, 0, self._single_reply_at, len(data))
        self._chosen_words[_VECTOR_WORD] = self._single_at
        if stamped:
            self._ask(0, row, 0)
        refused = self._send_all(self._chosen_at, 1)
        return self._numbered(refused, int(stamped))

    def _ask(self, position: int, row: int, offset: int) -> None:
        """Let what is to be sent in a position ask for its stamp."""
        destination = row * CONTROL_SPACING + _STAMP_SPACE
        end = offset + _REQUEST.size + self._information
        self._asking[offset + _REQUEST.size : end] = self._control[destination : destination + self._information]
        words = self._chosen_words[position * _HEADER_WORDS :]
        words[_CONTROL_WORD] = _address(self._asking) + offset
        words[_CONTROL_SIZE_WORD] = _REQUEST.size + self._information

    def _send_all(self, at: int, count: int) -> int:
        """Send so many; give how many were refused.  One that is refused does not keep the next from being tried."""
        refused = position = 0
        while position < count:
            sent = self._sendmmsg(self._fd, at + position * _HEADER.size, count - position, socket.MSG_DONTWAIT)
            if sent > 0:
                position += sent
            else:
                refused += 1
                position += 1
        return refused

    def _numbered(self, refused: int, stamps: int) -> Sent:
        key = self._next_key
        if refused and stamps:
            # Where a datagram was refused decides whether the kernel has counted it: number from 0 again.
            read_error_queue(self._socket)
            restart_keys(self._socket, STAMPS_ON_REQUEST)
            self._next_key = 0
            return Sent(refused, None)
        self._next_key = (key + stamps) % KEYS
        self.awaits_stamps |= stamps > 0
        return Sent(refused, key if stamps else None)
