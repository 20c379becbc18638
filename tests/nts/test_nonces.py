"""Nonces that are drawn many at a time."""

from __future__ import annotations

from random import Random

from ntptwist.nts.nonces import DRAWN, Nonces


def test_no_octet_is_given_twice() -> None:
    """Each nonce is the next piece of what was drawn, and what is too short for one is left out."""
    drawn: list[bytes] = []

    def randbytes(size: int) -> bytes:
        drawn.append(Random(len(drawn)).randbytes(size))
        return drawn[-1]

    nonces = Nonces(randbytes)
    given = [nonces.take(size) for size in [16, 12] * 100]

    assert [len(each) for each in given] == [16, 12] * 100
    assert len(set(given)) == len(given)
    assert b"".join(given[:73]) == drawn[0][:1024]
    assert given[73] == drawn[1][:12]


def test_drawing_is_rare() -> None:
    """A hundred nonces cost two drawings, and none is made before it is needed."""
    sizes: list[int] = []

    def randbytes(size: int) -> bytes:
        sizes.append(size)
        return bytes(size)

    nonces = Nonces(randbytes)
    before = len(sizes)
    for _ in range(100):
        nonces.take(16)

    assert (before, sizes) == (0, [DRAWN, DRAWN])
