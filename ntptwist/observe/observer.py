"""
The read-only socket: ``observe.sock`` in the control directory.

Everybody may ask (mode 0666 in a directory of mode 0755): nothing here can change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ntptwist.identifiers import SourceId
from ntptwist.interfaces import ISystem
from ntptwist.net.local import LocalServer
from ntptwist.net.requests import Command, RequestProtocol
from ntptwist.observe.history import History
from ntptwist.observe.metrics import Meter
from ntptwist.observe.state import status_data
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot

SOCKET_NAME = "observe.sock"


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
        self._commands: dict[str, Command] = {"status": self._status}
        if history is not None:
            self._history = history
            self._commands["history"] = self._samples
        if meter is not None:
            self._commands["metrics"] = lambda _: meter.text()

    def make_protocol(self) -> RequestProtocol:
        """Begin a conversation."""
        return RequestProtocol(self, self._commands)

    def _status(self, _: dict[str, Any]) -> Any:
        return status_data(self._system.snapshot(), self._servers(), self._key_servers())

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
