"""
The client's end of an NTS key exchange: connect, TLS, one request, one response, close.

Everything has to be done within one limit of time, so a server that never answers, never closes or sends an octet a
second is cut off.  Whatever goes wrong is a KeyExchangeError in one line; nothing secret stands in it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.errors import KeyExchangeError
from ntptwist.net.address import with_scope
from ntptwist.nts.aead import EXPORTER_LABEL
from ntptwist.nts.exchange import ClientExchange, Completed, Failed, KeyExchangeResult
from ntptwist.ntske.tls import ALPN, Trust, VerifyingCreator, words_of

TIMEOUT: Final = 5.0
"""Seconds for a whole exchange."""

CLOSING: Final = 0.5
"""Seconds that a server has to close after a good exchange, before we do."""

NTP_PORT: Final = 123


@implementer(IHandshakeListener)
class KeyExchangeProtocol(Protocol):
    """One exchange; ``outcome`` fires with its KeyExchangeResult or fails with KeyExchangeError."""

    def __init__(self, creator: VerifyingCreator) -> None:
        self.outcome: Deferred[KeyExchangeResult] = Deferred()
        self.closed: Deferred[None] = Deferred()
        self.stage = "in the TLS handshake"
        self._creator = creator
        self._exchange: ClientExchange | None = None
        self._lost = False

    def handshakeCompleted(self) -> None:
        """Check who and what the peer is, and send the request."""
        transport: Any = self.transport
        if transport.negotiatedProtocol != ALPN:
            self._fail("it does not speak NTS key exchange (ALPN)")
        elif not self._creator.verify_name(transport.getHandle()):
            self._fail(self._creator.complaint or "")
        else:
            self.stage = "waiting for its response"
            self._exchange = ClientExchange(self._export)
            transport.write(self._exchange.request)

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the response."""
        if self._exchange is not None:
            self._judge(self._exchange.received(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say why there is no outcome, if there is none."""
        self._lost = True
        if self._exchange is not None:
            self._judge(self._exchange.closed())
        elif self._creator.complaint is not None:
            self._fail(self._creator.complaint)
        elif isinstance(reason.value, SSL.Error):
            self._fail(words_of(reason.value))
        else:
            self._fail("it closed the connection in the TLS handshake")
        self.closed.callback(None)

    def abort(self) -> None:
        """Close at once, whatever the peer does."""
        transport: Any = self.transport
        if not self._lost:
            transport.abortConnection()

    def _export(self, context: bytes, size: int) -> bytes:
        transport: Any = self.transport
        material: bytes = transport.getHandle().export_keying_material(EXPORTER_LABEL, size, context)
        return material

    def _judge(self, outcome: Completed | Failed | None) -> None:
        match outcome:
            case Completed(result):
                self.outcome.callback(self._placed(result))
            case Failed(_, words):
                self._fail(words)

    def _placed(self, result: KeyExchangeResult) -> KeyExchangeResult:
        """Fill in where to send requests: without other word to the very address of this connection."""
        transport: Any = self.transport
        peer: Any = transport.getPeer()
        host = with_scope(peer.host, int(peer.scopeID)) if isinstance(peer, IPv6Address) else peer.host
        return replace(result, server=result.server or host, port=result.port or NTP_PORT)

    def _fail(self, words: str) -> None:
        if not self.outcome.called:
            self.outcome.errback(KeyExchangeError(words))


class KeyExchangeFactory(Factory):
    """Makes the protocol of one exchange."""

    noisy = False

    def __init__(self, creator: VerifyingCreator) -> None:
        self.creator = creator
        self.exchange: KeyExchangeProtocol | None = None

    def buildProtocol(self, addr: IAddress | None) -> KeyExchangeProtocol:  # noqa: ARG002 - there is only one
        """Make the protocol."""
        self.exchange = KeyExchangeProtocol(self.creator)
        return self.exchange


async def exchange_keys(
    reactor: Any,
    host: str,
    port: int,
    trust: Trust,
    timeout: float = TIMEOUT,
    moment: datetime | None = None,
) -> KeyExchangeResult:
    """
    Make one key exchange with a server, given by name or by address.

    ``timeout`` is in seconds and holds for resolving, connecting, TLS and records together.  ``moment`` is when
    certificates have to be valid, None for now.  The result says where to send requests.  KeyExchangeError, in words
    that name the server, when there are no keys; the connection is closed in any case.
    """
    who = f"key exchange with {host}"
    try:
        factory = KeyExchangeFactory(VerifyingCreator(host, trust, moment))
    except ValueError:
        raise KeyExchangeError(f"{who}: that is neither a name nor an address") from None
    attempt = Deferred.fromCoroutine(_exchange(reactor, host, port, factory))
    try:
        return await attempt.addTimeout(timeout, reactor)
    except DeferredTimeoutError:
        stage = "in connecting to it" if factory.exchange is None else factory.exchange.stage
        raise KeyExchangeError(f"{who}: more than {timeout:g} s passed {stage}") from None
    except KeyExchangeError as error:
        raise KeyExchangeError(f"{who}: {error}") from None


async def _exchange(reactor: Any, host: str, port: int, factory: KeyExchangeFactory) -> KeyExchangeResult:
    endpoint = wrapClientTLS(factory.creator, HostnameEndpoint(reactor, host, port))
    try:
        protocol: Any = await endpoint.connect(factory)
    except DNSLookupError:
        raise KeyExchangeError("the name does not resolve") from None
    except ConnectError as error:
        raise KeyExchangeError(_words_of_refusal(error)) from None
    except ValueError:
        raise KeyExchangeError("that is neither a name nor an address") from None
    try:
        result: KeyExchangeResult = await protocol.outcome
        protocol.transport.loseConnection()
        closing = protocol.closed.addTimeout(CLOSING, reactor)
        await closing.addErrback(lambda failure: failure.trap(DeferredTimeoutError))
    finally:
        protocol.abort()
    return result


def _words_of_refusal(error: ConnectError) -> str:
    """Give in a clause why there is no connection."""
    if isinstance(error.osError, OSError) and error.osError.errno:
        return os.strerror(error.osError.errno)
    return os.strerror(error.osError) if isinstance(error.osError, int) else "it can't be reached"
