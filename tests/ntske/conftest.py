"""Servers for key exchanges on loopback, each closed when its test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ntptwist.nts.keyset import KeySet
from ntptwist.ntske.server import KeyExchangeServer
from ntptwist.ntske.tls import server_context
from tests.ntske.certificates import Authority, Certified

HOST = "127.0.0.1"


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Give the authority that tests trust."""
    return Authority.make()


@pytest.fixture(scope="session")
def certified(authority: Authority) -> Certified:
    """Give a good certificate for loopback."""
    return authority.certify(HOST, "::1", "localhost")


@pytest.fixture
def keyset() -> KeySet:
    """Give the keys of a server."""
    return KeySet.fresh(Random(1).randbytes)


StartServer = Callable[..., KeyExchangeServer]


@pytest.fixture
def start_server(certified: Certified, keyset: KeySet) -> Iterator[StartServer]:
    """Give a function that starts a server of ours."""
    running: list[KeyExchangeServer] = []

    def start(host: str = HOST, certified: Certified = certified, **options: Any) -> KeyExchangeServer:
        made = server_context(certified.identity)
        context = options.pop("context", lambda: made)
        server = KeyExchangeServer(host, 0, context, keyset, reactor, **options)
        server.startService()
        running.append(server)
        return server

    yield start
    for server in running:
        pytest_twisted.blockon(maybeDeferred(server.stopService))


def nothing(peer: Scripted) -> None:
    """Do nothing, as a peer that is silent."""


class Scripted(Protocol):
    """A peer that does what a test says, once TLS is there."""

    def __init__(self, act: Act) -> None:
        self.lost: Deferred[None] = Deferred()
        self._act = act

    def write(self, data: bytes) -> None:
        """Send octets."""
        transport: Any = self.transport
        transport.write(data)

    def close(self) -> None:
        """Close in order."""
        transport: Any = self.transport
        transport.loseConnection()

    def abort(self) -> None:
        """Close at once, if it is still open."""
        transport: Any = self.transport
        if not self.lost.called:
            transport.abortConnection()

    def server_name(self) -> bytes | None:
        """Give the name that the client asked for."""
        transport: Any = self.transport
        name: bytes | None = transport.getHandle().get_servername()
        return name

    def dataReceived(self, data: bytes) -> None:
        """Act upon the first octets of the request."""
        act, self._act = self._act, nothing
        act(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost.callback(None)


class ScriptedFactory(Factory):
    """Makes scripted peers and counts them."""

    noisy = False

    def __init__(self, act: Act) -> None:
        self._act = act
        self.peers: list[Scripted] = []

    def buildProtocol(self, addr: Any) -> Scripted:
        """Make one."""
        self.peers.append(Scripted(self._act))
        return self.peers[-1]


Act = Callable[[Scripted], None]


@implementer(IOpenSSLServerConnectionCreator)
class Creator:
    """A server's end of TLS in Twisted's form."""

    def __init__(self, certified: Certified) -> None:
        self._context = server_context(certified.identity)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make one."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLServerConnectionCreator)
class WithoutALPN:
    """A server's end of TLS that knows no ALPN, or ``answers`` that nothing of it suits."""

    def __init__(self, certified: Certified, *, answers: bool) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.use_certificate(certified.certificate)
        self._context.use_privatekey(certified.key)
        if answers:
            self._context.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make one."""
        return SSL.Connection(self._context, None)


StartPeer = Callable[..., int]


@pytest.fixture
def start_peer(certified: Certified) -> Iterator[StartPeer]:
    """Give a function that starts a server that does not keep to the rules, and gives its port."""
    ports: list[Any] = []
    factories: list[ScriptedFactory] = []

    def start(act: Act, options: Any = None, *, tls: bool = True) -> int:
        factories.append(ScriptedFactory(act))
        factory: Any = factories[-1]
        if tls:
            options = options or Creator(certified)
            factory = TLSMemoryBIOFactory(options, isClient=False, wrappedFactory=factory)
            factory.noisy = False
        listening: Any = reactor
        ports.append(listening.listenTCP(0, factory, interface=HOST))
        return int(ports[-1].getHost().port)

    yield start
    for factory in factories:
        for peer in factory.peers:
            peer.abort()
    for port in ports:
        pytest_twisted.blockon(maybeDeferred(port.stopListening))
