"""A server's cookies hold the keys of its clients, and only it can open them."""

from __future__ import annotations

from random import Random
from struct import pack

import pytest

from ntptwist.errors import WireError
from ntptwist.nts.aead import OFFERED, Algorithm, SIVKey
from ntptwist.nts.keyset import KeySet, MasterKeys
from tests.nts.pair import session

DAY = 86_400


def keyset_of(first_id: int, *keys: bytes, current: int = 0) -> KeySet:
    """Give a set of these keys."""
    return KeySet(MasterKeys(0, first_id, keys, current), Random(1).randbytes)


@pytest.mark.parametrize("algorithm", OFFERED)
def test_what_goes_in_comes_out(algorithm: Algorithm) -> None:
    """A cookie gives the algorithm and both keys again."""
    keyset = KeySet.fresh(Random(1).randbytes)

    assert keyset.open_cookie(keyset.make_cookies(session(algorithm), 1)[0]) == session(algorithm)


@pytest.mark.parametrize(("algorithm", "size"), [(15, 104), (17, 168), (30, 72)])
def test_sizes(algorithm: int, size: int) -> None:
    """Cookies have sizes that need no padding in a packet."""
    assert len(KeySet.fresh(Random(1).randbytes).make_cookies(session(Algorithm(algorithm)), 1)[0]) == size


def test_the_layout_is_that_of_ntpd_rs() -> None:
    """Key id, length, nonce, ciphertext of algorithm, reply key, request key: no associated data."""
    keys = session()
    cookie = keyset_of(7, bytes(64)).make_cookies(keys, 1)[0]
    secret = SIVKey(bytes(64)).open(cookie[6:22], cookie[22:])

    assert cookie[:6] == pack("!IH", 7, 82)
    assert secret == pack("!H", 15) + keys.s2c + keys.c2s


def test_two_cookies_have_nothing_in_common() -> None:
    """Nobody can tell that two cookies hold the same keys."""
    keyset = KeySet.fresh(Random(1).randbytes)
    one, two = keyset.make_cookies(session(), 1)[0], keyset.make_cookies(session(), 1)[0]

    assert one[6:] != two[6:]


def test_another_set_opens_nothing() -> None:
    """After a server got new keys, old cookies do not open."""
    cookie = KeySet.fresh(Random(1).randbytes).make_cookies(session(), 1)[0]

    assert KeySet.fresh(Random(2).randbytes).open_cookie(cookie) is None


def test_an_older_key_of_the_same_set() -> None:
    """Cookies made with a key that is no longer used for new ones open as long as the key is kept."""
    old = keyset_of(1, bytes(64))
    new = keyset_of(1, bytes(64), bytes([1] * 64), current=1)

    assert new.open_cookie(old.make_cookies(session(), 1)[0]) == session()
    assert old.open_cookie(new.make_cookies(session(), 1)[0]) is None


def test_padding_is_skipped() -> None:
    """A cookie that was padded on its way opens."""
    keyset = KeySet.fresh(Random(1).randbytes)

    assert keyset.open_cookie(keyset.make_cookies(session(), 1)[0] + bytes(3)) == session()


def test_nothing_else_opens() -> None:
    """Any bit changed, or any octet missing, and a cookie does not open."""
    keyset = KeySet.fresh(Random(1).randbytes)
    cookie = keyset.make_cookies(session(), 1)[0]
    number = int.from_bytes(cookie, "big")
    altered = [(number ^ 1 << bit).to_bytes(len(cookie), "big") for bit in range(8 * len(cookie))]
    cut = [cookie[:size] for size in range(len(cookie))]

    assert {keyset.open_cookie(each) for each in altered + cut} == {None}


@pytest.mark.parametrize("secret", [pack("!H", 16) + bytes(96), pack("!H", 15) + bytes(63), pack("!H", 17)])
def test_a_cookie_of_a_stranger_with_our_key(secret: bytes) -> None:
    """A cookie that another program made with a shared key, of keys that we can't use, does not open."""
    nonce = bytes(16)
    ciphertext = SIVKey(bytes(64)).seal(nonce, secret)
    keyset = keyset_of(7, bytes(64))

    assert keyset.open_cookie(pack("!IH", 7, len(ciphertext)) + nonce + ciphertext) is None


def test_key_objects_are_kept() -> None:
    """The second request of a client finds its key objects made."""
    keyset = KeySet.fresh(Random(1).randbytes)
    first, second = (keyset.open_cookie(keyset.make_cookies(session(), 1)[0]) for _ in range(2))

    assert first is second


def rotations(masters: MasterKeys, times: int, stale: int = 7) -> MasterKeys:
    """Rotate so many times, each a day after the other."""
    random = Random(masters.since)
    for _ in range(times):
        masters = masters.rotated(masters.since + DAY, stale, random.randbytes)
    return masters


def test_the_file_of_ntpd_rs() -> None:
    """The layout is ntpd-rs': time, first id, index of the key in use, number of keys, and the keys, big endian."""
    first, second = bytes([1] * 64), bytes([2] * 64)
    data = pack("!QIII", 1_700_000_000, 9, 1, 2) + first + second

    assert MasterKeys.parse(data) == MasterKeys(1_700_000_000, 9, (first, second), 1)
    assert MasterKeys.parse(data).serialize() == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too short"),
        (bytes(19), "too short"),
        (pack("!QIII", 0, 0, 0, 0), "number 1 is in use"),
        (pack("!QIII", 0, 0, 1, 1) + bytes(64), "has 1 NTS keys and says that number 2"),
        (pack("!QIII", 0, 0, 0, 2) + bytes(127), "not the size of a file of 2 NTS keys"),
        (pack("!QIII", 0, 0, 0, 1) + bytes(65), "not the size"),
        (pack("!QIII", 0, 0, 0, 0xFFFFFFFF) + bytes(64), "not the size"),
    ],
)
def test_files_that_are_none(data: bytes, words: str) -> None:
    """What can't be a file of keys is refused with the reason."""
    with pytest.raises(WireError, match=words):
        MasterKeys.parse(data)


def test_every_bit_of_a_file() -> None:
    """A file with any one bit flipped is refused, or gives keys that work."""
    data = rotations(MasterKeys.fresh(DAY, Random(1).randbytes), 2).serialize()
    refused = 0
    for bit in range(8 * len(data)):
        altered = (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")
        try:
            keyset = KeySet(MasterKeys.parse(altered), Random(1).randbytes)
        except WireError:
            refused += 1
            continue
        if bit % 64 == 0:
            assert keyset.open_cookie(keyset.make_cookies(session(), 1)[0]) == session()

    assert refused == 32 + 30  # the number of keys, and indices that are none


def test_the_next_key_is_there_before_it_is_used() -> None:
    """A copy of the keys that is one rotation old opens cookies of the newest key."""
    masters = rotations(MasterKeys.fresh(0, Random(1).randbytes), 3)
    copy = KeySet(masters, Random(2).randbytes)
    cookie = KeySet(rotations(masters, 1), Random(3).randbytes).make_cookies(session(), 1)[0]
    later = KeySet(rotations(masters, 2), Random(3).randbytes).make_cookies(session(), 1)[0]

    assert copy.open_cookie(cookie) == session()
    assert copy.open_cookie(later) is None


@pytest.mark.parametrize("stale", [0, 1, 7])
def test_old_keys_are_dropped(stale: int) -> None:
    """A cookie opens for so many rotations as old keys are kept, and no longer."""
    masters = MasterKeys.fresh(0, Random(1).randbytes)
    cookie = KeySet(masters, Random(1).randbytes).make_cookies(session(), 1)[0]
    opened = [
        KeySet(rotations(masters, times, stale), Random(1).randbytes).open_cookie(cookie) for times in range(stale + 2)
    ]

    assert opened == [session()] * (stale + 1) + [None]
    assert len(rotations(masters, 20, stale).keys) == stale + 2


def test_ids_wrap() -> None:
    """Ids begin anew after 2^32, and each key keeps its own."""
    masters = MasterKeys(0, 0xFFFFFFFF, (bytes(64),), 0)
    cookie = KeySet(masters, Random(1).randbytes).make_cookies(session(), 1)[0]
    newer = rotations(masters, 1)

    assert KeySet(newer, Random(1).randbytes).open_cookie(cookie) == session()
    assert KeySet(newer, Random(1).randbytes).make_cookies(session(), 1)[0][:4] == bytes(4)
    assert rotations(masters, 9).first_id == 1


def test_a_file_without_a_next_key() -> None:
    """ntpd-rs keeps no next key: after its last one a new one comes into use, and there is a next one from then on."""
    masters = MasterKeys(0, 5, (bytes(64), bytes([1] * 64)), 1).rotated(DAY, 7, Random(1).randbytes)

    assert masters.keys[:2] == (bytes(64), bytes([1] * 64))
    assert (masters.since, masters.first_id, masters.current, len(masters.keys)) == (DAY, 5, 2, 4)


def test_lower_counts_take_effect() -> None:
    """When fewer old keys shall be kept, the next rotation drops those that are too many."""
    masters = rotations(rotations(MasterKeys.fresh(0, Random(1).randbytes), 8), 1, stale=2)

    assert (masters.current, len(masters.keys)) == (2, 4)


@pytest.mark.parametrize(
    ("later", "since", "kept"),
    [(0, 0, 9), (DAY - 1, 0, 9), (DAY, DAY, 8), (3 * DAY + 5, 3 * DAY, 6), (9 * DAY, 9 * DAY, 0), (-DAY, 0, 9)],
)
def test_missed_rotations(later: int, since: int, kept: int) -> None:
    """After a time without rotations the keys are as if there had been all of them, and the next is when it was due."""
    start = rotations(MasterKeys.fresh(0, Random(1).randbytes), 8)
    masters = start.caught_up(start.since + later, DAY, 7, Random(2).randbytes)

    assert masters.since - start.since == since
    assert len(set(start.keys) & set(masters.keys)) == kept
    assert (masters.current, len(masters.keys)) == (7, 9)


def test_a_clock_far_ahead_costs_no_more_than_all_keys() -> None:
    """A clock that is centuries wrong does not keep the start busy."""
    start = rotations(MasterKeys.fresh(0, Random(1).randbytes), 8)
    masters = start.caught_up(1 << 62, DAY, 7, Random(2).randbytes)

    assert not set(start.keys) & set(masters.keys)
    assert masters.due(1 << 62, DAY) == 0


def test_a_set_is_replaced_for_all_who_use_it() -> None:
    """Whoever holds the set makes cookies of the keys that were put into it last."""
    keyset = keyset_of(7, bytes(64))
    cookie = keyset.make_cookies(session(), 1)[0]
    masters = MasterKeys.fresh(0, Random(3).randbytes)
    keyset.use(masters)

    assert keyset.masters == masters
    assert keyset.open_cookie(cookie) is None
    assert KeySet(masters, Random(4).randbytes).open_cookie(keyset.make_cookies(session(), 1)[0]) == session()
    assert "keys=" not in repr(masters)
