"""A reactor whose processes the test plays: what a daemon tells its workers, and what they say and do."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.server.feed import LONGEST_FEED, Frames, Report, frame
from ntptwist.server.workers import LOOK_INTERVAL
from ntptwist.snapshot import ClientSnapshot


class Process:
    """The transport of a process that the test plays."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.pid: int | None = 1234
        self.told: list[dict[str, Any]] = []
        self.stopped = False
        self._frames = Frames(LONGEST_FEED)

    def write(self, data: bytes) -> None:
        """Keep what it is told."""
        self.told += self._frames.receive(data)

    def closeStdin(self) -> None:
        """It is told no more."""
        self.stopped = True

    def signalProcess(self, name: str) -> None:
        """End it."""
        assert name == "KILL"
        self.end(9)

    def report(self, received: int, *clients: ClientSnapshot) -> None:
        """Say what it has done."""
        self.protocol.outReceived(frame(Report({**Report().counters, "received": received}, clients).pack()))

    def end(self, signal: int | None = None, status: int | None = None) -> None:
        """Let it end."""
        self.pid = None
        self.protocol.processEnded(
            Failure(ProcessTerminated(status, signal) if signal or status else ProcessDone(None))
        )


@implementer(IReactorProcess)
class Processes(Clock):
    """A reactor that starts processes which the test plays; it does not run before ``run`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Process] = []
        self.descriptors: list[int] = []
        self.refuses = False
        self._waiting: list[tuple[Any, tuple[Any, ...]]] = []

    def callWhenRunning(self, function: Any, *arguments: Any) -> None:
        """Call it later."""
        self._waiting.append((function, arguments))

    def run(self) -> None:
        """Call what waits for that."""
        waiting, self._waiting = self._waiting, []
        for function, arguments in waiting:
            function(*arguments)

    def spawnProcess(  # type: ignore[override]  # as it is called here
        self, protocol: Any, *command: Any, childFDs: dict[int, Any], **others: Any
    ) -> Any:
        """Start a process."""
        if self.refuses:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        process = Process(protocol)
        self.started.append(process)
        self.descriptors.append(childFDs[3])
        protocol.makeConnection(process)
        return process

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the server looks at it, with the workers that run reporting each time."""
        for _ in range(round(seconds / LOOK_INTERVAL)):
            for process in self.started:
                if process.pid is not None:
                    process.report(0)
            self.advance(LOOK_INTERVAL)
