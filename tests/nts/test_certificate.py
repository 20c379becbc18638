"""What a server proves itself with, from PEM."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ntptwist.nts.certificate import ServerIdentity, parse_chain, parse_key
from tests.ntske.certificates import Authority


def test_a_chain_and_its_key() -> None:
    """The first certificate is the server's own, and the key is its key."""
    authority = Authority.make()
    server = authority.certify("ntp.example", "192.0.2.1")
    identity = ServerIdentity(parse_chain(server.pem + authority.pem), parse_key(server.key_pem))

    assert identity.chain == (server.certificate, authority.certificate)
    assert identity.names == "ntp.example, 192.0.2.1"
    assert "key" not in repr(identity).partition("chain")[2].lower().replace("public_key", "")


def test_a_certificate_for_nobody() -> None:
    """A certificate without names is for nobody."""
    assert Authority.make().identity.names == "nobody"


def test_they_must_belong_together() -> None:
    """A key of another certificate is refused."""
    authority = Authority.make()
    with pytest.raises(ValueError, match="it is not the key of the first certificate in the chain"):
        ServerIdentity((authority.certificate,), authority.certify("ntp.example").key)


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 9]
)
def test_no_certificates(content: bytes) -> None:
    """What holds no certificate, or a broken one, is refused."""
    with pytest.raises(ValueError, match="it holds no certificates in PEM, or one that can't be used"):
        parse_chain(content)


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff" * 9]
)
def test_no_key(content: bytes) -> None:
    """What holds no private key, or a broken one, is refused."""
    with pytest.raises(ValueError, match="it holds no private key in PEM that can be used"):
        parse_key(content)


def test_an_encrypted_key() -> None:
    """A key that needs a password is refused with these words."""
    key = Authority.make().key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(ValueError, match="it holds a private key that is encrypted"):
        parse_key(key)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_keys(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """Keys of other kinds are read too."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    assert parse_key(pem).public_key() == key.public_key()


def test_a_key_that_does_not_sign() -> None:
    """A key for exchanging secrets is of no use in a certificate."""
    pem = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="it holds a private key of a kind that does not sign"):
        parse_key(pem)
