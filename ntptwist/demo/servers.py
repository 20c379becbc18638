"""
The reference servers of the demo: real ones on loopback, which hand out this machine's own clock.

Four plain servers, the last one wrong; one that authenticates its replies, with a key exchange and a certificate of
its own; and four behind one name, for a pool.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.interfaces import IClock
from ntptwist.kernel.clock import ObservingClock, VirtualClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.protocol.server import Responder
from ntptwist.server.ntp import NTPServer
from ntptwist.snapshot import TimeSnapshot

PLAIN = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
AUTHENTICATED = "127.0.0.6"
POOL_NAME = "pool.demo"
POOL = ("127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14")
FALSE_OFFSET = 0.1
"""Seconds by which the last plain server is slow."""


class ReferenceServers(MultiService):
    """All servers of the demo; ``ports`` and ``authority`` say where they are, once they have been started."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        super().__init__()
        self._reactor = reactor
        self._directory = directory
        self.plain: list[tuple[str, int]] = []
        self.pool_port = 0
        self.exchange_port = 0
        self.authority = directory / "authority.pem"

    def startService(self) -> None:
        """Open all sockets."""
        super().startService()
        truth: IClock = ObservingClock(RealSystem())
        wrong: IClock = VirtualClock(RealSystem(), FALSE_OFFSET)
        for host in PLAIN:
            self.plain.append((host, self._serve(host, wrong if host == PLAIN[-1] else truth)))
        for host in POOL:
            self.pool_port = self._serve(host, truth, self.pool_port)
        self._authenticate(truth)

    def _serve(self, host: str, clock: IClock, port: int = 0, nts: ServerProtection | None = None) -> int:
        server = NTPServer(host, port, clock, lambda: _stratum_one(clock), self._reactor, Responder(nts=nts))
        server.setServiceParent(self)
        return server.port

    def _authenticate(self, clock: IClock) -> None:
        """Start the server that speaks NTS, and its key exchange."""
        from ntptwist.nts.certificate import ServerIdentity, parse_chain, parse_key
        from ntptwist.ntske.server import KeyExchangeServer
        from ntptwist.ntske.tls import server_context

        keys = KeySet.fresh(os.urandom)
        port = self._serve(AUTHENTICATED, clock, nts=ServerProtection(keys, os.urandom))
        certificate, key = make_certificate(AUTHENTICATED)
        self.authority.write_bytes(certificate)
        context = server_context(ServerIdentity(parse_chain(certificate), parse_key(key)))
        exchange = KeyExchangeServer(AUTHENTICATED, 0, lambda: context, keys, self._reactor, ntp_port=port)
        exchange.setServiceParent(self)
        self.exchange_port = exchange.port


@implementer(IHostnameResolver)
class PoolName:
    """Knows the one name that the demo needs, and asks the reactor's own resolver for every other."""

    def __init__(self, others: Any) -> None:
        self._others = others

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Answer at once for the pool."""
        if hostName != POOL_NAME:
            return self._others.resolveHostName(
                resolutionReceiver, hostName, portNumber, addressTypes, transportSemantics
            )
        resolutionReceiver.resolutionBegan(self)
        for host in POOL:
            resolutionReceiver.addressResolved(IPv4Address("UDP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolutionReceiver


def make_certificate(host: str) -> tuple[bytes, bytes]:
    """Make a certificate for an address that lasts a day and vouches for itself; PEM, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the demo of ntptwist")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def _stratum_one(clock: IClock) -> TimeSnapshot:
    """Give what a stratum-1 server says of its time now."""
    now = clock.read()
    return TimeSnapshot(
        leap=Leap.NONE,
        stratum=1,
        reference_id=ReferenceId.of_text("DEMO"),
        reference_time=now.local,
        monotonic=now.monotonic,
        dispersion=1e-6,
    )
