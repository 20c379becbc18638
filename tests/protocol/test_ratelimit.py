"""How often a client may ask: bursts are allowed, floods are not, and nobody pays for a flood of others."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ntptwist.protocol.ratelimit import RateLimit, RateLimiter
from ntptwist.timestamp import NANOSECONDS, Monotonic

CLIENT = ip_address("192.0.2.1").packed
SECOND = RateLimit(NANOSECONDS, burst=3)


def at(seconds: float) -> Monotonic:
    """Give a moment."""
    return Monotonic(round(seconds * NANOSECONDS))


def allowed(limiter: RateLimiter, address: str | bytes, *moments: float) -> list[bool]:
    """Ask at these moments."""
    octets = address if isinstance(address, bytes) else ip_address(address).packed
    return [limiter.allows(octets, at(moment)) for moment in moments]


def test_a_burst_and_then_one_by_one() -> None:
    """The first requests come at once, further ones one each interval."""
    limiter = RateLimiter(SECOND)

    assert allowed(limiter, CLIENT, 5, 5, 5, 5, 5.999, 6, 6, 7, 10, 10, 10, 10) == (
        [True, True, True, False, False, True, False, True, True, True, True, False]
    )


def test_ntpd_rs_own_limit() -> None:
    """With a burst of one a request is allowed an interval after the last one that was."""
    limiter = RateLimiter(RateLimit(NANOSECONDS // 2, burst=1))

    assert allowed(limiter, CLIENT, 0, 0.499, 0.5, 0.9, 1.0) == [True, False, True, False, True]


def test_refused_requests_cost_nothing() -> None:
    """A client behind a relay that hammers gets its share all the same."""
    limiter = RateLimiter(SECOND)

    assert sum(allowed(limiter, CLIENT, *(i / 100 for i in range(1001)))) == 2 + 11


def test_every_client_has_its_own_bucket() -> None:
    """One that asks too often does not take anything from the next."""
    limiter = RateLimiter(RateLimit(NANOSECONDS, burst=1))

    assert allowed(limiter, "192.0.2.1", 1, 1) == [True, False]
    assert allowed(limiter, "192.0.2.2", 1) == [True]
    assert allowed(limiter, "::c000:201", 1) == [True]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
    ],
)
def test_a_network_is_one_client(first: str, second: str, together: bool) -> None:
    """The addresses of a prefix share one bucket: /64 of IPv6 unless told otherwise, and as told of IPv4."""
    limiter = RateLimiter(RateLimit(NANOSECONDS, burst=1, ipv4_prefix=24))
    allowed(limiter, first, 1)

    assert allowed(limiter, second, 1) == [not together]


def test_a_flood_from_a_million_addresses() -> None:
    """Memory stays as it was configured, and a client that asks at its pace is answered all through the flood."""
    limiter = RateLimiter(RateLimit(NANOSECONDS, burst=1, capacity=1000))
    refused = 0
    for number in range(1_000_000):
        now = Monotonic(number * 1_000_000)
        refused += not limiter.allows((number + (1 << 24)).to_bytes(4), now)
        if number % 1000 == 0:
            refused += not limiter.allows(CLIENT, now)

    assert (len(limiter), refused) == (1000, 0)
