"""The server answers what clients ask, and never with more than they sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.identifiers import NO_REFERENCE, Leap, ReferenceId
from ntptwist.protocol.actions import Dropped
from ntptwist.protocol.server import respond
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp, encode_timestamp
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import HEADER_SIZE, Header, Mode
from ntptwist.wire.mac import MAC
from ntptwist.wire.message import Message

RECEIVED = Timestamp(1_800_000_000_000_000_123)
TRANSMIT = Timestamp(RECEIVED + 25_000)
REFERENCE_TIME = Timestamp(RECEIVED - 30_000_000_000)
MONOTONIC = Monotonic(100_000_000_000)
REQUEST = Header(poll=10, transmit_timestamp=0x0123456789ABCDEF)
SNAPSHOT = TimeSnapshot(
    leap=Leap.INSERT,
    stratum=3,
    reference_id=ReferenceId.of_address("192.0.2.9"),
    reference_time=REFERENCE_TIME,
    monotonic=Monotonic(60_000_000_000),
    precision=-23,
    root_delay=0.5,
    dispersion=0.25,
    quadratic=(0.25 / 40) ** 2,
)


def ask(request: bytes, time: TimeSnapshot = SNAPSHOT) -> bytes | Dropped:
    """Ask at the usual time."""
    return respond(request, RECEIVED, TRANSMIT, time, MONOTONIC)


def answer(request: bytes, time: TimeSnapshot = SNAPSHOT) -> Header:
    """Ask at the usual time and read the reply."""
    reply = ask(request, time)
    assert isinstance(reply, bytes)
    assert len(reply) == HEADER_SIZE
    return Header.parse(reply)


@pytest.mark.parametrize("version", [3, 4])
def test_a_reply(version: int) -> None:
    """Version and poll are echoed, the nonce comes back, and the rest is what is known of the time right now."""
    assert answer(replace(REQUEST, version=version).serialize()) == Header(
        leap=Leap.INSERT,
        version=version,
        mode=Mode.SERVER,
        stratum=3,
        poll=10,
        precision=-23,
        root_delay=0x8000,
        root_dispersion=0x8000,
        reference_id=ReferenceId.of_address("192.0.2.9"),
        reference_timestamp=encode_timestamp(REFERENCE_TIME),
        origin_timestamp=0x0123456789ABCDEF,
        receive_timestamp=encode_timestamp(RECEIVED) | 1,
        transmit_timestamp=encode_timestamp(TRANSMIT) & ~1,
    )


@pytest.mark.parametrize("poll", [-128, -2, 0, 127])
def test_any_poll_is_echoed(poll: int) -> None:
    """A client's poll exponent comes back whatever it is."""
    assert answer(replace(REQUEST, poll=poll).serialize()).poll == poll


def test_an_unsynchronized_server_says_so() -> None:
    """Clients get an answer from a clock that is not set, with leap 3 and stratum 16, so that they do not use it."""
    reply = answer(REQUEST.serialize(), TimeSnapshot())

    assert (reply.leap, reply.stratum, reply.reference_id) == (Leap.UNSYNCHRONIZED, 16, NO_REFERENCE)
    assert reply.root_dispersion == 16 << 16


def test_the_reference_time_is_never_to_come() -> None:
    """After a step back the clock seems to have been set in the future; clients are told the time of receipt."""
    reply = answer(REQUEST.serialize(), replace(SNAPSHOT, reference_time=Timestamp(RECEIVED + 1_000_000_000)))

    assert reply.reference_timestamp | 1 == reply.receive_timestamp


@pytest.mark.parametrize(
    "request_",
    [
        Message(REQUEST, mac=MAC(1, bytes(16))).serialize(),
        Message(REQUEST, (ExtensionField.padded(0x0104, bytes(32)),)).serialize(),
        REQUEST.serialize() + b"?",
    ],
)
def test_what_follows_the_header_is_ignored(request_: bytes) -> None:
    """A request with extension fields, a MAC or rubbish gets the same 48 octets, fewer than it sent."""
    assert answer(request_).origin_timestamp == REQUEST.transmit_timestamp


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"", "not a request: the packet is shorter than the 48 octets of a header"),
        (REQUEST.serialize()[:47], "not a request: the packet is shorter than the 48 octets of a header"),
        (bytes(48), "the packet has another mode than that of a client"),
        (b"\x03" + bytes(47), "its version of NTP is not answered"),
        (b"\x2b" + bytes(47), "its version of NTP is not answered"),
        (b"\x13" + bytes(47), "its version of NTP is not answered"),
    ],
)
def test_what_is_no_request_gets_no_reply(request_: bytes, reason: str) -> None:
    """Short packets and other versions are dropped, with a reason."""
    assert ask(request_) == Dropped(reason)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.CLIENT])
def test_other_modes_get_no_reply(mode: Mode) -> None:
    """Only clients are answered: two servers that answered each other would never stop."""
    assert ask(replace(REQUEST, mode=mode).serialize()) == Dropped("the packet has another mode than that of a client")
