"""
Literal addresses, as people and protocols write them and as the socket module wants them.

Protocols see ``(host, port)``.  The scope of a link-local IPv6 address belongs to the host ("fe80::1%eth0", RFC 4007,
section 11); the flow label is nobody's business.
"""

from __future__ import annotations

from errno import ENODEV
from ipaddress import IPv4Address, ip_address
from os import strerror
from socket import AF_INET, AF_INET6, AddressFamily, if_indextoname, if_nametoindex
from typing import Any

from twisted.internet.error import InvalidAddressError


def socket_address(host: str, port: int) -> tuple[AddressFamily, tuple[Any, ...]]:
    """
    Give the family and the socket module's form of a literal address.

    InvalidAddressError (a ValueError) when it is none, OSError when there is no interface of its scope's name.
    """
    try:
        address = ip_address(host)
    except ValueError:
        raise InvalidAddressError(host, "not an IPv4 or IPv6 address") from None
    if isinstance(address, IPv4Address):
        return AF_INET, (str(address), port)
    scope = address.scope_id
    if scope is None:
        return AF_INET6, (str(address), port, 0, 0)
    return AF_INET6, (str(address).partition("%")[0], port, 0, _interface_index(scope))


def protocol_address(address: tuple[Any, ...]) -> tuple[str, int]:
    """Give ``(host, port)`` of a socket module's address."""
    if len(address) == 4 and address[3]:
        return with_scope(address[0], address[3]), address[1]
    return address[0], address[1]


def _interface_index(scope: str) -> int:
    if scope.isdecimal():
        return int(scope)
    try:
        return if_nametoindex(scope)
    except OSError:  # it comes without an errno
        raise OSError(ENODEV, strerror(ENODEV), scope) from None


def with_scope(host: str, index: int) -> str:
    """Write an interface's name behind a host, or its number if it has just vanished; index 0 is no scope."""
    if not index:
        return host
    try:
        return f"{host}%{if_indextoname(index)}"
    except OSError:
        return f"{host}%{index}"
