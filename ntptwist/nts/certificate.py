"""
What a key exchange server proves itself with: a certificate, the chain that leads to an authority, and a private key.

Every error is a clause that is true of the file which was read: "it holds ...".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey | RSAPrivateKey
"""The kinds of keys that sign in TLS 1.3 (RFC 8446, section 4.2.3)."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A server's own certificate, which is the first of ``chain``, and its key; ValueError when they don't match."""

    chain: tuple[x509.Certificate, ...]
    key: SigningKey = field(repr=False)

    def __post_init__(self) -> None:
        if self.chain[0].public_key() != self.key.public_key():
            raise ValueError("it is not the key of the first certificate in the chain")

    @property
    def names(self) -> str:
        """The names and addresses that the certificate is for, for people."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):
            return "nobody"
        return ", ".join(str(name.value) for name in names)


def parse_chain(content: bytes) -> tuple[x509.Certificate, ...]:
    """Read a file of certificates in PEM, the server's own first; ValueError when it holds none or a broken one."""
    try:
        chain = tuple(x509.load_pem_x509_certificates(content))
        for certificate in chain:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it holds no certificates in PEM, or one that can't be used") from error
    return chain


def parse_key(content: bytes) -> SigningKey:
    """Read a file with a private key in PEM; ValueError when it holds none that can be used without a password."""
    try:
        key = load_pem_private_key(content, None)
    except TypeError as error:  # what cryptography says of a missing password
        raise ValueError("it holds a private key that is encrypted: a daemon knows no password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it holds no private key in PEM that can be used") from error
    if not isinstance(key, SigningKey):
        raise ValueError("it holds a private key of a kind that does not sign")  # noqa: TRY004 - it is the file's fault
    return key
