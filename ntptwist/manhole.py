"""
The console: a Python prompt inside the running daemon, on ``console.sock`` in the control directory.

It can do whatever the daemon can, so it is off unless ``[console] enabled`` says otherwise, only root and the daemon's
own user are let in (by the kernel's word, whatever the modes of socket and directory), and each use is logged with the
user and the process.  ``ntptwist-ctl console`` attaches a terminal.

The prompt runs in the reactor: while a line of Python is working the daemon does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.manhole import Manhole
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import TimeoutMixin

from ntptwist.interfaces import ISpawnerService
from ntptwist.log import Logger
from ntptwist.net.local import LocalServer, Peer, peer_of
from ntptwist.observe import screens
from ntptwist.observe.find import why_data
from ntptwist.observe.state import status_data
from ntptwist.observe.why import why_lines
from ntptwist.snapshot import ServerSnapshot
from ntptwist.system import System

SOCKET_NAME = "console.sock"
IDLE_LIMIT = 3600.0
"""Seconds after which a silent visitor is hung up on: a console that was forgotten should not stand open."""

LONGEST_LINE = 65_536

GREETING = """\
ntptwist {version}: a Python prompt inside the daemon.  It can do harm: the clock is in its hands.
  status()   is the clock right         sources()     every source, and why it is used or not
  names()    what there is to look at   why("NAME")   all that is known of one source
  exit()     leaves, as Ctrl-D does
"""

Names = Mapping[str, Any]


class Listing(Mapping[str, Any]):
    """
    What there is at the moment, by name: looked up anew each time, and called like a function it is printed.

    Two of the same name are told apart by a number: ``ntp.example.net:123``, ``ntp.example.net:123 (2)``.
    """

    def __init__(self, find: Callable[[], Iterable[tuple[str, Any]]], lines: Callable[[], Iterable[str]]) -> None:
        self._find = find
        self._lines = lines

    def __call__(self) -> None:
        """Print it as a table."""
        _show(self._lines())

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, each in self._find():
            same = sum(1 for known in found if known == name or known.startswith(f"{name} ("))
            found[f"{name} ({same + 1})" if same else name] = each
        return found


class Prompt(Manhole):
    """One conversation; without colours, which would cost the reactor a look at the whole statement each keystroke."""

    def __init__(self, namespace: Names, greeting: str) -> None:
        super().__init__(namespace)
        self._greeting = greeting

    def initializeScreen(self) -> None:  # noqa: N802 - Twisted's name
        """Greet, and keep what stands on the terminal."""
        self.terminal.write(self._greeting.encode())
        self.terminal.write(self.ps[self.pn])
        self.setInsertMode()

    def addOutput(self, data: Any, isAsync: Any = None) -> None:  # noqa: N802, N803 - Twisted's names
        """Write what Python prints: not every character is ASCII."""
        octets = data.encode("utf-8", "replace") if isinstance(data, str) else data
        super().addOutput(octets, isAsync)

    def characterReceived(self, ch: Any, moreCharactersComing: Any) -> None:  # noqa: N802, N803 - Twisted's names
        """Take a character of a line, unless the line has no end."""
        if len(self.lineBuffer) < LONGEST_LINE:
            super().characterReceived(ch, moreCharactersComing)
        else:
            self.terminal.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        """Run a line; one that wants to end the process ends the conversation."""
        try:
            super().lineReceived(line)
        except SystemExit:
            self.terminal.loseConnection()


class Visitor(TimeoutMixin, ServerProtocol):
    """A connection, which is a conversation if its user may have one."""

    log = Logger()
    transport: Any  # what listenUNIX gives

    def __init__(self, console: Console) -> None:
        super().__init__(Prompt, console.namespace(), console.greeting)
        self._console = console
        self._peer: Peer | None = None

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        """Give TimeoutMixin the reactor that the console was given."""
        return self._console.reactor.callLater(period, func)

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
        self.setTimeout(self._console.idle_limit)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Take keystrokes, and know that somebody is there."""
        self.resetTimeout()
        super().dataReceived(data)

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Hang up on a visitor who has been silent."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.setTimeout(None)
        self._console.clients.discard(self)
        if self._peer is not None:
            self.log.warn("console: left by user {uid}, process {pid}", uid=self._peer.uid, pid=self._peer.pid)
            super().connectionLost(reason)


class Console(LocalServer):
    """
    Listens for terminals.

    ``names`` gives what a visitor finds beside ``system``, ``clock``, ``sources``, ``spawners``, ``servers`` and the
    functions; it is asked at the beginning of each conversation.  ``users`` are the ids of those who are let in.
    """

    purpose = "there is no console"
    limit = 4
    idle_limit = IDLE_LIMIT

    def __init__(
        self,
        directory: str,
        system: System,
        reactor: Any,
        version: str,
        names: Callable[[], Names] = dict,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
        users: frozenset[int] | None = None,
    ) -> None:
        super().__init__(Path(directory) / SOCKET_NAME, 0o600, reactor)
        self.greeting = GREETING.format(version=version).replace("\n", "\r\n")
        self.users = users if users is not None else frozenset({0, os.geteuid()})
        self._system = system
        self._names = names
        self._servers = servers

    def make_protocol(self) -> Protocol:
        """Begin a conversation."""
        return Visitor(self)

    def namespace(self) -> dict[str, Any]:
        """Give the names of one conversation: a visitor's own assignments end with it."""
        found: dict[str, Any] = {
            "system": self._system,
            "clock": self._system.clock,
            "sources": Listing(self._sources, lambda: screens.sources_lines(self._status())),
            "spawners": Listing(self._spawners, self._spawner_lines),
            "servers": Listing(lambda: [(each.address, each) for each in self._servers()], self._server_lines),
            **self._names(),
            "status": lambda: _show(screens.status_lines(self._status())),
            "why": self._why,
            "exit": _leave,
        }
        documented = sorted([*found, "names"])
        found["names"] = lambda: _show(documented)
        return found

    def _status(self) -> dict[str, Any]:
        return status_data(self._system.snapshot(), self._servers())

    def _spawners(self) -> Iterator[tuple[str, Any]]:
        children: list[Any] = [child for child in self._system if ISpawnerService.providedBy(child)]
        for child in children:
            yield child.spawner.address_description, child

    def _sources(self) -> Iterator[tuple[str, Any]]:
        for _, spawner in self._spawners():
            for source in spawner:
                seen = source.observe()
                yield (seen.address if seen.mode == "pool" else seen.name), source

    def _spawner_lines(self) -> list[str]:
        return [f"{child.mode:<8} {name}: {len(list(child))} sources" for name, child in self._spawners()]

    def _server_lines(self) -> list[str]:
        return [f"{server['address']}: {screens.serving(server)}" for server in self._status()["servers"]]

    def _why(self, name: str | int | None = None) -> None:
        """Print why a source is used or not; without one, why the clock is where it is."""
        try:
            answer = why_data(self._system, None if name is None else str(name))
        except ValueError as error:
            _show([str(error)])
        else:
            _show(why_lines(answer))


def _leave() -> NoReturn:
    """End the conversation; the interpreter's own ``exit`` would close the daemon's standard input as well."""
    raise SystemExit


def _show(lines: Iterable[str]) -> None:
    """Print: while a line of Python is at work the interpreter leads what is printed to its terminal."""
    print("\n".join(lines))  # noqa: T201
