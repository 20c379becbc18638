"""
Log events as entries of systemd's journal, with fields that can be asked for.

``journalctl NTPTWIST_SOURCE=ntp1.example.net:123`` shows what was decided about one source,
``NTPTWIST_KIND=step`` every step of the clock; PRIORITY carries our levels, so ``journalctl -p warning`` shows what is
degraded and worse.  The socket's protocol is documented by systemd ("Native Journal Protocol"); an entry that is too
large for a datagram (the largest traceback is a tenth of that) goes the way of the text log.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, textFileLogObserver
from zope.interface import implementer

SOCKET_PATH = "/run/systemd/journal/socket"
IDENTIFIER = "ntptwist"

PRIORITIES = {LogLevel.critical: 2, LogLevel.error: 3, LogLevel.warn: 4, LogLevel.info: 6, LogLevel.debug: 7}
"""syslog(3): "critical" is LOG_CRIT, since the machine itself can still be used."""

_LENGTH = Struct("<Q")


@implementer(ILogObserver)
class JournalObserver:
    """Writes events to the journal; ``fallback`` gets those that the journal does not take."""

    def __init__(self, fallback: Callable[[LogEvent], object], path: str = SOCKET_PATH) -> None:
        self._fallback = fallback
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        try:
            self._socket.sendto(b"".join(_field(name, value) for name, value in fields(event)), self._path)
        except OSError:
            self._fallback(event)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def journal_observer(
    environment: Mapping[str, str] = os.environ, descriptor: int = 2, path: str = SOCKET_PATH
) -> JournalObserver | None:
    """
    Make an observer where the journal is what ``descriptor`` (standard error) leads to, as JOURNAL_STREAM tells.

    A daemon whose output goes elsewhere, to a terminal or a file, writes its log there.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    if environment.get("JOURNAL_STREAM") != f"{status.st_dev}:{status.st_ino}":
        return None
    return JournalObserver(textFileLogObserver(sys.stderr), path)


def make_observer() -> ILogObserver:
    """Give the observer of a daemon in the foreground; also for ``twistd --logger=ntptwist.journald.make_observer``."""
    return journal_observer() or textFileLogObserver(sys.stdout)


def fields(event: LogEvent) -> Iterator[tuple[str, str]]:
    """Give the fields of an event."""
    yield "MESSAGE", eventAsText(event, includeTimestamp=False, includeSystem=False)
    yield "PRIORITY", str(PRIORITIES.get(event.get("log_level", LogLevel.info), 6))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "NTPTWIST_LOGGER", str(event.get("log_namespace", ""))
    source = str(event.get("source") or event.get("about") or "").removesuffix(": ")
    if source:
        yield "NTPTWIST_SOURCE", source
    decision: Any = event.get("decision")
    if decision is not None:
        yield "NTPTWIST_KIND", decision.kind.value
    if decision is not None and decision.amount is not None:
        yield "NTPTWIST_AMOUNT", repr(decision.amount)


def _field(name: str, value: str) -> bytes:
    """Give one field: on a line, or where it has several with its length before it."""
    octets = value.encode("utf-8", "replace")
    if b"\n" not in octets:
        return b"%s=%s\n" % (name.encode(), octets)
    return b"%s\n%s%s\n" % (name.encode(), _LENGTH.pack(len(octets)), octets)
