"""
The controller: measurements in, a steered clock and words for people out.

It ties the stages together and owns what none of them can know alone: whether the clock is synchronized, since when it
has been holding over, which leap second was announced, and when ``timer`` is wanted.  It reads the clock once at the
start of every call; everything in that call happens at that moment.

Three states: not yet synchronized (the clock is left alone until a majority agrees); synchronized; holding over, when
the majority is lost: the frequency stays applied, nothing else is done, and when nobody has confirmed the clock for so
long that its root distance passes 1.5 s it is unsynchronized again.
"""

from __future__ import annotations

import math
from dataclasses import replace

from zope.interface import implementer

from ntptwist.algorithm.book import ClockBook
from ntptwist.algorithm.config import (
    FIRST_FREQUENCY_SIGMA,
    KNOWN_FREQUENCY_SIGMA,
    MAXIMUM_DISTANCE,
    POLL_RULES,
    SLEEP_DOUBT,
    WATCH_INTERVAL,
    PollLimits,
    SelectionOptions,
    SynchronizationPolicy,
)
from ntptwist.algorithm.filter import Outcome
from ntptwist.algorithm.jury import Judgement, Patience, judge
from ntptwist.algorithm.knowledge import ClockKnowledge
from ntptwist.algorithm.leap import LeapTable
from ntptwist.algorithm.memory import ClockMemory, RememberedPaths
from ntptwist.algorithm.select import NO_MAJORITY
from ntptwist.algorithm.source import TrackedSource
from ntptwist.algorithm.steer import Steering
from ntptwist.algorithm.update import ControllerStatus, ControlUpdate, Decision, DecisionKind
from ntptwist.algorithm.words import duration
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.interfaces import IClock, IClockController
from ntptwist.measurement import Measurement, OneWayMeasurement
from ntptwist.snapshot import SourceEstimate, TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, ClockReading, Monotonic, Timestamp

_WATCH = round(WATCH_INTERVAL * NANOSECONDS)
_EARLY = 1_000_000
"""Nanoseconds by which ``timer`` may come early and still count: reactors round."""


@implementer(IClockController)
class Controller:
    """
    The algorithm around one clock.

    ``policy`` and ``own_addresses`` (the reference ids of this machine's addresses, for the loop check) may be replaced
    at any time.  ``timer`` is to be called once at the start: its update says when it wants to be called next.
    """

    def __init__(
        self, policy: SynchronizationPolicy, clock: IClock, own_addresses: frozenset[ReferenceId] = frozenset()
    ) -> None:
        self.policy = policy
        self.own_addresses = own_addresses
        self._clock = clock
        self._book = ClockBook(clock)
        self._steering = Steering(self._book)
        self._knowledge = ClockKnowledge(self._book)
        self._sources: dict[SourceId, TrackedSource] = {}
        self._remembered = RememberedPaths()
        self._first_sigma = FIRST_FREQUENCY_SIGMA
        self._synchronized = False
        self._since: Timestamp | None = None
        self._judgement = Judgement(NO_MAJORITY, waiting=True)
        self._patience = Patience()
        self._watch_at = Monotonic(0)
        self._quiet_until: float | None = None  # until then no source falls silent; None: not looked up yet
        self._snapshot = TimeSnapshot()

    @property
    def leap_table(self) -> LeapTable | None:
        """The list of leap seconds, which has a vote."""
        return self.policy.leap_table

    @leap_table.setter
    def leap_table(self, table: LeapTable | None) -> None:
        self.policy = replace(self.policy, leap_table=table)

    def restore(self, memory: ClockMemory) -> None:
        """Go on with what was known before a restart; called once, before all else, and applied by ``timer``."""
        now = self._clock.read()
        known = memory.at(now, self._book.rate)
        self._steering.resume(known.frequency, now.monotonic)
        # each source that is new takes it as its own knowledge, and together they must not know more than that
        self._first_sigma = math.sqrt(known.frequency_variance * self.policy.voting_sources)
        time = self._book.seconds(now.monotonic)
        for address, path in known.paths.items():
            self._remembered.keep(address, path, time, self._book.integral(time))

    def memory(self) -> ClockMemory | None:
        """Give what is worth knowing after a restart; None as long as nothing is known."""
        now = self._clock.read()
        here = self._knowledge.at(now.monotonic)
        if here is None:
            return None
        for source in self._sources.values():
            source.remember(self._remembered)
        paths = self._remembered.recall_all(here.time, here.integral)
        return ClockMemory(now, self._book.rate, here.frequency, here.p11, here.wander, paths)

    def release(self) -> None:
        """The daemon stops: leave the clock at the frequency that its oscillator needs, and in no slew."""
        if self._steering.slew_end is not None:
            self._steering.end_slew()

    def add_source(
        self,
        source: SourceId,
        limits: PollLimits,
        address: ReferenceId,
        options: SelectionOptions | None = None,
    ) -> None:
        """Start to keep books on a source; ``address`` is the id that its own clients would report."""
        self._sources[source] = TrackedSource(source, limits, address, options)

    def remove_source(self, source: SourceId) -> ControlUpdate:
        """Forget a source and everything it measured."""
        ended = self._sources.pop(source, None)
        if ended is not None:
            ended.remember(self._remembered)
        return self._conclude(*self._look())

    def next_poll(self, source: SourceId) -> float:
        """A request is being sent: give the seconds until the next one (without jitter)."""
        now = self._clock.read().monotonic
        self._patience.begin(now)
        return self._sources[source].poll.polled(now)

    def desired_poll(self, source: SourceId) -> int:
        """Give the poll exponent, log2 seconds, that stands in the next request."""
        return self._sources[source].poll.exponent

    def measured(self, source: SourceId, measurement: Measurement) -> ControlUpdate:
        """Take a measurement; one of a source that is not known any more is ignored."""
        now, moved, decisions = self._look()
        tracked = self._sources.get(source)
        fresh = tracked if tracked is not None and self._take(tracked, measurement, now, decisions) else None
        return self._conclude(now, moved, decisions, fresh)

    def verify(self, source: SourceId) -> None:
        """Ask a source quickly a few times from its next poll on."""
        self._sources[source].poll.verify()

    def correct_now(self) -> ControlUpdate:
        """Step the clock by all that is left to correct, whatever its size."""
        now, moved, decisions = self._look()
        here = self._knowledge.at(now.monotonic)
        may = self._clock.steerable and not self._steering.panicked
        if may and here is not None and self._judgement.combined is not None:
            stepped, decision = self._steering.step(here.offset)
            decisions.append(decision)
            self._shift(stepped)
            moved += stepped
            now = self._clock.read()
            self._steering.end_slew()
        return self._conclude(now, moved, decisions)

    def timer(self) -> ControlUpdate:
        """The time that the last ControlUpdate asked for has come; coming early or late does no harm."""
        now, moved, decisions = self._look()
        slew_end = self._steering.slew_end
        if slew_end is not None and slew_end <= now.monotonic + _EARLY:
            self._steering.end_slew()
        elif not decisions and self._is_quiet(now.monotonic):
            return ControlUpdate(self._snapshot, self._next_update(now.monotonic))
        return self._conclude(now, moved, decisions)

    def estimate(self, source: SourceId) -> SourceEstimate:
        """Give what is thought of a source now."""
        tracked = self._sources.get(source)
        if tracked is None:
            return SourceEstimate()
        time = self._book.seconds(self._clock.read().monotonic)
        return tracked.estimate(time, self._book.integral(time))

    def rejected(self) -> dict[SourceId, str]:
        """Give the sources that are of no use although others tell the time, and why; empty while none do."""
        if not self._judgement.used:
            return {}
        return {source.id: source.verdict.words() for source in self._sources.values() if source.verdict.rejected}

    def status(self) -> ControllerStatus:
        """Give the state of the clock as the algorithm sees it now."""
        now = self._clock.read()
        here = self._knowledge.at(now.monotonic)
        return ControllerStatus(
            synchronized=self._synchronized,
            state=self._state(now.monotonic),
            used=tuple(source.id for source in self._judgement.used),
            offset=here.offset if here is not None else None,
            error_bound=self._knowledge.bound(now.monotonic) if here is not None else None,
            frequency=self._book.rate * 1e6,
            frequency_error=math.sqrt(here.p11) * 1e6 if here is not None else None,
            steps=self._steering.steps,
            accumulated_steps=self._steering.accumulated,
            since=self._since,
            oscillator_frequency=self._steering.frequency * 1e6,
            corrections=self._knowledge.corrections.snapshot(),
        )

    def _look(self) -> tuple[ClockReading, int, list[Decision]]:
        """Read the clock and deal with what came between its axes; return also by how much ``local`` moved."""
        now: ClockReading = self._clock.read()
        self._watch_at = Monotonic(now.monotonic + _WATCH)
        if not self._clock.steerable:
            self._book.observe(now.monotonic)
        decisions: list[Decision] = []
        found = self._book.check(now, self._knowledge.leap)
        if not found.total:
            return now, 0, decisions
        moved = found.slept + found.leapt
        if found.slept:
            self._resumed(now, found.slept, decisions)
        if found.leapt:
            decisions.append(self._knowledge.leap_passed(now.monotonic, found.leapt))
        if found.foreign:
            now, stepped = self._meddled(now, found.foreign, decisions)
            moved += stepped
        return now, moved, decisions

    def _resumed(self, now: ClockReading, slept: int, decisions: list[Decision]) -> None:
        """After a suspend the clock goes on by the battery clock: right to a second or so, and to be verified."""
        for source in self._sources.values():
            source.doubt(SLEEP_DOUBT)
            source.poll.verify()
        self._remembered.forget_offsets()
        self._knowledge.doubt(SLEEP_DOUBT)
        self._steering.allow_steps(self._book.seconds(now.monotonic))
        seconds = slept / NANOSECONDS
        reason = f"the machine was suspended for {duration(seconds)}: asking all sources again"
        decisions.append(Decision(DecisionKind.SUSPENDED, reason, seconds))

    def _meddled(self, now: ClockReading, foreign: int, decisions: list[Decision]) -> tuple[ClockReading, int]:
        """Undo a step that was not ours, if the clock is ours; return the clock then, and by how much it moved."""
        seconds = foreign / NANOSECONDS
        somebody = f"somebody stepped the clock by {duration(seconds)}"
        if self._clock.steerable and self._steering.started and not self._steering.panicked:
            for source in self._sources.values():
                source.poll.verify()
            decisions.append(Decision(DecisionKind.FOREIGN_STEP, f"{somebody}: undone", seconds))
            return self._book.step(-foreign), -foreign
        self._shift(foreign)
        decisions.append(Decision(DecisionKind.FOREIGN_STEP, f"{somebody}: taken into account", seconds))
        return now, foreign

    def _shift(self, delta: int) -> None:
        """The local clock was moved: every estimate moves with it."""
        for source in self._sources.values():
            source.shift(delta)
        self._remembered.forget_offsets()
        self._knowledge.shift(delta)

    def _take(
        self, tracked: TrackedSource, measurement: Measurement, now: ClockReading, decisions: list[Decision]
    ) -> bool:
        """Take a measurement into its filter; tell whether the clock is to be corrected by what is known now."""
        tracked.poll.answered()
        self._patience.begin(now.monotonic)  # there are sources that nobody asks
        if tracked.crossed_step(measurement, self._book.stepped):
            return False
        tracked.recognize(measurement)
        if tracked.period is not None and not self._can_number(tracked, tracked.period, now.monotonic):
            return False
        sigma = self._first_sigma
        if self._synchronized:
            sigma = KNOWN_FREQUENCY_SIGMA if isinstance(measurement, OneWayMeasurement) else FIRST_FREQUENCY_SIGMA
        outcome = tracked.take(measurement, self._book, self._steering.frequency, sigma, self._remembered)
        if outcome is Outcome.REFUSED:
            return False
        tracked.poll.counted()
        if outcome is Outcome.CONTRADICTED or tracked.wants_proof:
            tracked.poll.verify()
        else:
            decisions.extend(tracked.news(outcome))
        return not (tracked.is_pulse and outcome is Outcome.HELD_BACK)

    def _can_number(self, tracked: TrackedSource, period: float, monotonic: Monotonic) -> bool:
        """Tell whether it is known well enough which period a pulse belongs to."""
        time = self._book.seconds(monotonic)
        integral = self._book.integral(time)
        if tracked.lock is not None:
            by = next((source for source in self._sources.values() if source.numbers(tracked.lock)), None)
            return tracked.number_by(by, period, time, integral)
        here = self._knowledge.at(monotonic)
        asking = any(source.poll.asks_quickly and not source.is_one_way for source in self._judgement.used)
        if here is None or asking or not self._synchronized:
            return False
        return tracked.number_by_clock(here, period, time, integral)

    def _conclude(
        self, now: ClockReading, moved: int, decisions: list[Decision], measured: TrackedSource | None = None
    ) -> ControlUpdate:
        """
        Judge all sources, correct the clock if there is cause, and say what the system has to know.

        ``measured`` is the source that gave a measurement just now; None when only time has passed.
        """
        before = self._judgement.used
        time = self._book.seconds(now.monotonic)
        integral = self._book.integral(time)
        judgement = self._judgement = judge(
            self._sources.values(),
            time,
            integral,
            self.policy,
            self.own_addresses,
            self._knowledge.held,
            patient=not self._synchronized and self._patience.lasts(now.monotonic),
            synchronized=self._synchronized,
        )
        if judgement.used != before:
            decisions.extend(judgement.news(before, self._sources))
        if measured is not None and judgement.voters and not measured.is_one_way and not measured.poll.in_burst:
            judgement.adapt(measured, time, integral, POLL_RULES[self.policy.profile])
            judgement.fade(measured, time, integral)
        if judgement.combined is not None:
            announced = self._knowledge.learn(judgement, now.monotonic, self.policy.listed_leap(now.local))
            if announced is not None:
                decisions.append(announced)
            moved += self._correct(judgement, now, measured, decisions)
        elif self._synchronized and self._knowledge.distance(now.monotonic) > MAXIMUM_DISTANCE:
            self._lose(now.monotonic, decisions)
        self._snapshot = self._knowledge.snapshot(now.monotonic, synchronized=self._synchronized)
        self._quiet_until = None
        return ControlUpdate(self._snapshot, self._next_update(now.monotonic), moved, tuple(decisions))

    def _correct(
        self, judgement: Judgement, now: ClockReading, measured: TrackedSource | None, decisions: list[Decision]
    ) -> int:
        """Correct the clock by the combined estimate if there is cause; return the nanoseconds that were stepped."""
        combined = judgement.combined
        assert combined is not None  # noqa: S101 - the caller's condition
        fresh = measured is not None and (measured.is_pulse or not judgement.by_pulses)
        if self._steering.panicked or not (fresh or not self._synchronized):
            return 0
        stepped = 0
        if self._clock.steerable:
            stepped, decision = self._steering.correct(
                combined.offset, combined.frequency, judgement.slew_interval(measured), now.monotonic, self.policy
            )
            if decision is not None:
                decisions.append(decision)
                if decision.kind is DecisionKind.PANIC:
                    self._synchronized = False
                    return 0
            if stepped:
                self._shift(stepped)
        else:
            self._steering.frequency = combined.frequency
        self._knowledge.corrections.add(combined.offset, self._book.seconds(now.monotonic))
        self._knowledge.corrected = Timestamp(now.local + stepped)
        if not self._synchronized:
            self._synchronized = True
            self._since = self._knowledge.corrected
            decisions.append(judgement.agreement())
        return stepped

    def _lose(self, monotonic: Monotonic, decisions: list[Decision]) -> None:
        """Nobody has confirmed the clock for too long."""
        self._synchronized = False
        self._since = None
        self._steering.allow_steps(None)
        decisions.append(self._knowledge.lost(monotonic))

    def _is_quiet(self, monotonic: Monotonic) -> bool:
        """Tell whether no source that is used can have fallen silent since it was judged: the judgement stands."""
        if self._quiet_until is None:
            used = self._judgement.used if self._synchronized else ()
            self._quiet_until = min([source.silent_after for source in used], default=-math.inf)
        return self._book.seconds(monotonic) < self._quiet_until

    def _next_update(self, monotonic: Monotonic) -> float:
        deadline: int = self._watch_at
        if self._steering.slew_end is not None:
            deadline = min(deadline, self._steering.slew_end)
        if self._patience.until is not None and self._patience.lasts(monotonic):
            deadline = min(deadline, self._patience.until)
        return max(deadline - monotonic, 0) / NANOSECONDS

    def _state(self, monotonic: Monotonic) -> str:
        """Say in words what is going on."""
        if self._steering.panicked:
            return "panic: a correction was refused"
        if self._synchronized and self._judgement.combined is not None:
            return "synchronized"
        silence = self._knowledge.silence(monotonic, synchronized=self._synchronized)
        return silence or self._judgement.lack(self.policy.voting_sources)
