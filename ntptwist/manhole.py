"""
The console: a Python prompt inside the running daemon, on ``console.sock`` in the control directory.

It can do whatever the daemon can, so it is off unless ``[console] enabled`` says otherwise, only root and the daemon's
own user are let in (by the kernel's word, whatever the modes of socket and directory), and each use is logged with the
user and the process.  ``ntptwist-ctl console`` attaches a terminal.

The prompt runs in the reactor: while a line of Python is working the daemon does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.manhole import ColoredManhole
from twisted.internet.protocol import Protocol

from ntptwist.interfaces import ISystem
from ntptwist.log import Logger
from ntptwist.net.local import LocalServer, Peer, peer_of
from ntptwist.observe import screens
from ntptwist.observe.state import status_data

SOCKET_NAME = "console.sock"

GREETING = """\
ntptwist {version}: a Python prompt inside the daemon.  It can do harm: the clock is in its hands.
  status()    is the clock right          sources()   every source, and why it is used or not
  names()     what there is to look at    Ctrl-D      leaves
"""


class Prompt(ColoredManhole):
    """One conversation."""

    def __init__(self, namespace: Mapping[str, Any], greeting: str) -> None:
        super().__init__(namespace)
        self._greeting = greeting

    def initializeScreen(self) -> None:  # noqa: N802 - Twisted's name
        """Greet, and keep what stands on the terminal."""
        self.terminal.write(self._greeting.encode())
        self.terminal.write(self.ps[self.pn])
        self.setInsertMode()

    def addOutput(self, data: Any, isAsync: Any = None) -> None:  # noqa: N802, N803 - Twisted's names
        """Write what Python prints; terminals want carriage returns, and not every character is ASCII."""
        octets = data.encode("utf-8", "replace") if isinstance(data, str) else data
        super().addOutput(octets, isAsync)


class Visitor(ServerProtocol):
    """A connection, which is a conversation if its user may have one."""

    log = Logger()
    transport: Any  # what listenUNIX gives

    def __init__(self, console: Console) -> None:
        super().__init__(Prompt, console.namespace(), console.greeting)
        self._console = console
        self._peer: Peer | None = None

    def connectionMade(self) -> None:
        """Let the right ones in."""
        peer = peer_of(self.transport)
        if peer.uid not in self._console.users:
            self.log.warn("console: refused to user {uid}, process {pid}", uid=peer.uid, pid=peer.pid)
            self.transport.write(b"only root and the daemon's own user may use the console\r\n")
            self.transport.loseConnection()
            return
        self._peer = peer
        self._console.clients.add(self)
        self.log.warn("console: opened by user {uid}, process {pid}", uid=peer.uid, pid=peer.pid)
        super().connectionMade()

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self._console.clients.discard(self)
        if self._peer is not None:
            self.log.info("console: left by user {uid}, process {pid}", uid=self._peer.uid, pid=self._peer.pid)
            super().connectionLost(reason)


class Console(LocalServer):
    """
    Listens for terminals.

    ``names`` are what a visitor finds beside the helpers; ``users`` are the ids of those who are let in.
    """

    purpose = "there is no console"
    limit = 4

    def __init__(
        self,
        directory: str,
        system: ISystem,
        names: Mapping[str, Any],
        reactor: Any,
        version: str,
        users: frozenset[int] | None = None,
    ) -> None:
        super().__init__(Path(directory) / SOCKET_NAME, 0o600, reactor)
        self.greeting = GREETING.format(version=version).replace("\n", "\r\n")
        self.users = users if users is not None else frozenset({0, os.geteuid()})
        self._system = system
        self._names = dict(names)

    def make_protocol(self) -> Protocol:
        """Begin a conversation."""
        return Visitor(self)

    def namespace(self) -> dict[str, Any]:
        """Give the names of one conversation: a visitor's own assignments end with it."""
        helpers: dict[str, Callable[[], None]] = {"status": self._status, "sources": self._sources}
        found = {**self._names, **helpers}
        found["names"] = lambda: _show(sorted(each for each in found if not each.startswith("_")))
        return found

    def _status(self) -> None:
        """Print whether the clock is right."""
        _show(screens.status_lines(status_data(self._system.snapshot())))

    def _sources(self) -> None:
        """Print every source, and why it is used or not."""
        _show(screens.sources_lines(status_data(self._system.snapshot())))


def _show(lines: Iterable[str]) -> None:
    """Print: while a line of Python is at work the interpreter leads what is printed to its terminal."""
    print("\n".join(lines))  # noqa: T201
