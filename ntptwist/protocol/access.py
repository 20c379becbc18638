"""
Who is answered: lists of address prefixes.

Addresses are octets as they stand in a packet, 4 or 16 of them.  An IPv4 address that came through an IPv6 socket
(``::ffff:192.0.2.1``, RFC 4291, section 2.5.5.2) is the IPv4 address everywhere, in prefixes too; ``::/0`` is IPv6
only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

Prefix = IPv4Network | IPv6Network

_MAPPED = bytes(10) + b"\xff\xff"
_SIZES = (4, 16)
_LOOPBACK = bytes(15) + b"\x01"

EVERYONE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Action(Enum):
    """What becomes of a request because of its sender."""

    ANSWER = "answer"
    DENY = "deny"
    RATE = "rate"
    IGNORE = "ignore"


def plain_address(address: bytes) -> bytes:
    """Give an address without the mapping of IPv4 into IPv6."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


def is_loopback(address: bytes) -> bool:
    """Tell whether a plain address is this machine's own loopback: 127.0.0.0/8 or ::1."""
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK


class Prefixes:
    """
    A set of prefixes.

    ``leading`` has, for addresses of 4 and of 16 octets, each length that occurs: how many bits are left, and the
    leading bits of all prefixes of that length.  ``all`` says that every address is in it.
    """

    __slots__ = ("all", "leading")

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        leading: dict[int, dict[int, set[int]]] = {size: defaultdict(set) for size in _SIZES}
        for prefix in prefixes:
            octets = plain_address(prefix.network_address.packed)
            shift = prefix.max_prefixlen - prefix.prefixlen  # the bits that are left; a mapping takes none of them
            leading[len(octets)][shift].add(int.from_bytes(octets) >> shift)
        self.leading = {size: tuple(leading[size].items()) for size in _SIZES}
        self.all = all(8 * size in leading[size] for size in _SIZES)

    def __contains__(self, address: bytes) -> bool:
        """Tell whether a plain address is in one of the prefixes."""
        number = int.from_bytes(address)
        return any(number >> shift in leading for shift, leading in self.leading[len(address)])


class AccessList:
    """
    Who is answered: whoever is in ``allow`` and not in ``deny``, which has the last word.

    ``denied`` is the action for those in ``deny``, ``otherwise`` for those in neither.  ``everyone`` says that all are
    answered.
    """

    __slots__ = ("_otherwise", "_rules", "everyone")

    def __init__(
        self,
        allow: Iterable[Prefix] = EVERYONE,
        deny: Iterable[Prefix] = (),
        otherwise: Action = Action.IGNORE,
        denied: Action = Action.DENY,
    ) -> None:
        denies = tuple(deny)
        allowed = Prefixes(allow)
        self._otherwise = otherwise
        # Every request comes here: one pass through all lengths of both lists, and the first match decides.
        self._rules = {
            size: [
                (shift, leading, action)
                for prefixes, action in ((Prefixes(denies), denied), (allowed, Action.ANSWER))
                for shift, leading in prefixes.leading[size]
            ]
            for size in _SIZES
        }
        self.everyone = allowed.all and not denies

    def action(self, address: bytes) -> Action:
        """Give what becomes of a request from a plain address of 4 or 16 octets."""
        if self.everyone:
            return Action.ANSWER
        number = int.from_bytes(address)
        for shift, leading, action in self._rules[len(address)]:
            if number >> shift in leading:
                return action
        return self._otherwise
