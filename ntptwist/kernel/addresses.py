"""
The addresses of this host, by getifaddrs(3).

They tell a server that follows us (its reference id is one of them) from one that does not.
"""

from __future__ import annotations

import ctypes
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6


class _SockAddr(ctypes.Structure):
    _fields_ = (("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 26))


class _IfAddrs(ctypes.Structure):
    pass


_IfAddrs._fields_ = (
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(_SockAddr)),
    ("netmask", ctypes.POINTER(_SockAddr)),
    ("other", ctypes.POINTER(_SockAddr)),
    ("data", ctypes.c_void_p),
)


def local_addresses() -> set[IPv4Address | IPv6Address]:
    """Give every IP address of every interface; empty where the system does not tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        return set()
    found: set[IPv4Address | IPv6Address] = set()
    try:
        entry = first
        while entry:
            record = entry.contents
            if record.address:
                # struct sockaddr_in: port at 0 of data, address at 2; sockaddr_in6: flow info at 2, address at 6
                data = bytes(record.address.contents.data)
                family = record.address.contents.family
                if family == AF_INET:
                    found.add(IPv4Address(data[2:6]))
                elif family == AF_INET6:
                    found.add(IPv6Address(data[6:22]))
            entry = record.next
    finally:
        libc.freeifaddrs(first)
    return found
