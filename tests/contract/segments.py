"""What System V shared memory keeps to, the kernel's and the one in memory."""

from __future__ import annotations

import os
from errno import EEXIST, EINVAL, ENOENT

import pytest

from ntptwist.kernel.shm import Ownership, SegmentCalls


class SegmentsContract:
    """A test module subclasses this, gives the calls and a key that nobody uses, and says how a segment is removed."""

    user = 0
    """Who makes segments."""

    @pytest.fixture
    def calls(self) -> SegmentCalls:
        """Give the calls."""
        raise NotImplementedError

    @pytest.fixture
    def key(self) -> int:
        """Give a key that nobody uses."""
        raise NotImplementedError

    def remove(self, calls: SegmentCalls, identifier: int) -> None:
        """Take a segment away, as an operator would."""
        raise NotImplementedError

    def test_a_segment_is_made_once(self, calls: SegmentCalls, key: int) -> None:
        """A key has no segment, then the one that was made; it is not made again."""
        with pytest.raises(OSError, match=os.strerror(ENOENT)) as missing:
            calls.find(key)
        made = calls.create(key, 0o600)
        with pytest.raises(OSError, match=os.strerror(EEXIST)) as twice:
            calls.create(key, 0o600)

        assert (missing.value.errno, twice.value.errno) == (ENOENT, EEXIST)
        assert calls.find(key) == made

    def test_its_owner_and_mode_are_told(self, calls: SegmentCalls, key: int) -> None:
        """Owner and creator are whoever made it, and the mode is what was asked for, whatever the umask."""
        assert calls.ownership(calls.create(key, 0o622)) == Ownership(self.user, self.user, 0o622)

    def test_what_one_writes_another_reads(self, calls: SegmentCalls, key: int) -> None:
        """A new segment is all zero, and everybody who has attached it sees the same."""
        made = calls.create(key, 0o600)
        writer, reader = calls.attach(made), calls.attach(made)
        before = bytes(reader)
        writer.clock_seconds = 1_800_000_000
        writer.valid = 1
        seen = reader.clock_seconds, reader.valid
        calls.detach(writer)
        calls.detach(reader)

        assert before == bytes(len(before))
        assert seen == (1_800_000_000, 1)

    def test_a_segment_that_is_removed(self, calls: SegmentCalls, key: int) -> None:
        """Nobody finds it or attaches it any more, but who has it can still read it, and its key can be used again."""
        made = calls.create(key, 0o600)
        memory = calls.attach(made)
        memory.count = 7
        self.remove(calls, made)
        with pytest.raises(OSError, match=os.strerror(ENOENT)):
            calls.find(key)
        again = calls.create(key, 0o600)
        left = memory.count
        calls.detach(memory)

        assert left == 7
        assert again != made

    def test_what_never_was(self, calls: SegmentCalls, key: int) -> None:
        """A segment that was removed for good is an error of every call."""
        made = calls.create(key, 0o600)
        self.remove(calls, made)
        for call in (calls.ownership, calls.attach):
            with pytest.raises(OSError, match=os.strerror(EINVAL)) as caught:
                call(made)

            assert caught.value.errno == EINVAL
