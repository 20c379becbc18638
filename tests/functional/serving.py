"""Our daemon as the functional tests run it to serve time: this machine's own, as a local reference of stratum 1."""

from __future__ import annotations

import os
from typing import Any

from tests.functional.daemon import Ntptwist
from tests.functional.peers.lab import LINK_NETWORK, Lab
from tests.functional.peers.nts import KEY_EXCHANGE_PORT, Credentials

TO_EVERYBODY = f'allowlist = {{ filter = ["127.0.0.0/8", "::1/128", "{LINK_NETWORK}"], action = "ignore" }}'

_SERVER = """
[synchronization]
local-stratum = 1

[[server]]
listen = "[::]:123"
"""
_KEY_EXCHANGE = """
[[nts-ke-server]]
listen = "[::]:{port}"
certificate-chain-path = "{certificate}"
private-key-path = "{key}"
"""


def request(nonce: bytes = b"") -> bytes:
    """Give a plain NTPv4 request; its transmit timestamp is random unless it is given."""
    return bytes([0x23]).ljust(40, b"\0") + (nonce or os.urandom(8))


def serve(lab: Lab, *lines: str, credentials: Credentials | None = None) -> Ntptwist:
    """
    Start a server on all addresses and wait until it listens.

    ``lines`` stand after those of its ``[[server]]``; with ``credentials`` there is a key exchange too.
    """
    daemon = Ntptwist(lab, [])
    text = "\n".join([daemon.file.read_text(), _SERVER, *lines, ""])
    if credentials is not None:
        text += _KEY_EXCHANGE.format(port=KEY_EXCHANGE_PORT, certificate=credentials.certificate, key=credentials.key)
    daemon.file.write_text(text)
    daemon.start()
    daemon.wait(lambda state: bool(state["servers"]), 15)
    return daemon


def counters(daemon: Ntptwist) -> dict[str, Any]:
    """Give the counters of the one server."""
    (server,) = daemon.status()["servers"]
    found: dict[str, Any] = server["counters"]
    return found
