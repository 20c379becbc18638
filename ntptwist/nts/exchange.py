"""
NTS key establishment, both ends (RFC 8915, section 4): octets in, one outcome out.

The records travel inside TLS.  What is here neither knows sockets nor TLS: it is given the plaintext in pieces of any
size, and a function that exports key material from the session.

Each end takes one message.  The client's outcome is Completed or Failed; the server's is a Response, to be sent
whatever it says.  An outcome is given once, and what comes after it is not read.

The record type 1024 is chrony's.  Before it, chrony derived the keys of AES-128-GCM-SIV in a way of its own, and
nothing in an exchange tells which way a server means.  So that algorithm is used only where both ends have sent the
record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ntptwist.errors import WireError
from ntptwist.nts.aead import NTPV4, OFFERED, Algorithm, Exporter, SessionKeys
from ntptwist.nts.cookies import CAPACITY, is_acceptable
from ntptwist.wire.record import Record, RecordReader, RecordType

MAXIMUM_REQUEST: Final = 4096
"""Octets that a server reads of one request."""

UNRECOGNIZED_CRITICAL, BAD_REQUEST, INTERNAL_ERROR = range(3)
_ERRORS: Final = {
    UNRECOGNIZED_CRITICAL: "a critical record of our request is unknown to it",
    BAD_REQUEST: "it calls our request bad",
    INTERNAL_ERROR: "it has an internal error",
}
_ONCE: Final = frozenset(RecordType) - {RecordType.NEW_COOKIE, RecordType.ERROR, RecordType.WARNING}
"""Record types that a message must not have twice."""


class FailureKind(Enum):
    """In which way an exchange failed, for tests and for those who count."""

    REFUSED = "the server answered with an error"
    WARNING = "the server answered with a warning"
    MALFORMED = "the response breaks the rules"
    UNRECOGNIZED = "the response has a critical record that is unknown"
    NO_PROTOCOL = "no protocol in common"
    NO_ALGORITHM = "no algorithm in common"
    NO_COOKIES = "no cookies"
    TRUNCATED = "the connection was closed too early"


@dataclass(frozen=True, slots=True)
class KeyExchangeResult:
    """
    What an exchange gave: keys, one to eight cookies, and where to send requests.

    ``server`` is a name or an address, None where the server's own address is meant; ``port`` is 123 where None.
    """

    keys: SessionKeys
    cookies: tuple[bytes, ...] = field(repr=False)
    server: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The exchange has given keys and cookies."""

    result: KeyExchangeResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange gives nothing; ``words`` is a clause for people."""

    kind: FailureKind
    words: str


@dataclass(frozen=True, slots=True)
class Response:
    """What a server has to send; ``keys`` is None where no keys were agreed upon, and ``words`` says why."""

    data: bytes = field(repr=False)
    keys: SessionKeys | None = None
    words: str = "keys and cookies were given"


class _Refusal(Exception):  # noqa: N818 - how one machine ends, never seen outside
    """The message can't be accepted."""

    def __init__(self, kind: FailureKind, words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words


class _Message:
    """The records of one message, gathered as they come."""

    __slots__ = ("_known", "_reader", "cookies", "ended", "single")

    def __init__(self, reader: RecordReader, known: Iterable[RecordType]) -> None:
        self._reader = reader
        self._known = frozenset(known)
        self.single: dict[int, Record] = {}
        self.cookies: list[bytes] = []
        self.ended = False

    def read(self, data: bytes) -> None:
        """Take octets; _Refusal when the message can't be accepted, whatever may follow."""
        try:
            for record in self._reader.read(data):
                self._take(record)
        except WireError as error:
            raise _Refusal(FailureKind.MALFORMED, error.reason) from error

    def numbers(self, kind: RecordType, name: str) -> tuple[int, ...]:
        """Give the numbers of a record that must be there."""
        if kind not in self.single:
            raise _Refusal(FailureKind.MALFORMED, f"the {name} is missing")
        return self.single[kind].numbers()

    def _take(self, record: Record) -> None:
        if record.type not in self._known:
            if record.critical:
                raise _Refusal(FailureKind.UNRECOGNIZED, f"it has a critical record of the unknown type {record.type}")
            return
        if record.type in _ONCE and record.type in self.single:
            raise _Refusal(FailureKind.MALFORMED, f"it has two records of type {record.type}")
        if record.type == RecordType.ERROR:
            codes = record.numbers()
            words = _ERRORS.get(codes[0]) if len(codes) == 1 else None
            raise _Refusal(FailureKind.REFUSED, f"the server refuses: {words or f'error {codes}'}")
        if record.type == RecordType.WARNING:
            # No warning is defined, and one that is not known counts as an error (RFC 8915, section 4.1.4).
            raise _Refusal(FailureKind.WARNING, f"the server warns of something unknown: {record.numbers()}")
        if record.type == RecordType.NEW_COOKIE:
            if not is_acceptable(record.body):
                raise _Refusal(FailureKind.MALFORMED, f"it has a cookie of {len(record.body)} octets")
            self.cookies.append(record.body)
            del self.cookies[CAPACITY:]
            return
        if record.type == RecordType.END_OF_MESSAGE:
            if record.body:
                raise _Refusal(FailureKind.MALFORMED, "its end has a body")
            self.ended = True
        self.single[record.type] = record


class ClientExchange:
    """
    The client's end: ``request`` is to be sent, ``received`` and ``closed`` tell what came of it.

    ``export`` gives key material of the TLS session; it is called when the response is complete and acceptable.
    """

    __slots__ = ("_export", "_message", "_over", "request")

    def __init__(self, export: Exporter) -> None:
        self._export = export
        self._message = _Message(RecordReader(), RecordType)
        self._over = False
        self.request = b"".join(
            record.serialize()
            for record in (
                Record.of_numbers(RecordType.NEXT_PROTOCOL, NTPV4),
                Record.of_numbers(RecordType.AEAD_ALGORITHM, *OFFERED),
                Record(RecordType.COMPLIANT_EXPORT),
                Record(RecordType.END_OF_MESSAGE, critical=True),
            )
        )

    def received(self, data: bytes) -> Completed | Failed | None:
        """Take a piece of the response; None while it is not complete, and after its outcome."""
        if self._over:
            return None
        try:
            self._message.read(data)
            if not self._message.ended:
                return None
            self._over = True
            return Completed(self._result())
        except WireError as error:
            self._over = True
            return Failed(FailureKind.MALFORMED, error.reason)
        except _Refusal as refusal:
            self._over = True
            return Failed(refusal.kind, refusal.words)

    def closed(self) -> Failed | None:
        """The connection was closed; None when that changes nothing."""
        if self._over:
            return None
        self._over = True
        return Failed(FailureKind.TRUNCATED, "the connection was closed before the response was complete")

    def _result(self) -> KeyExchangeResult:
        message = self._message
        protocols = message.numbers(RecordType.NEXT_PROTOCOL, "protocol")
        if not protocols:
            raise _Refusal(FailureKind.NO_PROTOCOL, "the server offers no NTPv4")
        if protocols != (NTPV4,):
            raise _Refusal(FailureKind.MALFORMED, f"it chooses the protocols {protocols}, NTPv4 was offered")
        algorithm = self._algorithm()
        if not message.cookies:
            raise _Refusal(FailureKind.NO_COOKIES, "the server gave no cookies")
        return KeyExchangeResult(
            SessionKeys.export(algorithm, self._export), tuple(message.cookies), self._server(), self._port()
        )

    def _algorithm(self) -> Algorithm:
        chosen = self._message.numbers(RecordType.AEAD_ALGORITHM, "algorithm")
        if not chosen:
            raise _Refusal(FailureKind.NO_ALGORITHM, "the server knows none of our algorithms")
        if len(chosen) > 1 or chosen[0] not in OFFERED:
            raise _Refusal(FailureKind.MALFORMED, f"it chooses the algorithms {chosen}, which were not offered so")
        algorithm = Algorithm(chosen[0])
        if algorithm is Algorithm.AES_128_GCM_SIV and RecordType.COMPLIANT_EXPORT not in self._message.single:
            raise _Refusal(
                FailureKind.NO_ALGORITHM,
                "the server chose AES-128-GCM-SIV and does not say that it derives the keys as RFC 8915 asks",
            )
        return algorithm

    def _server(self) -> str | None:
        record = self._message.single.get(RecordType.NTP_SERVER)
        if record is None:
            return None
        name = record.body.decode("ascii", "replace")
        if not 1 <= len(name) <= 255 or not name.isascii() or not name.isprintable() or " " in name:
            raise _Refusal(FailureKind.MALFORMED, "it names an NTP server that is neither a name nor an address")
        return name

    def _port(self) -> int | None:
        record = self._message.single.get(RecordType.NTP_PORT)
        if record is None:
            return None
        numbers = record.numbers()
        if len(numbers) != 1 or numbers[0] == 0:
            raise _Refusal(FailureKind.MALFORMED, f"it names the NTP port {numbers}")
        return numbers[0]


class ServerExchange:
    """
    The server's end.

    ``make_cookies`` makes so many new cookies of the keys that it is given.  ``server`` and ``port`` are where clients
    shall send their requests; None for this address and for 123.
    """

    __slots__ = ("_export", "_make_cookies", "_message", "_over", "_port", "_server")

    def __init__(
        self,
        export: Exporter,
        make_cookies: Callable[[SessionKeys, int], list[bytes]],
        server: str | None = None,
        port: int | None = None,
    ) -> None:
        self._export = export
        self._make_cookies = make_cookies
        self._server = server
        self._port = port
        self._message = _Message(RecordReader(MAXIMUM_REQUEST), set(RecordType) - {RecordType.NEW_COOKIE})
        self._over = False

    def received(self, data: bytes) -> Response | None:
        """Take a piece of the request; None while it is not complete, and after the response."""
        if self._over:
            return None
        try:
            self._message.read(data)
            if not self._message.ended:
                return None
            self._over = True
            return self._respond()
        except WireError as error:
            return self._refuse(BAD_REQUEST, error.reason)
        except _Refusal as refusal:
            unrecognized = refusal.kind is FailureKind.UNRECOGNIZED
            return self._refuse(UNRECOGNIZED_CRITICAL if unrecognized else BAD_REQUEST, refusal.words)

    def _refuse(self, code: int, words: str) -> Response:
        self._over = True
        return Response(_message(Record.of_numbers(RecordType.ERROR, code)), None, words)

    def _respond(self) -> Response:
        protocols = self._message.numbers(RecordType.NEXT_PROTOCOL, "protocol")
        asked = self._message.numbers(RecordType.AEAD_ALGORITHM, "algorithm")
        if not protocols or not asked:
            raise _Refusal(FailureKind.MALFORMED, "it offers no protocol or no algorithm")
        if NTPV4 not in protocols:
            return Response(_message(Record.of_numbers(RecordType.NEXT_PROTOCOL)), None, "the client offers no NTPv4")
        compliant = RecordType.COMPLIANT_EXPORT in self._message.single
        usable = set(OFFERED) if compliant else set(OFFERED) - {Algorithm.AES_128_GCM_SIV}
        chosen = next((Algorithm(number) for number in asked if number in usable), None)
        records = [Record.of_numbers(RecordType.NEXT_PROTOCOL, NTPV4)]
        if chosen is None:
            records.append(Record.of_numbers(RecordType.AEAD_ALGORITHM))
            return Response(_message(*records), None, f"the client offers no algorithm that is known here: {asked}")
        records.append(Record.of_numbers(RecordType.AEAD_ALGORITHM, chosen))
        if chosen is Algorithm.AES_128_GCM_SIV:
            records.append(Record(RecordType.COMPLIANT_EXPORT))
        if self._server is not None:
            records.append(Record(RecordType.NTP_SERVER, self._server.encode("ascii"), critical=True))
        if self._port is not None:
            records.append(Record.of_numbers(RecordType.NTP_PORT, self._port))
        keys = SessionKeys.export(chosen, self._export)
        records += [Record(RecordType.NEW_COOKIE, cookie) for cookie in self._make_cookies(keys, CAPACITY)]
        return Response(_message(*records), keys)


def _message(*records: Record) -> bytes:
    """Give records as one message."""
    return b"".join(record.serialize() for record in (*records, Record(RecordType.END_OF_MESSAGE, critical=True)))
