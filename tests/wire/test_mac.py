"""A trailing message authentication code is told from everything else by its size."""

from __future__ import annotations

import pytest

from ntptwist.errors import WireError
from ntptwist.wire.mac import CRYPTO_NAK, MAC


@pytest.mark.parametrize("digest", [b"m" * 16, b"s" * 20])
def test_key_id_and_digest(digest: bytes) -> None:
    """The key id stands before the digest."""
    mac = MAC(0x01020304, digest)

    assert (mac.serialize(), mac.size) == (b"\1\2\3\4" + digest, 4 + len(digest))
    assert MAC.parse(b"packet" + mac.serialize(), 6) == mac


def test_crypto_nak() -> None:
    """Four zero octets say that a MAC could not be verified."""
    assert MAC.parse(bytes(52), 48) == CRYPTO_NAK
    assert CRYPTO_NAK.is_crypto_nak
    assert not MAC(0, bytes(16)).is_crypto_nak


@pytest.mark.parametrize("size", [1, 3, 5, 8, 12, 19, 21, 25, 68])
def test_other_sizes_are_refused(size: int) -> None:
    """What has another size is no MAC; the error points at its beginning."""
    with pytest.raises(WireError, match=f"{size} octets are neither") as caught:
        MAC.parse(bytes(48 + size), 48)

    assert caught.value.offset == 48


def test_a_key_id_alone_is_refused() -> None:
    """Four octets that are not zero are neither a crypto-NAK nor a MAC."""
    with pytest.raises(WireError, match="no digest") as caught:
        MAC.parse(bytes(48) + b"\0\0\0\1", 48)

    assert caught.value.offset == 48


@pytest.mark.parametrize(("key_id", "size"), [(-1, 16), (1 << 32, 16), (1, 15), (1, 32), (1, 0)])
def test_impossible_codes_are_not_made(key_id: int, size: int) -> None:
    """A code that can't be written is our own mistake."""
    with pytest.raises(ValueError, match=r"key id|digest"):
        MAC(key_id, bytes(size))
