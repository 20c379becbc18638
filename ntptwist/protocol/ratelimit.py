"""
How often a client may ask: a token bucket for each prefix of addresses, in bounded memory.

A bucket is kept as the one moment at which it will be full again.  A request moves that moment on by the ``interval``;
it is refused, and moves nothing, where the bucket has no token left.  A bucket that is full says no more than one that
is not there, so the one that was used longest ago is given up when there are too many: a flood from a million
addresses costs the memory of the few that are kept, and blocks nobody who is not in it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ntptwist.timestamp import Monotonic


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    What a client may ask for: ``burst`` requests at once, and on the average one each ``interval`` nanoseconds.

    All addresses with the same leading bits are one client: ``ipv4_prefix`` or ``ipv6_prefix`` of them.  At most
    ``capacity`` clients are known at a time.  A request that is too many gets the kiss RATE with ``kiss``, or nothing.
    """

    interval: int
    burst: int = 8
    capacity: int = 16384
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    kiss: bool = False


class RateLimiter:
    """The buckets of one server; ``len`` is how many there are."""

    __slots__ = ("_buckets", "_capacity", "_interval", "_reserve", "_shifts")

    def __init__(self, limit: RateLimit) -> None:
        self._interval = limit.interval
        self._reserve = limit.interval * (limit.burst - 1)
        self._capacity = limit.capacity
        self._shifts = {4: 32 - limit.ipv4_prefix, 16: 128 - limit.ipv6_prefix}
        self._buckets: OrderedDict[tuple[int, int], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, address: bytes, monotonic: Monotonic) -> bool:
        """Take a token for a request from a plain address at this moment; tell whether there was one."""
        size = len(address)
        client = (size, int.from_bytes(address) >> self._shifts[size])
        full = max(self._buckets.get(client, 0), monotonic)
        allowed = full - monotonic <= self._reserve
        self._buckets[client] = full + self._interval if allowed else full
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return allowed
