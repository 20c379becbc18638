"""
A classic BPF program that drops in the kernel what an NTP server would not answer anyhow (SO_ATTACH_FILTER).

It needs no privilege and costs a few nanoseconds a datagram, where waking the daemon up costs microseconds.  What it
drops, no counter of the daemon sees: the kernel counts it as drops of the socket (``ss -m``).  It is a courtesy and no
defence: every request is read with the same care with it and without it.

The program sees a UDP datagram from its header on, so the first octet of NTP, leap | version | mode, is at 8.  A load
from beyond the end drops the datagram.
"""

from __future__ import annotations

import ctypes
import socket
from contextlib import suppress
from struct import Struct, pack

SO_ATTACH_FILTER = 26

_INSTRUCTION = Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k
_LOAD_OCTET, _LOAD_LENGTH, _AND, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x30, 0x80, 0x54, 0x15, 0x35, 0x06
_UDP_HEADER = 8
_HEADER = 48
_CLIENT, _CONTROL = 3, 6
_NO_MODE = 8
_WHOLE = 0xFFFF


def program(*, control: bool) -> bytes:
    """Give the program: 48 octets or more in client mode pass, and of mode 6 everything if ``control``."""
    instructions = (
        (_LOAD_OCTET, 0, 0, _UDP_HEADER),
        (_AND, 0, 0, 7),
        (_JUMP_IF_EQUAL, 3, 0, _CONTROL if control else _NO_MODE),
        (_JUMP_IF_EQUAL, 0, 3, _CLIENT),
        (_LOAD_LENGTH, 0, 0, 0),
        (_JUMP_IF_AT_LEAST, 0, 1, _UDP_HEADER + _HEADER),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*each) for each in instructions)


def attach(sock: socket.socket, *, control: bool) -> None:
    """Attach the program to a UDP socket.  A kernel without such filters is no reason not to serve."""
    code = ctypes.create_string_buffer(program(control=control))
    count = (len(code) - 1) // _INSTRUCTION.size
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pack("@HP", count, ctypes.addressof(code)))
