"""
A server's certificate and key as files, which an operator renews while the server runs.

Renewal takes two files, so for a moment they may not belong together: what can't be used leaves the old pair in use.
It is looked at the next time, and complained of once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from ntptwist.log import Logger
from ntptwist.nts.certificate import ServerIdentity, parse_chain, parse_key
from ntptwist.ntske.tls import server_context, words_of

LOOK_INTERVAL: Final = 60.0
"""Seconds that pass at least between two looks at the files."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The paths of a chain and of a private key, both in PEM."""

    chain: str
    key: str

    def read(self) -> ServerIdentity:
        """Give what they hold; OSError, or ValueError with the reason and the file."""
        return identity(self.chain, Path(self.chain).read_bytes(), self.key, Path(self.key).read_bytes())

    def mark(self) -> object:
        """Give what differs when one of them was replaced or written, or a link to one leads elsewhere."""
        return _mark(self.chain), _mark(self.key)


def identity(chain: str, certificates: bytes, key: str, private: bytes) -> ServerIdentity:
    """Give what two files hold; ValueError with the reason and the file."""
    path = chain
    try:
        parsed = parse_chain(certificates)
        path = key
        return ServerIdentity(parsed, parse_key(private))
    except ValueError as error:
        raise ValueError(f"{error}: {path}") from error


def _mark(path: str) -> object:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class RenewedCertificate:
    """
    Gives the TLS context of the newest certificate that works.

    ``seconds`` is the reactor's time.
    """

    log = Logger()

    def __init__(self, files: CertificateFiles, seconds: Callable[[], float]) -> None:
        self._files = files
        self._seconds = seconds
        self._looked = 0.0
        self._mark: object = None
        self._context: SSL.Context | None = None

    def context(self) -> SSL.Context:
        """
        Give it for a new connection; once a minute the files are looked at before that.

        The first time they are read, and OSError or ValueError says why they can't be used.
        """
        now = self._seconds()
        if self._context is None:
            self._mark = self._files.mark()
            self._context = self._made(self._files.read())
            self._looked = now
        elif now - self._looked >= LOOK_INTERVAL:
            self._looked = now
            self._context = self._renewed(self._context)
        return self._context

    def look(self) -> bool:
        """Look at the files now; tell whether another certificate is in use from now on."""
        before = self._context
        if before is not None:
            self._looked = self._seconds()
            self._context = self._renewed(before)
        return self._context is not before

    def _renewed(self, context: SSL.Context) -> SSL.Context:
        mark = self._files.mark()
        if mark == self._mark:
            return context
        self._mark = mark
        try:
            return self._made(self._files.read())
        except (OSError, ValueError) as error:
            reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
            self.log.error("the new certificate is not used, the old one stays in use: {reason}", reason=reason)
            return context

    def _made(self, identity: ServerIdentity) -> SSL.Context:
        try:
            context = server_context(identity)
        except SSL.Error as error:
            raise ValueError(f"OpenSSL does not take it ({words_of(error)}): {self._files.chain}") from error
        self.log.info(
            "the certificate for {names} is in use, it is valid until {end:%Y-%m-%d %H:%M} UTC",
            names=identity.names,
            end=identity.chain[0].not_valid_after_utc,
        )
        return context
