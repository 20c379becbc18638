"""
The server's end of NTS key exchange: a listening socket around ``nts.exchange.ServerExchange``.

Each connection has one request and one response, and a limit of time for all of it, TLS included.  This is the first
slice: one certificate and one key set for the life of the service.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.log import Logger
from ntptwist.nts.aead import EXPORTER_LABEL
from ntptwist.nts.exchange import ServerExchange
from ntptwist.nts.keyset import KeySet
from ntptwist.ntske.tls import ALPN

LIMIT: Final = 2.0
"""Seconds for one exchange, from the connection to its end."""


@implementer(IHandshakeListener)
class KeyExchangeResponder(Protocol):
    """One client; whatever it does, the connection ends within the limit."""

    log = Logger()

    def __init__(self, server: KeyExchangeServer, client: str) -> None:
        self._server = server
        self._client = client
        self._exchange: ServerExchange | None = None
        self._limit: Any = None

    def connectionMade(self) -> None:
        """Start the limit of time; the response shall not wait for the client's acknowledgements."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        self._limit = self._server.reactor.callLater(LIMIT, transport.abortConnection)

    def handshakeCompleted(self) -> None:
        """Expect a request, if the client wants a key exchange at all."""
        transport: Any = self.transport
        if transport.negotiatedProtocol == ALPN:
            self._exchange = self._server.exchange(self._export)
        else:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the request; answer when it is complete."""
        response = self._exchange.received(data) if self._exchange is not None else None
        if response is None:
            return
        self._server.exchanges += response.keys is not None
        self.log.debug("key exchange with {client}: {words}", client=self._client, words=response.words)
        transport: Any = self.transport
        transport.write(response.data)
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - it ends either way
        """End the limit."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()

    def _export(self, context: bytes, size: int) -> bytes:
        transport: Any = self.transport
        material: bytes = transport.getHandle().export_keying_material(EXPORTER_LABEL, size, context)
        return material


class KeyExchangeFactory(Factory):
    """Makes a responder for each client."""

    noisy = False

    def __init__(self, server: KeyExchangeServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> KeyExchangeResponder:
        """Make the responder of one client."""
        return KeyExchangeResponder(self._server, str(getattr(addr, "host", "?")))


class KeyExchangeServer(Service):
    """
    One listening socket.

    ``options`` come from ``tls.server_options``, ``keys`` make the cookies.  ``ntp_server`` and ``ntp_port`` are where
    clients shall send their requests; None for this address and for 123.  ``startService`` raises CannotListenError
    when the address can't be had; ``port`` is the port in use from then on.  ``exchanges`` counts those that gave keys.
    """

    def __init__(
        self,
        host: str,
        port: int,
        options: CertificateOptions,
        keys: KeySet,
        reactor: Any,
        ntp_server: str | None = None,
        ntp_port: int | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.reactor = reactor
        self.keys = keys
        self.exchanges = 0
        self._options = options
        self._ntp_server = ntp_server
        self._ntp_port = ntp_port
        self._listening: Any = None

    def startService(self) -> None:
        """Listen."""
        factory = TLSMemoryBIOFactory(self._options, isClient=False, wrappedFactory=KeyExchangeFactory(self))
        factory.noisy = False
        self._listening = self.reactor.listenTCP(self.port, factory, interface=self.host)
        self.port = self._listening.getHost().port
        super().startService()

    def stopService(self) -> Any:
        """Close the socket; exchanges that are under way come to their end."""
        super().stopService()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None

    def exchange(self, export: Any) -> ServerExchange:
        """Make the machine of one exchange."""
        return ServerExchange(export, self.keys.make_cookie, self._ntp_server, self._ntp_port)
