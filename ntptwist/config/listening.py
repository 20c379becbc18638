"""
Reads where the daemon shows itself over HTTP: nowhere unless an address is given.

What is shown there is for this machine: names of servers, how well the clock is kept, whom it serves.  Another address
than loopback is taken, with a warning, for those who put a firewall or a proxy in front of it.
"""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address

from ntptwist.config import value
from ntptwist.config.table import HostPort, Table

WEB_PORT = 9976
METRICS_PORT = 9975
"""ntpd-rs' port."""


def read_listener(table: Table, key: str, default_port: int) -> HostPort | None:
    """Read the literal address under a key; None where there is no such key."""
    listen: HostPort | None = table.parsed(key, partial(value.listening_address, default_port=default_port), None, None)
    if listen is not None and not ip_address(listen.host.partition("%")[0]).is_loopback:
        table.warning(key, f"everybody who reaches {listen} can read it, without a password and unencrypted")
    return listen
