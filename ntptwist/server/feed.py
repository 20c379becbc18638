"""
What a daemon and its workers say to each other.

The daemon says whom to answer and how (once), what the time is, where its clock is if that is not the kernel's, and the
keys of NTS; a worker says what it did.  Each message is an object of JSON behind its length, four octets, big-endian.

A worker believes its daemon.  It faces the network itself, so the daemon believes it nothing: what it says is
bounded, and is counters and addresses or it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from ipaddress import ip_address, ip_network
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.protocol.access import AccessList, Action
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import ServerCounters, ServerPolicy
from ntptwist.snapshot import ClientSnapshot, TimeSnapshot
from ntptwist.timestamp import Monotonic

if TYPE_CHECKING:
    from ntptwist.config.model import ServerSettings

SOCKET: Final = 3
"""The descriptor of a worker's socket; what it is told is its standard input, what it reports its standard output."""

LONGEST_FEED: Final = 1 << 24
"""Octets of a message to a worker: access lists may be long."""

LONGEST_REPORT: Final = 1 << 15
"""Octets of a message from a worker."""

REPORTED_CLIENTS: Final = 32
"""More than are shown: one that asks all workers alike may be among the first of none of them."""

_LENGTH = Struct("!I")
_MOST = 1 << 64


def frame(message: Mapping[str, Any]) -> bytes:
    """Give the octets of a message."""
    data = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Puts messages together again; none may be longer than ``longest`` octets."""

    __slots__ = ("_longest", "_received")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._received = bytearray()

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Take octets as they come; give the messages that are complete now.  WireError for what is none."""
        received = self._received
        received += data
        messages = []
        while len(received) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(received)
            if size > self._longest:
                raise WireError(f"a message of {size} octets is too long")
            end = _LENGTH.size + size
            if len(received) < end:
                break
            messages.append(_parsed(bytes(received[_LENGTH.size : end])))
            del received[:end]
        return messages


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError("a message is no object of JSON")
    return message


def policy_of(settings: ServerSettings) -> ServerPolicy:
    """Give the policy that a configuration asks for."""
    access = settings.access
    return ServerPolicy(
        access=AccessList(access.allow, access.deny, access.otherwise, access.denied),
        rate_limit=settings.rate_limit,
        require_nts=settings.require_nts,
        versions=settings.versions,
        interleaved=settings.interleaved,
    )


def pack_policy(settings: ServerSettings) -> dict[str, Any]:
    """Give the policy that a configuration asks for as plain data."""
    access, limit, nts = settings.access, settings.rate_limit, settings.require_nts
    return {
        "allow": [str(prefix) for prefix in access.allow],
        "deny": [str(prefix) for prefix in access.deny],
        "otherwise": access.otherwise.value,
        "denied": access.denied.value,
        "rate_limit": None if limit is None else asdict(limit),
        "require_nts": None if nts is None else nts.value,
        "versions": sorted(settings.versions),
        "interleaved": settings.interleaved,
    }


def unpack_policy(data: Mapping[str, Any]) -> ServerPolicy:
    """Give the policy of which this is the plain data."""
    limit, nts = data["rate_limit"], data["require_nts"]
    return ServerPolicy(
        access=AccessList(
            [ip_network(prefix) for prefix in data["allow"]],
            [ip_network(prefix) for prefix in data["deny"]],
            Action(data["otherwise"]),
            Action(data["denied"]),
        ),
        rate_limit=None if limit is None else RateLimit(**limit),
        require_nts=None if nts is None else Action(nts),
        versions=frozenset(data["versions"]),
        interleaved=data["interleaved"],
    )


def pack_time(time: TimeSnapshot) -> dict[str, Any]:
    """Give a snapshot as plain data, to the last bit."""
    return asdict(time) | {"reference_id": time.reference_id.hex()}


def unpack_time(data: Mapping[str, Any]) -> TimeSnapshot:
    """Give the snapshot of which this is the plain data."""
    fields = {**data, "leap": Leap(data["leap"]), "reference_id": ReferenceId(bytes.fromhex(data["reference_id"]))}
    return TimeSnapshot(**fields)


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker did since its start: its counters, and the clients that ask it most."""

    counters: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ServerCounters.__slots__, 0))
    clients: tuple[ClientSnapshot, ...] = ()

    def pack(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {"counters": dict(self.counters), "clients": [astuple(client) for client in self.clients]}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Report:
        """Read a worker's own words; WireError for anything but a report."""
        counters, clients = data.get("counters"), data.get("clients")
        if not isinstance(counters, dict) or set(counters) != set(ServerCounters.__slots__):
            raise WireError("a report has not the counters of a server")
        if not isinstance(clients, list) or len(clients) > REPORTED_CLIENTS:
            raise WireError("a report has no list of clients, or one that is too long")
        return cls({name: _count(value) for name, value in counters.items()}, tuple(map(_client, clients)))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise WireError(f"{value!r:.40} is not what a worker may have counted")
    return value


def _client(data: Any) -> ClientSnapshot:
    try:
        address, packets, error, last_seen, version, interleaved, nts = data
        plain = str(ip_address(address))
    except (TypeError, ValueError) as reason:
        raise WireError(f"a report has a client that is none: {reason}") from reason
    if type(interleaved) is not bool or type(nts) is not bool:
        raise WireError("a report has a client of which it does not say what it uses")
    return ClientSnapshot(
        address=plain,
        packets=_count(packets),
        error=_count(error),
        last_seen=Monotonic(_count(last_seen)),
        version=_count(version),
        interleaved=interleaved,
        nts=nts,
    )


def total(counters: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Give the sums of counters."""
    return {name: sum(each[name] for each in counters) for name in ServerCounters.__slots__}


def together(clients: Sequence[ClientSnapshot], number: int) -> list[ClientSnapshot]:
    """Give the clients that ask most, each once; what several workers know of one is put together."""
    known: dict[str, ClientSnapshot] = {}
    for client in clients:
        other = known.get(client.address)
        if other is not None:
            latest = max(client, other, key=lambda each: each.last_seen)
            client = replace(latest, packets=client.packets + other.packets, error=client.error + other.error)
        known[client.address] = client
    return sorted(known.values(), key=lambda client: -client.packets)[:number]
