"""
What is kept of NTS over a restart, in the state directory: sessions, and a time that has certainly passed.

A session's file holds keys and unused cookies.  It exists only while the daemon does not run: whoever takes it removes
it first, so no cookie can be used twice, whatever happens afterwards.  It belongs to the daemon's user and nobody else
may read it; a file that others can read is left alone and not used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ntptwist.kernel.files import read_file, replace_file
from ntptwist.log import Logger
from ntptwist.nts.aead import Algorithm, SessionKeys
from ntptwist.nts.cookies import CAPACITY, is_acceptable
from ntptwist.nts.exchange import KeyExchangeResult

FORMAT: Final = 1
TIME_FILE: Final = "last-known-time"


@dataclass(frozen=True, slots=True)
class SessionStore:
    """
    Keeps the session with one server.

    ``directory`` is None where nothing is kept.  ``address`` is the key exchange server as it was configured, ``trust``
    names the authorities under which it was accepted: with others a session is not taken.
    """

    directory: str | None
    address: str
    trust: str
    log = Logger()

    @property
    def path(self) -> Path | None:
        """Where the session is, if it is kept at all."""
        if self.directory is None:
            return None
        return Path(self.directory) / f"nts-{hashlib.sha256(self.address.encode()).hexdigest()[:16]}.json"

    def keep(self, session: KeyExchangeResult) -> None:
        """Keep a session that is not used any more; a directory that can't be written costs a warning."""
        path = self.path
        if path is None:
            return
        content = {
            "format": FORMAT,
            "address": self.address,
            "trust": self.trust,
            "algorithm": int(session.keys.algorithm),
            "c2s": session.keys.c2s.hex(),
            "s2c": session.keys.s2c.hex(),
            "cookies": [cookie.hex() for cookie in session.cookies],
            "server": session.server,
            "port": session.port,
        }
        try:
            replace_file(path, json.dumps(content).encode())
        except OSError as error:
            self._warn(f"can't keep the NTS session with {self.address}: {error.strerror}: {path}")

    def take(self) -> KeyExchangeResult | None:
        """Give the session that was kept, once; None when there is none that may be used."""
        path = self.path
        if path is None:
            return None
        try:
            content = read_file(path, forbidden=0o077)
            path.unlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"the NTS session with {self.address} is not used: {error.strerror}: {path}")
            return None
        try:
            return self._session(json.loads(content))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._warn(f"the NTS session with {self.address} is not used: damaged: {path}")
            return None

    def _session(self, content: Any) -> KeyExchangeResult | None:
        if content["format"] != FORMAT or content["address"] != self.address or content["trust"] != self.trust:
            return None
        algorithm = Algorithm(content["algorithm"])
        keys = SessionKeys(algorithm, bytes.fromhex(content["c2s"]), bytes.fromhex(content["s2c"]))
        cookies = tuple(bytes.fromhex(cookie) for cookie in content["cookies"][:CAPACITY])
        server, port = content["server"], content["port"]
        if not cookies or not all(map(is_acceptable, cookies)):
            raise ValueError("no cookies, or bad ones")
        if not isinstance(server, str) or not isinstance(port, int) or not 0 < port < 0x10000:
            raise ValueError("no server")
        return KeyExchangeResult(keys, cookies, server, port)

    def _warn(self, words: str) -> None:
        self.log.warn("{words}", words=words)


def write_time(directory: str, moment: datetime) -> None:
    """Note that a moment has passed; OSError when it can't be written."""
    replace_file(Path(directory) / TIME_FILE, f"{moment.astimezone(UTC).isoformat(timespec='seconds')}\n".encode())


def read_time(directory: str) -> datetime | None:
    """Give the latest moment that was noted; None when there is none, or only one that others could have written."""
    try:
        moment = datetime.fromisoformat(read_file(Path(directory) / TIME_FILE, forbidden=0o022).decode().strip())
    except (OSError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
