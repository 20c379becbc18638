"""The sample that gpsd writes to a socket is read in both layouts, and everything else is refused with its reason."""

from __future__ import annotations

import math
from struct import Struct
from typing import Any

import pytest

from ntptwist.errors import WireError
from ntptwist.identifiers import Leap
from ntptwist.timestamp import Timestamp
from ntptwist.wire.sock import MAGIC, SockSample

LONG = Struct("=qqdiiii")
SHORT = Struct("=iidiiii")
GOOD = {"sec": 1_700_000_000, "usec": 250_000, "offset": -0.5, "pulse": 0, "leap": 1, "pad": 0, "magic": MAGIC}


def datagram(layout: Struct = LONG, **changed: Any) -> bytes:
    """Give a good sample, but for what is changed."""
    return layout.pack(*(GOOD | changed).values())


@pytest.mark.parametrize("layout", [LONG, SHORT], ids=["64-bit time_t", "32-bit time_t"])
def test_both_layouts(layout: Struct) -> None:
    """A sample says when it was taken, how far the clock was off then, and whether a leap second comes."""
    sample = SockSample.parse(datagram(layout))

    assert SockSample(Timestamp(1_700_000_000_250_000_000), -0.5, Leap.INSERT) == sample


def test_a_sample_that_a_real_daemon_documents() -> None:
    """The octets that ntpd-rs' tests hold for a sample of gpsd are read as it reads them."""
    octets = bytes.fromhex("7f88f5660000000021810400000000007dbdb6d1fe7713410000000000000000000000004b434f53")
    sample = SockSample.parse(octets)

    assert SockSample(Timestamp(1_727_367_295_295_201_000), 318975.704798661, Leap.NONE) == sample


def test_what_is_written_is_read_again() -> None:
    """A sample of ours is one that a daemon takes; its time is cut to the microsecond."""
    sample = SockSample(Timestamp(1_700_000_000_123_456_789), 1e-6, Leap.UNSYNCHRONIZED)
    octets = sample.serialize()

    assert 40 == len(octets)
    assert SockSample(Timestamp(1_700_000_000_123_456_000), 1e-6, Leap.UNSYNCHRONIZED) == SockSample.parse(octets)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "0 octets"),
        (datagram()[:-1], "39 octets"),
        (datagram() + b"\0", "41 octets"),
        (bytes(256), "256 octets"),
        (bytes(40), "magic 0x00000000"),
        (datagram(magic=-1), "magic 0xffffffff"),
        (datagram(sec=-1), "are no time"),
        (datagram(sec=1 << 40), "are no time"),
        (datagram(usec=1_000_000), "are no time"),
        (datagram(usec=-1), "are no time"),
        (datagram(offset=math.nan), "an offset of nan s"),
        (datagram(offset=math.inf), "an offset of inf s"),
        (datagram(offset=-math.inf), "an offset of -inf s"),
        (datagram(offset=1e10), "an offset of 1e"),
        (datagram(pulse=1), "a pulse"),
        (datagram(leap=4), "leap 4"),
        (datagram(leap=-1), "leap -1"),
        (datagram(SHORT, offset=math.nan), "an offset of nan s"),
    ],
)
def test_what_is_refused(octets: bytes, reason: str) -> None:
    """What is too long, too short, no number or no sample is refused, and the reason says which."""
    with pytest.raises(WireError, match=reason):
        SockSample.parse(octets)
