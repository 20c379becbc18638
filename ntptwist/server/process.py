"""
A worker's process as its daemon sees it: what it says is bounded, and one that does not keep to the bounds is killed.

A worker faces the network.  Should somebody get hold of one, it must not be able to keep its daemon, which has the
clock, from its work or to put words into its log that a terminal would act upon.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ntptwist.errors import WireError
from ntptwist.log import Logger
from ntptwist.server.feed import LONGEST_REPORT, Frames, Report

MOST_SILENT: Final = 300
"""
Looks without a report after which a worker hangs: 30 s, since a small machine takes seconds to start one.  They are
looks because those stand still where the daemon does.
"""

WATCH: Final = 600
"""Looks in which a worker may say so much: a minute."""
MOST_OCTETS: Final = 1 << 22
"""Ten times what the largest reports come to; one that says more wants to keep its daemon from its work."""
MOST_LINES: Final = 100
"""Of its complaints, which are logged."""

_LONGEST_LINE: Final = 1000


class WorkerProcess(ProcessProtocol):
    """
    One process, from its start to its end.

    ``report`` is its latest.  ``when_ended`` fires with the reason in words.
    """

    log = Logger()
    transport: Any

    def __init__(self, name: str) -> None:
        self.report = Report()
        self.when_ended: Deferred[str] = Deferred()
        self._name = name
        self._frames = Frames(LONGEST_REPORT)
        self._verdict: str | None = None
        self._silent = 0
        self._looks = 0
        self._octets = 0
        self._lines = 0

    def outReceived(self, data: bytes) -> None:
        """Take what it reports; one that says anything else ends here."""
        if not self._bears(data):
            return
        try:
            for message in self._frames.receive(data):
                self.report = Report.unpack(message)
                self._silent = 0
        except WireError as error:
            self._condemn(error.reason)

    def errReceived(self, data: bytes) -> None:
        """Log what it complains of, as far as it can be printed."""
        if not self._bears(data):
            return
        for line in data.decode("ascii", "replace").splitlines():
            self._lines += 1
            if self._lines <= MOST_LINES:
                text = "".join(filter(str.isprintable, line[:_LONGEST_LINE]))
                self.log.warn("{name}: {text}", name=self._name, text=text)

    def _bears(self, data: bytes) -> bool:
        """Tell whether it is to be listened to any longer."""
        self._octets += len(data)
        if self._octets > MOST_OCTETS:
            self._condemn("it says too much")
        return self._verdict is None

    def look(self) -> None:
        """Look after it; one that hangs ends here."""
        self._looks += 1
        if self._looks % WATCH == 0:
            self._octets = self._lines = 0
        self._silent += 1
        if self._silent == MOST_SILENT:
            self._condemn("it hangs")

    def _condemn(self, verdict: str) -> None:
        if self._verdict is None:
            self._verdict = verdict
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and all that it said has come."""
        value = reason.value
        number = value.signal if isinstance(value, ProcessTerminated) else None
        words = f"signal {number}" if number else f"exit status {getattr(value, 'exitCode', 0)}"
        self.when_ended.callback(self._verdict or words)

    def tell(self, message: bytes) -> None:
        """Tell it something, if it listens."""
        self.transport.write(message)

    def stop(self) -> None:
        """Let it answer what has come in, and end."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """End it at once."""
        if self.transport.pid is not None:
            self.transport.signalProcess("KILL")
