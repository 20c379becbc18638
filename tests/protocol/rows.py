"""Rows of a batch, without a kernel below them."""

from __future__ import annotations

from collections.abc import Sequence

from ntptwist.protocol.columns import CAPACITY, Columns
from ntptwist.timestamp import NANOSECONDS

SPACING, STAMP_SPACING = 64, 3


class Rows:
    """Requests with their stamps, and the columns over them."""

    def __init__(self, requests: Sequence[bytes], stamps: Sequence[int]) -> None:
        octets, words = bytearray(CAPACITY * SPACING), memoryview(bytearray(8 * CAPACITY * STAMP_SPACING)).cast("Q")
        for row, (request, stamp) in enumerate(zip(requests, stamps, strict=True)):
            octets[row * SPACING : row * SPACING + len(request)] = request
            words[row * STAMP_SPACING], words[row * STAMP_SPACING + 1] = divmod(stamp, NANOSECONDS)
        self.replies = memoryview(bytearray(48 * CAPACITY))
        self.columns = Columns(memoryview(octets), SPACING, words, STAMP_SPACING, self.replies)

    def reply(self, row: int) -> bytes:
        """Give the reply in a row."""
        return self.replies[48 * row : 48 * (row + 1)].tobytes()
