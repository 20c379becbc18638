"""
Answers an unmodified chronyc: chrony's command protocol, only what reads, to this machine alone.

chronyd answers strangers what tells nothing and the rest over its UNIX socket only; here everything that is answered
tells nothing that ``observe.sock`` does not, so both ways are alike.  A request never leads to a longer reply
(``wire.candm``), there are no sessions, and what a client may cost is bounded: a reply that can't be delivered is
dropped.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.protocol import DatagramProtocol

from ntptwist.config.value import HostPort
from ntptwist.errors import DeviceError, WireError
from ntptwist.interfaces import ISystem
from ntptwist.kernel.unixsocket import Access
from ntptwist.log import Logger
from ntptwist.net.address import socket_address
from ntptwist.net.unix import listen_answers
from ntptwist.observe import chrony_report as report
from ntptwist.observe.address import endpoint
from ntptwist.observe.recent import Recent
from ntptwist.snapshot import ServerSnapshot, SourceSnapshot, SystemSnapshot
from ntptwist.wire.candm import (
    VERSION,
    Command,
    Reply,
    Request,
    Status,
    counts,
    decode_address,
    decode_index,
    parse,
    reply,
)

LARGEST_REQUEST = 1024
"""Octets; more than the largest request, so that one that is too long is seen to be."""

OCTETS_AT_ONCE = 4096
"""Octets of requests that are worked on before the reactor turns to others: 40 of the usual ones, 2 ms at the most."""

NTP_DATA_4_9_SIZE = 172
SERVER_STATS_4_9_SIZE = 196
"""Octets of a request whose chronyc knows the later form of the reply."""

MODE = 0o660
"""
Of a socket at a path.  Whoever asks over it and never reads the answers holds a part of the room that there is for
them, so it is for those who may make a socket in the same directory, as chronyc does; everybody else takes the address.
"""

Answer = tuple[Reply, bytes] | Status
_Sourced = Callable[[SourceSnapshot, int, SystemSnapshot], bytes]


class ChronycAnswers:
    """
    What chronyc is told; knows nothing of sockets.

    ``snapshot`` gives the state of the daemon, ``servers`` what there is to show of the servers of time.
    """

    def __init__(
        self,
        snapshot: Callable[[], SystemSnapshot],
        servers: Callable[[], Sequence[ServerSnapshot]] = tuple,
    ) -> None:
        self.received = 0
        self._snapshot = snapshot
        self._servers = servers
        self._commands: dict[int, Callable[[Request], Answer]] = {
            Command.NULL: lambda _: (Reply.NULL, b""),
            Command.N_SOURCES: lambda _: (Reply.N_SOURCES, counts([len(snapshot().sources)], 4)),
            Command.TRACKING: lambda _: (Reply.TRACKING, report.tracking(snapshot())),
            Command.ACTIVITY: lambda _: (Reply.ACTIVITY, report.activity(snapshot())),
            Command.SERVER_STATS: self._server_stats,
            Command.SOURCE_DATA: lambda request: self._numbered(request, Reply.SOURCE_DATA, report.source_data),
            Command.SOURCE_STATS: lambda request: self._numbered(request, Reply.SOURCE_STATS, report.source_stats),
            Command.SELECT_DATA: lambda request: self._numbered(request, Reply.SELECT_DATA, report.select_data),
            Command.NTP_DATA: self._ntp_data,
            Command.AUTH_DATA: lambda request: self._named(request, Reply.AUTH_DATA, report.authentication_data),
            Command.NTP_SOURCE_NAME: lambda request: self._named(request, Reply.NTP_SOURCE_NAME, report.source_name),
        }

    def answer(self, packet: bytes) -> bytes | None:
        """Give the reply to a request; None to what is no request, and where it would be longer than the request."""
        self.received += 1
        try:
            request = parse(packet)
        except WireError:
            return None
        answer = self._judge(request)
        if not isinstance(answer, Status):
            whole = reply(request, answer[0], body=answer[1])
            if whole is not None:
                return whole
            answer = Status.BAD_PACKET_LENGTH
        return reply(request, Reply.NULL, answer)

    def _judge(self, request: Request) -> Answer:
        if request.version != VERSION:
            return Status.BAD_PACKET_VERSION
        command = self._commands.get(request.command)
        if command is None:
            return Status.UNAUTHORISED
        try:
            return command(request)
        except WireError:
            return Status.BAD_PACKET_LENGTH

    def _numbered(self, request: Request, form: Reply, body: _Sourced) -> Answer:
        """Answer about the source of a number."""
        snapshot = self._snapshot()
        index = decode_index(request.data)
        if index >= len(snapshot.sources):
            return Status.NO_SUCH_SOURCE
        return form, body(snapshot.sources[index], index, snapshot)

    def _named(self, request: Request, form: Reply, body: Callable[[SourceSnapshot], bytes]) -> Answer:
        """Answer about the source at an address."""
        row = self._find(request)
        return Status.NO_SUCH_SOURCE if row is None else (form, body(row))

    def _ntp_data(self, request: Request) -> Answer:
        row = self._find(request)
        if row is None or endpoint(row) is None:
            return Status.NO_SUCH_SOURCE
        later = request.size >= NTP_DATA_4_9_SIZE
        return (Reply.NTP_DATA_4_9 if later else Reply.NTP_DATA), report.ntp_data(row, later=later)

    def _server_stats(self, request: Request) -> Answer:
        later = request.size >= SERVER_STATS_4_9_SIZE
        body = report.server_stats(self._servers(), self.received, later=later)
        return (Reply.SERVER_STATS if later else Reply.SERVER_STATS_4_3), body

    def _find(self, request: Request) -> SourceSnapshot | None:
        """Give the source at the address that is asked for."""
        wanted = decode_address(request.data)
        rows = enumerate(self._snapshot().sources)
        return next((row for index, row in rows if wanted is not None and report.address(row, index) == wanted), None)


class _Clients(DatagramProtocol):
    noisy = False

    def __init__(self, answers: ChronycAnswers) -> None:
        self._answers = answers

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer a request of this machine."""
        if not addr or (isinstance(addr, tuple) and not ip_address(addr[0]).is_loopback):
            return  # a UNIX socket without a name, or a packet that has no business on this address
        answer = self._answers.answer(datagram)
        if answer is not None and self.transport is not None:
            self.transport.write(answer, addr)


class ChronycServer(Service):
    """
    Listens for chronyc: at a loopback address, or at the path of a UNIX socket.

    The daemon goes on without it when it can't be had.
    """

    log = Logger()

    def __init__(
        self,
        listen: HostPort | str,
        system: ISystem,
        reactor: Any,
        servers: Callable[[], Sequence[ServerSnapshot]] = tuple,
    ) -> None:
        self.listen = listen
        self.answers = ChronycAnswers(Recent(system.snapshot, reactor.seconds), Recent(servers, reactor.seconds))
        self.port: Any = None
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """Listen while privileges last: port 323 needs them."""
        super().privilegedStartService()
        try:
            self._open()
        except (OSError, DeviceError) as error:
            self.log.error("{where}: can't listen ({reason}): chronyc gets no answer", where=self.listen, reason=error)

    def startService(self) -> None:
        """Listen, where that has not been done yet."""
        super().startService()
        if self.port is None:
            self.privilegedStartService()

    def stopService(self) -> Any:
        """Close the socket."""
        super().stopService()
        port, self.port = self.port, None
        return None if port is None else port.stopListening()

    def _open(self) -> None:
        clients = _Clients(self.answers)
        if isinstance(self.listen, str):
            Path(self.listen).parent.mkdir(mode=0o755, exist_ok=True)
            self.port = listen_answers(self._reactor, self.listen, Access(MODE), clients, LARGEST_REQUEST)
            return
        family, address = socket_address(self.listen.host, self.listen.port)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:  # Twisted leaves its own open where it can't be bound
            sock.setblocking(False)  # noqa: FBT003 - the name of the method says it
            sock.bind(address)
            self.port = self._reactor.adoptDatagramPort(sock.fileno(), family, clients, LARGEST_REQUEST)
        self.port.maxThroughput = OCTETS_AT_ONCE  # Twisted's own reads thousands of requests at a time
