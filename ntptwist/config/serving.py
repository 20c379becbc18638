"""
Reads ``[[server]]``: ntpd-rs' keys, and ours for what it does not have.

Unlike ntpd-rs' a server without an allow list answers this machine only: an open server is wanted by few, and found by
those who abuse it within hours.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, get_args

from ntptwist.config import value
from ntptwist.config.model import AccessSettings, PortTaken, ServerSettings
from ntptwist.config.table import HostPort, Table
from ntptwist.protocol.access import Action, Prefix
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.timestamp import NANOSECONDS
from ntptwist.wire.header import VERSIONS

NTP_PORT = 123
LARGEST_CACHE = 1 << 20
LARGEST_WORKERS = 64

_REFUSALS = ("ignore", "deny")
_TUNING = (
    "rate-limiting-burst",
    "rate-limiting-action",
    "rate-limiting-ipv4-prefix",
    "rate-limiting-ipv6-prefix",
)
_DEFAULT = ServerSettings(HostPort("127.0.0.1", NTP_PORT))
_MILLISECOND = NANOSECONDS // 1000


def read_servers(tables: Iterable[Table]) -> tuple[ServerSettings, ...]:
    """Read all ``[[server]]`` tables; the kernel refuses two that share an address, so that is a problem."""
    servers: list[ServerSettings] = []
    for table in tables:
        server = _server(table)
        same = next((each for each in servers if overlap(each.listen, server.listen)), None)
        if same is not None and table.sound:
            table.problem("listen", f"{server.listen} shares addresses with {same.listen} ({same.location})")
        servers.append(server)
    return tuple(servers)


def overlap(one: HostPort, other: HostPort) -> bool:
    """Tell whether two addresses can't both be had: ``::`` has those of IPv4 too."""
    hosts = {one.host, other.host}
    return one.port == other.port and (
        len(hosts) == 1 or "::" in hosts or ("0.0.0.0" in hosts and ":" not in one.host + other.host)  # noqa: S104
    )


def _server(table: Table) -> ServerSettings:
    listen = table.parsed("listen", lambda given: value.listening_address(given, NTP_PORT), ..., _DEFAULT.listen)
    settings = ServerSettings(
        listen=listen,
        access=_access(table),
        rate_limit=_rate_limit(table),
        require_nts=table.parsed("require-nts", _require_nts, _DEFAULT.require_nts, None),
        versions=_versions(table),
        interleaved=table.boolean("interleaved", _DEFAULT.interleaved),
        workers=table.integer("workers", _DEFAULT.workers, minimum=1, maximum=LARGEST_WORKERS),
        on_port_taken=table.choice("on-port-taken", get_args(PortTaken), _DEFAULT.on_port_taken),
        location=table.location,
    )
    if "allowlist" not in table and not ip_address(listen.host.partition("%")[0]).is_loopback:
        table.warning(None, "without an allowlist only this machine is answered (ntpd-rs would answer everybody)")
    return settings


def _access(table: Table) -> AccessSettings:
    default = _DEFAULT.access
    allow, otherwise = _list(table, "allowlist", default.allow, default.otherwise)
    deny, denied = _list(table, "denylist", default.deny, default.denied)
    return AccessSettings(allow, deny, otherwise, denied)


def _list(table: Table, key: str, prefixes: tuple[Prefix, ...], action: Action) -> tuple[tuple[Prefix, ...], Action]:
    """Read one list: ``{ filter = [...], action = "ignore" | "deny" }``."""
    inner = table.table(key)
    if not table.holds_table(key):
        return prefixes, action
    nothing: tuple[Prefix, ...] = ()
    given = inner.parsed("filter", _prefixes, ..., nothing)
    return given, Action(inner.choice("action", _REFUSALS, action.value))


def _prefixes(given: Any) -> tuple[Prefix, ...]:
    return tuple(map(value.prefix, value.strings(given)))


def _rate_limit(table: Table) -> RateLimit | None:
    """Read what limits the requests of a client; it is on where ntpd-rs' two keys are both greater than 0."""
    capacity = table.integer("rate-limiting-cache-size", 0, minimum=0, maximum=LARGEST_CACHE)
    cutoff = table.integer("rate-limiting-cutoff-ms", 0, minimum=0, maximum=86_400_000)
    if not capacity or not cutoff:
        table.without_effect(_TUNING, "rate-limiting-cache-size or -cutoff-ms is not set")
        return None
    default = RateLimit(cutoff * _MILLISECOND)
    return RateLimit(
        interval=default.interval,
        burst=table.integer("rate-limiting-burst", default.burst, minimum=1, maximum=1000),
        capacity=capacity,
        ipv4_prefix=table.integer("rate-limiting-ipv4-prefix", default.ipv4_prefix, minimum=1, maximum=32),
        ipv6_prefix=table.integer("rate-limiting-ipv6-prefix", default.ipv6_prefix, minimum=1, maximum=128),
        kiss=table.choice("rate-limiting-action", ("ignore", "kiss"), "ignore") == "kiss",
    )


def _require_nts(given: Any) -> Action | None:
    """Accept true (ignore), false, or what becomes of requests without NTS."""
    if isinstance(given, bool):
        return Action.IGNORE if given else None
    if given not in _REFUSALS:
        raise value.refused("true, false, 'ignore' or 'deny'", given)
    return Action(given)


def _versions(table: Table) -> frozenset[int]:
    given = table.parsed("accept-ntp-versions", _version_list, _DEFAULT.versions, _DEFAULT.versions)
    known = given.intersection(VERSIONS)
    if given and not known:
        table.problem("accept-ntp-versions", "NTPv5 is not built yet, and no other version is left")
    elif known != given:
        table.warning("accept-ntp-versions", "NTPv5 is not built yet, requests of version 5 are ignored")
    return known


def _version_list(given: Any) -> frozenset[int]:
    """Accept some of 3, 4 and 5."""
    whole = isinstance(given, list) and all(type(each) is int and each in (3, 4, 5) for each in given)
    if not whole or not given:
        raise value.refused("a list of some of 3, 4, 5", given)
    return frozenset(given)
