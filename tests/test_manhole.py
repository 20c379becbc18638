"""The console in the daemon, and the terminal that is attached to it."""

from __future__ import annotations

import os
import pty
import re
import socket
import stat
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.logger import capturedLogs, formatEvent

from ntptwist.config.loader import loads
from ntptwist.manhole import LONGEST_LINE, Console, Listing
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.world import World
from ntptwist.snapshot import ServerSnapshot
from ntptwist.system import System

reactor: Any = _reactor
ROOT = Path(__file__).parents[1]
COLOUR = re.compile(rb"\x1b(\[[0-9;?]*[A-Za-z]|E|D|M)")
NOBODY = 65_534
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COUNTERS = {"accepted": 5, "received": 7}


def command(directory: Path) -> list[str]:
    """Give the words that attach a terminal to the console in a directory."""
    config = directory / "ntptwist.toml"
    config.write_text(f'[control]\ndirectory = "{directory}"\n')
    return [sys.executable, "-m", "ntptwist.cli.ctl", "-c", str(config), "console"]


def system() -> System:
    """Make a system with one source that has not started."""
    world = World(1)
    config = loads(
        '[control]\ndirectory = "/none"\n[[source]]\nmode = "server"\naddress = "ntp1.example"\n', find_driver
    )
    daemon = make_service(config, world.reactor, world.clock, world.randbytes)
    assert daemon.system is not None
    return daemon.system


class Terminal(Protocol):
    """Somebody at the console, who knows what was shown so far."""

    def __init__(self) -> None:
        self.shown = b""
        self.closed: Deferred[None] = Deferred()
        self._wanted: tuple[bytes, Deferred[str]] | None = None

    def dataReceived(self, data: bytes) -> None:
        """See what is printed."""
        self.shown = COLOUR.sub(b"", self.shown + data)
        self._look()

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.closed.callback(None)

    def until(self, text: str) -> Deferred[str]:
        """Wait until a text is there; give and forget all that was shown up to its end."""
        found: Deferred[str] = Deferred()
        self._wanted = (text.encode(), found)
        self._look()
        return found

    def type(self, text: str) -> None:
        """Press keys."""
        self.transport.write(text.encode())  # type: ignore[union-attr]

    def leave(self) -> None:
        """Vanish."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _look(self) -> None:
        if self._wanted is not None and self._wanted[0] in self.shown:
            (text, found), self._wanted = self._wanted, None
            end = self.shown.index(text) + len(text)
            before, self.shown = self.shown[:end], self.shown[end:]
            found.callback(before.decode())


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest-twisted has no types
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """A console that listens."""
    server = ServerSnapshot("[::]:123", "the port is taken", COUNTERS)
    service = Console(
        str(tmp_path), system(), reactor, "1.2", lambda: {"config": "the configuration"}, lambda: [server]
    )
    service.startService()
    yield service
    await maybeDeferred(service.stopService)


async def visit(console: Console) -> Terminal:
    """Sit down at the console and wait for the prompt."""
    terminal = Terminal()
    await connectProtocol(UNIXClientEndpoint(reactor, str(console.path)), terminal)
    await terminal.until(">>> ")
    return terminal


async def say(terminal: Terminal, line: str) -> str:
    """Type a line and give what is shown from there to the next prompt."""
    terminal.type(line + "\r")
    return (await terminal.until(">>> ")).replace("\r\n", "\n")


async def test_the_functions_print(console: Console) -> None:
    """``status()``, ``sources()``, ``spawners()``, ``servers()`` and ``why()`` show what the tool would show."""
    terminal = await visit(console)
    answers = [await say(terminal, line) for line in ("status()", "sources()", "spawners()", "servers()")]
    why = await say(terminal, "why('ntp1.example:123')")
    unknown = await say(terminal, "why('ntp9')")
    terminal.leave()
    await terminal.closed

    assert "Not synchronized" in answers[0]
    assert "ntp1.example:123" in answers[1]
    assert "server   ntp1.example:123: 0 sources" in answers[2]
    assert "[::]:123: not served: the port is taken" in answers[3]
    assert "ntp1.example:123: no source yet" in why
    assert "no source 'ntp9'; there are" in unknown


async def test_the_names_are_the_daemons_own_parts(console: Console) -> None:
    """The documented names are listed, and stand for the running parts."""
    terminal = await visit(console)
    names = await say(terminal, "names()")
    clock = await say(terminal, "clock is system.clock, config")
    spawner = await say(terminal, "spawners['ntp1.example:123'].mode, list(spawners), len(sources), servers")
    terminal.leave()
    await terminal.closed

    assert names.split("\n")[1:-1] == [
        "clock", "config", "exit", "names", "servers", "sources", "spawners", "status", "system", "why"
    ]  # fmt: skip
    assert "(True, 'the configuration')" in clock
    assert "('server', ['ntp1.example:123'], 0, {'[::]:123': ServerSnapshot(" in spawner


def test_two_of_one_name() -> None:
    """Things of the same name are told apart by a number, in the order in which they were found."""
    listing = Listing(lambda: [("a", 1), ("b", 2), ("a", 3), ("a", 4)], list)

    assert dict(listing) == {"a": 1, "b": 2, "a (2)": 3, "a (3)": 4}


async def test_what_is_assigned_ends_with_the_conversation(console: Console) -> None:
    """A visitor's names are nobody else's, and shadowing a function spoils it for this visitor alone."""
    terminal = await visit(console)
    await say(terminal, "status = 7; mine = 1")
    mine = await say(terminal, "status + mine")
    terminal.leave()
    await terminal.closed
    other = await visit(console)
    theirs = await say(other, "mine")
    other.leave()
    await other.closed

    assert "8" in mine
    assert "NameError" in theirs


async def test_a_mistake_is_shown_and_harms_nothing(console: Console) -> None:
    """What goes wrong in a line is printed to who typed it; other conversations and the daemon go on."""
    terminal, other = await visit(console), await visit(console)
    wrong = await say(terminal, "1 / 0")
    nonsense = await say(terminal, "][")
    again = await say(terminal, "6 * 7")
    elsewhere = await say(other, "'ä'.upper() or chr(0x2126)")
    for each in (terminal, other):
        each.leave()
        await each.closed

    assert "ZeroDivisionError" in wrong
    assert "SyntaxError" in nonsense
    assert "42" in again
    assert ">>> " in elsewhere


@pytest.mark.parametrize("keys", ["exit()\r", "raise SystemExit(3)\r", "\x04", "\x1c", "1 +\x03\x04"])
async def test_ways_to_leave(console: Console, keys: str) -> None:
    """``exit()``, Ctrl-D and Ctrl-\\ end the conversation, and only that."""
    terminal = await visit(console)
    terminal.type(keys)
    await terminal.closed
    other = await visit(console)
    answer = await say(other, "40 + 2")
    other.leave()
    await other.closed

    assert "42" in answer


async def test_who_vanishes_is_forgotten(console: Console) -> None:
    """A client that goes away in the middle of a line, or before a Deferred fires, leaves nothing behind."""
    terminal = await visit(console)
    await say(terminal, "from twisted.internet.defer import Deferred")
    await say(terminal, "system.later = Deferred()")
    await say(terminal, "system.later")
    terminal.type("for each in range(")
    terminal.leave()
    await terminal.closed
    other = await visit(console)  # whose arrival is behind the other's leave
    await say(other, "system.later.callback(None)")
    clients = len(console.clients)
    other.leave()
    await other.closed

    assert clients == 1


async def test_a_limit_of_visitors(console: Console) -> None:
    """One visitor more than the limit is hung up on."""
    visitors = [await visit(console) for _ in range(console.limit)]
    refused = Terminal()
    await connectProtocol(UNIXClientEndpoint(reactor, str(console.path)), refused)
    await refused.closed
    for visitor in visitors:
        visitor.leave()
        await visitor.closed

    assert refused.shown == b""


async def test_an_endless_line_is_hung_up_on(console: Console) -> None:
    """A line without end does not fill the memory."""
    terminal = await visit(console)
    terminal.type("#" + "x" * (LONGEST_LINE + 10))
    await terminal.closed

    assert not console.clients


async def test_a_console_that_was_forgotten(console: Console) -> None:
    """A visitor who has been silent for long is hung up on."""
    console.idle_limit = 0.05
    terminal = await visit(console)
    await terminal.closed

    assert not console.clients


async def test_each_use_is_logged(console: Console) -> None:
    """Who came, who left, with the process, stands in the log."""
    with capturedLogs() as events:
        terminal = await visit(console)
        terminal.type("\x04")
        await terminal.closed
        other = await visit(console)  # whose arrival is behind the other's leave
        other.leave()
        await other.closed
    mine = [formatEvent(event) for event in events if formatEvent(event).startswith("console: ")]

    assert mine[:2] == [
        f"console: opened by user {os.geteuid()}, process {os.getpid()}",
        f"console: left by user {os.geteuid()}, process {os.getpid()}",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_other_users_are_refused(console: Console) -> None:
    """The kernel's word decides, whatever the mode of the socket: others are told, hung up on and logged."""
    mode = stat.S_IMODE(console.path.stat().st_mode)
    console.path.chmod(0o666)
    with socket.socket(socket.AF_UNIX) as connection, capturedLogs() as events:
        directory = os.open(console.path.parent, os.O_PATH)
        os.fchdir(directory)  # since pytest's own directories are closed to others
        os.close(directory)
        console.path.parent.chmod(0o755)
        os.seteuid(NOBODY)
        try:
            connection.connect(console.path.name)
        finally:
            os.seteuid(0)
            os.chdir(ROOT)
        terminal = Terminal()
        reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, ClientOf(terminal))
        terminal.type("clock\r")
        await terminal.closed

    assert mode == 0o600
    assert terminal.shown == b"only root and the daemon's own user may use the console\r\n"
    assert formatEvent(events[-1]) == f"console: refused to user {NOBODY}, process {os.getpid()}"
    assert not console.clients


class ClientOf(Factory):
    """Gives one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self._given = protocol

    def buildProtocol(self, addr: Any) -> Protocol:
        """Give it."""
        return self._given


class Screen(FileDescriptor):
    """Our end of a pseudo terminal."""

    def __init__(self, master: int, terminal: Terminal) -> None:
        super().__init__(reactor)
        self._master = master
        self._terminal = terminal
        self.startReading()

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._master

    def doRead(self) -> None:
        """See what is printed."""
        self._terminal.dataReceived(os.read(self._master, 65_536))

    def write(self, data: bytes) -> None:
        """Press keys."""
        os.write(self._master, data)


class Tool(ProcessProtocol):
    """``ntptwist-ctl console`` on a pseudo terminal of which we hold both ends."""

    def __init__(self, console: Console) -> None:
        self._master, self.slave = pty.openpty()
        self._before = termios.tcgetattr(self.slave)
        self.terminal = Terminal()
        self._screen = Screen(self._master, self.terminal)
        self.terminal.transport = self._screen
        self.ended: Deferred[int] = Deferred()
        descriptors = dict.fromkeys((0, 1, 2), self.slave)
        words = command(console.path.parent)
        reactor.spawnProcess(self, words[0], words, ENVIRONMENT, childFDs=descriptors)

    def processEnded(self, reason: Any) -> None:
        """Note the end."""
        self.ended.callback(reason.value.exitCode)

    def restored(self) -> bool:
        """Tell whether the terminal is as it was, and close it."""
        now = termios.tcgetattr(self.slave)
        self._screen.stopReading()
        os.close(self.slave)
        os.close(self._master)
        return now == self._before


@pytest.mark.parametrize("leave", ["\x04", "exit()\r"])
async def test_a_terminal(console: Console, leave: str) -> None:
    """The tool gives line editing and history, and its terminal is as it was when Ctrl-D has left the daemon."""
    tool = Tool(console)
    await tool.terminal.until(">>> ")
    raw = termios.tcgetattr(tool.slave)
    edited = await say(tool.terminal, "6 * 8\x7f7")
    moved = await say(tool.terminal, "* 2\x01100 \x05 + 1")
    tool.terminal.type("\x1b[A\x1b[A\r")
    again = await tool.terminal.until("42")
    tool.terminal.type(leave)
    status = await tool.ended

    assert not raw[3] & termios.ICANON
    assert "42" in edited
    assert "201" in moved
    assert "42" in again
    assert status == 0
    assert tool.restored()


async def test_a_daemon_that_stops(console: Console) -> None:
    """When the daemon hangs up the tool ends, and the terminal is as it was."""
    tool = Tool(console)
    await tool.terminal.until(">>> ")
    await console.stopService()
    status = await tool.ended

    assert status == 0
    assert tool.restored()


class Piped(ProcessProtocol):
    """``ntptwist-ctl console`` in a pipe."""

    def __init__(self, directory: Path) -> None:
        self.printed = b""
        self.ended: Deferred[int] = Deferred()
        words = command(directory)
        self.process = reactor.spawnProcess(self, words[0], words, ENVIRONMENT)

    def outReceived(self, data: bytes) -> None:
        """See what is printed."""
        self.printed += COLOUR.sub(b"", data)

    def errReceived(self, data: bytes) -> None:
        """See complaints."""
        self.printed += data

    def processEnded(self, reason: Any) -> None:
        """Note the end."""
        self.ended.callback(reason.value.exitCode)


@pytest.mark.parametrize("text", [b"6 * 7\n", b"print(6 * 7)", b"6 * (\n7"])
async def test_a_pipe(console: Console, text: bytes) -> None:
    """Lines from a pipe are run, and the end of the pipe leaves, even in the middle of a statement."""
    tool = Piped(console.path.parent)
    tool.process.write(text)
    tool.process.closeStdin()
    status = await tool.ended

    assert status == 0
    assert b"42" in tool.printed or b"..." in tool.printed


async def test_no_console(tmp_path: Path) -> None:
    """Where there is none the tool says how to get one, and ends with 69."""
    tool = Piped(tmp_path)
    status = await tool.ended

    assert status == 69
    assert b"is [console] enabled in its configuration?" in tool.printed
