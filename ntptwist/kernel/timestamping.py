"""
The kernel's timestamps of datagrams, and the error queue that they come through.

Linux stamps a datagram when it passes the network driver (SO_TIMESTAMPING, Documentation/networking/timestamping.rst).
The receive stamp arrives as a control message with the datagram.  The transmit stamp arrives later on the socket's
error queue, where ICMP errors wait as well (IP_RECVERR, ip(7)).  What is read here is turned into plain values at once:
integer nanoseconds of CLOCK_REALTIME, and errnos.

Where the kernel refuses SO_TIMESTAMPING, the next best is taken: SO_TIMESTAMPNS, SIOCGSTAMPNS (both for received
datagrams only), and a user-space reading of the clock in the end.  So every datagram has a stamp.

The numbers are those of asm-generic; the ``_NEW`` forms have 64-bit seconds on every machine (Linux 5.1).
"""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from errno import ENOENT
from struct import Struct
from typing import Any, NamedTuple, Protocol

from ntptwist.timestamp import NANOSECONDS, Timestamp

MAXIMUM_DATAGRAM = 2048
"""Octets; what is longer can't be NTP and is dropped."""

SO_TIMESTAMPNS = 64
SO_TIMESTAMPING = 65
IP_RECVERR = 11
IPV6_RECVERR = 25
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50

_SIOCGSTAMPNS = 0x8907
_TX_SOFTWARE = 1 << 1
_RX_SOFTWARE = 1 << 3
_SOFTWARE = 1 << 4
_OPT_ID = 1 << 7
_OPT_TSONLY = 1 << 11
_FLAGS = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE | _OPT_TSONLY

STAMPS_ON_REQUEST = _RX_SOFTWARE | _SOFTWARE | _OPT_TSONLY | _OPT_ID
"""A socket's SO_TIMESTAMPING that stamps all that is received, and of what is sent only that which asks for it."""

STAMP_OF_THIS = _TX_SOFTWARE
"""The control message SO_TIMESTAMPING with which a datagram asks."""

_ORIGIN_ICMP = 2
_ORIGIN_ICMP6 = 3
_ORIGIN_TIMESTAMPING = 4
_SENT = 0

_CONTROL = 512  # two stamps and an extended error with its address, and room for what a newer kernel adds
_BATCH = 64
_NO_KEY = -1
KEYS = 1 << 32
"""The kernel numbers the datagrams of which it gives stamps, modulo this."""

_TIMESPEC = Struct("=qq")
_NATIVE_TIMESPEC = Struct("@ll")
_EXTENDED_ERROR = Struct("=IBBBBII")
_RECEIVE_STAMPS = frozenset({(socket.SOL_SOCKET, SO_TIMESTAMPNS), (socket.SOL_SOCKET, SO_TIMESTAMPING)})
_EXTENDED_ERRORS = frozenset({(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)})

ControlMessages = Sequence[tuple[int, int, bytes]]


class StampMethod(Enum):
    """How a socket's datagrams come by their stamps, the best first."""

    TIMESTAMPING = "SO_TIMESTAMPING"
    TIMESTAMPNS = "SO_TIMESTAMPNS"
    IOCTL = "SIOCGSTAMPNS"
    USER = "the clock, read in user space"


class Datagram(NamedTuple):
    """
    What was received: the octets, the sender as the socket module writes it, and when it came in.

    ``destination`` are the control messages that make a reply leave from where the datagram went to; none on a socket
    that is bound to one address.
    """

    data: bytes
    address: Any
    stamp: Timestamp
    destination: ControlMessages = ()


class Queued(NamedTuple):
    """What the error queue held: when the last datagram left, if that was known, and the errnos of ICMP errors."""

    transmitted: Timestamp | None
    errors: list[int]


class _Socket(Protocol):
    """The calls that are made on a socket; each raises OSError as the kernel does."""

    @property
    def family(self) -> int: ...

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...

    def getsockopt(self, level: int, option: int, /) -> int: ...

    def send(self, data: bytes, /) -> int: ...

    def sendto(self, data: bytes, address: Any, /) -> int: ...

    def sendmsg(self, buffers: Sequence[bytes], control: ControlMessages, flags: int, address: Any, /) -> int: ...

    def recvmsg(self, size: int, control: int, flags: int = 0, /) -> tuple[bytes, ControlMessages, int, Any]: ...

    def last_stamp(self) -> bytes: ...


class KernelSocket(socket.socket):
    """The kernel's socket, with the one call that Python's lacks."""

    __slots__ = ()

    def last_stamp(self) -> bytes:
        """Give the struct timespec of the datagram that was received last; the first call switches stamps on."""
        return fcntl.ioctl(self.fileno(), _SIOCGSTAMPNS, bytes(_NATIVE_TIMESPEC.size))


def report_icmp_errors(sock: _Socket) -> None:
    """
    Have ICMP errors queued with their errno, unreachable hosts and networks among them.

    For connected sockets only: one that serves many peers must not have its next send refused for the sake of one.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def tell_destinations(sock: _Socket) -> None:
    """
    Have the kernel say where each datagram went to, for a socket that is bound to a wildcard.

    An IPv6 socket that takes IPv4 too says it of both, in its own form (an IPv4-mapped address).
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def _destination(control: ControlMessages) -> ControlMessages:
    """Give what makes a reply leave from there; the route to the client decides on the interface, so it is left out."""
    for level, kind, payload in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return ((level, kind, bytes(4) + payload[4:]),)
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            return ((level, kind, payload[:16] + bytes(4)),)
    return ()


def read_error_queue(sock: _Socket) -> tuple[list[tuple[int, Timestamp]], list[int]]:
    """
    Read what the kernel has queued, at most 64 messages: transmit stamps with their numbers, and errnos from ICMP.

    What is neither is dropped.
    """
    departures: list[tuple[int, Timestamp]] = []
    errors: list[int] = []
    for _ in range(_BATCH):
        try:
            _, control, _, _ = sock.recvmsg(0, _CONTROL, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            break
        stamp = None
        for level, kind, payload in control:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
                stamp = _timestamp(_TIMESPEC, payload)
            elif (level, kind) in _EXTENDED_ERRORS:
                errno, origin, _, _, _, what, key = _EXTENDED_ERROR.unpack_from(payload)
                if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
                    errors.append(errno)
                elif (origin, what) == (_ORIGIN_TIMESTAMPING, _SENT) and stamp is not None:
                    departures.append((key, stamp))  # the kernel writes the stamp first
    return departures, errors


def take_error(sock: _Socket) -> int:
    """Take the errno that a socket has pending, 0 for none.  Left there, it makes every poll return at once."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def restart_keys(sock: _Socket, flags: int) -> None:
    """Number from 0 again: where a datagram was refused decides whether the kernel has counted it."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, flags & ~_OPT_ID)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, flags | _OPT_ID)


def _enable(sock: _Socket) -> StampMethod:
    """Switch the best kind of timestamps on that the kernel has."""
    for method, option, value in (
        (StampMethod.TIMESTAMPING, SO_TIMESTAMPING, _FLAGS | _OPT_ID),
        (StampMethod.TIMESTAMPNS, SO_TIMESTAMPNS, 1),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:
            continue
        return method
    try:
        sock.last_stamp()
    except OSError as error:
        if error.errno != ENOENT:  # it says so while nothing was received
            return StampMethod.USER
    return StampMethod.IOCTL


class TimestampedSocket:
    """
    A non-blocking datagram socket whose datagrams carry timestamps.

    The socket remains its owner's, who binds, connects and closes it; all data passes through here.  ``now`` reads the
    clock where the kernel gives no stamp.
    """

    __slots__ = ("_errors", "_key", "_now", "_socket", "method")

    def __init__(self, sock: _Socket, now: Callable[[], int] = time.time_ns) -> None:
        self._socket = sock
        self._now = now
        self._key = _NO_KEY  # the kernel's number for the last datagram that was sent
        self._errors: list[int] = []
        self.method = _enable(sock)

    def send(self, data: bytes, address: Any = None, destination: ControlMessages = ()) -> Timestamp:
        """
        Send a datagram, from where an earlier one's ``destination`` was; give the clock's time just before.

        OSError when the kernel refuses this very datagram.  An error that an earlier one met does not count: the kernel
        hands it to the next send, which sends nothing.  That error waits for ``error_queue``, and the send is repeated.
        """
        try:
            return self._send(data, address, destination)
        except OSError:
            errors = self.error_queue().errors
            if not errors:
                raise
            self._errors = errors
        return self._send(data, address, destination)

    def _send(self, data: bytes, address: Any, destination: ControlMessages) -> Timestamp:
        stamp = Timestamp(self._now())
        try:
            if address is None:
                self._socket.send(data)
            elif destination:
                self._socket.sendmsg([data], destination, 0, address)
            else:
                self._socket.sendto(data, address)
        except OSError:
            if self.method is StampMethod.TIMESTAMPING:
                restart_keys(self._socket, _FLAGS)
                self._key = _NO_KEY
            raise
        self._key = (self._key + 1) % KEYS
        return stamp

    def receive(self, limit: int = _BATCH) -> Iterator[Datagram]:
        """Give at most ``limit`` of the datagrams that have arrived.  OSError when the socket has an error pending."""
        for _ in range(limit):
            try:
                data, control, flags, address = self._socket.recvmsg(MAXIMUM_DATAGRAM, _CONTROL)
            except BlockingIOError:
                return
            if not flags & socket.MSG_TRUNC:
                yield Datagram(data, address, self._receive_stamp(control), _destination(control))

    def _receive_stamp(self, control: ControlMessages) -> Timestamp:
        for level, kind, payload in control:
            if (level, kind) in _RECEIVE_STAMPS:
                return _timestamp(_TIMESPEC, payload)
        if self.method is StampMethod.IOCTL:
            try:
                return _timestamp(_NATIVE_TIMESPEC, self._socket.last_stamp())
            except OSError:  # this one came in before stamps were on
                pass
        return Timestamp(self._now())

    def error_queue(self) -> Queued:
        """Read what the kernel has queued, at most 64 messages; what is neither stamp nor ICMP error is dropped."""
        errors, self._errors = self._errors, []
        departures, more = read_error_queue(self._socket)
        transmitted = [stamp for key, stamp in departures if key == self._key]
        return Queued(transmitted[-1] if transmitted else None, errors + more)

    def pending_error(self) -> int:
        """Take the errno that the socket has pending, 0 for none."""
        return take_error(self._socket)


def _timestamp(layout: Struct, payload: bytes) -> Timestamp:
    seconds, nanoseconds = layout.unpack_from(payload)
    return Timestamp(seconds * NANOSECONDS + nanoseconds)
