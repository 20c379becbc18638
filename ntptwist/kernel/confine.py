"""
How a process that only answers packets gives up what it will never need (capabilities(7), prctl(2), setrlimit(2)).

It keeps the sockets that it was given and its user.  Afterwards it can neither set a clock nor bind a port, no program
that it starts gets more than it has, and it can start none: whoever takes it over by a packet has gained an NTP server.
"""

from __future__ import annotations

import ctypes
import os
import resource
from struct import pack

DESCRIPTORS = 64
"""Files and sockets that may be open: a worker has a dozen."""

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def confine() -> None:
    """
    Give up all capabilities for good, and new processes, core dumps and most descriptors.

    A core dump would hold the keys of NTS.  OSError when the kernel refuses, which it has no reason to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(pack("=Ii", _CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)  # effective, permitted, inheritable, twice
    _call(libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))))
    _call(libc.capset(header, nothing))
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        resource.setrlimit(limit, (most, most))


def _call(result: int) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
