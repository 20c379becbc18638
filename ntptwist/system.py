"""
The system: carries the measurements of all sources to the algorithm and its decisions to the clock, the sources and
the log.

The algorithm (``algorithm.controller``) decides and steers; this shell keeps its timer, tells every source of a step,
tells the kernel how good the clock is, and holds the snapshot that servers and observers pull.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import LogLevel
from zope.interface import implementer

from ntptwist.algorithm.book import ends_month
from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.algorithm.update import ControlUpdate, Decision, DecisionKind
from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap, ReferenceId, SourceEnd, SourceId, SpawnerId
from ntptwist.intake import Intake
from ntptwist.interfaces import (
    IClock,
    IClockController,
    IPolledSource,
    ISource,
    ISourceController,
    ISpawnerService,
    ISystem,
)
from ntptwist.journal import Journal
from ntptwist.log import Logger
from ntptwist.measurement import Measurement
from ntptwist.snapshot import MAXIMUM_DISPERSION, SourceEstimate, SourceSnapshot, SystemSnapshot, TimeSnapshot

ADDRESS_INTERVAL = 60.0
"""Seconds between two looks at this host's own addresses."""

LEVELS = {
    DecisionKind.PANIC: LogLevel.critical,
    DecisionKind.STEP: LogLevel.warn,
    DecisionKind.FOREIGN_STEP: LogLevel.warn,
    DecisionKind.SUSPENDED: LogLevel.warn,
    DecisionKind.UNSYNCHRONIZED: LogLevel.warn,
}
"""The level of a decision in the log, where it is not info."""

ACCUSATIONS = {
    word: word
    for word in ("implausible", "silent", "quiet", "unsynchronized", "stratum", "loop", "distance", "falseticker")
} | {"drifting": "falseticker"}
"""Standings that are news even of a source that has never been used, and what they amount to."""

_LEAP_SECONDS = (Leap.INSERT, Leap.DELETE)


@implementer(ISourceController)
class SourceController:
    """A source's own end of the algorithm, where what it reports is checked."""

    __slots__ = ("_source", "_system", "intake")

    def __init__(self, system: System, source: SourceId) -> None:
        self._system = system
        self._source = source
        self.intake = Intake()

    def measured(self, measurement: Measurement) -> None:
        """Hand in a measurement; one that is impossible is dropped, counted and shown."""
        intake = self.intake
        if intake.passes(measurement, self._system.clock.read()):
            self._system.measured(self._source, measurement)
        elif intake.is_news:
            self._system.log.warn("source {id}: {trouble}", id=self._source, trouble=intake.trouble)

    def next_poll(self) -> float:
        """Give the seconds until the next request."""
        return self._system.next_poll(self._source)

    def desired_poll(self) -> int:
        """Give the poll exponent for the next request."""
        return self._system.controller.desired_poll(self._source)


@implementer(ISystem)
class System(MultiService):
    """
    The coordinator; its children are the spawner services.

    ``own_addresses`` gives the ids under which our clients would name us, for the loop check; it is asked again now and
    then.  ``fail`` is called with a sentence when the clock must not be touched any more; the daemon then ends.
    ``state_directory`` is where spawners may keep things over a restart.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: IClock,
        controller: IClockController,
        randbytes: Callable[[int], bytes],
        own_addresses: Callable[[], frozenset[ReferenceId]],
        fail: Callable[[str], None],
        state_directory: str | None = None,
    ) -> None:
        super().__init__()
        self.state_directory = state_directory
        self.clock = clock
        self.controller = controller
        self.randbytes = randbytes
        self.journal = Journal()
        self._reactor = reactor
        self._own_addresses = own_addresses
        self._addresses_known = -ADDRESS_INTERVAL
        self._fail = fail
        self._sources: dict[SourceId, ISource] = {}
        self._addresses: dict[SourceId, ReferenceId] = {}
        self._standings: dict[SourceId, str | None] = {}
        self._polls: dict[SourceId, int] = {}
        self._controllers: dict[SourceId, SourceController] = {}
        self._stale: list[SourceId] = []  # ended after the clock was let go: the algorithm forgets them at a restart
        self._source_ids = count(1)
        self._spawner_ids = count(1)
        self._time = TimeSnapshot()
        self._timer: Any = None
        self._tai: int | None = None

    # service

    def startService(self) -> None:
        """Start the spawners, then the algorithm's timer."""
        super().startService()
        stale, self._stale = self._stale, []
        for source in stale:
            self._run(self.controller.remove_source, source)
        self._run(self.controller.timer)

    def stopService(self) -> Any:
        """Stop the spawners; the clock runs on at the frequency that its oscillator needs."""
        if self.running:
            try:
                self.controller.release()
            except ClockError as error:
                self.log.error("the clock can't be released: {error}", error=error)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        return super().stopService()

    # what spawners and sources call

    def new_source_id(self) -> SourceId:
        """Give an id that was never used before."""
        return SourceId(next(self._source_ids))

    def new_spawner_id(self) -> SpawnerId:
        """Give an id that was never used before."""
        return SpawnerId(next(self._spawner_ids))

    def taken(self) -> frozenset[ReferenceId]:
        """Give the addresses that are no use for one more source."""
        self._look_at_addresses()
        return self.controller.own_addresses.union(self._addresses.values())

    def rejected(self) -> dict[SourceId, str]:
        """Give the sources that are of no use although others tell the time, and why."""
        return self.controller.rejected()

    def register(
        self,
        source: ISource,
        spawner: SpawnerId,
        limits: PollLimits,
        address: ReferenceId,
        options: SelectionOptions | None = None,
    ) -> ISourceController:
        """Begin to keep books on a source."""
        self._sources[source.id] = source
        self._addresses[source.id] = address
        self.controller.add_source(source.id, limits, address, options)
        observation = source.observe()
        self.log.info(
            "new source {id}: {name} ({address})",
            id=source.id,
            name=observation.name,
            address=observation.address,
            spawner=spawner,
        )
        other = observation.name if observation.mode == "pool" else observation.address
        where = f", {other}" if observation.address not in ("", observation.name) else ""
        self._note("source", f"a new source of mode {observation.mode}{where}", source.id)
        held = self._controllers[source.id] = SourceController(self, source.id)
        return held

    def forget(self, source: SourceId, end: SourceEnd | None = None) -> None:
        """Drop the books on a source; the choice of sources is made anew without it."""
        if source not in self._sources:
            return
        if self.running:
            self._note("source", "ended" if end is None else f"ended: {end.explanation}", source)
        del self._sources[source], self._addresses[source], self._controllers[source]
        self._standings.pop(source, None)
        self._polls.pop(source, None)
        if self.running:
            self._run(self.controller.remove_source, source)
        else:
            self._stale.append(source)

    def measured(self, source: SourceId, measurement: Measurement) -> None:
        """Carry a measurement to the algorithm; one of a source that has ended is dropped."""
        if source in self._sources:
            self._run(self.controller.measured, source, measurement)
            self._look_at(source)

    def next_poll(self, source: SourceId) -> float:
        """A request is being sent: give the seconds until the next one, and note when that is another interval."""
        seconds = self.controller.next_poll(source)
        poll = self.controller.desired_poll(source)
        before = self._polls.get(source)
        self._polls[source] = poll
        if before not in (None, poll):
            self._note("poll", f"asked each {2**poll} s instead of each {2**before} s", source)
        self._look_at(source)
        return seconds

    # what an operator asks for

    def arrange(self, order: Sequence[IService]) -> None:
        """Put the children into an order: that of the configuration."""
        places = {id(child): place for place, child in enumerate(order)}
        self.services.sort(key=lambda child: places.get(id(child), -1))

    def burst(self, sources: Iterable[ISource]) -> int:
        """Ask sources quickly a few times; give how many of them can be asked."""
        asked = [source for source in sources if source.id in self._sources and IPolledSource.providedBy(source)]
        for source in asked:
            self.controller.verify(source.id)
            source.ask_soon()
        return len(asked)

    def correct_now(self) -> None:
        """Step the clock by all that is left to correct."""
        self._run(self.controller.correct_now)

    # what servers and observers pull

    def time(self) -> TimeSnapshot:
        """Give what may be said of the time."""
        return self._time

    def snapshot(self) -> SystemSnapshot:
        """Give the whole state, sources in the order of the configuration."""
        status = self.controller.status()
        now = self.clock.read()
        sources = []
        known = dict(self._sources)
        spawners: list[Any] = [child for child in self.services if ISpawnerService.providedBy(child)]
        for spawner in spawners:
            running = [source for source in spawner if known.pop(source.id, None) is not None]
            sources += [self._row(source) for source in running]
            waiting = spawner.waiting()
            if waiting is not None:
                reason = waiting.trouble or "no source yet"
                sources.append(SourceSnapshot(None, waiting, SourceEstimate(reason=reason)))
        sources += [self._row(source) for source in known.values()]
        return SystemSnapshot(
            now=now.local,
            monotonic=now.monotonic,
            time=self._time,
            control=self.clock.control,
            synchronized=status.synchronized,
            state=status.state,
            offset=status.offset,
            error_bound=status.error_bound,
            frequency=status.frequency,
            frequency_error=status.frequency_error,
            steps=status.steps,
            accumulated_steps=status.accumulated_steps,
            since=status.since,
            sources=tuple(sources),
            used=status.used,
            oscillator_frequency=status.oscillator_frequency,
            corrections=status.corrections,
            majority=status.majority,
        )

    def _row(self, source: ISource) -> SourceSnapshot:
        observation = self._controllers[source.id].intake.shown(source.observe())
        return SourceSnapshot(source.id, observation, self.controller.estimate(source.id))

    # the algorithm's hands

    def _run(self, decide: Callable[..., ControlUpdate], *args: Any) -> None:
        """Let the algorithm decide, and apply what it decided."""
        if not self.running:
            return
        self._look_at_addresses()
        try:
            update = decide(*args)
            self._apply(update)
        except ClockError as error:
            self.log.critical("the clock can't be steered: {error}", error=error)
            self._fail(f"the clock can't be steered: {error}")

    def _look_at_addresses(self) -> None:
        """Tell the algorithm our own addresses, as they are now and then."""
        now = self._reactor.seconds()
        if now - self._addresses_known >= ADDRESS_INTERVAL:
            self._addresses_known = now
            self.controller.own_addresses = self._own_addresses()

    def _apply(self, update: ControlUpdate) -> None:
        for decision in update.decisions:
            self._tell(decision)
        news = update.time is not self._time
        self._time = update.time
        if update.stepped:
            for source in list(self._sources.values()):
                source.clock_stepped(update.stepped)
        if news:  # the kernel lets maxerror grow by itself: a look at the clock that found nothing need not be told
            self._tell_kernel()
        self._schedule(update.next_update)
        panic = [decision for decision in update.decisions if decision.kind is DecisionKind.PANIC]
        if panic:
            self._fail(panic[0].reason)

    def _tell(self, decision: Decision) -> None:
        name = self._note(decision.kind.value, decision.reason, decision.source, decision.amount)
        about = "" if name is None else f"{name}: "
        level = LEVELS.get(decision.kind, LogLevel.info)
        self.log.emit(level, "{about}{reason}", about=about, reason=decision.reason, decision=decision)
        if decision.source is not None:
            self._standings[decision.source] = ACCUSATIONS.get(self.controller.estimate(decision.source).standing)

    def _note(self, kind: str, reason: str, source: SourceId | None, amount: float | None = None) -> str | None:
        """Write something into the journal; give the name of the source that it is about."""
        known = self._sources.get(source) if source is not None else None
        seen = None if known is None else known.observe()
        name = None if seen is None else seen.address if seen.mode == "pool" else seen.name
        self.journal.add(self.clock.read().local, kind, reason, source, name, amount)
        return name

    def _look_at(self, source: SourceId) -> None:
        """Tell when a source has come under an accusation that no decision has told of: it was not used before."""
        if source not in self._sources:
            return
        estimate = self.controller.estimate(source)
        before = self._standings.get(source)
        standing = self._standings[source] = ACCUSATIONS.get(estimate.standing)
        if standing not in (None, before):
            name = self._note("standing", estimate.reason, source)
            self.log.info("{about}: {reason}", about=name, reason=estimate.reason)

    def _tell_kernel(self) -> None:
        """Keep STA_UNSYNC, the leap flags, esterror, maxerror and TAI - UTC true."""
        if not self.clock.steerable:
            return
        time = self._time
        leap = time.leap
        local = self.clock.read().local
        if leap in _LEAP_SECONDS and not ends_month(local):
            leap = Leap.NONE  # a kernel that is told would make it at the end of this very day
        bound = self.controller.status().error_bound
        self.clock.set_status(leap, math.sqrt(max(time.base, 0.0)), MAXIMUM_DISPERSION if bound is None else bound)
        table = self.controller.leap_table
        if table is None or not time.synchronized:
            return
        tai = table.tai(local)
        if tai is not None and tai != self._tai:  # the kernel itself counts the leap second that it makes
            self._tai = tai
            self.clock.set_tai_offset(tai)

    def _schedule(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(seconds)
        else:
            self._timer = self._reactor.callLater(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        self._run(self.controller.timer)
