"""Addresses as protocols see them, and as the socket module wants them."""

from __future__ import annotations

from errno import ENODEV
from socket import AF_INET, AF_INET6, if_nametoindex

import pytest
from twisted.internet.error import InvalidAddressError

from ntptwist.net.address import protocol_address, socket_address

LOOPBACK = if_nametoindex("lo")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", (AF_INET, ("192.0.2.1", 123))),
        ("2001:DB8:0::1", (AF_INET6, ("2001:db8::1", 123, 0, 0))),
        ("fe80::1%lo", (AF_INET6, ("fe80::1", 123, 0, LOOPBACK))),
        ("fe80::1%7", (AF_INET6, ("fe80::1", 123, 0, 7))),
    ],
)
def test_literal_address_is_understood(host: str, expected: object) -> None:
    """Both families, in any spelling, with a scope by name or by number."""
    assert socket_address(host, 123) == expected


@pytest.mark.parametrize("host", ["ntp.example", "", "192.0.2", "192.0.2.1%lo", "fe80::1%", "[::1]", "<broadcast>"])
def test_anything_else_is_refused(host: str) -> None:
    """A name is never looked up here."""
    with pytest.raises(InvalidAddressError):
        socket_address(host, 123)


def test_unknown_interface_has_its_error() -> None:
    """The error has the errno and the words that people know."""
    with pytest.raises(OSError, match="No such device") as error:
        socket_address("fe80::1%nonesuch0", 123)

    assert error.value.errno == ENODEV


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("192.0.2.1", 123), ("192.0.2.1", 123)),
        (("2001:db8::1", 123, 0x12345, 0), ("2001:db8::1", 123)),
        (("fe80::1", 123, 0, LOOPBACK), ("fe80::1%lo", 123)),
        (("fe80::1", 123, 0, 99999), ("fe80::1%99999", 123)),
    ],
)
def test_protocols_see_host_and_port(address: tuple[object, ...], expected: tuple[str, int]) -> None:
    """The flow label is dropped; the scope becomes part of the host."""
    assert protocol_address(address) == expected
