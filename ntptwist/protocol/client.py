"""
One client association of the on-wire protocol (RFC 5905, sections 7 to 10; RFC 9769, section 2).

Bytes and stamps come in, actions go out: what is here has no socket, no clock and no timer.

A request says as little as it can.  Its transmit timestamp is a random nonce; the true time of sending, T1, never
leaves this host, and the reply is paired with it by the nonce.  All else is zero but version, mode and poll.

A reply is judged in an order that lets nobody but the server change anything here:

1. Is it NTP, of a version and mode that answer us?  Otherwise its octets mean something else.
2. Does its origin timestamp hold our nonce?  Nothing before this point is worth believing; a forger who can't see our
   requests ends here.  Each nonce is answered once, and within a few seconds.
   Under NTS, its authenticator decides: what does not verify leaves no trace.  Only the kiss NTSN can't be
   authenticated; it has no effect but that new keys are asked for, unless the true reply comes (``nts.packet``).
3. Is it a kiss-o'-death?  Then its other fields mean nothing.  It does not use the nonce up: a kiss is easy to make for
   anybody on the path, and the true reply may still come (RFC 8915, section 5.7, asks to wait for it).
4. Is the server synchronized?  If not it is alive all the same: it counts as reachable and is not measured.
5. Do root distance and timestamps make sense?  A reply that fails here leaves no trace, as RFC 9769 asks.

**Interleaved mode.**  The transmit timestamp of an ordinary ("basic") reply is a guess: it is written before the packet
is sent.  A server that keeps the true one gives it with its next reply.  So a request after a good reply has as its
origin the server's receive timestamp of that reply, and as its receive timestamp a second nonce; the nonce that comes
back tells which kind of reply it is.  An interleaved one completes the measurement of the exchange *before* this one,
with all four stamps of that exchange: RFC 9769 recommends this set to those who look at the delay.  (The origin field
lets an observer link two requests; that is the price, and it is not paid to servers that give nothing for it.)

* A basic reply is measured at once: nobody knows whether the true stamp will ever come.  If it comes, that exchange has
  been measured and the reply gives nothing; changing to interleaved mode costs one measurement, once.
* The measurement is one poll old, so this is done while polls are frequent: see INTERLEAVED_MAXIMUM_AGE.
* When a request is lost the next one names the same exchange; when a reply is lost the server has forgotten it and
  answers in basic mode.  Both are what the rules above say anyway.
* A server whose replies to such requests keep giving nothing new is asked in basic mode for good.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ntptwist.errors import WireError
from ntptwist.identifiers import KissCode, Leap
from ntptwist.protocol.actions import Action, Demobilize, Dropped, Kissed, Measured, Reset, Send, SetTimer
from ntptwist.protocol.exchange import Exchange, flaw_of_header, flaw_of_measurement
from ntptwist.protocol.reach import Reach
from ntptwist.protocol.restraint import Restraint
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import Header, Mode
from ntptwist.wire.message import Message

if TYPE_CHECKING:
    from ntptwist.algorithm.config import PollLimits
    from ntptwist.nts.packet import ClientProtection

REPLY_WINDOW: Final = 5.0
"""Seconds that a request waits for its reply; no path that is of any use takes so long."""

STARTUP_REQUESTS: Final = 3
"""Requests after which a server that never answered is given up."""

LOST_REQUESTS: Final = 16
"""
Requests in a row without a reply after which a server that did answer is given up.

What is known of its path and its clock goes with it, so this is no matter of bad luck: with 30 % of all packets lost
each way, eight in a row come twice in a day of polls each minute, sixteen once in a year.
"""

MAXIMUM_STRATUM: Final = 16
"""MAXSTRAT of RFC 5905: what an unsynchronized server says."""

INTERLEAVED_MAXIMUM_AGE: Final = 160.0
"""
Seconds that the previous exchange may be old when a request names it.

A true transmit stamp gains some microseconds; a crystal that moved by 0.1 ppm, as in a room whose heating has gone on,
is off by more than that after 128 s.  This lets polls of 128 s through with their jitter, but no loss at that pace, and
no slower poll.
"""

INTERLEAVED_PATIENCE: Final = 8
"""Replies in a row to interleaved requests without an interleaved measurement, after which no more are made."""

SILENT_AFTER: Final = 2
"""Requests in a row without a reply that are a trouble; a single lost packet is none."""

JITTER: Final = 0.01
"""Largest relative change of a poll interval: clients that were started together drift apart."""

_KISSES: Final = {bytes(code.value): code for code in KissCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationConfiguration:
    """What an operator decides about one server; ``version`` is 3 or 4, ``interleaved`` lets RFC 9769 be used."""

    limits: PollLimits
    version: int = 4
    interleaved: bool = True


class ClientAssociation:
    """
    The conversation with one server, from the first request until it is given up.

    ``randbytes`` gives that many unpredictable octets.  ``protection`` holds the keys and cookies of NTS; None without.
    ``sent``, ``received_count`` and ``dropped`` count datagrams: what was sent, what came in, and how many of those
    were not used.
    """

    __slots__ = (
        "_configuration",
        "_denied",
        "_fruitless",
        "_heard",
        "_interval",
        "_not_before",
        "_previous",
        "_protection",
        "_randbytes",
        "_reach",
        "_request",
        "_restraint",
        "_silent",
        "_trouble",
        "dropped",
        "received_count",
        "sent",
    )

    def __init__(
        self,
        configuration: AssociationConfiguration,
        randbytes: Callable[[int], bytes],
        protection: ClientProtection | None = None,
    ) -> None:
        self._configuration = configuration
        self._randbytes = randbytes
        self._protection = protection
        self._reach = Reach.never()
        self._restraint = Restraint(configuration.limits)
        self._interval = configuration.limits.minimum  # of the latest request, log2 seconds rounded up
        self._not_before = -math.inf  # monotonic seconds
        self._request: Exchange | None = None
        self._previous: Exchange | None = None  # the latest that got a good reply
        self._denied: KissCode | None = None
        self._heard = False  # a good reply, ever
        self._fruitless = 0  # interleaved requests answered since the last interleaved measurement
        self._silent = 0  # requests without a reply since the last reply
        self._trouble: str | None = None
        self.sent = 0
        self.received_count = 0
        self.dropped = 0

    @property
    def reach(self) -> Reach:
        """Which of the last eight requests were answered."""
        return self._reach

    @property
    def trouble(self) -> str | None:
        """The latest trouble since the last good reply, for people; None when all is well."""
        if self._trouble is None and self._silent >= SILENT_AFTER:
            return "no reply to the latest requests"
        return self._trouble

    def poll(self, now: float, interval: float, exponent: int) -> tuple[Action, ...]:
        """
        The timer fired, at ``now`` monotonic seconds: send a request, wait some more, or come to the end.

        ``interval`` is the number of seconds, more than 0, that the algorithm wants until the next request;
        ``exponent`` is what the request says of it, log2 seconds, -128..127.
        """
        if not self._reach.is_reachable and self._unanswered() >= self._patience():
            return (self._end(),)
        if self._protection is not None and self._protection.spent is not None:
            return (Reset(self._protection.spent),)
        if now < self._not_before:  # the timer was set before the server asked for fewer requests
            return (SetTimer(self._not_before - now),)
        self._silent = self._unanswered()
        if self._restraint.exponent is not None:
            interval = max(interval, 2.0**self._restraint.exponent)
            exponent = max(exponent, self._restraint.exponent)
        self._interval = math.ceil(math.log2(interval))
        request = self._next_request(now, exponent).serialize()
        if self._protection is not None:
            request = self._protection.seal(request)
        self._reach.polled()
        self.sent += 1
        return Send(request), SetTimer(self._with_jitter(interval))

    def transmitted(self, stamp: Timestamp) -> None:
        """
        Note when the latest request left (T1, local clock); the last call is the best.

        A stamp that comes after the reply still serves the interleaved measurement.
        """
        if self._request is not None:
            self._request.t1 = stamp

    def clock_stepped(self) -> None:
        """Forget every stamp: those of one measurement must lie on the same side of a step."""
        self._request = None
        self._previous = None

    def received(self, data: bytes, stamp: Timestamp, monotonic: Monotonic, now: float) -> tuple[Action, ...]:
        """
        Judge a datagram that came in at ``stamp`` (T4, local clock; ``monotonic`` is that moment on its other axis).

        Gives Measured, Kissed or Dropped, or nothing for a good reply whose measurement has to wait for the next one.
        """
        self.received_count += 1
        request = self._request
        if request is None:
            return self._drop("no request is waiting for a reply")
        try:
            message = Message.parse(data)
        except WireError as error:
            return self._drop(f"not an NTP packet: {error}")
        header = message.header
        subject = self._exchange_of(header, request)
        if isinstance(subject, str):
            return self._drop(subject)
        if request.answered:
            return self._drop("the reply is a duplicate")
        if now - request.sent > REPLY_WINDOW:
            return self._drop(f"the reply came more than {REPLY_WINDOW:g} s after the request")
        if self._protection is not None:
            flaw = self._protection.flaw(data, message)
            if flaw is not None:
                return self._drop(flaw)
        if header.stratum == 0 and header.reference_id in _KISSES:
            return self._kissed(_KISSES[header.reference_id], request)
        if header.stratum > MAXIMUM_STRATUM:
            return self._drop(f"the server claims stratum {header.stratum}")
        if header.leap is Leap.UNSYNCHRONIZED or header.stratum == MAXIMUM_STRATUM:
            return self._unsynchronized(header, request)
        flaw = flaw_of_header(header)
        if flaw is not None:
            return self._drop(flaw)
        request.receive_timestamp = header.receive_timestamp
        request.t4 = stamp
        request.monotonic = monotonic
        return self._good(header, request, subject)

    def _next_request(self, now: float, exponent: int) -> Header:
        nonce, second, origin = self._nonce(), None, 0
        previous = self._previous
        if previous is not None and self._may_interleave(now - previous.sent):
            second, origin = self._nonce(), previous.receive_timestamp
        self._request = Exchange(nonce, second, now)
        return Header(
            version=self._configuration.version,
            mode=Mode.CLIENT,
            poll=exponent,
            origin_timestamp=origin,
            receive_timestamp=second or 0,
            transmit_timestamp=nonce,
        )

    def _may_interleave(self, age: float) -> bool:
        return (
            self._configuration.interleaved
            and age <= INTERLEAVED_MAXIMUM_AGE
            and self._fruitless < INTERLEAVED_PATIENCE
        )

    def _nonce(self) -> int:
        return int.from_bytes(self._randbytes(8), "big")

    def _with_jitter(self, seconds: float) -> float:
        return seconds * (1.0 + JITTER * (int.from_bytes(self._randbytes(2), "big") / 32767.5 - 1.0))

    def _unanswered(self) -> int:
        """Give the requests in a row that were not answered, the latest included."""
        return self._silent + (self._request is not None and not self._request.answered)

    def _patience(self) -> int:
        """Give how many of them are too many."""
        return LOST_REQUESTS if self._heard and self._denied is None else STARTUP_REQUESTS

    def _end(self) -> Reset | Demobilize:
        if self._denied is not None:
            return Demobilize(f"the server denied us access (kiss code {self._denied.name}) and answers no more")
        because = "" if self._trouble is None else f"; the latest trouble: {self._trouble}"
        return Reset(f"no usable reply to the last {self._unanswered()} requests{because}")

    def _exchange_of(self, header: Header, request: Exchange) -> Exchange | str:
        """Give the exchange that a reply completes, or say why it is no reply to the latest request."""
        if header.version > self._configuration.version:
            return f"the reply is NTP version {header.version}, the request was version {self._configuration.version}"
        if header.mode is not Mode.SERVER:
            return f"the reply has mode {header.mode:d}, not that of a server"
        if header.origin_timestamp == request.nonce:
            return request
        if self._previous is not None and header.origin_timestamp == request.second_nonce:
            return self._previous
        return "the reply does not answer the latest request: wrong origin timestamp"

    def _drop(self, reason: str) -> tuple[Action, ...]:
        """Drop a datagram; it is a trouble only while a reply is missing."""
        self.dropped += 1
        if self._request is not None and not self._request.answered:
            self._trouble = reason
        return (Dropped(reason),)

    def _kissed(self, code: KissCode, request: Exchange) -> tuple[Action, ...]:
        if request.kissed:
            return self._drop(f"a second kiss-o'-death ({code.name}) for one request")
        request.kissed = True
        match code:
            case KissCode.RATE:
                shortest = 2.0 ** self._restraint.kissed(self._interval)
                self._not_before = request.sent + self._with_jitter(shortest)
                explanation = f"the server wants fewer requests: at most one in {shortest:g} s from now on"
            case KissCode.NTSN:
                self.dropped += 1  # anybody on the path can say so: it is no sign of the server
                explanation = "the server could not verify our request"
            case _:
                self._denied = code
                explanation = "the server denies us access; it is given up if it answers no more"
        self._trouble = f"kiss-o'-death {code.name}: {explanation}"
        return (Kissed(code, explanation),)

    def _unsynchronized(self, header: Header, request: Exchange) -> tuple[Action, ...]:
        code = f" ({header.reference_id.text(0)})" if header.stratum == 0 else ""
        actions = self._drop(f"the server is not synchronized{code}")
        self._previous = None
        self._answered(request)
        return actions

    def _good(self, header: Header, request: Exchange, subject: Exchange) -> tuple[Action, ...]:
        if request.t1 is None or subject.t1 is None:
            return self._drop("the time when the request was sent is not known")
        measurement = subject.measure(header, subject.t1, interleaved=subject is not request)
        flaw = flaw_of_measurement(measurement)
        if flaw is not None:
            return self._drop(flaw)
        self._previous = request
        self._answered(request)
        self._restraint.answered()
        self._trouble = None
        if request.second_nonce is not None:
            self._fruitless = self._fruitless + 1 if subject is request or subject.measured else 0
        if subject.measured:
            return ()
        subject.measured = True
        return (Measured(measurement),)

    def _answered(self, request: Exchange) -> None:
        request.answered = True
        self._reach.received()
        self._denied = None
        self._heard = True
        self._silent = 0
