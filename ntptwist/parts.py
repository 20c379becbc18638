"""
The sources and servers of a configuration as services: made at the start, and exchanged while the daemon runs.

What an exchange leaves as it is isn't touched, so its measurements, sessions and counters live on.  What may fail comes
first: the new spawners are made before anything else, then ports change hands, then the clock is taken over if it had
not been needed before.  When one of these fails everything is put back, and from there on nothing can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater

from ntptwist.config.difference import Difference, Places
from ntptwist.config.model import Config, SourceEntry
from ntptwist.errors import DeviceError, NTPTwistError
from ntptwist.interfaces import ISourceDriver
from ntptwist.log import Logger, set_log_level
from ntptwist.observe.mode6 import ControlAnswers
from ntptwist.observe.recent import Recent
from ntptwist.serving import PortService, ServerService, make_server, served_time
from ntptwist.spawners.service import SpawnerService
from ntptwist.system import System

if TYPE_CHECKING:
    from ntptwist.keyserving import KeyServerService, KeyServing

Standing = tuple[PortService, MultiService]
"""A server, and the service that it is or was a child of."""


class Parts:
    """
    What runs of ``config``: its ``sources`` and ``servers`` stand in the order of the configuration.

    ``keys`` serves NTS, None where nobody does.  ``take_over`` takes the clock over when there is something to keep it
    by; it raises ClockError when that is refused, and does nothing the second time.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        daemon: MultiService,
        system: System,
        keys: KeyServing | None,
        reactor: Any,
        find_driver: Callable[[str], ISourceDriver],
        take_over: Callable[[], None],
    ) -> None:
        self.config = config
        self.keys = keys
        self._daemon = daemon
        self._system = system
        self._reactor = reactor
        self._find_driver = find_driver
        self._take_over = take_over
        self.sources = [self._make_source(entry) for entry in config.sources]
        self.key_servers = keys.servers if keys is not None else []
        self._control: ControlAnswers | None = None
        if config.observability.mode6:
            self._control = ControlAnswers(Recent(system.snapshot, reactor.seconds))
        self.servers = self._make_servers(config, (None,) * len(config.servers))

    def adopt(self) -> None:
        """Put the services into the tree: the servers last, so that they stop first."""
        for source in self.sources:
            source.setServiceParent(self._system)
        if self.keys is not None:
            self.keys.setServiceParent(self._daemon)
        for server in self.servers:
            server.setServiceParent(self._daemon)

    async def apply(self, difference: Difference) -> None:
        """
        Make the running daemon that of another configuration.

        NTPTwistError says why that is not possible; then everything is as it was.
        """
        config = difference.config
        sources = []
        for entry, place in zip(config.sources, difference.sources, strict=True):
            if place is None:
                await deferLater(self._reactor, 0)
            sources.append(self._make_source(entry) if place is None else self.sources[place])
        servers = self._make_servers(config, difference.servers)
        key_servers = self._make_key_servers(config, difference.key_servers)
        before, after = self._standing(self.servers, self.key_servers), self._standing(servers, key_servers)
        await self._exchange_servers(
            [each for each in before if each not in after],
            [each for each in after if each not in before],
            follows=bool(sources),
        )
        self.servers, self.key_servers = servers, key_servers
        await self._exchange_sources(sources, config)

    async def _exchange_servers(self, old: list[Standing], new: list[Standing], *, follows: bool) -> None:
        """Close the old ports, open the new ones and make sure of the clock, or put everything back."""
        for server, _ in old:
            await maybeDeferred(server.disownServiceParent)
        try:
            for server, _ in new:
                server.claim()
            if follows:
                self._take_over()
        except NTPTwistError:
            for server, _ in new:
                await maybeDeferred(server.stopService)
            self._put_back(old)
            raise
        for server, parent in new:
            server.setServiceParent(parent)

    def _put_back(self, servers: Iterable[Standing]) -> None:
        """Open ports that were closed just now; one that somebody has taken meanwhile is tried until it is free."""
        for server, parent in servers:
            try:
                server.claim()
            except DeviceError as error:
                self.log.error("{error}; it is tried again each second", error=error)
                server.retries = True
            server.setServiceParent(parent)

    async def _exchange_sources(self, sources: list[SpawnerService], config: Config) -> None:
        """Stop the sources that go and start those that come, under the policy that is made for all that stay."""
        controller = self._system.controller
        listed = config.policy.leap_table
        if listed is None or listed == self.config.policy.leap_table:  # one that was read meanwhile is newer
            listed = controller.leap_table
        controller.policy = replace(config.policy, leap_table=listed)
        gone = [source for source in self.sources if source not in sources]
        come = [source for source in sources if source not in self.sources]
        self.config, self.sources = config, sources
        for source in gone:
            await maybeDeferred(source.disownServiceParent)
            await deferLater(self._reactor, 0)  # with many sources servers and clients want their turns
        for source in come:
            source.setServiceParent(self._system)
            await deferLater(self._reactor, 0)
        self._system.arrange(sources)
        set_log_level(config.observability.log_level)

    def _standing(self, servers: Sequence[ServerService], key_servers: Sequence[KeyServerService]) -> list[Standing]:
        standing: list[Standing] = [(server, self._daemon) for server in servers]
        if self.keys is not None:
            standing += [(server, self.keys) for server in key_servers]
        return standing

    def _make_source(self, entry: SourceEntry) -> SpawnerService:
        driver = self._find_driver(entry.mode)
        spawner = driver.spawner(entry.configuration, self._system, self._reactor)
        return SpawnerService(spawner, self._system, self._reactor, entry.mode)

    def _make_servers(self, config: Config, places: Places) -> list[ServerService]:
        time = served_time(config, self._system)
        protection = self.keys.protection if self.keys is not None else None
        return [
            make_server(settings, time, self._system.clock, self._reactor, protection, self._control)
            if place is None
            else self.servers[place]
            for settings, place in zip(config.servers, places, strict=True)
        ]

    def _make_key_servers(self, config: Config, places: Places) -> list[KeyServerService]:
        if self.keys is None:
            return []
        return [
            self.keys.make_server(settings, self._reactor) if place is None else self.key_servers[place]
            for settings, place in zip(config.key_servers, places, strict=True)
        ]
