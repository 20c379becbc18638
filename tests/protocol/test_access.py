"""Who is answered: deny lists beat allow lists, and IPv4 is IPv4 whichever socket it came through."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest

from ntptwist.protocol.access import EVERYONE, LOOPBACK, AccessList, Action, Prefixes, is_loopback, plain_address


def octets(address: str) -> bytes:
    """Give the octets of an address."""
    return ip_address(address).packed


def test_deny_beats_allow() -> None:
    """Who stands in both lists is denied, who stands in neither gets the allow list's action."""
    access = AccessList([ip_network("192.0.2.0/24")], [ip_network("192.0.2.8/29")], Action.IGNORE, Action.DENY)

    assert access.action(octets("192.0.2.7")) is Action.ANSWER
    assert access.action(octets("192.0.2.8")) is Action.DENY
    assert access.action(octets("192.0.2.15")) is Action.DENY
    assert access.action(octets("192.0.2.16")) is Action.ANSWER
    assert access.action(octets("192.0.3.0")) is Action.IGNORE
    assert access.action(octets("2001:db8::1")) is Action.IGNORE


def test_everyone() -> None:
    """A list that lets everybody in says so, unless somebody is denied, or one family is missing."""
    assert AccessList().everyone
    assert AccessList().action(octets("192.0.2.1")) is Action.ANSWER
    assert not AccessList(LOOPBACK).everyone
    assert not AccessList(EVERYONE[:1]).everyone
    assert not AccessList(EVERYONE, [ip_network("192.0.2.1/32")]).everyone


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.255", "::1"])
def test_loopback(address: str) -> None:
    """This machine may ask itself where nothing is configured."""
    assert AccessList(LOOPBACK).action(octets(address)) is Action.ANSWER
    assert is_loopback(octets(address))


@pytest.mark.parametrize("address", ["126.255.255.255", "128.0.0.0", "::2", "::", "192.0.2.1", "fe80::1"])
def test_not_loopback(address: str) -> None:
    """Nobody else is this machine."""
    assert AccessList(LOOPBACK).action(octets(address)) is Action.IGNORE
    assert not is_loopback(octets(address))


def test_ipv4_through_an_ipv6_socket() -> None:
    """A mapped address is the IPv4 address, and only that of the mapping's own prefix."""
    assert plain_address(octets("::ffff:192.0.2.1")) == octets("192.0.2.1")
    assert plain_address(octets("::fffe:192.0.2.1")) == octets("::fffe:192.0.2.1")
    assert plain_address(octets("192.0.2.1")) == octets("192.0.2.1")


def test_mapped_prefixes() -> None:
    """A prefix that was written in mapped form holds for IPv4; one that reaches beyond the mapping is IPv6's."""
    assert octets("192.0.2.1") in Prefixes([ip_network("::ffff:192.0.2.0/120")])
    assert octets("192.0.3.1") not in Prefixes([ip_network("::ffff:192.0.2.0/120")])
    assert octets("198.51.100.1") in Prefixes([ip_network("::ffff:0:0/96")])
    assert octets("192.0.2.1") not in Prefixes([ip_network("::/0")])
    assert octets("::ffff:0:1") in Prefixes([ip_network("::/64")])


def test_an_empty_set() -> None:
    """Nobody is in no prefix."""
    assert octets("192.0.2.1") not in Prefixes([])
    assert octets("::1") not in Prefixes([])


def test_like_the_standard_library() -> None:
    """Thousands of addresses near hundreds of prefixes are found where ``ipaddress`` finds them."""
    random = Random(4)
    networks = [
        ip_network((random.randbytes(size), random.randrange(1, 8 * size + 1)), strict=False)
        for size in (4, 16)
        for _ in range(100)
    ]
    prefixes = Prefixes(networks)
    for network in networks:
        for edge in (network[0], network[-1]):
            for near in (int(edge) - 1, int(edge), int(edge) + 1):
                packed = (near % (1 << network.max_prefixlen)).to_bytes(network.max_prefixlen // 8)
                expected = any(ip_address(packed) in each for each in networks)

                assert expected is (packed in prefixes)
