"""
What a configuration says of NTS on the serving side: the master keys, and the key exchange servers.

One set of keys serves all of a process.  What keeps it is started before the servers, so they never make a cookie with
keys that are replaced a moment later.  This module is loaded only where there is a key set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService

from ntptwist.config.model import Config, KeyServerSettings, KeySetSettings
from ntptwist.interfaces import IClock
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.ntske.certificate import CertificateFiles, RenewedCertificate
from ntptwist.ntske.server import ExchangeLimits, KeyExchangeServer, Outcome
from ntptwist.server.keys import KeyFile, KeyFollower, KeyRotation
from ntptwist.serving import PortService
from ntptwist.snapshot import KeyServerSnapshot
from ntptwist.timestamp import NANOSECONDS

KEY_FILE = "nts-keys"


class KeyServerService(PortService):
    """Keeps a key exchange server on its address."""

    server: KeyExchangeServer
    serves = "NTS keys"

    def __init__(
        self, server: KeyExchangeServer, listen: str, reactor: Any, certificate: RenewedCertificate, *, retries: bool
    ) -> None:
        super().__init__(server, listen, reactor, retries=retries)
        self._certificate = certificate

    def renew(self) -> bool:
        """Look at the files of the certificate now; tell whether another one is in use from now on."""
        return self._certificate.look()

    def observe(self) -> KeyServerSnapshot:
        """Give what there is to show."""
        outcomes = {outcome.name.lower(): self.server.outcomes[outcome] for outcome in Outcome}
        return KeyServerSnapshot(self.listen, self.trouble, outcomes)


class KeyServing(MultiService):
    """
    The keys of a configuration that has a key set, what keeps them, and the servers that give them to clients.

    ``protection`` is for the servers of time.
    """

    def __init__(self, config: Config, clock: IClock, randbytes: Callable[[int], bytes], reactor: Any) -> None:
        super().__init__()
        self.keys = KeySet.fresh(randbytes)
        self.protection = ServerProtection(self.keys, randbytes)
        _make_keeper(config, self.keys, clock, randbytes, reactor).setServiceParent(self)
        for settings in config.key_servers:
            self.make_server(settings, reactor).setServiceParent(self)

    def make_server(self, settings: KeyServerSettings, reactor: Any) -> KeyServerService:
        """Make a server that gives these keys to clients; it is to become a child of this."""
        return _make_key_server(settings, self.keys, reactor)

    @property
    def servers(self) -> list[KeyServerService]:
        """The servers that there are."""
        return [child for child in self if isinstance(child, KeyServerService)]

    def observe(self) -> list[KeyServerSnapshot]:
        """Give what there is to show of the key exchange servers."""
        return [server.observe() for server in self.servers]


def _make_keeper(
    config: Config, keys: KeySet, clock: IClock, randbytes: Callable[[int], bytes], reactor: Any
) -> KeyRotation | KeyFollower:
    """Make what keeps the keys of a set, as ``[keyset]`` says."""
    settings = config.keyset or KeySetSettings()
    path = settings.path
    if path is None and config.state_directory is not None:
        path = str(Path(config.state_directory) / KEY_FILE)
    file = KeyFile(Path(path)) if path is not None else None
    if settings.follow and file is not None:
        return KeyFollower(keys, reactor, file)
    return KeyRotation(
        keys, settings.interval, settings.stale, lambda: clock.read().local // NANOSECONDS, randbytes, reactor, file
    )


def _make_key_server(settings: KeyServerSettings, keys: KeySet, reactor: Any) -> KeyServerService:
    certificate = RenewedCertificate(CertificateFiles(settings.chain, settings.key), reactor.seconds)
    listen = settings.listen
    server = KeyExchangeServer(
        listen.host,
        listen.port,
        certificate.context,
        keys,
        reactor,
        settings.ntp_server,
        settings.ntp_port,
        ExchangeLimits(settings.timeout, settings.connections),
    )
    return KeyServerService(server, str(listen), reactor, certificate, retries=settings.on_port_taken == "retry")
