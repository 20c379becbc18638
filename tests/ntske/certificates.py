"""Certificates that a test makes for itself: authorities and servers, good and bad."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ntptwist.nts.certificate import ServerIdentity

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certified:
    """A certificate with its private key; ``chain`` leads to an authority, itself first."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM, unencrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def identity(self) -> ServerIdentity:
        """The certificate alone and its key."""
        return ServerIdentity((self.certificate,), self.key)


class Authority(Certified):
    """An authority of a test's own."""

    @classmethod
    def make(cls, name: str = "test authority") -> Self:
        """Make one that is valid for a month, half of it past."""
        return cls(*_signed(name, None, datetime.now(UTC) - 400 * DAY, datetime.now(UTC) + 400 * DAY, ()))

    def delegate(self, name: str = "test intermediate") -> Self:
        """Make an authority whose own certificate this one has signed."""
        now = datetime.now(UTC)
        return type(self)(*_signed(name, self, now - 300 * DAY, now + 300 * DAY, (), ca=True))

    def certify(self, *names: str, begin: datetime | None = None, end: datetime | None = None) -> Certified:
        """Make a server's certificate for names and addresses."""
        now = datetime.now(UTC)
        return Certified(*_signed("server", self, begin or now - DAY, end or now + DAY, names))


def _signed(
    name: str, authority: Authority | None, begin: datetime, end: datetime, names: tuple[str, ...], *, ca: bool = False
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca or authority is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), critical=False)
    return builder.sign(authority.key if authority else key, hashes.SHA256()), key


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
