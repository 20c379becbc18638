"""
``mode = "nts"``: one server, authenticated by Network Time Security (RFC 8915).

A source needs keys and cookies, so an attempt is a key exchange first.  It is spared in two cases:

- At start, when a session was kept over the restart (``ntske.store``).
- When a source has ended with cookies left and the exchange fails: RFC 8915, section 5.7, asks to go on with what there
  is.  Each attempt spends cookies, so this comes to an end.

A source ends when its cookies are used up, or when the server says that it can't open them and does not answer: then
the next attempt exchanges keys anew.  How often that may happen is the SpawnerService's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.table import HostPort, Table
from ntptwist.errors import KeyExchangeError
from ntptwist.identifiers import EndReason, SourceEnd, SourceId
from ntptwist.interfaces import ISource, ISystem
from ntptwist.log import Logger
from ntptwist.net.resolver import first_reachable, resolve
from ntptwist.nts.exchange import KeyExchangeResult
from ntptwist.nts.packet import ClientProtection
from ntptwist.ntske.client import NTP_PORT, exchange_keys
from ntptwist.ntske.store import SessionStore, read_time, write_time
from ntptwist.ntske.tls import Trust
from ntptwist.protocol.client import AssociationConfiguration
from ntptwist.sources.ntp import NTPSource, ServerAddress
from ntptwist.spawners.single import SingleSpawner

KEY_EXCHANGE_PORT: Final = 4460

TIME_INTERVAL: Final = 600.0
"""Seconds between two notes of the time."""

ExchangeKeys = Callable[..., Awaitable[KeyExchangeResult]]
"""``ntske.client.exchange_keys``, or a test's own."""


@dataclass(frozen=True, slots=True)
class NTSConfiguration:
    """
    What one ``[[source]]`` with ``mode = "nts"`` says.

    ``trusts_last_known_time`` lets the validity of certificates be judged by a time noted earlier, where the clock
    shows one before that.
    """

    address: HostPort
    limits: PollLimits
    trust: Trust
    trusts_last_known_time: bool = False
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 1


class NTSSpawner(SingleSpawner):
    """Keeps one source for one key exchange server alive."""

    description = "nts"
    log = Logger()

    def __init__(
        self,
        configuration: NTSConfiguration,
        system: ISystem,
        reactor: Any,
        exchange: ExchangeKeys = exchange_keys,
    ) -> None:
        super().__init__(configuration, system, reactor)
        self._configuration = configuration
        self._exchange = exchange
        self._store = SessionStore(system.state_directory, str(configuration.address), configuration.trust.fingerprint)
        self._session: KeyExchangeResult | None = None
        self._protection: ClientProtection | None = None
        self._left: KeyExchangeResult | None = None  # of the source before, with the cookies that it did not use
        self._resumes = True  # whether what is left may be used without asking for new keys
        self._timer: Any = None

    @staticmethod
    def configure(table: Table) -> NTSConfiguration:
        """Read the table of one source."""
        if table.ntp_version() != 4:
            table.problem("ntp-version", "NTS needs version 4")
        table.without_effect(["enable-srv-resolution"], "SRV records are not looked up")
        trusting = table.boolean("trust-last-known-time", default=False)
        if trusting:
            table.warning(
                "trust-last-known-time",
                "while the clock is behind, certificates are accepted that expired after the time was last known",
            )
        return NTSConfiguration(
            table.address("address", default_port=KEY_EXCHANGE_PORT),
            table.poll_limits(),
            _trust(table),
            trusting,
            table.selection_options(),
        )

    async def make(self) -> ISource:
        """Exchange keys and make a source for the server that came out of it."""
        session = await self._find_session()
        port = session.port or NTP_PORT
        addresses = await resolve(self._reactor, session.server or self._configuration.address.host)
        host = first_reachable(self._reactor, addresses, port)
        self._left = None
        self._session = session
        self._protection = ClientProtection(session.keys, session.cookies, self._system.randbytes)
        server = ServerAddress(self.address_description, host, port)
        association = AssociationConfiguration(limits=self._configuration.limits)
        return NTPSource(
            server,
            association,
            self._system,
            self.id,
            self._reactor,
            "nts",
            self._protection,
            self._configuration.options,
        )

    async def _find_session(self) -> KeyExchangeResult:
        """Give keys and cookies: what was kept, or new ones, or what is left."""
        if self._resumes:
            self._left = self._left or self._store.take()
            if self._left is not None:
                return self._left
        address = self._configuration.address
        try:
            session = await self._exchange(
                self._reactor, address.host, address.port, self._configuration.trust, moment=self._moment()
            )
        except KeyExchangeError as error:
            if self._left is None:
                raise
            self.log.warn("{error}; going on with the cookies that are left", error=error)
            return self._left
        self.log.info(
            "key exchange with {address}: {algorithm}, {count} cookies for {server}",
            address=address,
            algorithm=session.keys.algorithm.name,
            count=len(session.cookies),
            server=session.server,
        )
        return session

    def _moment(self) -> datetime | None:
        """Give the time by which certificates are judged; None for the clock's own."""
        directory = self._system.state_directory
        if not self._configuration.trusts_last_known_time or directory is None:
            return None
        known = read_time(directory)
        if known is None or known <= datetime.now(UTC):
            return None
        self.log.warn(
            "{address}: the clock is behind the last known time, {known}: certificates are judged by that",
            address=self.address_description,
            known=known,
        )
        return known

    def source_registered(self, source: ISource) -> None:
        """Note the source."""
        super().source_registered(source)
        self._resumes = False
        if self._configuration.trusts_last_known_time:
            self._timer = self._reactor.callLater(TIME_INTERVAL, self._time_has_come)

    def source_removed(self, source: SourceId, end: SourceEnd) -> None:
        """Note that it has ended, and what it leaves; at a stop it is kept."""
        super().source_removed(source, end)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._note_time()
        cookies = self._protection.remaining_cookies() if self._protection is not None else ()
        if self._session is not None and cookies:
            self._left = replace(self._session, cookies=cookies)
        if end.reason is EndReason.STOPPED:
            self._resumes = True
            if self._left is not None and self._store.path is not None:
                self._store.keep(self._left)
                self._left = None

    def _time_has_come(self) -> None:
        self._timer = self._reactor.callLater(TIME_INTERVAL, self._time_has_come)
        self._note_time()

    def _note_time(self) -> None:
        """Note the time, if it is known: it has certainly passed when the daemon starts again."""
        directory = self._system.state_directory
        if directory is not None and self._system.clock.control == "system" and self._system.time().synchronized:
            with suppress(OSError):
                write_time(directory, datetime.now(UTC))


def _trust(table: Table) -> Trust:
    """Read whom a source trusts beside the system's authorities."""
    path = table.path("certificate-authority", None)
    if path is None:
        return Trust()
    try:
        authorities = Path(path).read_bytes()
        if authorities:
            return Trust(authorities)
        table.problem("certificate-authority", f"is empty: {path}")
    except OSError as error:
        table.problem("certificate-authority", f"can't be read: {error.strerror}: {path}")
    except ValueError:
        table.problem("certificate-authority", f"holds no certificates in PEM: {path}")
    return Trust()
