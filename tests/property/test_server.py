"""No request gets a server to send more than it was sent, whatever stands in it and whatever is decided on it."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ntptwist.nts.aead import OFFERED, Algorithm
from ntptwist.protocol.access import Action
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.protocol.server import Responder, ServerPolicy
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp
from ntptwist.wire.extension import ExtensionField
from tests.nts.pair import Pair

NOW = Timestamp(1_800_000_000 * NANOSECONDS)
CLIENT_MODE = st.sampled_from([bytes([leap << 6 | version << 3 | 3]) for leap in range(4) for version in (3, 4)])
PACKETS = st.binary(max_size=400) | st.tuples(CLIENT_MODE, st.binary(min_size=47, max_size=400)).map(b"".join)
POLICIES = st.builds(
    ServerPolicy,
    rate_limit=st.none() | st.builds(RateLimit, interval=st.just(NANOSECONDS), kiss=st.booleans()),
    require_nts=st.sampled_from([None, Action.IGNORE, Action.DENY]),
    versions=st.sets(st.sampled_from([3, 4])).map(frozenset),
    interleaved=st.booleans(),
)
FIELDS = st.builds(
    ExtensionField.padded,
    st.sampled_from([0x0104, 0x0204, 0x0304, 0x0404, 0x4242]),
    st.binary(min_size=12, max_size=140),
)


def answers(policy: ServerPolicy, pair: Pair, request: bytes) -> list[bytes]:
    """Give the replies for all that may be decided on a request's sender."""
    responder = Responder(policy, pair.server)
    replies = [
        responder.answer(request, action, NOW, NOW, TimeSnapshot(), Monotonic(1), bytes([192, 0, 2, 1]))
        for action in Action
    ]
    return [reply for reply in replies if not isinstance(reply, Dropped)]


@given(POLICIES, PACKETS)
@example(ServerPolicy(), b"\x23" + bytes(47))
def test_any_octets(policy: ServerPolicy, request: bytes) -> None:
    """Only what has client mode is answered, with no more octets, and never with something that would be answered."""
    for reply in answers(policy, Pair(), request):
        assert len(reply) <= len(request)
        assert request[0] & 7 == 3
        assert answers(ServerPolicy(), Pair(), reply) == []


@given(
    POLICIES, st.sampled_from(OFFERED), st.lists(FIELDS, max_size=5), st.lists(FIELDS, max_size=3), st.integers(1, 8)
)
def test_any_protected_request(
    policy: ServerPolicy,
    algorithm: Algorithm,
    before: list[ExtensionField],
    behind: list[ExtensionField],
    used: int,
) -> None:
    """Requests that use NTS, with any fields before and behind the authenticator, get no more octets either."""
    pair = Pair(algorithm, cookies=8)
    for _ in range(used - 1):
        pair.request()
    header = b"\x23" + bytes(47) + b"".join(field.serialize() for field in before)
    request = pair.client.seal(header) + b"".join(field.serialize() for field in behind)
    for server in (pair, Pair(algorithm)):
        for reply in answers(policy, server, request):
            assert len(reply) <= len(request)


@given(st.lists(PACKETS, max_size=20))
def test_every_request_is_counted_once(packets: list[bytes]) -> None:
    """Received is the sum of what became of the requests."""
    responder = Responder(ServerPolicy(rate_limit=RateLimit(NANOSECONDS)), Pair().server)
    for number, packet in enumerate(packets):
        action = list(Action)[number % 4]
        responder.answer(packet, action, NOW, NOW, TimeSnapshot(), Monotonic(1))
    counters = responder.counters
    fates = (counters.accepted, counters.denied, counters.ignored, counters.rate_limited, counters.nts_nak)

    assert counters.received == len(packets) == sum(fates)
