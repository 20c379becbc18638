"""
Answers whole batches of requests: the plain ones by columns, those that use NTS in groups, every other one alone.

What is answered, and how, is decided by the ``Responder`` either way; ``protocol.columns`` only writes the same replies
faster.  Plain are requests of 48 octets that anyone may send and that want nothing but the time (no NTS, no interleaved
mode); on a public server nearly all are.

Replies under NTS are sealed one by one, since the time is in what is sealed, and sent a group at a time: a larger group
is cheaper, but its first replies wait longer, and what that adds to their transmit timestamps is less certain.
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
from ntptwist.protocol.server import Asked, Face, Responder
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp
from ntptwist.wire.header import Mode

STAMP_INTERVAL = 1 << 26
"""Nanoseconds (67 ms) between the replies that are stamped for the sake of the next ones' transmit timestamps."""

STAMPS = 4
"""Replies that are stamped then: what is done for once takes some 3 µs longer, and the lag is a low quantile."""

GROUP = 8
"""Replies under NTS that are sent together; what is left over is sent alone."""

_LARGE = 8
"""Rows from which on the processor has no time for a second reading of the clock; the lag is then another one."""

_SPREAD = 200
"""Nanoseconds by which the rows of a batch may differ in what lies between their clock and the kernel's."""

_MOST_AWAITED = 4096
_CONTROL = int(Mode.CONTROL)


class _Awaited(NamedTuple):
    """
    What to learn from a transmit stamp that was asked for.

    The reply left some ``lag`` after ``read_at``; ``reply`` is one whose departure its client may ask for.  It was the
    first of so many ``followers``, and each left a ``step`` after the one before it.
    """

    lag: Lag
    read_at: Timestamp
    reply: bytes | None = None
    followers: int = 0
    step: Lag | None = None


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
        self._small, self._large, self._plain, self._sealed, self._group = Lag(), Lag(), Lag(), Lag(), Lag()
        self._step, self._group_step = Lag(), Lag()
        self._asked = Monotonic(-STAMP_INTERVAL)
        self._stamps = 0
        self._awaited: dict[int, _Awaited] = {}
        self._last_key, self._first_left = -1, Timestamp(0)
        self._followers, self._of_followers = 1, self._step
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
            self._answer_others(batch, [(row, Action.ANSWER) for row in rows], time)
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
            self._await(sent, _Awaited(lag, now.local, None, len(rows) - 1, self._step))
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
            self._of_followers.learn((left - self._first_left) // self._followers)
        awaited = self._awaited.pop(key, None)
        if awaited is None:
            return
        if awaited.followers and awaited.step:  # the next number is that of the last
            self._last_key, self._first_left = key + 1, left
            self._followers, self._of_followers = awaited.followers, awaited.step
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
        actions = [Action.ANSWER] * count
        if not responder.open:
            monotonic, judge = self._clock.read().monotonic, responder.judge
            actions = [judge(address, monotonic) for address in batch.addresses(count)]
        if plain and actions.count(Action.ANSWER) == count:
            return range(count)
        rows: list[int] = []
        others: list[tuple[int, Action]] = []
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
                others.append((row, action))
        if others:
            self._answer_others(batch, others, time)
        return rows

    def _answer_others(self, batch: Batch, others: Sequence[tuple[int, Action]], time: TimeSnapshot) -> None:
        """Answer what may be anything."""
        responder = self._responder
        monotonic = self._clock.read().monotonic
        sealed: list[tuple[int, Asked]] = []
        for row, action in others:
            request, address = batch.request(row), batch.address(row)
            if request and request[0] & 7 == _CONTROL:
                for part in responder.answer_control(request, address):
                    responder.counters.response_send_errors += batch.reply(row, part).refused
                continue
            asked = responder.read(request, action, monotonic, address)
            if isinstance(asked, Dropped):
                continue
            if asked.protected is None or asked.asks:
                self._reply(batch, row, asked, time)
                continue
            sealed.append((row, asked))
            if len(sealed) == GROUP:
                self._reply_together(batch, sealed, time, monotonic)
                sealed.clear()
        for row, asked in sealed:
            self._reply(batch, row, asked, time)

    def _reply(self, batch: Batch, row: int, asked: Asked, time: TimeSnapshot) -> None:
        """Send one reply."""
        responder = self._responder
        lag = self._plain if asked.protected is None else self._sealed
        received = self._clock.from_kernel(batch.stamp(row))
        now = self._clock.read()
        reply = responder.reply(asked, received, Timestamp(now.local + lag.value), time, now.monotonic)
        stamped = self._samples(now.monotonic) or asked.asks
        sent = batch.reply(row, reply, stamped=stamped)
        responder.counters.response_send_errors += sent.refused
        if stamped:
            self._await(sent, _Awaited(lag, now.local, reply if asked.asks else None))

    def _reply_together(
        self, batch: Batch, group: Sequence[tuple[int, Asked]], time: TimeSnapshot, monotonic: Monotonic
    ) -> None:
        """Send a whole group of replies, to requests that were read at this moment."""
        write, reply, from_kernel = batch.write, self._responder.reply, self._clock.from_kernel
        received = [from_kernel(batch.stamp(row)) for row, _ in group]
        stamped = self._samples(monotonic)
        batch.prepare([row for row, _ in group], stamped=stamped, long=True)
        now = self._clock.read()
        departure, step = now.local + self._group.value, self._group_step.value
        for (row, asked), arrival in zip(group, received, strict=True):
            write(row, reply(asked, arrival, Timestamp(departure), time, monotonic))
            departure += step
        sent = batch.send()
        self._responder.counters.response_send_errors += sent.refused
        if stamped:
            self._await(sent, _Awaited(self._group, now.local, None, len(group) - 1, self._group_step))

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
