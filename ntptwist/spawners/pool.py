"""
``mode = "pool"``: as many servers of one name as are wanted.

A lost member is replaced at once by another address of the name; which one, and when the name is looked up for it, is
``spawners.candidates``' business.  A member also goes, when the SpawnerService asks for a review:

- when it was of no use for an hour while others told the time.  A falseticker does no harm while it is outvoted, but
  its vote is missing the day another one fails.
- every two days the one that has been used longest, once a newcomer has answered: a server that has left the pool is
  so rid of us within ``count`` times that.  Where the name has no other addresses nothing changes.

When every member is lost and no other address is left, the fault is rather on our side: those that failed are asked
again, as often as the back-off allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.table import HostPort, Table
from ntptwist.errors import ResolutionError
from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import IPoolSpawner, ISource, ISystem
from ntptwist.log import Logger
from ntptwist.net.resolver import first_reachable, resolve
from ntptwist.protocol.client import AssociationConfiguration
from ntptwist.sources.ntp import NTPSource, ServerAddress
from ntptwist.spawners.candidates import Candidates, Fault, canonical
from ntptwist.spawners.standard import NTP_PORT

DEFAULT_COUNT = 4
LARGEST_COUNT = 16
"""More is no better for the clock, and the servers are a gift."""

USELESS_FOR = 3600.0
"""Seconds that a member may be of no use: congestion that makes a good server look wrong is over by then."""

REFRESH_INTERVAL = 172_800.0
"""Seconds between two changes for the sake of change: with four members each stays about a week."""

NEWS_FOR = 3600.0
"""Seconds for which it is shown which member was dropped last."""


@dataclass(frozen=True, slots=True)
class PoolConfiguration:
    """What one ``[[source]]`` with ``mode = "pool"`` says; ``ignored`` are literal addresses in their one form."""

    address: HostPort
    limits: PollLimits
    count: int = DEFAULT_COUNT
    ignored: frozenset[str] = frozenset()
    version: int = 4
    options: SelectionOptions = SelectionOptions()

    @property
    def voting_sources(self) -> int:
        """The votes that the members will have."""
        return self.count


@dataclass(slots=True)
class Member:
    """A source of the pool; ``useless_since`` is when it was first seen to be so, without a break since."""

    source: NTPSource
    address: str
    useless_since: float | None = None


@implementer(IPoolSpawner)
class PoolSpawner:
    """Keeps the wanted number of sources for one name alive."""

    description = "pool"
    log = Logger()

    def __init__(self, configuration: PoolConfiguration, system: ISystem, reactor: Any) -> None:
        self.id = system.new_spawner_id()
        self._configuration = configuration
        self._system = system
        self._reactor = reactor
        self._candidates = Candidates(configuration.ignored)
        self._members: dict[SourceId, Member] = {}  # the one that has been used longest first
        self._refreshed: float | None = None
        self._wants_newcomer = False
        self._dropped: tuple[str, float] | None = None

    @staticmethod
    def configure(table: Table) -> PoolConfiguration:
        """Read the table of one source."""
        ignored = table.strings("ignore", ())
        for address in ignored:
            if canonical(address) is None:
                table.problem("ignore", f"{address!r} is not the address of a host")
        return PoolConfiguration(
            table.address("address", default_port=NTP_PORT),
            table.poll_limits(),
            table.integer("count", DEFAULT_COUNT, minimum=1, maximum=LARGEST_COUNT),
            frozenset(filter(None, map(canonical, ignored))),
            table.ntp_version(),
            table.selection_options(),
        )

    @property
    def address_description(self) -> str:
        """Give the address as it was configured."""
        return str(self._configuration.address)

    # what the spawner service calls

    def is_complete(self) -> bool:
        """Tell whether there are as many members as wanted."""
        return len(self._members) >= self._configuration.count and not self._wants_newcomer

    def try_spawn(self) -> Deferred[list[ISource]]:
        """Make a source for every member that is missing, as far as there are addresses."""
        return Deferred.fromCoroutine(self._spawn())

    async def _spawn(self) -> list[ISource]:
        trouble: ResolutionError | None = None
        if self._candidates.may_look_up(self._now()):
            try:
                answer = await resolve(self._reactor, self._configuration.address.host)
            except ResolutionError as error:
                trouble = error
            else:
                self._candidates.learn(answer, self._now())
        missing = self._configuration.count + self._wants_newcomer - len(self._members)
        self._wants_newcomer = False
        refusals: list[str] = []
        chosen = self._choose(missing, refusals)
        if not chosen and len(self._members) < self._configuration.count:
            raise trouble or ResolutionError(self._dearth(refusals))
        return [self._join(address) for address in chosen]

    def source_registered(self, source: ISource) -> None:  # noqa: ARG002 - it is in the books already
        """Note when the pool is full."""
        if len(self._members) >= self._configuration.count:
            self._candidates.settle()
            if self._refreshed is None:
                self._refreshed = self._now()

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:
        """Note the end of a member, and hold its address back if it was the address' fault."""
        member = self._members.pop(source, None)
        if member is None or end.reason is EndReason.STOPPED:
            return
        fault = Fault.DENIED if end.reason is EndReason.DEMOBILIZED else Fault.FAILED
        self._candidates.hold(member.address, fault, self._now())
        self._dropped = (f"{member.address} ({end.explanation})", self._now())

    def review(self) -> list[ISource]:
        """Let go of the members that have been of no use for long, and now and then of the one used longest."""
        now = self._now()
        useless = self._system.rejected()
        leaving: list[ISource] = []
        for member in list(self._members.values()):
            reason = useless.get(member.source.id)
            if reason is None:
                member.useless_since = None
            elif member.useless_since is None:
                member.useless_since = now
            elif now - member.useless_since >= USELESS_FOR:
                leaving.append(self._reject(member, reason))
        if len(self._members) > self._configuration.count:
            longest, *_, newest = self._members.values()
            if newest.source.id in useless and newest.source.observe().received:
                leaving.append(self._reject(newest, useless[newest.source.id]))
            elif newest.source.id not in useless:
                self._candidates.drop(longest.address)
                leaving.append(self._dismiss(longest, "it has been used long enough"))
        elif self._refreshed is not None and now - self._refreshed >= REFRESH_INTERVAL:
            self._refreshed = now
            self._wants_newcomer = True
        return leaving

    def condition(self) -> str | None:
        """Say how many members there are, unless it is all of them and none was dropped within the hour."""
        there, wanted = len(self._members), self._configuration.count
        fresh = self._dropped is not None and self._now() - self._dropped[1] < NEWS_FOR
        if there >= wanted and not fresh:
            return None
        dropped = "" if self._dropped is None else f"; last dropped: {self._dropped[0]}"
        return f"{min(there, wanted)} of {wanted} members{dropped}"

    # books

    def _now(self) -> float:
        now: float = self._reactor.seconds()
        return now

    def _choose(self, missing: int, refusals: list[str]) -> list[str]:
        """Give at most so many addresses to which this host has a route, and note which have none."""
        taken = self._system.taken()
        chosen = self._with_route(self._candidates.free(self._now(), taken), missing, refusals)
        if chosen or self._members:
            return chosen
        return self._with_route(self._candidates.last_resort(taken), missing, refusals)

    def _with_route(self, addresses: Iterable[str], most: int, refusals: list[str]) -> list[str]:
        found: list[str] = []
        for address in addresses:
            if len(found) >= most:
                break
            try:
                found.append(first_reachable(self._reactor, [address], self._configuration.address.port))
            except ResolutionError:
                refusals.append(address)
        return found

    def _dearth(self, refusals: list[str]) -> str:
        """Say why there are no more members."""
        host = self._configuration.address.host
        unrouted = f"; no route to {', '.join(refusals[:3])}" if refusals else ""
        return f"{host!r} has no further address that can be used: {self._candidates.summary(self._now())}{unrouted}"

    def _join(self, address: str) -> NTPSource:
        configured = self._configuration
        server = ServerAddress(str(configured.address), address, configured.address.port)
        association = AssociationConfiguration(version=configured.version, limits=configured.limits)
        source = NTPSource(
            server, association, self._system, self.id, self._reactor, "pool", options=configured.options
        )
        self._members[source.id] = Member(source, address)
        return source

    def _reject(self, member: Member, reason: str) -> ISource:
        self._candidates.hold(member.address, Fault.REJECTED, self._now())
        return self._dismiss(member, reason)

    def _dismiss(self, member: Member, reason: str) -> ISource:
        del self._members[member.source.id]
        self._dropped = (f"{member.address} ({reason})", self._now())
        self.log.info("{pool}: {dropped} goes", pool=self.address_description, dropped=self._dropped[0])
        return member.source
