"""The filter in the kernel: what reaches a server's socket, and what does not."""

from __future__ import annotations

import socket

import pytest

from ntptwist.kernel.prefilter import attach

CLIENT, SERVER, CONTROL = 0x23, 0x24, 0x16
OFFERED = [
    bytes([CLIENT]).ljust(47, b"a"),
    bytes([CLIENT]).ljust(48, b"b"),
    bytes([SERVER]).ljust(48, b"c"),
    bytes([CONTROL]).ljust(12, b"d"),
    b"",
    bytes([0xDB]).ljust(1200, b"e"),
    *(bytes([mode]).ljust(48, b"f") for mode in (0, 1, 2, 4, 5, 7)),
]


@pytest.mark.parametrize(("control", "passed"), [(False, [1, 5]), (True, [1, 3, 5])])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_only_requests_pass(host: str, control: bool, passed: list[int]) -> None:
    """48 octets or more in client mode pass whole; of control mode anything, but only where it is wanted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        attach(server, control=control)
        server.bind((host, 0))
        for datagram in OFFERED:
            client.sendto(datagram, server.getsockname())
        received = [server.recv(4096) for _ in passed]
        with pytest.raises(BlockingIOError):
            server.recv(4096)

    assert received == [OFFERED[index] for index in passed]


def test_a_socket_that_takes_no_filter() -> None:
    """A kernel that refuses is no reason to fail."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()

    attach(sock, control=False)
