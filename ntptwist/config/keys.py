"""
Reads ``[keyset]`` and ``[[nts-ke-server]]``: ntpd-rs' keys, and ours for what it does not have.

The files of a certificate are read with the configuration, so that checking one finds what would keep it from use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from ntptwist.config import value
from ntptwist.config.model import KeyServerSettings, KeySetSettings, PortTaken
from ntptwist.config.serving import overlap
from ntptwist.config.table import HostPort, Table

Parsed = TypeVar("Parsed")

KEY_EXCHANGE_PORT = 4460
MOST_STALE_KEYS = 1000
"""The file then is as long as one may be that we read."""

LONGEST_INTERVAL = 366 * 86_400
LONGEST_TIMEOUT_MS = 60_000
MOST_CONNECTIONS = 1 << 16

_DEFAULT_KEYSET = KeySetSettings()
_DEFAULT = KeyServerSettings(HostPort("127.0.0.1", KEY_EXCHANGE_PORT), "/", "/")
_VERSIONS = frozenset({4})
_ROTATION = ("stale-key-count", "key-rotation-interval")


def read_keyset(table: Table) -> KeySetSettings:
    """Read ``[keyset]``."""
    default = _DEFAULT_KEYSET
    settings = KeySetSettings(
        interval=table.integer("key-rotation-interval", default.interval, minimum=60, maximum=LONGEST_INTERVAL),
        stale=table.integer("stale-key-count", default.stale, minimum=0, maximum=MOST_STALE_KEYS),
        path=table.path("key-storage-path", default.path),
        follow=table.boolean("follow", default.follow),
    )
    if settings.follow:
        table.without_effect(_ROTATION, "with follow the keys are rotated by whoever writes the file")
    return settings


def read_key_servers(tables: Iterable[Table], *, serves_time: bool) -> tuple[KeyServerSettings, ...]:
    """Read all ``[[nts-ke-server]]`` tables; two that share an address are a problem."""
    servers: list[KeyServerSettings] = []
    for table in tables:
        server = _server(table)
        same = next((each for each in servers if overlap(each.listen, server.listen)), None)
        if same is not None and table.sound:
            table.problem("listen", f"{server.listen} shares addresses with {same.listen} ({same.location})")
        if not serves_time and server.ntp_server is None:
            table.warning(
                "ntp-server", "is missing, and no [[server]] is configured: clients are sent here for nothing"
            )
        servers.append(server)
    return tuple(servers)


def _server(table: Table) -> KeyServerSettings:
    default = _DEFAULT
    settings = KeyServerSettings(
        listen=table.parsed(
            "listen", lambda given: value.listening_address(given, KEY_EXCHANGE_PORT), ..., default.listen
        ),
        chain=table.path("certificate-chain-path"),
        key=table.path("private-key-path"),
        timeout=table.integer("key-exchange-timeout-ms", 1000, minimum=1, maximum=LONGEST_TIMEOUT_MS) / 1000,
        connections=table.integer("concurrent-connections", default.connections, minimum=1, maximum=MOST_CONNECTIONS),
        ntp_server=table.parsed("ntp-server", _host, default.ntp_server, None),
        ntp_port=table.integer("ntp-port", default.ntp_port, minimum=1, maximum=65535),
        on_port_taken=table.choice("on-port-taken", get_args(PortTaken), default.on_port_taken),
        location=table.location,
    )
    if 4 not in table.parsed("accept-ntp-versions", _versions, _VERSIONS, _VERSIONS):
        table.problem("accept-ntp-versions", "NTPv5 is not built yet, and no other version is left")
    if table.strings("accepted-pool-authentication-tokens", ()):
        table.problem("accepted-pool-authentication-tokens", "being a server of an NTS pool is not built yet")
    table.without_effect(["longlived-connections"], "only servers of an NTS pool have such connections")
    if table.sound:
        _check_certificate(table, settings)
    return settings


def _host(given: Any) -> str:
    """Accept a host in the form that stands in a record (RFC 8915, section 4.1.7)."""
    host = value.address(given, KEY_EXCHANGE_PORT).host
    if host != given or not host.isascii():
        raise value.refused("a host name in ASCII or an address, without a port", given)
    return host


def _versions(given: Any) -> frozenset[int]:
    """Accept a list of 4 and 5: NTS needs one of them."""
    if not isinstance(given, list) or not given or not all(type(each) is int and each in (4, 5) for each in given):
        raise value.refused("a list of some of 4, 5", given)
    return frozenset(given)


def _check_certificate(table: Table, settings: KeyServerSettings) -> None:
    """Find what would keep a certificate from being used."""
    from ntptwist.nts.certificate import ServerIdentity, parse_chain, parse_key

    chain = _contents(table, "certificate-chain-path", settings.chain, parse_chain)
    key = _contents(table, "private-key-path", settings.key, parse_key)
    if chain is None or key is None:
        return
    try:
        ServerIdentity(chain, key)
    except ValueError as error:
        table.problem("private-key-path", f"{error}: {settings.key}")
    end = chain[0].not_valid_after_utc
    if end < datetime.now(UTC):
        table.warning(
            "certificate-chain-path", f"the certificate has expired on {end:%Y-%m-%d %H:%M} UTC: {settings.chain}"
        )


def _contents(table: Table, key: str, path: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
    """Give what a file holds; None after a problem."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
        parsed = parse(content)
    except OSError as error:
        table.problem(key, f"can't be read: {error.strerror}: {path}")
        return None
    except ValueError as error:
        table.problem(key, f"{error}: {path}")
        return None
    if key == "private-key-path" and mode & stat.S_IROTH:
        table.warning(key, f"everybody on this machine may read it: {path}")
    return parsed
