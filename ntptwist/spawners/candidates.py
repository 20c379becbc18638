"""
The addresses of one name: which may be asked next, and when the name may be looked up again.  Pure books.

An address that failed, lied or denied is not forgotten but held back for a while, so the same dead server does not come
right back when the name is looked up.  What it did decides how long.

A pool's name servers are somebody's gift, and its servers come and go.  So a look-up that was answered is repeated
quickly only at the start, while a name that gives few addresses at a time is to fill a pool; then less and less often.
Once the pool has been full a lost member is no reason to ask more than once an hour: there are the addresses that the
last answer gave beside the ones in use, and the newest are taken first.  A look-up that was *not* answered has asked
nobody anything; how often that is repeated is the back-off of ``spawners.service``.

The number of addresses kept is bounded, whatever the name's answers are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from ipaddress import IPv6Address, ip_address

from ntptwist.identifiers import ReferenceId

BURST = 4
"""Look-ups, answered, that may follow each other as fast as the back-off lets them, before the pool was ever full."""
FIRST_INTERVAL = 64.0
LONGEST_INTERVAL = 3600.0
"""Seconds between two look-ups after the burst, doubling from the first to the longest; always the longest when the
pool has been full.  The rules of pool.ntp.org: not more than hourly for a server that died."""

MOST_KNOWN = 32
MOST_HELD = 256
"""Addresses that are kept; of more, those that were learnt, or will come back, first go first."""


class Fault(Enum):
    """Why an address is held back; the values are how long, seconds."""

    FAILED = 3600.0
    """It did not answer, or could not be reached; servers and routes are repaired in hours."""
    REJECTED = 86_400.0
    """It was of no use while others were; who tells the wrong time for an hour has nobody to look after it today."""
    DENIED = 604_800.0
    """It asked us to stay away (RFC 5905, section 7.4)."""


def canonical(text: str) -> str | None:
    """
    Give a literal address in its one written form, an IPv4 address inside an IPv6 one as IPv4.

    None for what is no address of a host: no address at all, multicast, unspecified, broadcast.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        return None
    return str(address)


class Candidates:
    """
    The addresses that one name has given, and what became of them.

    ``ignored`` are never used.  ``now`` is on a monotonic axis, seconds, everywhere.
    """

    __slots__ = ("_held", "_ignored", "_known", "_looked_up", "_lookups", "_settled")

    def __init__(self, ignored: Iterable[str] = ()) -> None:
        self._ignored = frozenset(ignored)
        self._known: list[str] = []  # the newest answer's first, in the order of the answer
        self._held: dict[str, tuple[Fault, float]] = {}  # until when, in the order in which they failed
        self._looked_up: float | None = None
        self._lookups = 0
        self._settled = False

    def may_look_up(self, now: float) -> bool:
        """Tell whether the name may be looked up."""
        return self._looked_up is None or now - self._looked_up >= self._interval()

    def learn(self, answer: Sequence[str], now: float) -> None:
        """Take the answer to a look-up that was just made."""
        self._looked_up = now
        self._lookups += 1
        fresh = [address for address in map(canonical, answer) if address is not None]
        self._known = list(dict.fromkeys([*fresh, *self._known]))[:MOST_KNOWN]

    def settle(self) -> None:
        """Note that there are enough members: the burst is over."""
        self._settled = True

    def hold(self, address: str, fault: Fault, now: float) -> None:
        """Hold an address back from now on."""
        self._held.pop(address, None)
        self._held[address] = (fault, now + fault.value)
        self._release(now)
        while len(self._held) > MOST_HELD:
            del self._held[min(self._held, key=lambda held: self._held[held][1])]

    def drop(self, address: str) -> None:
        """Forget an address until an answer names it again."""
        if address in self._known:
            self._known.remove(address)

    def free(self, now: float, taken: Collection[ReferenceId]) -> Iterator[str]:
        """Give the addresses that may be used, best first; ``taken`` are the ids of those in use and of our own."""
        self._release(now)
        return (address for address in self._known if address not in self._held and self._suits(address, taken))

    def last_resort(self, taken: Collection[ReferenceId]) -> Iterator[str]:
        """Give those that failed, the one longest ago first: when all do, the fault is rather on our side."""
        failed = [address for address, (fault, _) in self._held.items() if fault is Fault.FAILED]
        return (address for address in failed if self._suits(address, taken))

    def summary(self, now: float) -> str:
        """Say what is known, for people."""
        self._release(now)
        held = sum(address in self._held for address in self._known)
        return f"{len(self._known)} known" + (f", {held} of them held back" if held else "")

    def _interval(self) -> float:
        if self._settled:
            return LONGEST_INTERVAL
        if self._lookups < BURST:
            return 0.0
        return min(FIRST_INTERVAL * 2.0 ** min(self._lookups - BURST, 10), LONGEST_INTERVAL)

    def _suits(self, address: str, taken: Collection[ReferenceId]) -> bool:
        return address not in self._ignored and ReferenceId.of_address(address) not in taken

    def _release(self, now: float) -> None:
        for address in [held for held, (_, until) in self._held.items() if until <= now]:
            del self._held[address]
