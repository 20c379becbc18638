"""
The real daemons and tools as clients of our server, which has the whole of its lab's first namespace.

Daemons that follow it serve as well, each at its own address, so that one plain request tells when they are
synchronised.  ntpsec is in the second namespace and refuses servers in 127.0.0.0/8: it asks over the link.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.functional.peers import fetch
from tests.functional.peers.daemons import Chrony, NTPDRs, NTPsec
from tests.functional.peers.lab import FIRST_LINK_IPS, Lab
from tests.functional.peers.nts import KEY_EXCHANGE_PORT, Credentials

LOOPBACK_IP, LINK_IP = "127.0.1.1", FIRST_LINK_IPS[0]
"""Where clients look for the server: those on its own machine, and the one beyond the link."""

_POLLS = "iburst minpoll -2 maxpoll 0"
_WRONG_BY = re.compile(r"System clock wrong by (\S+) seconds \(ignored\)")
_EXCHANGES, _COOKIES = 2, 8
_PORT = 1123
"""Where clients serve: our server has port 123 of all addresses."""


class ChronyClient(Chrony):
    """chronyd that follows our server; ``words`` are further options of its source."""

    def __init__(self, lab: Lab, suite: str, ip: str, *words: str, credentials: Credentials | None = None) -> None:
        """Prepare it."""
        lines = [f"server {LOOPBACK_IP} {_POLLS} {' '.join(words)}"]
        if credentials is not None:
            lines = [f"{lines[0]} nts", f"ntstrustedcerts {credentials.authority}", "nosystemcert"]
        super().__init__(lab, suite, ip=ip, port=_PORT, extra="\n".join([*lines, "log measurements", ""]))
        self.extra += f"logdir {self.directory}"

    @property
    def interleaved(self) -> bool:
        """Whether its latest measurement was made in interleaved mode: not every chronyc can ask every chronyd that."""
        log = self.directory / "measurements.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return bool(lines) and re.search(r" 4I( |$)", lines[-1]) is not None

    @property
    def cookies(self) -> int:
        """How many cookies it has."""
        return self._authdata(_COOKIES)

    @property
    def exchanges(self) -> int:
        """How many key exchanges it has made."""
        return self._authdata(_EXCHANGES)

    def _authdata(self, field: int) -> int:
        return int(self.chronyc("authdata").strip().split(",")[field])


class NTPDRsClient(NTPDRs):
    """ntpd-rs that follows our server."""

    def __init__(self, lab: Lab, ip: str, credentials: Credentials | None = None) -> None:
        """Prepare it."""
        source = f'[[source]]\nmode = "server"\naddress = "{LOOPBACK_IP}:123"\n'
        if credentials is not None:
            source = f'[[source]]\nmode = "nts"\naddress = "{LOOPBACK_IP}:{KEY_EXCHANGE_PORT}"\n'
            source += f'certificate-authority = "{credentials.authority}"\n'
        super().__init__(lab, "sid", ip=ip, port=_PORT, extra=source)

    @property
    def cookies(self) -> int:
        """How many cookies it has."""
        state: Any = self.state()
        return int(state["sources"][0]["nts_cookies"])


class NTPsecClient(NTPsec):
    """ntpsec that follows our server."""

    def __init__(self, lab: Lab, credentials: Credentials | None = None) -> None:
        """Prepare it."""
        words = f"server {LINK_IP} {{}} iburst minpoll 0 maxpoll 3"
        plain = words.format("")
        protected = f"nts ca {credentials.authority}\n{words.format('nts')}" if credentials is not None else ""
        super().__init__(lab, "sid", extra=protected or plain)

    @property
    def cookies(self) -> int:
        """How many cookies it has."""
        found = re.search(r"ntscookies=(-?\d+)", self.ntpq("-c", "readvar &1"))
        return int(found[1]) if found else -1


Client = ChronyClient | NTPDRsClient | NTPsecClient


def followers(lab: Lab, credentials: Credentials | None = None) -> list[Client]:
    """Start one client of each make and release; with ``credentials`` they use NTS."""
    made: list[Client] = [
        ChronyClient(lab, "bookworm", "127.0.3.1", credentials=credentials),
        ChronyClient(lab, "sid", "127.0.3.2", credentials=credentials),
        NTPDRsClient(lab, "127.0.3.3", credentials),
        NTPsecClient(lab, credentials),
    ]
    return [each.start() for each in made]


def chronyd_once(lab: Lab, suite: str, ip: str = LOOPBACK_IP, directives: Sequence[str] = ()) -> float | None:
    """Give the offset, in seconds, that a chronyd finds that only looks once; None where it finds no time."""
    program = fetch.unpacked(suite).command("chronyd")
    lines = [f"server {ip} {_POLLS}", "port 0", "cmdport 0", f"pidfile {lab.directory}/once-{suite}", *directives]
    words = [*lab.entering(), *program, "-Q", "-t", "4", "-U", "-u", "root", "-d", *lines, "bindcmdaddress /"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=20)
    found = _WRONG_BY.search(done.stderr)
    return float(found[1]) if found and done.returncode == 0 else None


def ntpdig_once(lab: Lab, ip: str = LOOPBACK_IP) -> dict[str, Any]:
    """Give what ntpsec's ntpdig says of a server; raise LabError where it finds no time."""
    answer: dict[str, Any] = json.loads(lab.run([*fetch.unpacked("bookworm").command("ntpdig"), "-j", ip]))
    return answer
