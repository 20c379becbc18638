"""
The record: all that the algorithm was told and asked, what it read from the clock, and what it did.

The recorder stands between the system and the controller, and between the controller and the clock; neither knows.  The
algorithm is a function of what passes there, so a replay of the record decides the very same to the last bit
(``ntptwist-lab replay``), and shows what other settings would have done.

One JSON array a line: the name of the call, its arguments, what the clock was asked meanwhile and answered, and what
came of it.  Questions that change nothing (status, estimates) are not recorded.  Lines are written every minute and
with every decision; at its largest size the file is renamed to ``.1``, in place of the one before.  No failure to write
does more than end the record: the daemon has better things to do.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import Service
from zope.interface import implementer

import ntptwist
from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
from ntptwist.algorithm.controller import Controller
from ntptwist.algorithm.leap import LeapTable
from ntptwist.algorithm.memory import ClockMemory
from ntptwist.algorithm.update import ControllerStatus, ControlUpdate
from ntptwist.errors import ClockError
from ntptwist.identifiers import Leap, ReferenceId, SourceId
from ntptwist.interfaces import IClock, IClockController
from ntptwist.log import Logger
from ntptwist.measurement import Measurement, TwoWayMeasurement
from ntptwist.observe.plain import pack
from ntptwist.snapshot import SourceEstimate
from ntptwist.timestamp import NANOSECONDS, ClockReading, Timestamp

FORMAT = 1
"""Version of the lines; another one means that a replay can't read them."""

LARGEST_FILE = 64 << 20
"""Octets; with four servers asked each minute three weeks, and as much in the file before."""

FLUSH_INTERVAL = 60 * NANOSECONDS
FLUSH_OCTETS = 1 << 16

Result = TypeVar("Result")


class RecordFile(Service):
    """
    A file of JSON lines at ``path``, of mode 0600, from the start of the service to its end.

    What is written before the start waits for it.
    """

    log = Logger()

    def __init__(self, path: str, largest: int = LARGEST_FILE) -> None:
        self.path = Path(path)
        self.size = 0
        self._largest = largest
        self._descriptor: int | None = None
        self._failed = False
        self._pending: list[bytes] = []
        self._octets = 0

    def privilegedStartService(self) -> None:
        """Open the file while privileges last."""
        super().privilegedStartService()
        self._attempt(self._open)

    def startService(self) -> None:
        """Open the file, where that has not been done yet."""
        super().startService()
        if self._descriptor is None:
            self._attempt(self._open)

    def stopService(self) -> None:
        """Write what is left and close the file."""
        super().stopService()
        self.flush()
        self._close()

    @property
    def is_full(self) -> bool:
        """Whether the file has its largest size."""
        return self.size >= self._largest

    def write(self, line: list[Any]) -> None:
        """Add a line."""
        if self._failed:
            return
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._pending.append(data)
        self._octets += len(data)
        self.size += len(data)
        if self._octets >= FLUSH_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Hand what was added to the kernel."""
        if self._descriptor is not None and self._pending:
            self._attempt(self._write)

    def rotate(self) -> None:
        """Go on in a new file; this one takes the place of its predecessor."""
        self.flush()
        if self._descriptor is not None:
            self._close()
            self._attempt(self._replace)

    def _attempt(self, act: Callable[[], None]) -> None:
        """Do something with the file; the first failure is the end of the record."""
        if self._failed:
            return
        try:
            act()
        except OSError as error:
            self._failed = True
            self._pending.clear()
            self._close()
            reason = error.strerror or str(error)
            self.log.error(
                "{path}: can't be written ({reason}): nothing more is recorded", path=self.path, reason=reason
            )

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = descriptor = os.open(self.path, flags, 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        os.fchmod(descriptor, 0o600)
        self.size = status.st_size + self._octets

    def _write(self) -> None:
        assert self._descriptor is not None  # noqa: S101 - the caller's condition
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._octets = 0
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _replace(self) -> None:
        self.path.replace(predecessor(self.path))
        self._open()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def predecessor(path: Path) -> Path:
    """Give the name under which the file before this one is kept."""
    return path.with_name(f"{path.name}.1")


@implementer(IClock)
class RecordingClock:
    """A clock that notes what it was asked and answered, while ``acts`` is a list."""

    def __init__(self, clock: IClock) -> None:
        self.control = clock.control
        self.steerable = clock.steerable
        self.maximum_frequency = clock.maximum_frequency
        self.acts: list[Any] | None = None
        self._clock = clock

    def read(self) -> ClockReading:
        """Read all axes."""
        reading: ClockReading = self._clock.read()
        if self.acts is not None:
            self.acts.append(["r", *reading])
        return reading

    def from_kernel(self, stamp: Timestamp) -> Timestamp:
        """Map a kernel timestamp."""
        mapped: Timestamp = self._clock.from_kernel(stamp)
        return mapped

    def step(self, delta: int) -> ClockReading:
        """Move ``local`` at once."""
        reading: ClockReading = self._refusable(self._clock.step, delta)
        if self.acts is not None:
            self.acts.append(["s", delta, *reading])
        return reading

    def set_frequency(self, ppm: float) -> ClockReading:
        """Make the clock run faster; what is then in force is recorded too."""
        reading: ClockReading = self._refusable(self._clock.set_frequency, ppm)
        if self.acts is not None:
            self.acts.append(["f", ppm, self._clock.frequency(), *reading])
        return reading

    def frequency(self) -> float:
        """Give the correction in force."""
        ppm: float = self._clock.frequency()
        if self.acts is not None:
            self.acts.append(["q", ppm])
        return ppm

    def set_status(self, leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """Tell the kernel what is known of the clock."""
        self._clock.set_status(leap, estimated_error, maximum_error)

    def set_tai_offset(self, seconds: int) -> None:
        """Tell the kernel TAI - UTC."""
        self._clock.set_tai_offset(seconds)

    def _refusable(self, act: Callable[[Any], Result], amount: float) -> Result:
        try:
            return act(amount)
        except ClockError as error:
            if self.acts is not None:
                self.acts.append(["x", error.operation, error.errno, error.reason])
            raise


@implementer(IClockController)
class RecordingController:
    """The controller of a policy around a clock, every call of which is recorded in ``file``."""

    def __init__(self, policy: SynchronizationPolicy, clock: IClock, file: RecordFile) -> None:
        self._file = file
        self._clock = RecordingClock(clock)
        self._sources: dict[SourceId, tuple[PollLimits, ReferenceId, SelectionOptions]] = {}
        self._flushed = 0
        acts: list[Any] = []
        self._clock.acts = acts
        self._controller = Controller(policy, self._clock)
        self._clock.acts = None
        self._begin(acts)

    def _begin(self, acts: list[Any], *, middle: bool = False) -> None:
        """Write what a replay starts from; ``middle`` says that the algorithm was at work before."""
        header = {
            "format": FORMAT,
            "version": ntptwist.__version__,
            "middle": middle,
            "policy": pack(self._controller.policy),
            "steerable": self._clock.steerable,
            "maximum": self._clock.maximum_frequency,
            "own": pack(self.own_addresses),
            "sources": [self._source(source) for source in self._sources],
        }
        self._file.write(["begin", [header], acts, None])

    @property
    def own_addresses(self) -> frozenset[ReferenceId]:
        """The ids under which our clients would name us."""
        return self._controller.own_addresses

    @own_addresses.setter
    def own_addresses(self, addresses: frozenset[ReferenceId]) -> None:
        if addresses != self._controller.own_addresses:
            self._file.write(["own_addresses", [pack(addresses)], [], None])
        self._controller.own_addresses = addresses

    @property
    def policy(self) -> SynchronizationPolicy:
        """What the operator decides."""
        return self._controller.policy

    @policy.setter
    def policy(self, policy: SynchronizationPolicy) -> None:
        self._file.write(["policy", [pack(policy)], [], None])
        self._controller.policy = policy

    @property
    def leap_table(self) -> LeapTable | None:
        """The list of leap seconds."""
        return self._controller.leap_table

    @leap_table.setter
    def leap_table(self, table: LeapTable | None) -> None:
        self._file.write(["leap_table", [None if table is None else pack(table)], [], None])
        self._controller.leap_table = table

    def restore(self, memory: ClockMemory) -> None:
        """Go on with what was known before a restart."""
        self._call("restore", [pack(memory)], self._controller.restore, memory)

    def memory(self) -> ClockMemory | None:
        """Give what is worth knowing after a restart; the algorithm makes its own notes by the way."""
        return self._call("memory", [], self._controller.memory)

    def release(self) -> None:
        """Leave the clock as it should run on by itself."""
        self._call("release", [], self._controller.release)

    def add_source(
        self, source: SourceId, limits: PollLimits, address: ReferenceId, options: SelectionOptions | None = None
    ) -> None:
        """Start to keep books on a source."""
        account = self._sources[source] = (limits, address, options or SelectionOptions())
        self._call("add_source", self._source(source), self._controller.add_source, source, *account)

    def remove_source(self, source: SourceId) -> ControlUpdate:
        """Forget a source."""
        self._sources.pop(source, None)
        return self._call("remove_source", [source], self._controller.remove_source, source)

    def next_poll(self, source: SourceId) -> float:
        """Give the seconds until the next request."""
        return self._call("next_poll", [source], self._controller.next_poll, source)

    def measured(self, source: SourceId, measurement: Measurement) -> ControlUpdate:
        """Take a measurement."""
        call = "measured" if isinstance(measurement, TwoWayMeasurement) else "pulsed"
        return self._call(call, [source, pack(measurement)], self._controller.measured, source, measurement)

    def verify(self, source: SourceId) -> None:
        """Ask a source quickly a few times."""
        self._call("verify", [source], self._controller.verify, source)

    def correct_now(self) -> ControlUpdate:
        """Step the clock by all that is left to correct."""
        return self._call("correct_now", [], self._controller.correct_now)

    def timer(self) -> ControlUpdate:
        """The time that the last ControlUpdate asked for has come."""
        return self._call("timer", [], self._controller.timer)

    # questions that change nothing

    def desired_poll(self, source: SourceId) -> int:
        """Give the poll exponent."""
        return self._controller.desired_poll(source)

    def estimate(self, source: SourceId) -> SourceEstimate:
        """Give what is thought of a source."""
        return self._controller.estimate(source)

    def rejected(self) -> dict[SourceId, str]:
        """Give the sources that are of no use."""
        return self._controller.rejected()

    def status(self) -> ControllerStatus:
        """Give the state of the clock."""
        return self._controller.status()

    def _source(self, source: SourceId) -> list[Any]:
        return [source, *map(pack, self._sources[source])]

    def _call(self, name: str, given: list[Any], function: Callable[..., Result], *arguments: Any) -> Result:
        acts: list[Any] = []
        self._clock.acts = acts
        result = None
        try:
            result = function(*arguments)
        finally:
            self._clock.acts = None
            self._file.write([name, given, acts, outcome(result)])
        now = next((act[2] for act in acts if act[0] == "r"), self._flushed)
        if now - self._flushed >= FLUSH_INTERVAL or (isinstance(result, ControlUpdate) and result.decisions):
            self._flushed = now
            self._file.flush()
        if self._file.is_full:
            self._rotate()
        return result

    def _rotate(self) -> None:
        self._file.rotate()
        acts: list[Any] = []
        self._clock.acts = acts
        self._clock.read()
        self._clock.frequency()
        self._clock.acts = None
        self._begin(acts, middle=True)


def outcome(result: Any) -> Any:
    """Give what is recorded of the result of a call: enough to see that a replay gave the same."""
    if isinstance(result, ControlUpdate):
        return [result.next_update, result.stepped, pack(result.decisions)]
    return result if isinstance(result, float) else None
