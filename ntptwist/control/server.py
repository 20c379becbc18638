"""
The socket for changes: ``control.sock`` in the control directory.

Whoever may write to it can change whom the clock follows, so it is for the daemon's user and group alone (mode 0660),
and each request is logged with the kernel's word on who sent it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ntptwist.control.commands import commands
from ntptwist.interfaces import IControl
from ntptwist.net.local import LocalServer, peer_of
from ntptwist.net.requests import Command, RequestProtocol

SOCKET_NAME = "control.sock"


class ControlServer(LocalServer):
    """Carries the wishes of operators to an IControl."""

    purpose = "nothing can be changed while the daemon runs, but by SIGHUP"

    def __init__(self, directory: str, control: IControl, reactor: Any) -> None:
        super().__init__(Path(directory) / SOCKET_NAME, 0o660, reactor)
        self._commands = commands(control)

    def make_protocol(self) -> RequestProtocol:
        """Begin a conversation."""
        heard: dict[str, Command] = {}
        protocol = RequestProtocol(self, heard)
        for name, command in self._commands.items():
            heard[name] = partial(self._ask, protocol, name, command)
        return protocol

    def _ask(self, protocol: RequestProtocol, name: str, command: Command, request: dict[str, Any]) -> Any:
        peer = peer_of(protocol.transport)
        self.log.info("{command} is asked for by user {uid}, process {pid}", command=name, uid=peer.uid, pid=peer.pid)
        return command(request)
