"""The addresses of this host."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

from ntptwist.kernel.addresses import local_addresses


def test_loopback_is_ours() -> None:
    """The loopback address is among our own."""
    assert IPv4Address("127.0.0.1") in local_addresses()


def test_every_address_can_be_bound() -> None:
    """What is said to be ours is: a socket can be bound to it (scoped addresses aside, which need an interface)."""
    for address in local_addresses():
        if address.is_link_local:
            continue
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as opened:
            opened.bind((str(address), 0))


def test_foreign_addresses_are_not_ours() -> None:
    """Documentation addresses of RFC 5737 and RFC 3849 that nobody has are not among them."""
    ours = local_addresses()

    assert IPv4Address("203.0.113.77") not in ours
    assert IPv6Address("2001:db8::77") not in ours
