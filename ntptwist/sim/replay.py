"""
A record of the daemon, run through the algorithm again.

The controller is the daemon's own; its clock answers what the recorded clock answered.  With the settings that were
recorded every call gives what it gave then, to the last bit.

With other settings the clock would have been steered otherwise.  The recorded oscillator and the recorded servers stay
what they were, so what every reading and every time stamp would have been can be computed (``replay_clock``), and the
algorithm's timer is called when it asks for that.  When the sources were asked can't be changed any more.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
from ntptwist.algorithm.controller import Controller
from ntptwist.algorithm.leap import LeapTable
from ntptwist.algorithm.memory import ClockMemory
from ntptwist.algorithm.update import ControlUpdate
from ntptwist.config.loader import parse, read_policy
from ntptwist.errors import ClockError, ConfigError, NTPTwistError
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.measurement import Measurement, OneWayMeasurement, TwoWayMeasurement
from ntptwist.observe.plain import unpack
from ntptwist.observe.record import FORMAT, outcome, predecessor
from ntptwist.sim.replay_clock import ReplayClock
from ntptwist.timestamp import NANOSECONDS

_LATE = 10_000_000
"""Nanoseconds by which a timer may be late."""
_SHORTEST_WAIT = 1_000_000
"""Nanoseconds from one call of the timer to the next."""

Settings = Callable[[SynchronizationPolicy], SynchronizationPolicy]


class ReplayError(NTPTwistError):
    """A record can't be replayed; the text says which line, and why."""


class Line(NamedTuple):
    """One call: its name, its arguments, the clock's acts meanwhile, and its outcome; all plain data."""

    call: str
    given: list[Any]
    acts: list[list[Any]]
    outcome: Any


@dataclass(frozen=True, slots=True)
class Told:
    """A decision, so many seconds after the record began."""

    when: float
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Course:
    """
    What came of a replay, or of what was recorded.

    ``offsets`` are the estimates after each measurement, seconds; the last frequency is in ppm.
    """

    decisions: tuple[Told, ...]
    offsets: tuple[float, ...]
    frequency: float
    steps: int

    @property
    def rms(self) -> float:
        """The RMS of the estimated offset; NaN if there was none."""
        if not self.offsets:
            return math.nan
        return math.sqrt(math.fsum(offset * offset for offset in self.offsets) / len(self.offsets))

    @property
    def offset(self) -> float:
        """The last estimated offset; NaN if there was none."""
        return self.offsets[-1] if self.offsets else math.nan


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    A run of the daemon, replayed.

    ``differing`` is the number of the first call that did not give what it gave then, None if all did; ``middle``: the
    beginning of the run is not in the record, so it can't be expected to.
    """

    calls: int
    seconds: float
    version: str
    middle: bool
    course: Course
    differing: int | None


def read_record(path: str) -> Iterator[list[Line]]:
    """Give the runs of the daemon that a record holds, with those in the file before it; ReplayError."""
    run: list[Line] = []
    for name, number, text in _texts(Path(path)):
        try:
            line = Line(*json.loads(text))
        except (ValueError, TypeError) as error:
            raise ReplayError(f"{name}:{number}: not a line of a record: {error}") from error
        if line.call == "begin":
            header = line.given[0]
            if header["format"] != FORMAT:
                raise ReplayError(f"{name}:{number}: format {header['format']}, this is for format {FORMAT}")
            if header["middle"] and run:
                continue  # the file was full: the run goes on
            if run:
                yield run
            run = []
        elif not run:
            raise ReplayError(f"{name}:{number}: the record does not begin with a beginning")
        run.append(line)
    if run:
        yield run


def _texts(path: Path) -> Iterator[tuple[Path, int, str]]:
    """Give every whole line of both files; a daemon that was killed may have left a part of one."""
    before = predecessor(path)
    for file in (before, path) if before.exists() else (path,):
        with file.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                if text.endswith("\n"):
                    yield file, number, text


def replay(run: Sequence[Line], change: Settings | None = None) -> Outcome:
    """Replay one run of the daemon, with the settings that ``change`` makes of the recorded ones."""
    return _Replay(run, change).result()


class _Replay:
    """One run under way."""

    def __init__(self, run: Sequence[Line], change: Settings | None) -> None:
        first, *self._lines = run
        self._header = header = first.given[0]
        policy = unpack(SynchronizationPolicy, header["policy"])
        self._change = change
        self._exact = change is None
        self._clock = ReplayClock(first.acts, header["maximum"], steerable=header["steerable"])
        self._controller = Controller(policy if change is None else change(policy), self._clock)
        self._clock.finish()
        self._start = self._clock.recorded
        self._wake: int | None = None  # on our monotonic axis
        self._decisions: list[Told] = []
        self._offsets: list[float] = []
        self._differing: int | None = None
        self._controller.own_addresses = unpack(frozenset[ReferenceId], header["own"])
        for source in header["sources"]:
            self._add_source(*source)

    def result(self) -> Outcome:
        """Go through all calls."""
        for number, line in enumerate(self._lines, 1):
            called = self._exact or self._wakes(line)
            self._clock.begin(line.acts)
            result: Any = None
            with suppress(ClockError):
                result = self._call(line) if called else None
            self._clock.finish()
            self._note(result)
            same = self._clock.same and outcome(result) == line.outcome
            if self._exact and self._differing is None and not same:
                self._differing = number
        status = self._controller.status()
        course = Course(tuple(self._decisions), tuple(self._offsets), status.frequency, status.steps)
        return Outcome(
            calls=len(self._lines),
            seconds=(self._clock.recorded - self._start) / NANOSECONDS,
            version=self._header["version"],
            middle=self._header["middle"],
            course=course,
            differing=self._differing,
        )

    def _call(self, line: Line) -> Any:
        controller, given = self._controller, line.given
        match line.call:
            case "timer":
                return controller.timer()
            case "next_poll":
                return controller.next_poll(SourceId(given[0]))
            case "measured":
                return self._measured(given[0], unpack(TwoWayMeasurement, given[1]))
            case "pulsed":
                return self._measured(given[0], unpack(OneWayMeasurement, given[1]))
            case "add_source":
                return self._add_source(*given)
            case "remove_source":
                return controller.remove_source(SourceId(given[0]))
            case "correct_now":
                return controller.correct_now()
            case "verify":
                controller.verify(SourceId(given[0]))
            case "restore":
                controller.restore(unpack(ClockMemory, given[0]))
            case "memory":
                controller.memory()
            case "release":
                controller.release()
            case other:
                self._set(other, *given)
        return None

    def _set(self, name: str, given: Any = None) -> None:
        """Give the algorithm what it is told beside the sources."""
        match name:
            case "own_addresses":
                self._controller.own_addresses = unpack(frozenset[ReferenceId], given)
            case "leap_table":
                self._controller.leap_table = None if given is None else unpack(LeapTable, given)
            case "policy":
                policy = unpack(SynchronizationPolicy, given)
                self._controller.policy = policy if self._change is None else self._change(policy)
            case other:
                raise ReplayError(f"the record has a call {other!r}")

    def _wakes(self, line: Line) -> bool:
        """
        Call the timer whenever ours asks for it before a recorded call; tell whether that call is to be made.

        A recorded timer is ours as well if it comes about when ours asks for it.
        """
        timer = line.call == "timer"
        now = next((act[2] for act in line.acts if act[0] == "r"), None)
        while now is not None and self._wake is not None:
            due = self._clock.recorded_at(self._wake)
            if timer and abs(due - now) <= _LATE:
                return True
            if due >= now:
                break
            self._clock.begin(())
            self._clock.wait(due)
            self._note(self._controller.timer())
        return not timer

    def _note(self, result: object) -> None:
        if isinstance(result, ControlUpdate):
            self._wake = self._clock.read().monotonic + max(round(result.next_update * NANOSECONDS), _SHORTEST_WAIT)
            when = (self._clock.recorded - self._start) / NANOSECONDS
            self._decisions += [Told(when, told.kind.value, told.reason) for told in result.decisions]

    def _measured(self, source: int, measurement: Measurement) -> ControlUpdate:
        update = self._controller.measured(SourceId(source), self._clock.moved(measurement))
        offset = self._controller.status().offset
        if offset is not None:
            self._offsets.append(offset)
        return update

    def _add_source(self, source: int, limits: Any, address: Any, options: Any) -> None:
        self._controller.add_source(
            SourceId(source),
            unpack(PollLimits, limits),
            unpack(ReferenceId, address),
            unpack(SelectionOptions, options),
        )


def settings(changes: Sequence[str]) -> Settings:
    """
    Give what changes recorded settings as ``synchronization.KEY=VALUE`` says, in the words of a configuration.

    ConfigError tells everything that is wrong with it.
    """
    root, findings = parse("\n".join(map(_statement, changes)), "--set")
    table = root.table("synchronization")

    def change(policy: SynchronizationPolicy) -> SynchronizationPolicy:
        return read_policy(table, policy)

    change(SynchronizationPolicy())
    root.finish()
    if findings.problems:
        raise ConfigError(*findings.problems)
    return change


def _statement(change: str) -> str:
    """Give ``KEY=VALUE`` as TOML: what is no value of TOML's is a word."""
    key, _, given = change.partition("=")
    try:
        tomllib.loads(f"{key} = {given}")
    except tomllib.TOMLDecodeError:
        return f"{key} = {json.dumps(given)}"
    return f"{key} = {given}"
