"""
The server's end of NTS key exchange (RFC 8915, section 4): a listening socket around ``nts.exchange.ServerExchange``.

Each connection has one request and one response.  Strangers open them, so everything about them has a limit: how many
there are, in all and of one address; how long one may take, TLS included; how many octets it may send.  What goes
beyond is closed, counted, and never answered by waiting, so a crowd of slow clients costs the others nothing but their
turn, and the daemon's other work nothing at all.

The TLS machine is driven here rather than by Twisted's wrapper, which serves protocols that talk for long: one
exchange is a matter of three segments, and the wrapper would double what Python does for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ntptwist.log import Logger
from ntptwist.nts.aead import EXPORTER_LABEL
from ntptwist.nts.exchange import Response, ServerExchange
from ntptwist.nts.keyset import KeySet
from ntptwist.ntske.tls import ALPN, NoCommonProtocolError, words_of

LARGEST_CONVERSATION: Final = 16384
"""Octets that a client may send in all: a handshake with post-quantum keys takes 2,000, a request at most 4,096."""

BACKLOG: Final = 1024
"""Clients that may wait to be let in, or refused."""

_PIECE: Final = 16384
"""Octets that are taken from the TLS machine at once."""

_HOST_BITS = 64
"""Of an IPv6 address: whoever has a network has all of them."""


class Outcome(Enum):
    """How a connection ended, for those who count."""

    GIVEN = "keys and cookies were given"
    REFUSED = "the request was answered, but not with keys"
    CROWDED = "there were too many connections"
    CROWDED_ADDRESS = "there were too many connections of that address"
    TLS = "TLS failed"
    PROTOCOL = "the client wanted no key exchange (ALPN)"
    TOO_LONG = "the client sent too much"
    TOO_SLOW = "the client was too slow"
    CLOSED = "the client closed the connection too early"


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """
    What one listening socket puts up with.

    ``timeout`` is for one whole exchange, seconds; ``connections`` are those open at a time, ``of_one_address`` those
    of one IPv4 address or one IPv6 /64.
    """

    timeout: float = 1.0
    connections: int = 512

    @property
    def of_one_address(self) -> int:
        """An eighth of all: a site behind one address is served, and can't keep the others out."""
        return max(self.connections // 8, 1)


_DEFAULT_LIMITS = ExchangeLimits()


class KeyExchangeConnection(Protocol):
    """One client; whatever it does, the connection ends within the limit of time."""

    log = Logger()
    transport: Any  # of ITCPTransport

    def __init__(self, server: KeyExchangeServer, origin: str) -> None:
        self._server = server
        self._origin = origin
        self._tls: SSL.Connection | None = None
        self._exchange: ServerExchange | None = None
        self._ended = False
        self._octets = 0
        self._limit: Any = None

    def connectionMade(self) -> None:
        """Start the limit of time; the response shall not wait for the client's acknowledgements."""
        self.transport.setTcpNoDelay(True)
        self._tls = SSL.Connection(self._server.context(), None)
        self._tls.set_accept_state()
        self._limit = self._server.reactor.callLater(self._server.limits.timeout, self._expire)

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the handshake or of the request; answer when the request is complete."""
        tls = self._tls
        if self._ended or tls is None:
            self.transport.loseConnection()  # it has its answer, and says goodbye or nonsense
            return
        self._octets += len(data)
        if self._octets > LARGEST_CONVERSATION:
            self._abort(Outcome.TOO_LONG)
            return
        try:
            tls.bio_write(data)
            if self._exchange is None:
                tls.do_handshake()
                if tls.get_alpn_proto_negotiated() != ALPN:  # it has offered nothing
                    self._abort(Outcome.PROTOCOL)
                    return
                self._exchange = self._server.exchange(self._export)
            while (response := self._exchange.received(tls.recv(_PIECE))) is None:
                pass
        except SSL.WantReadError:
            self._flush(tls)
        except SSL.ZeroReturnError:
            self._fail(tls, Outcome.CLOSED)
        except NoCommonProtocolError:
            self._fail(tls, Outcome.PROTOCOL)
        except SSL.Error as error:
            self.log.debug("key exchange with {origin}: {words}", origin=self._origin, words=words_of(error))
            self._fail(tls, Outcome.TLS)
        else:
            self._answer(tls, response)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - it ends either way
        """End the limit, and make room for another."""
        if not self._ended:
            self._end(Outcome.CLOSED)
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._tls = self._exchange = None
        self._server.leave(self._origin)

    def _answer(self, tls: SSL.Connection, response: Response) -> None:
        """Send the response with the end of TLS and of our half of the connection, and wait for the client's end."""
        self._end(Outcome.REFUSED if response.keys is None else Outcome.GIVEN)
        self.log.debug("key exchange with {origin}: {words}", origin=self._origin, words=response.words)
        tls.send(response.data)
        tls.shutdown()
        self._flush(tls)
        self.transport.loseWriteConnection()

    def _flush(self, tls: SSL.Connection) -> None:
        """Send what the TLS machine has to say."""
        try:
            while len(piece := tls.bio_read(_PIECE)) == _PIECE:
                self.transport.write(piece)
        except SSL.WantReadError:
            return
        self.transport.write(piece)

    def _fail(self, tls: SSL.Connection, outcome: Outcome) -> None:
        """End with the alert that tells the client why."""
        self._end(outcome)
        self._flush(tls)
        self.transport.loseConnection()

    def _abort(self, outcome: Outcome) -> None:
        self._end(outcome)
        self.transport.abortConnection()

    def _expire(self) -> None:
        if not self._ended:
            self._end(Outcome.TOO_SLOW)
        self.transport.abortConnection()

    def _end(self, outcome: Outcome) -> None:
        self._ended = True
        self._server.outcomes[outcome] += 1

    def _export(self, context: bytes, size: int) -> bytes:
        assert self._tls is not None  # noqa: S101 - an exchange needs keys while it has a connection
        return self._tls.export_keying_material(EXPORTER_LABEL, size, context)


class KeyExchangeFactory(Factory):
    """Makes a connection's protocol, or none where there are too many; Twisted then closes it at once."""

    noisy = False

    def __init__(self, server: KeyExchangeServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> KeyExchangeConnection | None:
        """Let a client in, or not."""
        origin = origin_of(str(getattr(addr, "host", "")))
        return KeyExchangeConnection(self._server, origin) if self._server.enter(origin) else None


def origin_of(host: str) -> str:
    """Give what counts as one client: an IPv4 address, be it mapped into IPv6, or an IPv6 /64."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)}/64"


class KeyExchangeServer(Service):
    """
    One listening socket.

    ``context`` gives the TLS context for the next connection, ``keys`` make the cookies.  ``ntp_server`` and
    ``ntp_port`` are where clients shall send their requests; None for this address and for 123.  ``startService``
    raises OSError when the address can't be had, and whatever ``context`` raises.
    ``port`` is the port in use from then on.  ``outcomes`` counts how connections ended.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: Callable[[], SSL.Context],
        keys: KeySet,
        reactor: Any,
        ntp_server: str | None = None,
        ntp_port: int | None = None,
        limits: ExchangeLimits = _DEFAULT_LIMITS,
    ) -> None:
        self.host = host
        self.port = port
        self.context = context
        self.keys = keys
        self.reactor = reactor
        self.limits = limits
        self.outcomes: Counter[Outcome] = Counter()
        self._ntp_server = ntp_server
        self._ntp_port = ntp_port
        self._origins: dict[str, int] = {}
        self._open = 0
        self._listening: Any = None

    @property
    def exchanges(self) -> int:
        """How many have given keys."""
        return self.outcomes[Outcome.GIVEN]

    def startService(self) -> None:
        """Let clients in."""
        self.context()
        try:
            # A crowd that comes at once waits in the backlog; whom the kernel turns away tries again after a second.
            self._listening = self.reactor.listenTCP(self.port, KeyExchangeFactory(self), BACKLOG, self.host)
        except CannotListenError as error:
            raise error.socketError from error
        self.port = self._listening.getHost().port
        super().startService()

    def stopService(self) -> Any:
        """Close the socket; exchanges that are under way come to their end."""
        super().stopService()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None

    def exchange(self, export: Any) -> ServerExchange:
        """Make the machine of one exchange."""
        return ServerExchange(export, self.keys.make_cookies, self._ntp_server, self._ntp_port)

    def enter(self, origin: str) -> bool:
        """Count a client in; False, and it is counted as refused, where there are too many."""
        if self._open >= self.limits.connections:
            self.outcomes[Outcome.CROWDED] += 1
            return False
        there = self._origins.get(origin, 0)
        if there >= self.limits.of_one_address:
            self.outcomes[Outcome.CROWDED_ADDRESS] += 1
            return False
        self._origins[origin] = there + 1
        self._open += 1
        return True

    def leave(self, origin: str) -> None:
        """Count a client out."""
        self._open -= 1
        there = self._origins.pop(origin) - 1
        if there:
            self._origins[origin] = there
