"""Control messages of NTP as ntpq sends them and understands them."""

from __future__ import annotations

from struct import pack, unpack_from

import pytest

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap
from ntptwist.wire.mode6 import (
    LARGEST_FRAGMENT,
    ClockSource,
    Failure,
    Operation,
    Query,
    Selection,
    answer,
    parse,
    peer_status,
    refusal,
    system_status,
    text,
)

QUERY = Query(2, Operation.READ_VARIABLES, 7, 3)


def question(
    data: bytes = b"", *, first: int = 0x16, second: int = 2, offset: int = 0, count: int | None = None
) -> bytes:
    """Give a question as ntpq sends it."""
    return pack("!BBHHHHH", first, second, 7, 0, 3, offset, len(data) if count is None else count) + data


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", ()),
        (b"srcadr", ("srcadr",)),
        (b"offset, delay=5,\r\njitter\0\0", ("offset", "delay", "jitter")),
        (b" , ,", ()),
        (b"\xff", ("�",)),
    ],
)
def test_a_question(data: bytes, names: tuple[str, ...]) -> None:
    """The association and the names of variables are read, however they are spaced."""
    assert parse(question(data)) == Query(2, Operation.READ_VARIABLES, 7, 3, names)


@pytest.mark.parametrize(
    "packet",
    [
        question()[:-1],
        question(first=0x13),
        question(second=0x82),
        question(second=0x42),
        question(second=0x22),
        question(offset=4),
        question(b"x", count=2),
    ],
)
def test_what_is_no_question(packet: bytes) -> None:
    """What is cut off, an answer, in fragments or of another mode is refused."""
    with pytest.raises(WireError):
        parse(packet)


def test_an_answer_in_one_piece() -> None:
    """A short answer repeats the question's header and is filled up to four octets."""
    (message,) = answer(QUERY, 0x0615, b"abcde")

    assert message == pack("!BBHHHHH", 0x16, 0x82, 7, 0x0615, 3, 0, 5) + b"abcde\0\0\0"


@pytest.mark.parametrize(("size", "pieces"), [(0, 1), (LARGEST_FRAGMENT, 1), (LARGEST_FRAGMENT + 1, 2), (1500, 4)])
def test_a_long_answer_comes_in_fragments(size: int, pieces: int) -> None:
    """Every fragment but the last says that more follows, and together they are the answer."""
    data = bytes(index & 0xFF for index in range(size))
    messages = answer(QUERY, 0, data)
    parts = [unpack_from("!HH", message, 8) for message in messages]

    assert [bool(message[1] & 0x20) for message in messages] == [True] * (pieces - 1) + [False]
    assert b"".join(message[12 : 12 + count] for message, (_, count) in zip(messages, parts, strict=True)) == data
    assert all(len(message) <= 12 + LARGEST_FRAGMENT for message in messages)


def test_a_refusal() -> None:
    """A refusal has the error's number in the place of the status."""
    assert refusal(QUERY, Failure.ASSOCIATION) == pack("!BBHHHHH", 0x16, 0xC2, 7, 0x0400, 3, 0, 0)


def test_status_words() -> None:
    """The status words are those of RFC 9327, sections 3.1 and 3.2."""
    assert system_status(Leap.NONE, ClockSource.NTP) == 0x0600
    assert system_status(Leap.UNSYNCHRONIZED, ClockSource.UNSPECIFIED) == 0xC000
    assert peer_status(Selection.SYSTEM_PEER, reachable=True, authenticated=False) == 0x9600
    assert peer_status(Selection.REJECTED, reachable=False, authenticated=True) == 0xE000


def test_variables_as_text() -> None:
    """Variables are separated by commas; what is not ASCII becomes a question mark."""
    assert text({"leap": 0, "srchost": '"Zürich"'}) == b'leap=0,\r\nsrchost="Z?rich"'
