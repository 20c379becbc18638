"""Whatever other daemons' tools send, nothing breaks and nobody gets more than is allowed."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from ntptwist.observe.chronyc import ChronycAnswers
from ntptwist.observe.mode6 import ControlAnswers
from ntptwist.wire.mode6 import LARGEST_FRAGMENT
from tests.observe.picture import JUST_STARTED, PICTURE, SERVERS

PICTURES = st.sampled_from([PICTURE, JUST_STARTED])


@given(PICTURES, st.binary(max_size=400))
def test_any_octets_to_chronyc(picture: object, packet: bytes) -> None:
    """Any datagram leads to no reply, or to one that is no longer."""
    answer = ChronycAnswers(lambda: picture, lambda: SERVERS).answer(packet)  # type: ignore[arg-type, return-value]

    assert answer is None or len(answer) <= len(packet)


@given(PICTURES, st.integers(0, 80), st.binary(max_size=300), st.sampled_from([5, 6]))
def test_any_command_to_chronyc(picture: object, command: int, data: bytes, version: int) -> None:
    """Any command with any data is answered within its own length."""
    packet = pack("!BBBBHHIII", version, 1, 0, 0, command, 0, 1, 0, 0) + data
    answer = ChronycAnswers(lambda: picture, lambda: SERVERS).answer(packet)  # type: ignore[arg-type, return-value]

    assert (answer is None) == (len(packet) < 28)
    assert answer is None or len(answer) <= len(packet)


@given(PICTURES, st.binary(max_size=600))
def test_any_octets_to_ntpq(picture: object, packet: bytes) -> None:
    """Any datagram leads to fragments of the size that RFC 9327 allows, or to nothing."""
    answers = ControlAnswers(lambda: picture)(packet)  # type: ignore[arg-type, return-value]

    assert all(len(answer) <= 12 + LARGEST_FRAGMENT for answer in answers)


@given(PICTURES, st.integers(0, 31), st.integers(0, 8), st.binary(max_size=468), st.integers(0, 7))
def test_any_question_of_ntpq(picture: object, operation: int, association: int, data: bytes, version: int) -> None:
    """Any question has an answer, and only one is the last."""
    packet = pack("!BBHHHHH", version << 3 | 6, operation, 9, 0, association, 0, len(data)) + data
    answers = ControlAnswers(lambda: picture)(packet)  # type: ignore[arg-type, return-value]

    assert [bool(answer[1] & 0x20) for answer in answers] == [True] * (len(answers) - 1) + [False]
