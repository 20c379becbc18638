"""
Answers whole batches of requests: the plain ones by columns, every other one alone.

What is answered, and how, is decided by the ``Responder`` either way; ``protocol.columns`` only writes the same replies
faster.  Plain are requests of 48 octets that anyone may send and that want nothing but the time (no NTS, no interleaved
mode); on a public server nearly all are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ntptwist.identifiers import Leap
from ntptwist.interfaces import IClock
from ntptwist.kernel.mmsg import CONTROL_SPACING, REQUEST_SPACING, Batch, Sent
from ntptwist.protocol.access import Action, plain_address
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.columns import Columns, common_reply, first_octets, lanes_of
from ntptwist.protocol.lag import Lag
from ntptwist.protocol.server import Face, Responder
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import HEADER_SIZE, Mode

STAMP_INTERVAL = 1 << 26
"""Nanoseconds (67 ms) between the replies that are stamped for the sake of the next ones' transmit timestamps."""

STAMPS = 4
"""Replies that are stamped then: what is done for once takes some 3 µs longer, and the lag is a low quantile."""

_LARGE = 8
"""Rows from which on the processor has no time for a second reading of the clock; the lag is then another one."""

_SPREAD = 200
"""Nanoseconds by which the rows of a batch may differ in what lies between their clock and the kernel's."""

_MOST_AWAITED = 4096


class _Awaited(NamedTuple):
    """
    What to learn from a transmit stamp that was asked for.

    The reply left some ``lag`` after ``read_at``; ``reply`` is one whose departure its client may ask for.  It was the
    first of so many ``followers``.
    """

    lag: Lag
    read_at: Timestamp
    reply: bytes | None = None
    followers: int = 0


class BatchAnswers:
    """The answers of one server to its batches; ``clock`` and ``time`` are those of an NTPServer."""

    def __init__(self, clock: IClock, time: Callable[[], TimeSnapshot], responder: Responder) -> None:
        self._clock = clock
        self._time = time
        self._responder = responder
        policy = responder.policy
        self._interleaved = policy.interleaved
        self._versions = policy.versions
        self._columnar = policy.require_nts is None
        self._batch: Batch | None = None
        self._columns: Columns
        self._face: Face | None = None
        self._leap: Leap | None = None
        self._table = b""
        self._is_kernels = clock.control != "virtual"  # the other two are the very clock that the kernel stamps with
        self._small, self._large, self._plain, self._sealed, self._step = Lag(), Lag(), Lag(), Lag(), Lag()
        self._asked = Monotonic(-STAMP_INTERVAL)
        self._stamps = 0
        self._awaited: dict[int, _Awaited] = {}
        self._last_key, self._first_left, self._followers = -1, Timestamp(0), 1
        self._turn = 0

    def answer(self, batch: Batch, count: int) -> None:
        """Answer the first ``count`` rows."""
        if batch is not self._batch:
            self._batch = batch
            self._columns = Columns(batch.requests, REQUEST_SPACING, batch.stamps, CONTROL_SPACING // 8, batch.replies)
        columns, responder = self._columns, self._responder
        time = self._time()
        if time.leap is not self._leap:
            self._leap = time.leap
            self._table = first_octets(time.leap << 6, self._versions)
        firsts = columns.firsts(count, self._table)
        rows: Sequence[int] = range(count)
        plain = (
            self._columnar
            and batch.all_plain(count)
            and 0 not in firsts
            and not (self._interleaved and columns.asks_interleaved(count))
        )
        if not (plain and responder.open):
            rows = self._sort(batch, firsts, time, plain=plain)
            if not rows:
                return
        correction = self._correction(batch, rows)
        if correction is None:
            for row in rows:
                self._answer_one(batch, row, Action.ANSWER, time)
            return
        ranks = None if len(rows) == count else _ranks(rows, count)
        now = self._clock.read()
        stamped = self._samples(now.monotonic)
        batch.prepare(rows, stamped=stamped)
        face = responder.face(time, now.local, now.monotonic)
        if face is not self._face:
            self._face = face
            columns.common(common_reply(face))
        columns.answer(firsts, correction)
        lag = self._large
        if count < _LARGE:  # then there is time for a reading that is closer to the departure
            lag, now = self._small, self._clock.read()
        columns.depart(count, Timestamp(now.local + lag.value), self._step.value, ranks)
        sent = batch.send()
        if stamped:
            self._await(sent, _Awaited(lag, now.local, followers=len(rows) - 1))
        packets = len(rows)
        counters = responder.counters
        counters.received += packets
        counters.accepted += packets
        counters.response_send_errors += sent.refused
        # One row of each batch stands for all of them in the table of clients, another one each time.
        self._turn += 1
        row = rows[self._turn % packets]
        version = firsts[row] >> 3 & 7
        responder.clients.saw(plain_address(batch.address(row)), now.monotonic, version, packets=packets)

    def departed(self, key: int, stamp: Timestamp) -> None:
        """Learn from a transmit stamp."""
        left = self._clock.from_kernel(stamp)
        if key == self._last_key:
            self._step.learn((left - self._first_left) // self._followers)
        awaited = self._awaited.pop(key, None)
        if awaited is None:
            return
        if awaited.followers:  # the next number is that of the last
            self._last_key, self._first_left, self._followers = key + 1, left, awaited.followers
        if awaited.reply is not None:
            self._responder.departed(awaited.reply, left)
        awaited.lag.learn(left - awaited.read_at)

    def _correction(self, batch: Batch, rows: Sequence[int]) -> int | None:
        """Give by how much the clock is ahead of the kernel's for all rows; None where one number does not do."""
        if self._is_kernels:
            return 0
        first, last = batch.stamp(rows[0]), batch.stamp(rows[-1])
        ahead = self._clock.from_kernel(first) - first
        if first != last and abs(self._clock.from_kernel(last) - last - ahead) > _SPREAD:
            return None
        return ahead

    def _sort(self, batch: Batch, firsts: bytes, time: TimeSnapshot, *, plain: bool) -> Sequence[int]:
        """Judge every sender; answer what is not ``plain`` or not to be answered; give the rows that are left."""
        responder, columns, count = self._responder, self._columns, len(firsts)
        monotonic, judge = self._clock.read().monotonic, responder.judge
        actions = [judge(address, monotonic) for address in batch.addresses(count)]
        if plain and actions.count(Action.ANSWER) == count:
            return range(count)
        rows = []
        for row, action in enumerate(actions):
            if not batch.is_usable(row):
                responder.counters.received += 1
                responder.counters.ignored += 1
            elif action is Action.ANSWER and (
                plain
                or (
                    self._columnar
                    and firsts[row]
                    and batch.is_plain(row)
                    and not (self._interleaved and columns.origin_is_odd(row))
                )
            ):
                rows.append(row)
            else:
                self._answer_one(batch, row, action, time)
        return rows

    def _answer_one(self, batch: Batch, row: int, action: Action, time: TimeSnapshot) -> None:
        """Answer one request, whatever it is."""
        responder = self._responder
        request, address = batch.request(row), batch.address(row)
        if request and request[0] & 7 == Mode.CONTROL:
            for part in responder.answer_control(request, address):
                responder.counters.response_send_errors += batch.reply(row, part).refused
            return
        lag = self._plain if len(request) == HEADER_SIZE else self._sealed
        received = self._clock.from_kernel(batch.stamp(row))
        now = self._clock.read()
        transmit = Timestamp(now.local + lag.value)
        reply = responder.answer(request, action, received, transmit, time, now.monotonic, address)
        if isinstance(reply, Dropped):
            return
        asks = responder.asks_interleaved(request)
        stamped = self._samples(now.monotonic) or asks
        sent = batch.reply(row, reply, stamped=stamped)
        responder.counters.response_send_errors += sent.refused
        if stamped:
            self._await(sent, _Awaited(lag, now.local, reply if asks else None))

    def _samples(self, monotonic: Monotonic) -> bool:
        """Tell whether the reply that is about to be sent is to be stamped."""
        if monotonic - self._asked >= STAMP_INTERVAL:
            self._asked = monotonic
            self._stamps = STAMPS
        self._stamps -= 1
        return self._stamps >= 0

    def _await(self, sent: Sent, awaited: _Awaited) -> None:
        """Keep what a stamp is wanted for; where the kernel numbers anew, or does not answer, forget the old ones."""
        if sent.key is None or len(self._awaited) > _MOST_AWAITED:
            self._awaited.clear()
            self._last_key = -1
        if sent.key is not None:
            self._awaited[sent.key] = awaited


def _ranks(rows: Sequence[int], count: int) -> int:
    """Give lanes that hold each row's place in the order of sending."""
    ranks = [0] * count
    for rank, row in enumerate(rows):
        ranks[row] = rank
    return lanes_of(ranks)
