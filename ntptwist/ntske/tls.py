"""
What TLS must be for an NTS key exchange (RFC 8915, section 3), and in what words it fails.

Version 1.3 is the floor.  ALPN is offered here and checked by whoever uses the connection, since a peer without ALPN is
not refused by TLS.  The chain is verified by OpenSSL against the system's authorities and those of the configuration;
the name by service-identity, once the handshake is done and before anything is sent.  Twisted's own callback would do
both in one, but it keeps to itself what is wrong with a chain, and people need to know.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import TLSVersion, optionsForClientTLS
from zope.interface import implementer

from ntptwist.nts.certificate import ServerIdentity

ALPN: Final = b"ntske/1"

NOT_YET_VALID, EXPIRED = 9, 10
_CHAIN_ERRORS: Final = {
    18: "it is signed by itself",
    19: "the authority at its root is unknown here",
    20: "the authority that signed it is unknown here",
    21: "the authority that signed it is unknown here",
    22: "the chain is too long",
    24: "what signed it is no authority",
    26: "it is not meant for a server",
    79: "what signed it is no authority",
}
"""X509_V_ERR codes (openssl/x509_vfy.h) in words."""

_ALERTS: Final = {
    "no application protocol": "it does not speak NTS key exchange (ALPN)",
    "alert protocol version": "it does not speak TLS 1.3",
    "unsupported protocol": "it does not speak TLS 1.3",
    "wrong version number": "it does not speak TLS",
    "packet length too long": "it does not speak TLS",
    "record layer failure": "it does not speak TLS",
    "handshake failure": "it has nothing in common with us in TLS 1.3",
}
"""What OpenSSL's reasons mean here."""


class NoCommonProtocolError(SSL.Error):
    """A client that speaks TLS asks for something else than a key exchange."""


@dataclass(frozen=True, slots=True)
class Trust:
    """
    Whose signature counts: the system's authorities, and those of a PEM file's content.

    ValueError when the content holds no certificate or a broken one.
    """

    authorities: bytes = b""

    def __post_init__(self) -> None:
        if self.authorities:
            x509.load_pem_x509_certificates(self.authorities)

    def certificates(self) -> list[x509.Certificate]:
        """Give the authorities beside the system's."""
        return x509.load_pem_x509_certificates(self.authorities) if self.authorities else []

    @property
    def fingerprint(self) -> str:
        """Name this trust, so that what was agreed under it is not used under another."""
        return hashlib.sha256(self.authorities).hexdigest()


@implementer(IOpenSSLClientConnectionCreator)
class VerifyingCreator:
    """
    Makes the TLS end of one connection to ``host``, and knows what is wrong with the certificate at the other end.

    ``moment`` is when certificates have to be valid; None stands for now.  ValueError for a host that can't be one.
    """

    def __init__(self, host: str, trust: Trust, moment: datetime | None = None) -> None:
        self.complaint: str | None = None
        self._host = host.partition("%")[0]
        self._trust = trust
        self._moment = moment and moment.astimezone(UTC)
        self._options = optionsForClientTLS(
            self._host,
            acceptableProtocols=[ALPN],
            extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_3},
        )

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make the connection; called by Twisted."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(protocol)
        store = connection.get_context().get_cert_store()
        assert store is not None  # noqa: S101 - only a context without trust has none
        for certificate in self._trust.certificates():
            store.add_cert(crypto.X509.from_cryptography(certificate))
        if self._moment is not None:
            store.set_time(self._moment)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def verify_name(self, connection: SSL.Connection) -> bool:
        """Tell whether the peer's certificate is one for our host; after the handshake."""
        try:
            if isIPAddress(self._host) or isIPv6Address(self._host):
                verify_ip_address(connection, self._host)
            else:
                verify_hostname(connection, self._host.encode("idna").decode("ascii"))
        except (VerificationError, CertificateError):
            self.complaint = f"its certificate is not for {self._host}"
            return False
        return True

    def _verified(self, _: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok and self.complaint is None:
            self.complaint = self._words(certificate.to_cryptography(), error, depth)
        return bool(ok)

    def _words(self, certificate: x509.Certificate, error: int, depth: int) -> str:
        whose = "its certificate" if depth == 0 else "the certificate of an authority in its chain"
        now = (self._moment or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M")
        if error == NOT_YET_VALID:
            begin = certificate.not_valid_before_utc.strftime("%Y-%m-%d %H:%M")
            return f"{whose} is not valid before {begin} UTC, and the clock says {now}"
        if error == EXPIRED:
            end = certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M")
            return f"{whose} has expired on {end} UTC, and the clock says {now}"
        return f"its certificate is not trusted: {_CHAIN_ERRORS.get(error, f'OpenSSL says error {error}')}"


def server_context(identity: ServerIdentity) -> SSL.Context:
    """
    Make the TLS end of a server: one context for all its connections.

    There is no resumption: a client needs keys once in a long while, and what would be kept for it, or encrypted for
    it, is work.  SSL.Error when OpenSSL does not take the certificate or the key.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_alpn_select_callback(_select)
    certificate, *rest = identity.chain
    context.use_certificate(certificate)
    for each in rest:
        context.add_extra_chain_cert(each)
    context.use_privatekey(identity.key)
    return context


def _select(_: SSL.Connection, offered: list[bytes]) -> Any:
    """Choose among what a client offers by ALPN; a client that offers nothing never gets here."""
    if ALPN in offered:
        return ALPN
    # pyOpenSSL's "no overlap" lets the handshake go on; RFC 7301, section 3.2, wants it to end.
    raise NoCommonProtocolError([("ALPN", "", "no application protocol")])


def words_of(error: SSL.Error) -> str:
    """Give an error of OpenSSL in a clause for people."""
    reasons = [str(part[-1]) for part in (error.args[0] if error.args else []) if part]
    for known, words in _ALERTS.items():
        if any(known in reason for reason in reasons):
            return words
    return f"TLS failed: {'; '.join(reasons) or 'no reason given'}"
