"""
The service around a spawner: when it tries, how long it waits, what becomes of its sources.

A spawner makes one attempt and keeps books; everything that takes time stands here, once for all kinds::

    Stopped --start--> Resolving --missing--> Waiting --due--> Resolving
                       Resolving --complete--> Running --missing--> Waiting

``missing`` says that the spawner wants more sources, ``complete`` that it has all; both are asked after each attempt
and after the end of each source.  An attempt that fails, and a source that ends without ever having been answered,
double the wait from 1 s to 1,024 s.  Where one was answered, or its siblings are, the network works: the wait is 1 s
again, also one that has begun.

The sources of a pool can stand in for each other, so its spawner is asked now and then which of them should go.

Twisted starts children one after the other and one that raises keeps its younger siblings from starting, so nothing
here raises: a failure goes into the machine, and its reason is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from automat import TypeMachineBuilder
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.errors import NTPTwistError
from ntptwist.identifiers import EndReason, SourceEnd
from ntptwist.interfaces import IPoolSpawner, ISource, ISpawner, ISpawnerService, ISystem
from ntptwist.log import Logger
from ntptwist.snapshot import SourceObservation

FIRST_WAIT = 1.0
LONGEST_WAIT = 1024.0
JITTER = 0.1
"""Share by which a wait is shortened or lengthened, so that many hosts do not come back together."""

OFFLINE = "taken offline by the operator"

REVIEW_INTERVAL = 256.0
"""Seconds between two looks at which sources of a pool should go: what is looked for lasts an hour or more."""


def with_jitter(seconds: float, octet: int) -> float:
    """Shorten or lengthen a wait; ``octet`` (0..255) is a random one."""
    return seconds * (1 + JITTER * (octet / 127.5 - 1))


def back_off(failures: int, octet: int) -> float:
    """Give the seconds to wait after so many failures in a row; ``octet`` (0..255) is a random one, for the jitter."""
    return with_jitter(min(FIRST_WAIT * 2.0 ** min(max(failures - 1, 0), 10), LONGEST_WAIT), octet)


class Pacing(Protocol):
    """The inputs of the machine: what has happened."""

    def start(self) -> None:
        """Somebody started the service."""

    def due(self) -> None:
        """The wait is over."""

    def missing(self) -> None:
        """The spawner has less than it wants."""

    def complete(self) -> None:
        """The spawner has what it wants."""

    def stop(self) -> None:
        """Somebody stopped the service."""


@dataclass
class Core:
    """What the machine works with."""

    service: SpawnerService
    failures: int = 0
    timer: Any = None
    review: Any = None
    attempt: Deferred[Any] | None = None
    trouble: str | None = None
    sources: list[ISource] = field(default_factory=list)

    def wait(self) -> None:
        """Set the timer of the next attempt; one that is set may come sooner, never later."""
        (octet,) = self.service.system.randbytes(1)
        wait = back_off(self.failures, octet)
        if self.timer is None:
            self.timer = self.service.reactor.callLater(wait, self.service.due)
        elif self.timer.getTime() > self.service.reactor.seconds() + wait:
            self.timer.reset(wait)

    def rest(self) -> None:
        """Cancel the attempt that is under way or waited for."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel()


def build_machine() -> Any:
    """Build the machine of this module's docstring."""
    builder: Any = TypeMachineBuilder(Pacing, Core)
    stopped = builder.state("Stopped")
    waiting = builder.state("Waiting")
    resolving = builder.state("Resolving")
    running = builder.state("Running")

    def attempt(_: Pacing, core: Core) -> None:
        core.timer = None
        core.service.attempt()

    def wait(_: Pacing, core: Core) -> None:
        core.wait()

    def rest(_: Pacing, core: Core) -> None:
        core.rest()

    stopped.upon(Pacing.start).to(resolving)(attempt)
    waiting.upon(Pacing.due).to(resolving)(attempt)
    waiting.upon(Pacing.complete).to(running)(rest)
    waiting.upon(Pacing.missing).to(waiting)(wait)
    resolving.upon(Pacing.missing).to(waiting)(wait)
    resolving.upon(Pacing.complete).to(running).returns(None)
    running.upon(Pacing.missing).to(waiting)(wait)
    for state in (waiting, resolving, running):
        state.upon(Pacing.stop).to(stopped)(rest)
    for state, unmoved in (
        (stopped, (Pacing.due, Pacing.missing, Pacing.complete, Pacing.stop)),
        (waiting, (Pacing.start,)),
        (resolving, (Pacing.start, Pacing.due)),
        (running, (Pacing.start, Pacing.due, Pacing.complete)),
    ):
        for happened in unmoved:
            state.upon(happened).loop().returns(None)
    return builder.build()


_machine = build_machine()


@implementer(ISpawnerService)
class SpawnerService(MultiService):
    """Runs one spawner; its children are the sources."""

    log = Logger()

    def __init__(self, spawner: ISpawner, system: ISystem, reactor: Any, mode: str) -> None:
        super().__init__()
        self.spawner = spawner
        self.system = system
        self.reactor = reactor
        self.mode = mode
        self.offline = False
        self._pool: IPoolSpawner | None = IPoolSpawner(spawner, None)
        self._core = Core(self)
        self._machine: Pacing = _machine(self._core)

    def startService(self) -> None:
        """Make the first attempt, unless it is to be offline; never raises, never blocks."""
        if self.offline:
            return
        super().startService()
        self._machine.start()
        if self._pool is not None:
            self._review_later(self._pool)

    def stopService(self) -> Any:
        """Give up what is under way and stop the sources."""
        stopped = super().stopService()
        self._machine.stop()
        if self._core.review is not None:
            self._core.review.cancel()
            self._core.review = None
        return stopped

    @property
    def sources(self) -> Sequence[ISource]:
        """The sources that there are."""
        return tuple(self._core.sources)

    def go_offline(self) -> Any:
        """Stop the sources and make none, until ``go_online``; it stays in the list."""
        self.offline = True
        return self.stopService() if self.running else None

    def go_online(self) -> None:
        """Make sources again."""
        self.offline = False
        if not self.running and getattr(self.parent, "running", False):
            self._core.failures, self._core.trouble = 0, None
            self.startService()

    def waiting(self) -> SourceObservation | None:
        """Say what is going on while there is no source, or not all of them, and what became of the last one."""
        condition = None if self._pool is None or self.offline else self._pool.condition()
        if self._core.sources and condition is None:
            return None
        said = [condition, self._progress()]
        return SourceObservation(
            name=self.spawner.address_description,
            address="",
            mode=self.mode,
            trouble="; ".join(part for part in said if part) or None,
        )

    def _progress(self) -> str | None:
        """Say how far the search for sources is."""
        if self.offline:
            return OFFLINE
        if self._core.sources and self.spawner.is_complete():
            return None
        trouble = self._core.trouble
        if self._core.timer is not None and self._core.timer.active():
            left = max(self._core.timer.getTime() - self.reactor.seconds(), 0.0)
            trouble = f"{trouble or 'waiting'}; next attempt in {left:.0f} s"
        elif self._core.attempt is not None:
            trouble = f"{trouble}; trying again" if trouble else "resolving"
        return trouble

    # the machine's hands

    def due(self) -> None:
        """The wait is over."""
        self._machine.due()

    def attempt(self) -> None:
        """Let the spawner try once."""
        attempt = maybeDeferred(self.spawner.try_spawn)
        self._core.attempt = attempt
        attempt.addCallback(self._spawned).addErrback(self._failed).addBoth(self._attempted)

    def _spawned(self, sources: list[ISource]) -> None:
        for source in sources:
            self._core.sources.append(source)
            source.when_ended().addCallback(self._source_ended, source)
            self.spawner.source_registered(source)
            source.setServiceParent(self)  # type: ignore[attr-defined]  # a source is an IService too

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) and not self.running:
            return
        self._core.failures += 1
        if failure.check(NTPTwistError) is None:
            self.log.failure("{spawner}: the attempt to create a source failed", failure, spawner=self._who())
        told, self._core.trouble = self._core.trouble, str(failure.value) or repr(failure.value)
        if told != self._core.trouble:
            self.log.warn("{spawner}: {trouble}", spawner=self._who(), trouble=self._core.trouble)

    def _attempted(self, _: object) -> None:
        self._core.attempt = None
        if self.running:
            self._look()

    def _look(self) -> None:
        if self.spawner.is_complete():
            self._machine.complete()
        else:
            self._machine.missing()

    def _source_ended(self, end: SourceEnd, source: Any) -> None:
        works = any(each.observe().received > 0 for each in self._core.sources)
        self._core.sources.remove(source)
        if source.parent is self:
            source.disownServiceParent()
        self.system.forget(source.id)
        self.spawner.source_removed(source.id, end)
        if end.reason is EndReason.STOPPED:
            return
        if works:
            self._core.failures = 0
        elif self._core.timer is None:  # others of the same attempt ended before: one failure, not many
            self._core.failures += 1
        self._core.trouble = end.explanation
        self.log.warn("{spawner}: source ended: {end}", spawner=self._who(), end=end.explanation)
        if self.running and self._core.attempt is None:
            self._look()

    def _review_later(self, pool: IPoolSpawner) -> None:
        (octet,) = self.system.randbytes(1)
        self._core.review = self.reactor.callLater(with_jitter(REVIEW_INTERVAL, octet), self._review, pool)

    def _review(self, pool: IPoolSpawner) -> None:
        """Stop the sources of a pool that should go, and look for others."""
        self._review_later(pool)
        for source in pool.review():
            source.stopService()  # type: ignore[attr-defined]  # a source is an IService too
        if self._core.attempt is None:
            self._look()

    def _who(self) -> str:
        return f"{self.spawner.description} {self.spawner.address_description}"
