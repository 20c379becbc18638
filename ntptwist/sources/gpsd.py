"""
The sources behind one connection to a gpsd: the time of a receiver's serial line, and its pulse.

Both measure from one conversation, so they live and end together: when the connection is lost both come to their end,
and when the last of them is stopped the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from ntptwist.errors import WireError
from ntptwist.identifiers import EndReason
from ntptwist.log import Logger
from ntptwist.sources.oneway import OneWaySource
from ntptwist.wire.gpsd import LONGEST_LINE, WATCH, Complaint, Devices, TimeReport, Version, parse_report

GREETING_LIMIT = 10.0
"""Seconds in which a gpsd greets; whoever does not is none."""


class GpsdSource(OneWaySource):
    """One kind of reports of a gpsd; ``hang_up`` is called when it has been stopped."""

    hang_up: Callable[[], None]

    def stopService(self) -> None:
        """Stop, and say so."""
        super().stopService()
        self.hang_up()

    def report(self, report: TimeReport) -> None:
        """Take a report."""
        self.happened(report.clock, report.real)


class GpsdConversation(LineOnlyReceiver):
    """
    One connection: asks for the reports of the time and hands them to the sources.

    ``device`` is the path of the receiver; None takes whichever there is.
    """

    log = Logger()
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE
    transport: Any

    def __init__(self, serial: GpsdSource, pulse: GpsdSource, device: str | None, reactor: Any) -> None:
        self._serial = serial
        self._pulse = pulse
        self._device = device
        self._reactor = reactor
        self._impatience: Any = None
        self._lost = False
        for source in (serial, pulse):
            source.hang_up = self._hang_up

    def connectionMade(self) -> None:
        """Ask for the reports; gpsd greets by itself."""
        self.transport.setTcpKeepAlive(True)
        self.transport.setTcpNoDelay(True)
        self._impatience = self._reactor.callLater(GREETING_LIMIT, self._end, "does not greet as a gpsd does")
        self.transport.write(WATCH + b"\n")

    def lineReceived(self, line: bytes) -> None:
        """Take a report."""
        try:
            report = parse_report(line)
        except WireError as error:
            if self._impatience is not None:
                self._end(f"is no gpsd: {error.reason}")
            else:
                self._serial.drop(f"malformed report: {error.reason}")
            return
        match report:
            case Version(release):
                self._be_patient()
                self.log.debug("{source}: gpsd {release}", source=self._serial.label, release=release)
            case TimeReport(device) if self._device in {None, device}:
                (self._pulse if report.is_pulse else self._serial).report(report)
            case Devices(paths) if self._device is not None and self._device not in paths:
                self._serial.trouble(f"gpsd has no {self._device}; it has {', '.join(paths) or 'no device'}")
            case Complaint(message):
                self._serial.trouble(f"gpsd says: {message}")

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - too long, whatever it says
        """Hang up: what follows can't be read."""
        self._end(f"sent a line of more than {LONGEST_LINE} octets")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The sources have come to their end."""
        self._lost = True
        self._be_patient()
        self._end("hung up" if reason is None else f"hung up: {reason.getErrorMessage()}")

    def _end(self, explanation: str) -> None:
        """End both sources, and with them the connection."""
        for source in (self._serial, self._pulse):
            source.finish(EndReason.UNREACHABLE, f"gpsd {explanation}")
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the connection when nobody listens any more."""
        if self._serial.ended and self._pulse.ended and not self._lost:
            self._lost = True
            self._be_patient()
            self.transport.abortConnection()

    def _be_patient(self) -> None:
        if self._impatience is not None and self._impatience.active():
            self._impatience.cancel()
        self._impatience = None


class GpsdFactory(Factory):
    """Makes the conversation of one connection."""

    noisy = False

    def __init__(self, conversation: GpsdConversation) -> None:
        self._conversation = conversation

    def buildProtocol(self, addr: object) -> GpsdConversation:  # noqa: ARG002 - there is one
        """Give the conversation."""
        return self._conversation
