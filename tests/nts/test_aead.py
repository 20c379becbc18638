"""The AEADs give what RFC 5297, RFC 8452 and Wycheproof say, and open nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ntptwist.nts.aead import KEY_SIZES, OFFERED, Algorithm, GCMSIVKey, SessionKeys, make_key

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "aead.json").read_text())
octets = bytes.fromhex


def test_there_are_vectors_of_each_algorithm() -> None:
    """Nothing was lost on the way into the file."""
    counts = {algorithm: sum(vector["algorithm"] == algorithm for vector in VECTORS) for algorithm in Algorithm}

    assert counts == {15: 21, 17: 16, 30: 33}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    """A valid vector is sealed and opened as published, an invalid one does not open."""
    key = make_key(Algorithm(vector["algorithm"]), octets(vector["key"]))
    nonce, associated = octets(vector["nonce"]), [octets(each) for each in vector["associated"]]
    plaintext, ciphertext = octets(vector["plaintext"]), octets(vector["ciphertext"])

    assert (key.seal(nonce, plaintext, *associated) == ciphertext) is vector["valid"]
    assert key.open(nonce, ciphertext, *associated) == (plaintext if vector["valid"] else None)


@pytest.mark.parametrize("vector", [each for each in VECTORS if each["valid"]], ids=lambda vector: vector["name"])
def test_nothing_but_the_whole_opens(vector: dict[str, Any]) -> None:
    """With any bit of ciphertext or nonce changed, or cut short, a valid vector does not open."""
    key = make_key(Algorithm(vector["algorithm"]), octets(vector["key"]))
    nonce, associated = octets(vector["nonce"]), [octets(each) for each in vector["associated"]]
    ciphertext = octets(vector["ciphertext"])
    opened = [
        key.open(nonce, flipped(ciphertext, bit), *associated)
        for bit in range(0, 8 * len(ciphertext), 1 + len(ciphertext) // 32)
    ]
    opened += [key.open(flipped(nonce, bit), ciphertext, *associated) for bit in range(8 * len(nonce))]
    opened += [key.open(nonce, ciphertext[:size], *associated) for size in (0, 1, 15, len(ciphertext) - 1)]

    assert set(opened) == {None}


def flipped(data: bytes, bit: int) -> bytes:
    """Give data with one bit flipped."""
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


@pytest.mark.parametrize("algorithm", OFFERED)
def test_empty_plaintext(algorithm: Algorithm) -> None:
    """A request encrypts nothing and is authenticated all the same."""
    key = make_key(algorithm, bytes(KEY_SIZES[algorithm]))
    nonce = bytes(key.nonce_size)
    sealed = key.seal(nonce, b"", b"header")

    assert len(sealed) == 16
    assert key.open(nonce, sealed, b"header") == b""
    assert key.open(nonce, sealed, b"headed") is None


@pytest.mark.parametrize("algorithm", OFFERED)
@pytest.mark.parametrize("nonce", [b"", b"1", bytes(11), bytes(13), bytes(600)])
def test_any_nonce_of_the_wire_is_taken(algorithm: Algorithm, nonce: bytes) -> None:
    """A nonce of a size that can't be right does not open anything, and nothing breaks."""
    key = make_key(algorithm, bytes(KEY_SIZES[algorithm]))

    assert key.open(nonce, bytes(32), b"header") is None


def test_gcm_siv_takes_one_string_at_most() -> None:
    """AES-GCM-SIV knows no list of associated data: joining them would be ambiguous."""
    key = GCMSIVKey(bytes(16))

    assert key.open(bytes(12), key.seal(bytes(12), b"text")) == b"text"
    with pytest.raises(ValueError, match="one string"):
        key.seal(bytes(12), b"text", b"a", b"b")


@pytest.mark.parametrize("algorithm", OFFERED)
@pytest.mark.parametrize("size", [0, 15, 24, 33, 48, 65])
def test_keys_of_a_wrong_size(algorithm: Algorithm, size: int) -> None:
    """A key has the size of its algorithm."""
    with pytest.raises(ValueError, match="takes keys of"):
        make_key(algorithm, bytes(size))


@pytest.mark.parametrize(
    ("algorithm", "c2s", "s2c"),
    [(15, "0000000f00", "0000000f01"), (17, "0000001100", "0000001101"), (30, "0000001e00", "0000001e01")],
)
def test_exporter_contexts(algorithm: int, c2s: str, s2c: str) -> None:
    """The keys come from TLS under the contexts of RFC 8915, section 5.1: protocol, algorithm, direction."""
    asked: list[tuple[str, int]] = []

    def export(context: bytes, size: int) -> bytes:
        asked.append((context.hex(), size))
        return bytes([len(asked)] * size)

    keys = SessionKeys.export(Algorithm(algorithm), export)
    size = KEY_SIZES[Algorithm(algorithm)]

    assert asked == [(c2s, size), (s2c, size)]
    assert (keys.c2s, keys.s2c) == (bytes([1] * size), bytes([2] * size))


def test_keys_are_not_shown() -> None:
    """Whatever prints the keys of a session prints the algorithm alone."""
    keys = SessionKeys(Algorithm.AES_SIV_CMAC_256, b"C" * 32, b"S" * 32)

    assert "CC" not in repr(keys)
    assert "SS" not in repr(keys)
    assert "object at" not in repr(keys)
