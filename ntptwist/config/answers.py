"""
Reads where the tools of other daemons are answered: all of it off unless it is configured, all of it on this machine.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from ntptwist.config import value
from ntptwist.config.value import HostPort, shown

CHRONYC_PORT = 323
LONGEST_SOCKET_PATH = 107
"""Octets; unix(7)."""
ALL_PERMISSIONS = 0o777


def chronyc_listen(given: Any) -> HostPort | str:
    """Accept a loopback address, with port 323 unless it gives another, or the path of a UNIX socket."""
    if isinstance(given, str) and given.startswith("/"):
        return socket_path(given)
    listen = value.address(given, CHRONYC_PORT)
    try:
        host = ip_address(listen.host)
    except ValueError:
        host = None
    if host is None or not host.is_loopback:
        raise ValueError(
            "expected 127.0.0.1:323, [::1]:323 or the path of a socket (only this machine is answered), not"
            f" {shown(given)}"
        )
    return HostPort(str(host), listen.port)


def socket_path(given: Any) -> str:
    """Accept the absolute path of a socket."""
    path = value.absolute_path(given)
    if len(path.encode()) > LONGEST_SOCKET_PATH:
        raise ValueError(f"the path of a socket has at most {LONGEST_SOCKET_PATH} octets: {shown(given)}")
    return path
