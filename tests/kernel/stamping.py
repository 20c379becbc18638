"""Worlds of sockets, in memory and the kernel's; and the kernel's receive stamps, switched on for sure."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EINVAL
from typing import Any

from ntptwist.kernel.timestamping import SO_TIMESTAMPING, KernelSocket
from tests.kernel.memory_socket import MemoryNetwork, MemorySocket, refuse

Refused = frozenset[int]
NOTHING: Refused = frozenset()

RECEIVED_IN_SOFTWARE = 1 << 3 | 1 << 4


@contextmanager
def kernel_stamps() -> Iterator[None]:
    """Keep a socket open that wants stamps, from when the kernel gives them: it begins late."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as keeper:
        keeper.bind(("127.0.0.1", 0))
        keeper.settimeout(2.0)
        keeper.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RECEIVED_IN_SOFTWARE)
        for _ in range(10_000):
            keeper.sendto(b"", keeper.getsockname())
            _, stamp, _, _ = keeper.recvmsg(1, 512)
            if stamp:
                break
        yield


class MemoryWorld:
    """Sockets in memory."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.now = self.network.now

    def socket(self, refused: Refused = NOTHING) -> Any:
        """Open a bound socket."""
        return MemorySocket(self.network, refused)

    def wait(self, sock: Any) -> None:
        """Wait for nothing, since all has happened already."""


class RefusingSocket(KernelSocket):
    """A socket of an older kernel."""

    refused: Refused = NOTHING

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]  # without buffers
        """Refuse some options."""
        if level == socket.SOL_SOCKET and option in self.refused:
            raise refuse(EINVAL)
        super().setsockopt(level, option, value)


class KernelWorld:
    """Sockets on loopback; ``host`` is its address in one of the families."""

    now = staticmethod(time.time_ns)

    def __init__(self, host: str, opened: ExitStack) -> None:
        self._host = host
        self._opened = opened

    def socket(self, refused: Refused = NOTHING) -> Any:
        """Open a bound socket."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = RefusingSocket(family, socket.SOCK_DGRAM)
        self._opened.enter_context(sock)
        sock.setblocking(False)
        sock.bind((self._host, 0))
        sock.refused = refused
        return sock

    def wait(self, sock: Any) -> None:
        """Wait until a datagram or an error has arrived, for two seconds at most."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)

        assert poll.poll(2000)


World = MemoryWorld | KernelWorld
