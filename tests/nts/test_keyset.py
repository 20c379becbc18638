"""A server's cookies hold the keys of its clients, and only it can open them."""

from __future__ import annotations

from random import Random
from struct import pack

import pytest

from ntptwist.nts.aead import OFFERED, Algorithm, SIVKey
from ntptwist.nts.keyset import KeySet
from tests.nts.pair import session


@pytest.mark.parametrize("algorithm", OFFERED)
def test_what_goes_in_comes_out(algorithm: Algorithm) -> None:
    """A cookie gives the algorithm and both keys again."""
    keyset = KeySet.fresh(Random(1).randbytes)

    assert keyset.open_cookie(keyset.make_cookie(session(algorithm))) == session(algorithm)


@pytest.mark.parametrize(("algorithm", "size"), [(15, 104), (17, 168), (30, 72)])
def test_sizes(algorithm: int, size: int) -> None:
    """Cookies have sizes that need no padding in a packet."""
    assert len(KeySet.fresh(Random(1).randbytes).make_cookie(session(Algorithm(algorithm)))) == size


def test_the_layout_is_that_of_ntpd_rs() -> None:
    """Key id, length, nonce, ciphertext of algorithm, reply key, request key: no associated data."""
    keys = session()
    cookie = KeySet({7: bytes(64)}, 7, Random(1).randbytes).make_cookie(keys)
    secret = SIVKey(bytes(64)).open(cookie[6:22], cookie[22:])

    assert cookie[:6] == pack("!IH", 7, 82)
    assert secret == pack("!H", 15) + keys.s2c + keys.c2s


def test_two_cookies_have_nothing_in_common() -> None:
    """Nobody can tell that two cookies hold the same keys."""
    keyset = KeySet.fresh(Random(1).randbytes)
    one, two = keyset.make_cookie(session()), keyset.make_cookie(session())

    assert one[6:] != two[6:]


def test_another_set_opens_nothing() -> None:
    """After a server got new keys, old cookies do not open."""
    cookie = KeySet.fresh(Random(1).randbytes).make_cookie(session())

    assert KeySet.fresh(Random(2).randbytes).open_cookie(cookie) is None


def test_an_older_key_of_the_same_set() -> None:
    """Cookies made with a key that is no longer used for new ones open as long as the key is kept."""
    old = KeySet({1: bytes(64)}, 1, Random(1).randbytes)
    new = KeySet({1: bytes(64), 2: bytes([1] * 64)}, 2, Random(1).randbytes)

    assert new.open_cookie(old.make_cookie(session())) == session()
    assert old.open_cookie(new.make_cookie(session())) is None


def test_padding_is_skipped() -> None:
    """A cookie that was padded on its way opens."""
    keyset = KeySet.fresh(Random(1).randbytes)

    assert keyset.open_cookie(keyset.make_cookie(session()) + bytes(3)) == session()


def test_nothing_else_opens() -> None:
    """Any bit changed, or any octet missing, and a cookie does not open."""
    keyset = KeySet.fresh(Random(1).randbytes)
    cookie = keyset.make_cookie(session())
    number = int.from_bytes(cookie, "big")
    altered = [(number ^ 1 << bit).to_bytes(len(cookie), "big") for bit in range(8 * len(cookie))]
    cut = [cookie[:size] for size in range(len(cookie))]

    assert {keyset.open_cookie(each) for each in altered + cut} == {None}


@pytest.mark.parametrize("secret", [pack("!H", 16) + bytes(96), pack("!H", 15) + bytes(63), pack("!H", 17)])
def test_a_cookie_of_a_stranger_with_our_key(secret: bytes) -> None:
    """A cookie that another program made with a shared key, of keys that we can't use, does not open."""
    nonce = bytes(16)
    ciphertext = SIVKey(bytes(64)).seal(nonce, secret)
    keyset = KeySet({7: bytes(64)}, 7, Random(1).randbytes)

    assert keyset.open_cookie(pack("!IH", 7, len(ciphertext)) + nonce + ciphertext) is None


def test_key_objects_are_kept() -> None:
    """The second request of a client finds its key objects made."""
    keyset = KeySet.fresh(Random(1).randbytes)
    first, second = (keyset.open_cookie(keyset.make_cookie(session())) for _ in range(2))

    assert first is second
