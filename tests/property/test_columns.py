"""Replies by columns are those that each request would get alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.protocol.access import Action
from ntptwist.protocol.columns import CAPACITY, common_reply, first_octets
from ntptwist.protocol.server import Responder
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp
from tests.protocol.rows import Rows

NANOSECOND = 4
"""In units of 2^-32 s; between two values with the same lowest bit the distance is even."""

LATE = (1 << 34) * NANOSECONDS
"""The year 2514: four eras."""

requests = st.tuples(
    st.sampled_from([0x23, 0x1B, 0xE3, 0xDB]), st.binary(min_size=30, max_size=30), st.binary(min_size=17, max_size=17)
).map(lambda parts: bytes([parts[0]]) + parts[1] + bytes([parts[2][0] & 0xFE]) + parts[2][1:])
snapshots = st.builds(
    TimeSnapshot,
    leap=st.sampled_from(Leap),
    stratum=st.integers(0, 16),
    reference_id=st.binary(min_size=4, max_size=4).map(ReferenceId),
    reference_time=st.integers(0, LATE),
    precision=st.integers(-32, 0),
    root_delay=st.floats(0, 2),
    dispersion=st.floats(0, 20),
)


def apart(one: bytes, other: bytes) -> int:
    """Give how many units two timestamps differ, whatever their eras."""
    distance = (int.from_bytes(one) - int.from_bytes(other)) % (1 << 64)
    return min(distance, (1 << 64) - distance)


@given(
    batch=st.lists(st.tuples(requests, st.integers(0, NANOSECONDS)), min_size=1, max_size=CAPACITY),
    base=st.integers(0, LATE),
    ahead=st.integers(-(10**12), 10**12),
    step=st.integers(0, 100_000),
    time=snapshots,
)
def test_columns_give_the_same_replies(
    batch: list[tuple[bytes, int]], base: int, ahead: int, step: int, time: TimeSnapshot
) -> None:
    """Every reply of a batch is that of the responder to this request alone, timestamps to a nanosecond."""
    count = len(batch)
    stamps = [base + more for _, more in batch]
    rows = Rows([request for request, _ in batch], stamps)
    responder = Responder()
    face = responder.face(time, Timestamp(max(base + ahead, 0)), Monotonic(0))
    firsts = rows.columns.firsts(count, first_octets(face.leap, responder.policy.versions))
    rows.columns.common(common_reply(face))
    rows.columns.answer(firsts, ahead)
    rows.columns.depart(count, Timestamp(base), step)
    assert not rows.columns.asks_interleaved(count)
    for row, (request, _) in enumerate(batch):
        received, transmit = Timestamp(stamps[row] + ahead), Timestamp(base + row * step)
        alone = responder.answer(request, Action.ANSWER, received, transmit, time, Monotonic(0))
        reply = rows.reply(row)

        assert isinstance(alone, bytes)
        assert reply[:32] == alone[:32]
        assert (reply[39] & 1, reply[47] & 1) == (1, 0)
        assert apart(reply[32:40], alone[32:40]) <= NANOSECOND
        assert apart(reply[40:48], alone[40:48]) <= NANOSECOND + row  # a step is a whole number of units
