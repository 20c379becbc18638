"""A server's certificate is renewed while it runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.ntske.certificate import LOOK_INTERVAL, CertificateFiles, RenewedCertificate
from tests.ntske.certificates import DAY, Authority, Certified
from tests.ntske.conftest import HOST, StartServer


class Place:
    """The two files in a directory."""

    def __init__(self, directory: Path, certified: Certified) -> None:
        self.files = CertificateFiles(str(directory / "chain.pem"), str(directory / "key.pem"))
        self.clock = Clock()
        self.put(certified)

    def put(self, certified: Certified) -> None:
        """Put a new pair there, as tools do it: aside and into place."""
        for path, content in ((self.files.chain, certified.pem), (self.files.key, certified.key_pem)):
            Path(f"{path}.new").write_bytes(content)
            Path(f"{path}.new").replace(path)

    def opened(self) -> RenewedCertificate:
        """Give what a server uses."""
        return RenewedCertificate(self.files, self.clock.seconds)


@pytest.fixture
def place(tmp_path: Path, certified: Certified) -> Place:
    """Give a pair of files."""
    return Place(tmp_path, certified)


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Give the errors that are logged."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            seen.append(formatEvent(event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield seen
    publisher.removeObserver(observe)


def serial(port: int) -> int:
    """Ask a server for its certificate and give the serial number."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((HOST, port), timeout=5.0).encode()).serial_number


async def test_replaced_while_running(start_server: StartServer, authority: Authority, place: Place) -> None:
    """A new certificate is shown to clients a minute after it was put in place, without a restart."""
    server = start_server(context=place.opened().context)
    before = await deferToThread(serial, server.port)
    new = authority.certify(HOST)
    place.put(new)
    at_once = await deferToThread(serial, server.port)
    place.clock.advance(LOOK_INTERVAL)
    later = await deferToThread(serial, server.port)

    assert before == at_once
    assert later == new.certificate.serial_number != before


def broken(place: Place) -> None:
    """Leave half of a certificate."""
    Path(place.files.chain).write_bytes(b"-----BEGIN CERTIFICATE-----\nMII")


def removed(place: Place) -> None:
    """Take the key away."""
    Path(place.files.key).unlink()


def mismatched(place: Place) -> None:
    """Renew the certificate and not the key."""
    Path(place.files.chain).write_bytes(Authority.make("other").pem)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (broken, "it holds no certificates in PEM, or one that can't be used: {chain}"),
        (removed, "No such file or directory: {key}"),
        (mismatched, "it is not the key of the first certificate in the chain: {key}"),
    ],
)
def test_a_broken_pair(
    place: Place, authority: Authority, errors: list[str], damage: Callable[[Place], None], words: str
) -> None:
    """A pair that can't be used leaves the old one in use with one line, until there is a good one again."""
    renewed = place.opened()
    first = renewed.context()
    damage(place)
    contexts = []
    for _ in range(5):
        place.clock.advance(LOOK_INTERVAL)
        contexts.append(renewed.context())
    place.put(authority.certify(HOST))
    place.clock.advance(LOOK_INTERVAL)
    reason = words.format(chain=place.files.chain, key=place.files.key)

    assert contexts == [first] * 5
    assert errors == [f"the new certificate is not used, the old one stays in use: {reason}"]
    assert renewed.context() is not first


def test_unchanged_files(place: Place) -> None:
    """Files that are as they were are not read again."""
    renewed = place.opened()
    first = renewed.context()
    place.clock.advance(10 * LOOK_INTERVAL)

    assert renewed.context() is first


def test_a_pair_that_never_worked(place: Place) -> None:
    """Without a pair that works there is no server."""
    broken(place)
    with pytest.raises(ValueError, match="it holds no certificates in PEM"):
        place.opened().context()


def test_what_openssl_does_not_take(place: Place) -> None:
    """A key that OpenSSL finds too weak is refused in words."""
    weak = datetime(2020, 1, 1, tzinfo=UTC)
    place.put(_weak(weak))
    with pytest.raises(ValueError, match=r"OpenSSL does not take it .*key too small"):
        place.opened().context()


def _weak(begin: datetime) -> Certified:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + DAY)
    return Certified(builder.sign(key, hashes.SHA256()), key)  # type: ignore[arg-type]  # another kind of key


def test_a_look_now(place: Place, authority: Authority) -> None:
    """An operator need not wait for the next look: told to, it tells whether another certificate is in use."""
    certificate = place.opened()
    unused = certificate.look()
    first = certificate.context()
    same = certificate.look()
    place.put(authority.certify(HOST))
    renewed = certificate.look()

    assert (unused, same, renewed) == (False, False, True)
    assert certificate.context() is not first
