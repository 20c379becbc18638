"""
The read-only socket: ``observe.sock`` in the control directory.

Everybody may ask (mode 0666 in a directory of mode 0755): nothing here can change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from ntptwist.identifiers import SourceId
from ntptwist.interfaces import ISystem
from ntptwist.net.local import LocalServer
from ntptwist.net.requests import Command, RequestProtocol, Stream
from ntptwist.observe.find import why_data
from ntptwist.observe.history import History
from ntptwist.observe.metrics import Meter
from ntptwist.observe.state import entry_data, status_data
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot

SOCKET_NAME = "observe.sock"

FOLLOW_INTERVAL = 0.5
"""Seconds between two looks into the journal for those who follow it."""


class Observer(LocalServer):
    """
    Answers what ``ntptwist-ctl`` and programs ask of the state of the daemon.

    ``servers`` and ``key_servers`` give what there is to show of the servers of time and of NTS keys, ``history`` is
    what was sampled of the last day, and ``meter`` makes the metrics.
    """

    purpose = "ntptwist-ctl gets no answer"

    def __init__(
        self,
        directory: str,
        system: ISystem,
        reactor: Any,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
        key_servers: Callable[[], Iterable[KeyServerSnapshot]] = tuple,
        history: History | None = None,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(Path(directory) / SOCKET_NAME, 0o666, reactor)
        self._system = system
        self._servers = servers
        self._key_servers = key_servers
        self._commands: dict[str, Command] = {
            "status": self._status,
            "events": self._events,
            "why": self._why,
        }
        if history is not None:
            self._history = history
            self._commands["history"] = self._samples
        if meter is not None:
            self._commands["metrics"] = lambda _: meter.text()

    def make_protocol(self) -> RequestProtocol:
        """Begin a conversation."""
        return RequestProtocol(self, self._commands)

    def _status(self, _: dict[str, Any]) -> Any:
        data = status_data(self._system.snapshot(), self._servers(), self._key_servers())
        return {**data, "last_event": self._system.journal.last}

    def _events(self, request: dict[str, Any]) -> Any:
        """Give the entries of the journal after number ``after`` and, to ``follow``, each later one as it is made."""
        journal = self._system.journal
        after, follow = request.get("after", 0), request.get("follow", False)
        if not isinstance(after, int) or not isinstance(follow, bool):
            raise ValueError("'after' is a number, 'follow' true or false")  # noqa: TRY004 - this is told
        seen = journal.last
        data = [entry_data(entry) for entry in journal.after(after)]
        if not follow:
            return data

        def begin(tell: Callable[[Any], None]) -> Callable[[], None]:
            def look() -> None:
                nonlocal seen
                news, seen = journal.after(seen), journal.last
                for entry in news:
                    tell(entry_data(entry))

            looking = LoopingCall(look)
            looking.clock = self.reactor
            looking.start(FOLLOW_INTERVAL, now=False)
            return looking.stop

        return Stream(data, begin)

    def _why(self, request: dict[str, Any]) -> Any:
        """Give all that is known of one ``source``, with its last decisions; without it those about the clock."""
        word = request.get("source")
        if not isinstance(word, str | int | None):
            raise ValueError("'source' is a name, an address or an id")  # noqa: TRY004 - this is told
        return why_data(self._system, None if word is None else str(word))

    def _samples(self, request: dict[str, Any]) -> Any:
        """
        Give what was sampled of the clock or, where ``source`` names one by its id, of that source.

        One at a time, so that no answer keeps the daemon busy; ``after`` leaves out what the client has already.
        """
        source, after = request.get("source"), request.get("after", -1)
        if not isinstance(after, int) or not isinstance(source, int | None):
            raise ValueError("source and after are whole numbers")  # noqa: TRY004 - it is told to the client
        axis = self._history.axis(self._system.snapshot(), after)
        if source is None:
            return {**axis, "clock": self._history.clock(axis)}
        data = self._history.source(SourceId(source), axis)
        if data is None:
            raise ValueError(f"nothing is kept of a source {source}")
        return {**axis, "source": data}
