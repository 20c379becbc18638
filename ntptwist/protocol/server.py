"""
The server's half of the on-wire protocol (RFC 5905, sections 8 and 9.2): what becomes of one request.

The order is ntpd-rs': deny list, allow list, rate limit; then the packet is read, its version is looked at, and
whether it uses NTS where that is demanded.  Only client mode is ever answered, so two servers can't be made to answer
each other, and a reply is never longer than its request, so nobody is attacked through this server with more than the
attacker sends.

What stands behind a header is read by ``nts`` only, and in version 4 only (RFC 7822): a request with fields or a MAC
that mean nothing here gets a plain reply, as from ntpd-rs.  A client that insists on a MAC drops it; the crypto-NAK of
RFC 5905, section 7.3, would only tell whoever sees it that there is no key.

Interleaved mode (RFC 9769) needs no memory to be noticed: every receive timestamp that is sent has its lowest bit set
and every transmit timestamp has it clear, 2^-32 s that no clock knows of.  An origin timestamp with that bit set was a
receive timestamp of ours: its sender asks for interleaved mode.  Only for those it is remembered when the reply really
left, and a client whose reply was forgotten is answered in basic mode.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from ntptwist.errors import WireError
from ntptwist.identifiers import KissCode, Leap
from ntptwist.protocol.access import AccessList, Action, is_loopback, plain_address
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.clients import ClientTable
from ntptwist.protocol.ratelimit import RateLimit, RateLimiter
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp, encode_short, encode_timestamp
from ntptwist.wire.header import HEADER_SIZE, VERSIONS, Mode

if TYPE_CHECKING:
    from ntptwist.nts.responder import ProtectedRequest, ServerProtection

DEPARTURES = 16384
"""Replies of which it is remembered when they left."""

_REQUEST = Struct("!BxBx20x8s8s8s")
_REPLY = Struct("!BBBB20s8sQQ")
_KISS = Struct("!BxBx8x4s8x8s16x")
_RECEIVED = Struct("!32xQ")
_FRESH = 1_000_000_000 >> 6
"""Nanoseconds in which no clock's dispersion grows by a unit of what is sent, 15 microseconds."""

_LOWEST_BIT = 1


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """
    Whom a server answers, and how; without arguments everyone, always.

    ``require_nts`` is what becomes of requests without NTS: IGNORE, DENY, or None where they are answered.  Only
    ``versions`` are answered.  Without ``interleaved`` every reply is one of basic mode.
    """

    access: AccessList = AccessList()
    rate_limit: RateLimit | None = None
    require_nts: Action | None = None
    versions: frozenset[int] = frozenset(VERSIONS)
    interleaved: bool = True


class ServerCounters:
    """
    What a server did since its start.

    Every request is ``received`` and one of ``accepted``, ``denied``, ``ignored``, ``rate_limited``, ``nts_nak`` (the
    kiss NTSN) and ``control``; those with NTS are counted once more in ``nts_received``, and of them ``nts_accepted``
    and ``nts_denied``.  ``interleaved`` are the accepted ones with a reply of that mode, ``response_send_errors`` the
    replies that the network refused.
    """

    __slots__ = (
        "accepted",
        "control",
        "denied",
        "ignored",
        "interleaved",
        "nts_accepted",
        "nts_denied",
        "nts_nak",
        "nts_received",
        "rate_limited",
        "received",
        "response_send_errors",
    )

    def __init__(self) -> None:
        self.received = 0
        self.accepted = 0
        self.denied = 0
        self.ignored = 0
        self.rate_limited = 0
        self.nts_received = 0
        self.nts_accepted = 0
        self.nts_denied = 0
        self.nts_nak = 0
        self.response_send_errors = 0
        self.interleaved = 0
        self.control = 0


class Face:
    """The part of all replies that only the clock's state decides, at one moment: see the fields of a header."""

    __slots__ = ("leap", "precision", "rest", "stratum")

    def __init__(self, time: TimeSnapshot, received: Timestamp, monotonic: Monotonic) -> None:
        self.leap = time.leap << 6
        self.stratum = time.stratum
        self.precision = time.precision & 0xFF
        # The clock may have been stepped back since it was last set; no client likes a reference time to come.
        reference = encode_timestamp(min(time.reference_time, received))
        self.rest = (
            encode_short(time.root_delay).to_bytes(4)
            + encode_short(time.root_dispersion(monotonic)).to_bytes(4)
            + time.reference_id
            + reference.to_bytes(8)
        )


class Responder:
    """
    What one server does with requests.

    ``nts`` reads and seals requests that use NTS; without it they get plain replies.  ``control`` is given the mode-6
    requests that come from this machine.  ``open`` says that nobody's address has to be looked at.
    """

    __slots__ = (
        "_control",
        "_departures",
        "_face",
        "_face_of",
        "_face_until",
        "_limiter",
        "_nts",
        "_tells",
        "clients",
        "counters",
        "open",
        "policy",
        "wants_control",
    )

    def __init__(
        self,
        policy: ServerPolicy = ServerPolicy(),
        nts: ServerProtection | None = None,
        control: Callable[[bytes], list[bytes]] | None = None,
    ) -> None:
        self.policy = policy
        self.counters = ServerCounters()
        self.clients = ClientTable()
        self.open = policy.access.everyone and policy.rate_limit is None
        self._nts = nts
        self.wants_control = control is not None
        self._control = control
        self._limiter = None if policy.rate_limit is None else RateLimiter(policy.rate_limit)
        self._tells = policy.rate_limit is not None and policy.rate_limit.kiss
        self._departures: OrderedDict[int, int] = OrderedDict()
        self._face: Face | None = None
        self._face_of: TimeSnapshot | None = None
        self._face_until = 0

    def judge(self, address: bytes, monotonic: Monotonic) -> Action:
        """Give what becomes of a request from an address of 4 or 16 octets, whatever it says."""
        if self.open:
            return Action.ANSWER
        address = plain_address(address)
        action = self.policy.access.action(address)
        if action is Action.ANSWER and self._limiter is not None and not self._limiter.allows(address, monotonic):
            return Action.RATE
        return action

    def face(self, time: TimeSnapshot, received: Timestamp, monotonic: Monotonic) -> Face:
        """Give what all replies of this moment have in common."""
        if self._face is None or self._face_of is not time or not 0 <= self._face_until - monotonic <= _FRESH:
            self._face = Face(time, received, monotonic)
            self._face_of = time
            self._face_until = monotonic + _FRESH
        return self._face

    def answer(
        self,
        request: bytes,
        action: Action,
        received: Timestamp,
        transmit: Timestamp,
        time: TimeSnapshot,
        monotonic: Monotonic,
        address: bytes | None = None,
    ) -> bytes | Dropped:
        """
        Give the reply to a request on which ``judge`` has decided, or say why there is none.

        It came in at ``received``; ``transmit`` is the local clock and ``monotonic`` the same clock's other axis at the
        time of replying.  With its ``address`` the client is put into the table of clients.
        """
        counters = self.counters
        counters.received += 1
        if action is Action.IGNORE:
            return self._ignore(_UNWANTED)
        if len(request) < HEADER_SIZE:
            return self._ignore(_SHORT)
        first, poll, origin, echo, nonce = _REQUEST.unpack_from(request)
        version = first >> 3 & 7
        if first & 7 != Mode.CLIENT:
            return self._ignore(_NO_CLIENT)
        if version not in self.policy.versions:
            return self._ignore(_WRONG_VERSION)
        reads = self._nts is not None and version == 4 and (action is not Action.RATE or self._tells)
        try:
            protected = self._nts.read(request) if self._nts is not None and reads else None
        except WireError as error:
            return self._ignore(Dropped(f"not a request: {error}"))
        asks = self.policy.interleaved and origin[7] & _LOWEST_BIT
        if address is not None:
            self.clients.saw(
                plain_address(address), monotonic, version, interleaved=bool(asks), nts=protected is not None
            )
        kiss = self._refuse(action, protected)
        if isinstance(kiss, Dropped):
            return kiss
        if kiss is not None:
            reply = _KISS.pack(Leap.UNSYNCHRONIZED << 6 | version << 3 | Mode.SERVER, poll, kiss.value, nonce)
        else:
            face = self.face(time, received, monotonic)
            left = encode_timestamp(transmit) & ~_LOWEST_BIT
            # A request whose two nonces are one can't be told which of them was echoed (RFC 9769, section 2).
            if asks and echo != nonce and (earlier := self._departures.get(int.from_bytes(origin))) is not None:
                counters.interleaved += 1
                left, nonce = earlier, echo
            reply = _REPLY.pack(
                face.leap | version << 3 | Mode.SERVER,
                face.stratum,
                poll,
                face.precision,
                face.rest,
                nonce,
                encode_timestamp(received) | _LOWEST_BIT,
                left,
            )
        if self._nts is not None and protected is not None:
            reply = self._nts.seal(reply, protected)
        return reply

    def _refuse(self, action: Action, protected: ProtectedRequest | None) -> KissCode | Dropped | None:
        """Count a request; give the kiss that it gets, None where it gets the time."""
        counters = self.counters
        if protected is not None:
            counters.nts_received += 1
        elif action is Action.ANSWER and self.policy.require_nts is not None:
            if self.policy.require_nts is Action.IGNORE:
                return self._ignore(_NO_NTS)
            action = Action.DENY
        if action is Action.DENY:
            counters.denied += 1
            counters.nts_denied += protected is not None
            return KissCode.DENY
        if action is Action.RATE:
            counters.rate_limited += 1
            return KissCode.RATE if self._tells else _TOO_OFTEN
        if protected is not None and protected.session is None:
            counters.nts_nak += 1
            return KissCode.NTSN
        counters.accepted += 1
        counters.nts_accepted += protected is not None
        return None

    def _ignore(self, why: Dropped) -> Dropped:
        self.counters.ignored += 1
        return why

    def asks_interleaved(self, request: bytes) -> bool:
        """Tell whether the sender of a request will want to know when its reply left."""
        return self.policy.interleaved and len(request) >= HEADER_SIZE and bool(request[31] & _LOWEST_BIT)

    def departed(self, reply: bytes, stamp: Timestamp) -> None:
        """Remember when the reply to a request that asks for interleaved mode left; a better stamp may come later."""
        (received,) = _RECEIVED.unpack_from(reply)
        self._departures[received] = encode_timestamp(stamp) & ~_LOWEST_BIT
        if len(self._departures) > DEPARTURES:
            self._departures.popitem(last=False)

    def answer_control(self, request: bytes, address: bytes) -> list[bytes]:
        """Give the datagrams that answer a request of mode 6, none unless it came from this machine."""
        self.counters.received += 1
        if self._control is None or not is_loopback(plain_address(address)):
            self.counters.ignored += 1
            return []
        self.counters.control += 1
        return self._control(request)


_UNWANTED = Dropped("its sender is not to be answered")
_SHORT = Dropped(f"not a request: the packet is shorter than the {HEADER_SIZE} octets of a header")
_NO_CLIENT = Dropped("the packet has another mode than that of a client")
_WRONG_VERSION = Dropped("its version of NTP is not answered")
_NO_NTS = Dropped("it does not use NTS")
_TOO_OFTEN = Dropped("its sender asks too often")


def respond(
    request: bytes,
    received: Timestamp,
    transmit: Timestamp,
    time: TimeSnapshot,
    monotonic: Monotonic,
    nts: ServerProtection | None = None,
) -> bytes | Dropped:
    """Give the reply of a server that answers everyone and remembers nothing; see ``Responder.answer``."""
    return Responder(nts=nts).answer(request, Action.ANSWER, received, transmit, time, monotonic)
