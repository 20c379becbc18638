"""
UDP sockets in memory: as much of the kernel as ``ntptwist.kernel.timestamping`` relies on, errnos included.

Besides, they can do what loopback can't: hold transmit stamps back as a queueing discipline does, and refuse options as
an old kernel does.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from errno import EAGAIN, ECONNREFUSED, EINVAL, EMSGSIZE, ENOENT, ENOMSG, ENOPROTOOPT, ENOTCONN
from os import strerror
from typing import Any

from ntptwist.kernel.timestamping import IP_PKTINFO, IP_RECVERR, SO_TIMESTAMPING, SO_TIMESTAMPNS
from ntptwist.timestamp import NANOSECONDS

OPT_ID = 1 << 7
LARGEST = 65507

Control = list[tuple[int, int, bytes]]


def refuse(errno: int) -> OSError:
    """Give the error that the kernel would raise."""
    return OSError(errno, strerror(errno))


def timespec(stamp: int) -> bytes:
    """Write nanoseconds as a struct __kernel_timespec."""
    return struct.pack("=qq", *divmod(stamp, NANOSECONDS))


def extended_error(errno: int, origin: int, kind: int, code: int, data: int) -> tuple[int, int, bytes]:
    """Write a struct sock_extended_err with the offender's address, which is not told."""
    return socket.IPPROTO_IP, IP_RECVERR, struct.pack("=IBBBBII", errno, origin, kind, code, 0, 0, data) + bytes(16)


class MemoryNetwork:
    """The sockets that can reach each other, and the clock that stamps what they send; each reading is later."""

    def __init__(self) -> None:
        self.bound: dict[tuple[str, int], MemorySocket] = {}
        self.holding = False
        self._held: list[Callable[[], None]] = []
        self._time = 1_700_000_000 * NANOSECONDS

    def now(self) -> int:
        """Read the clock."""
        self._time += 1000
        return self._time

    def transmit(self, transmission: Callable[[], None]) -> None:
        """Pass a datagram through the driver, at once or when it is let go."""
        if self.holding:
            self._held.append(transmission)
        else:
            transmission()

    def let_go(self) -> None:
        """Transmit the oldest datagram that is held back."""
        self._held.pop(0)()


class MemorySocket:
    """A UDP socket; ``refused`` are the socket options that it does not know."""

    family = socket.AF_INET

    def __init__(self, network: MemoryNetwork, refused: frozenset[int] = frozenset()) -> None:
        self._network = network
        self._refused = refused
        self._options: dict[tuple[int, int], int] = {}
        self._arrived: deque[tuple[bytes, int, tuple[str, int]]] = deque()
        self._queued: deque[Control] = deque()
        self._pending = 0
        self._key = 0
        self._last_stamp: int | None = None
        self._address = ("127.0.0.1", 50000 + len(network.bound))
        self._peer: tuple[str, int] | None = None
        network.bound[self._address] = self

    def getsockname(self) -> tuple[str, int]:
        """Give the own address."""
        return self._address

    def connect(self, address: tuple[str, int]) -> None:
        """Choose the peer."""
        self._peer = address

    def close(self) -> None:
        """Be no longer there."""
        self._network.bound.pop(self._address, None)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option; OPT_ID that was not there before starts the keys at 0."""
        if level == socket.SOL_SOCKET and option in self._refused:
            raise refuse(ENOPROTOOPT)
        if option == SO_TIMESTAMPING and value & OPT_ID and not self._options.get((level, option), 0) & OPT_ID:
            self._key = 0
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> int:
        """Give an option; the pending error is forgotten by it."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            pending, self._pending = self._pending, 0
            return pending
        return self._options.get((level, option), 0)

    def send(self, data: bytes) -> int:
        """Send to the peer."""
        if self._peer is None:
            raise refuse(ENOTCONN)
        return self.sendto(data, self._peer)

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        """Send, unless an earlier error is pending."""
        if len(data) > LARGEST:
            self._key += 1  # where the kernel counts a datagram that it then refuses depends on its version
            raise refuse(EMSGSIZE)
        self._raise_pending()
        key = self._key
        self._key += 1
        self._network.transmit(lambda: self._transmit(data, address, key))
        return len(data)

    def sendmsg(self, buffers: Sequence[bytes], control: Any, flags: int, address: tuple[str, int]) -> int:
        """Send from the local address that a control message names, which must be the own one."""
        [(level, kind, payload)] = control
        if (level, kind, payload[4:8]) != (socket.IPPROTO_IP, IP_PKTINFO, socket.inet_aton(self._address[0])):
            raise refuse(EINVAL)
        return self.sendto(b"".join(buffers), address)

    def _transmit(self, data: bytes, address: tuple[str, int], key: int) -> None:
        if self._options.get((socket.SOL_SOCKET, SO_TIMESTAMPING), 0):
            stamp = timespec(self._network.now()) + bytes(32)
            self._queued.append(
                [(socket.SOL_SOCKET, SO_TIMESTAMPING, stamp), extended_error(ENOMSG, 4, 0, 0, key)],
            )
        receiver = self._network.bound.get(address)
        if receiver is not None:
            receiver.arrive(data, self._address)
        elif self._peer is not None:
            self._pending = ECONNREFUSED
            if self._options.get((socket.IPPROTO_IP, IP_RECVERR)):
                self._queued.append([extended_error(ECONNREFUSED, 2, 3, 3, 0)])

    def arrive(self, data: bytes, source: tuple[str, int]) -> None:
        """Take a datagram from the network."""
        self._arrived.append((data, self._network.now(), source))

    def recvmsg(self, size: int, control: int, flags: int = 0) -> tuple[bytes, Control, int, Any]:
        """Receive a datagram, or a message of the error queue; EAGAIN when there is none."""
        if flags & socket.MSG_ERRQUEUE:
            if not self._queued:
                raise refuse(EAGAIN)
            message = self._queued.popleft()
            if not any(level == socket.SOL_SOCKET for level, _, _ in message):
                self._pending = 0
            return b"", message, socket.MSG_ERRQUEUE, None
        self._raise_pending()
        if not self._arrived:
            raise refuse(EAGAIN)
        data, stamp, source = self._arrived.popleft()
        self._last_stamp = stamp
        messages: Control = []
        if self._options.get((socket.SOL_SOCKET, SO_TIMESTAMPING)):
            messages.append((socket.SOL_SOCKET, SO_TIMESTAMPING, timespec(stamp) + bytes(32)))
        elif self._options.get((socket.SOL_SOCKET, SO_TIMESTAMPNS)):
            messages.append((socket.SOL_SOCKET, SO_TIMESTAMPNS, timespec(stamp)))
        if self._options.get((socket.IPPROTO_IP, IP_PKTINFO)):
            own = socket.inet_aton(self._address[0])
            messages.append((socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I", 1) + own + own))
        return data[:size], messages, socket.MSG_TRUNC if len(data) > size else 0, source

    def last_stamp(self) -> bytes:
        """Give the stamp of the last datagram; ENOENT before the first."""
        if self._last_stamp is None:
            raise refuse(ENOENT)
        return struct.pack("@ll", *divmod(self._last_stamp, NANOSECONDS))

    def _raise_pending(self) -> None:
        pending, self._pending = self._pending, 0
        if pending:
            raise refuse(pending)
