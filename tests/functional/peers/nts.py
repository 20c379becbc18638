"""
The real daemons as servers of NTS: each with its key exchange on port 4460 and a certificate of the test's authority.

Each starts with new keys for its cookies, at every start: chronyd and ntpd-rs keep theirs only where they are told to,
and ntpsec's file is removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from tests.functional.peers.daemons import Chrony, NTPDRs, NTPsec
from tests.functional.peers.lab import FIRST_LINK_IPS, SECOND_IP, SERVER_NAMES, Lab
from tests.ntske.certificates import Authority

KEY_EXCHANGE_PORT = 4460


class Credentials:
    """An authority, and one certificate of it for every server of a lab; the files are in the lab's directory."""

    def __init__(self, lab: Lab) -> None:
        self._authority = Authority.make()
        self.authority = lab.directory / "ca.pem"
        self.certificate = lab.directory / "server.pem"
        self.key = lab.directory / "server.key"
        self.authority.write_bytes(self._authority.pem)
        self.renew()

    def renew(self) -> None:
        """Put a new certificate with a new key in the place of the old ones; for a moment they don't match."""
        server = self._authority.certify(*SERVER_NAMES, *SERVER_NAMES.values(), *FIRST_LINK_IPS, SECOND_IP)
        for path, content in ((self.certificate, server.pem + self._authority.pem), (self.key, server.key_pem)):
            fresh = path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.rename(path)


class ChronyNTS(Chrony):
    """chronyd with NTS."""

    def __init__(self, lab: Lab, suite: str, credentials: Credentials, **options: Any) -> None:
        """Prepare it."""
        nts = f"ntsservercert {credentials.certificate}\nntsserverkey {credentials.key}\n"
        super().__init__(lab, suite, extra=nts, **options)


class NTPDRsNTS(NTPDRs):
    """ntpd-rs with NTS."""

    def __init__(self, lab: Lab, suite: str, credentials: Credentials, **options: Any) -> None:
        """Prepare it."""
        super().__init__(lab, suite, **options)
        self.extra = (
            f'[[nts-ke-server]]\nlisten = "{self.ip}:{KEY_EXCHANGE_PORT}"\nntp-port = {self.port}\n'
            f'certificate-chain-path = "{credentials.certificate}"\nprivate-key-path = "{credentials.key}"\n'
        )


class NTPsecNTS(NTPsec):
    """ntpsec with NTS."""

    def __init__(self, lab: Lab, suite: str, credentials: Credentials, **options: Any) -> None:
        """Prepare it."""
        super().__init__(lab, suite, **options)
        self._cookie_keys: Path = self.directory / "nts-keys"
        self.extra = (
            f"nts enable\nnts key {credentials.key}\nnts cert {credentials.certificate}\n"
            f"nts cookie {self._cookie_keys}\n"
        )

    def start(self) -> Self:
        """Forget the keys of cookies, and start."""
        self._cookie_keys.unlink(missing_ok=True)
        return super().start()
