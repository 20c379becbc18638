"""
What an operator may change while the daemon runs: the whole configuration, or one source.

The file has the last word: a reload makes the daemon what the file and its drop-ins say.  So a source that was added by
hand goes with the next reload, one that was removed by hand comes back, and both answers say so.  Taking a source
offline is no matter of configuration; it lasts until the source goes or is taken online.

Wishes are carried out one after the other.  The file is read in a thread: with a hundred sources that takes longer than
a server's clients should wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel
from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.difference import compare, describe_source
from ntptwist.config.model import Config, SourceEntry
from ntptwist.control.report import Report
from ntptwist.errors import ConfigError, NTPTwistError, RequestError
from ntptwist.interfaces import IControl, IPoolSpawner
from ntptwist.log import Logger
from ntptwist.net.notify import Notifier
from ntptwist.parts import Parts
from ntptwist.spawners.service import SpawnerService
from ntptwist.system import System

NO_SOURCE = "no source is left: nobody tells the time, and the clock runs on at its latest frequency"
ADDED = "it stays until the next reload or restart, unless it is written into a file"
REMOVED = "what the files name comes back with the next reload or restart"

Read = Callable[[], Config]
ReadSource = Callable[[dict[str, Any], PollLimits], SourceEntry]


@implementer(IControl)
class Control:
    """
    Carries out what operators want of ``parts``.

    ``read`` reads the configuration anew; None when it came from no file.  ``read_source`` reads a ``[[source]]``.
    ``notifier`` tells a service manager of reloads.
    """

    log = Logger()

    def __init__(
        self,
        parts: Parts,
        system: System,
        reactor: Any,
        read: Read | None,
        read_source: ReadSource,
        notifier: Notifier | None = None,
    ) -> None:
        self._parts = parts
        self._system = system
        self._reactor = reactor
        self._read = read
        self._read_source = read_source
        self._notifier = notifier
        self._lock = DeferredLock()

    def reload(self) -> Deferred[Report]:
        """Make the daemon what the files say now."""
        return self._in_turn(self._announced_reload)

    def add(self, values: dict[str, Any]) -> Deferred[Report]:
        """Add the source of a ``[[source]]`` table."""
        return self._in_turn(lambda: self._add(values))

    def remove(self, names: Sequence[str]) -> Deferred[Report]:
        """Remove sources."""
        return self._in_turn(lambda: self._remove(names))

    def set_offline(self, names: Sequence[str], *, offline: bool) -> Deferred[Report]:
        """Take sources offline or online."""
        return self._in_turn(lambda: self._set_offline(names, offline=offline))

    def burst(self, names: Sequence[str]) -> Deferred[Report]:
        """Ask sources quickly a few times."""
        return self._in_turn(lambda: self._burst(names))

    def correct_now(self) -> Deferred[Report]:
        """Step the clock by all that is left to correct."""
        return self._in_turn(self._correct_now)

    def _in_turn(self, act: Callable[[], Awaitable[Report]]) -> Deferred[Report]:
        """Carry a wish out when those before it are done; whoever asked may leave meanwhile."""

        async def acted() -> Report:
            try:
                return await self._told(await act())
            except ConfigError as error:
                problems = error.problems
            except NTPTwistError as error:
                problems = (str(error),)
            return await self._told(Report(problems=problems))

        answer: Deferred[Report] = Deferred()  # cancelling it must not stop the work half-way
        self._lock.run(lambda: Deferred.fromCoroutine(acted())).chainDeferred(answer)
        return answer

    async def _announced_reload(self) -> Report:
        """Reload, and tell the service manager when that begins and ends."""
        if self._notifier is None:
            return await self._reload()
        self._notifier.reloading()
        try:
            return await self._reload()
        finally:
            self._notifier.reloaded()

    async def _reload(self) -> Report:
        if self._read is None:
            raise RequestError("the configuration came from no file: there is nothing to read anew")
        config = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read)
        report = await self._go_to(config)
        changes = report.changes + self._look_at_certificates()
        return replace(report, changes=changes, warnings=config.warnings)

    def _look_at_certificates(self) -> tuple[str, ...]:
        return tuple(
            f"key exchange server {server.listen}: another certificate"
            for server in self._parts.key_servers
            if server.renew()
        )

    async def _add(self, values: dict[str, Any]) -> Report:
        present = self._parts.config
        entry = self._read_source(values, present.source_defaults)
        if entry in present.sources:
            raise RequestError(f"{describe_source(entry)} is there already")
        report = await self._go_to(present.with_sources([*present.sources, entry]))
        return replace(report, warnings=(*report.warnings, ADDED))

    async def _remove(self, names: Sequence[str]) -> Report:
        if not names:
            raise RequestError("say which source is to be removed")
        leaving = self._find(names)
        present = self._parts.config
        staying = [
            entry for entry, source in zip(present.sources, self._parts.sources, strict=True) if source not in leaving
        ]
        report = await self._go_to(present.with_sources(staying))
        return replace(report, warnings=(*report.warnings, REMOVED))

    async def _go_to(self, config: Config) -> Report:
        if not self._system.running:
            raise RequestError("the daemon is not running")
        present = self._parts.config
        difference = compare(present, config)
        await self._parts.apply(difference)
        policy = difference.config.policy
        warnings = []
        if present.sources and not config.sources:
            warnings.append(NO_SOURCE)
        elif config.sources and policy.voting_sources < policy.agreeing:
            warnings.append(f"{policy.agreeing} sources must agree but only {policy.voting_sources} can vote")
        return Report(difference.changes, difference.later, tuple(warnings))

    async def _set_offline(self, names: Sequence[str], *, offline: bool) -> Report:
        changes = []
        for source in self._find(names):
            if source.offline == offline:
                continue
            if offline:
                await maybeDeferred(source.go_offline)
            else:
                source.go_online()
            await deferLater(self._reactor, 0)
            changes.append(f"{self._name(source)} is {'offline' if offline else 'online again'}")
        return Report(changes=tuple(changes))

    async def _burst(self, names: Sequence[str]) -> Report:
        changes, warnings = [], []
        for source in self._find(names, whole=False):
            await deferLater(self._reactor, 0)
            name = self._name(source)
            if self._system.burst(source.sources):
                changes.append(f"{name} is asked quickly a few times")
            elif names:
                warnings.append(f"{name} {'is offline' if source.offline else 'can not be asked now'}")
        return Report(changes=tuple(changes), warnings=tuple(warnings))

    async def _correct_now(self) -> Report:
        before = self._system.snapshot()
        if not self._system.clock.steerable:
            raise RequestError("the clock is only observed: it is not stepped")
        if before.state != "synchronized":
            raise RequestError(f"the clock is not stepped: {before.state}")
        self._system.correct_now()
        steps = self._system.snapshot().steps - before.steps
        return Report(changes=("the clock was stepped",) if steps else ())

    async def _told(self, report: Report) -> Report:
        for level, lines in (
            (LogLevel.info, report.changes),
            (LogLevel.warn, (*report.later, *report.warnings)),
            (LogLevel.error, (*report.problems, "nothing was changed") if report.problems else ()),
        ):
            for line in lines:
                self.log.emit(level, "{line}", line=line)
                await deferLater(self._reactor, 0)
        return report

    def _name(self, source: SpawnerService) -> str:
        return describe_source(self._parts.config.sources[self._parts.sources.index(source)])

    def _find(self, names: Sequence[str], *, whole: bool = True) -> list[SpawnerService]:
        """
        Give the sources of some names, or all where there is none.

        With ``whole`` the name of a member does not stand for its pool.
        """
        found: list[SpawnerService] = [] if names else list(self._parts.sources)
        for name in names:
            configured = [source for source in self._parts.sources if name in _names(source)]
            members = [source for source in self._parts.sources if name in _names_of_sources(source)]
            pool = next((source for source in members if IPoolSpawner.providedBy(source.spawner)), None)
            if not configured and whole and pool is not None:
                raise RequestError(f"{name} is a member of {self._name(pool)}: name that")
            if not configured and not members:
                raise RequestError(f"no source is called {name!r}")
            found += [source for source in configured or members if source not in found]
        return found


def _names(source: SpawnerService) -> set[str]:
    """Give the names of a source as it was configured: with and without its port."""
    configured = source.spawner.address_description
    host, colon, _ = configured.rpartition(":")
    return {configured, host.strip("[]")} if colon else {configured}


def _names_of_sources(source: SpawnerService) -> set[str]:
    """Give the numbers and addresses of what came of it."""
    names = set()
    for each in source.sources:
        host, colon, _ = each.observe().address.rpartition(":")
        names |= {str(each.id), each.observe().address, *([host.strip("[]")] if colon else [])}
    return names
