"""The service around a spawner: attempts, back-off, ends of sources."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ntptwist.errors import ResolutionError
from ntptwist.identifiers import EndReason, SourceEnd, SourceId, SpawnerId
from ntptwist.interfaces import ISource, ISpawner, ISpawnerService
from ntptwist.snapshot import SourceObservation
from ntptwist.spawners.service import LONGEST_WAIT, SpawnerService, back_off


@implementer(ISource)
class StubSource(Service):
    """A source that ends when the test says so."""

    def __init__(self, number: int, answered: int = 0) -> None:
        self.id = SourceId(number)
        self.answered = answered
        self.ended: Deferred[SourceEnd] = Deferred()

    def when_ended(self) -> Deferred[SourceEnd]:
        """Give the end."""
        return self.ended

    def clock_stepped(self, delta: int) -> None:
        """Nothing is under way."""

    def observe(self) -> SourceObservation:
        """Say how often it was answered."""
        return SourceObservation("stub", "192.0.2.1:123", "server", received=self.answered)

    def end(self, reason: EndReason, explanation: str = "over") -> None:
        """Come to the end."""
        self.ended.callback(SourceEnd(reason, explanation))


@implementer(ISpawner)
class StubSpawner:
    """A spawner that wants one source; ``outcomes`` are what its attempts give, the last one for ever."""

    id = SpawnerId(1)
    description = "stub"
    address_description = "ntp.example"

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.attempts: list[float] = []
        self.removed: list[SourceEnd] = []
        self.source: StubSource | None = None
        self.finished = False
        self.clock = Clock()

    def is_complete(self) -> bool:
        """Tell whether the source exists."""
        return self.source is not None or self.finished

    def try_spawn(self) -> Any:
        """Make the next attempt."""
        self.attempts.append(self.clock.seconds())
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            return fail(outcome)
        if isinstance(outcome, Deferred):
            return outcome
        return succeed([outcome()])

    def source_registered(self, source: Any) -> None:
        """Note the source."""
        self.source = source

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:
        """Note its end."""
        self.source = None
        self.removed.append(end)


class StubSystem:
    """What a spawner service needs of the system."""

    def __init__(self) -> None:
        self.forgotten: list[SourceId] = []

    def randbytes(self, count: int) -> bytes:
        """Give octets in the middle: hardly any jitter."""
        return bytes([127] * count)

    def forget(self, source: SourceId, end: SourceEnd | None = None) -> None:
        """Note what was forgotten."""
        self.forgotten.append(source)


def started(spawner: StubSpawner) -> tuple[SpawnerService, StubSystem]:
    """Start a service around a spawner."""
    system = StubSystem()
    service: Any = SpawnerService(spawner, system, spawner.clock, "server")  # type: ignore[arg-type]
    service.startService()
    return service, system


def test_provides_the_interfaces() -> None:
    """The service is what the system expects, and so are the stubs of this test."""
    service, _ = started(StubSpawner(Deferred()))

    assert verifyObject(ISpawnerService, service)
    assert verifyObject(ISpawner, service.spawner)
    assert verifyObject(ISource, StubSource(1))
    service.stopService()


def test_first_attempt_at_once() -> None:
    """A source is created as soon as the service starts, and is its child."""
    spawner = StubSpawner(lambda: StubSource(1))
    service, _ = started(spawner)

    assert spawner.attempts == [0.0]
    assert list(service) == [spawner.source]
    assert service.waiting() is None


def test_failed_attempts_double_the_wait(logged_failures: Any) -> None:
    """A name that does not resolve is tried after 1, 2, 4, ... s, at most 1,024 s apart, and nothing is a traceback."""
    spawner = StubSpawner(ResolutionError("'ntp.example' does not resolve"))
    service, _ = started(spawner)
    while spawner.clock.getDelayedCalls() and len(spawner.attempts) < 14:
        spawner.clock.advance(spawner.clock.getDelayedCalls()[0].getTime() - spawner.clock.seconds())
    waits = [b - a for a, b in zip(spawner.attempts, spawner.attempts[1:], strict=False)]

    assert waits == [pytest.approx(min(2.0**n, 1024.0), rel=0.01) for n in range(13)]
    assert max(waits) <= LONGEST_WAIT * 1.1
    assert logged_failures == []
    service.stopService()


def test_says_why_it_waits() -> None:
    """While there is no source, the reason and the time of the next attempt are shown."""
    spawner = StubSpawner(ResolutionError("'ntp.example' does not resolve"))
    service, _ = started(spawner)
    waiting = service.waiting()

    assert waiting is not None
    assert waiting.name == "ntp.example"
    assert waiting.trouble == "'ntp.example' does not resolve; next attempt in 1 s"
    service.stopService()


@pytest.mark.parametrize("octet", [0, 127, 255])
def test_jitter_stays_within_a_tenth(octet: int) -> None:
    """Hosts that fail together do not come back together, and none comes back much too early."""
    assert back_off(4, octet) == pytest.approx(8.0, rel=0.101)


def test_an_answered_source_resets_the_wait() -> None:
    """A source that was answered and got lost is replaced within a second or so."""
    spawner = StubSpawner(ResolutionError("no"), ResolutionError("no"), lambda: StubSource(1, answered=3))
    service, system = started(spawner)
    spawner.clock.pump([1.1, 2.1])
    source = spawner.source
    assert source is not None
    source.end(EndReason.UNREACHABLE)
    spawner.clock.advance(1.1)

    assert len(spawner.attempts) == 4
    assert system.forgotten == [SourceId(1)]
    assert source.parent is None
    service.stopService()


@pytest.mark.parametrize("reason", [EndReason.UNREACHABLE, EndReason.NETWORK_ISSUE])
def test_an_unanswered_source_lengthens_the_wait(reason: EndReason) -> None:
    """A server that never answers is asked less and less often."""
    spawner = StubSpawner(lambda: StubSource(1))
    service, _ = started(spawner)
    for pause in (1.1, 2.1, 4.1):
        assert spawner.source is not None
        spawner.source.end(reason)
        spawner.clock.advance(pause)

    assert spawner.attempts == [0.0, pytest.approx(1.1), pytest.approx(3.2), pytest.approx(7.3)]
    service.stopService()


def test_a_denied_source_is_not_replaced() -> None:
    """When the spawner wants no more, nothing is attempted, and the reason stays in sight."""
    spawner = StubSpawner(lambda: StubSource(1))
    service, _ = started(spawner)
    spawner.finished = True
    assert spawner.source is not None
    spawner.source.end(EndReason.DEMOBILIZED, "the server denied service")
    spawner.clock.advance(5000)
    waiting = service.waiting()

    assert len(spawner.attempts) == 1
    assert waiting is not None
    assert waiting.trouble == "the server denied service"
    service.stopService()


def test_stop_cancels_everything() -> None:
    """A stopped service has no timer, no attempt under way and no running source."""
    pending: Deferred[Any] = Deferred()
    spawner = StubSpawner(pending)
    service, _ = started(spawner)
    service.stopService()
    pending_was_cancelled = pending.called

    assert pending_was_cancelled
    assert spawner.clock.getDelayedCalls() == []


def test_start_after_stop() -> None:
    """A service that was stopped can be started again."""
    spawner = StubSpawner(ResolutionError("no"))
    service, _ = started(spawner)
    service.stopService()
    service.startService()

    assert len(spawner.attempts) == 2
    service.stopService()
    assert spawner.clock.getDelayedCalls() == []


def test_stopped_sources_are_gone() -> None:
    """Sources that were stopped with their service do not come back when it is started again."""

    class Ending(StubSource):
        def stopService(self) -> None:
            self.end(EndReason.STOPPED)

    spawner = StubSpawner(lambda: Ending(1), lambda: Ending(2))
    service, system = started(spawner)
    service.stopService()
    service.startService()

    assert [source.id for source in service] == [SourceId(2)]
    assert system.forgotten == [SourceId(1)]
    service.stopService()


def test_a_spawner_that_raises_is_a_failed_attempt(logged_failures: Any) -> None:
    """A bug in a driver is logged and tried again; it stops nothing else."""

    class Broken(StubSpawner):
        def try_spawn(self) -> Any:
            self.attempts.append(self.clock.seconds())
            raise ZeroDivisionError("a bug")

    spawner = Broken(None)
    service, _ = started(spawner)
    spawner.clock.advance(1.1)

    assert len(spawner.attempts) == 2
    assert len(logged_failures.flush(ZeroDivisionError)) == 2
    service.stopService()
