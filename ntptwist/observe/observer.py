"""
The read-only socket: ``observe.sock`` in the control directory.

Everybody may ask (mode 0666 in a directory of mode 0755): nothing here can change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ntptwist.interfaces import ISystem
from ntptwist.net.local import LocalServer
from ntptwist.net.requests import Command, RequestProtocol
from ntptwist.observe.state import status_data
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot

SOCKET_NAME = "observe.sock"


class Observer(LocalServer):
    """
    Answers what ``ntptwist-ctl`` and programs ask of the state of the daemon.

    ``servers`` and ``key_servers`` give what there is to show of the servers of time and of NTS keys.
    """

    purpose = "ntptwist-ctl gets no answer"

    def __init__(
        self,
        directory: str,
        system: ISystem,
        reactor: Any,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
        key_servers: Callable[[], Iterable[KeyServerSnapshot]] = tuple,
    ) -> None:
        super().__init__(Path(directory) / SOCKET_NAME, 0o666, reactor)
        self._system = system
        self._servers = servers
        self._key_servers = key_servers
        self._commands: dict[str, Command] = {"status": self._status}

    def make_protocol(self) -> RequestProtocol:
        """Begin a conversation."""
        return RequestProtocol(self, self._commands)

    def _status(self, _: dict[str, Any]) -> Any:
        return status_data(self._system.snapshot(), self._servers(), self._key_servers())
