"""The table of clients: bounded, and those who ask most are in it."""

from __future__ import annotations

from random import Random

from ntptwist.protocol.clients import ClientTable
from ntptwist.timestamp import Monotonic

NOW = Monotonic(5)


def client(number: int) -> bytes:
    """Give an address."""
    return number.to_bytes(4)


def test_counts_are_exact_while_there_is_room() -> None:
    """Each client has its packets, and what its latest request was like."""
    table = ClientTable(3)
    for number, version in ((1, 3), (2, 4), (1, 4)):
        table.saw(client(number), Monotonic(number), version, interleaved=version == 4, nts=version == 4)
    first, second = table.top(3)

    assert (len(table), [address for address, _ in (first, second)]) == (2, [client(1), client(2)])
    assert (first[1].packets, first[1].error, first[1].last_seen) == (2, 0, 1)
    assert (first[1].version, first[1].interleaved, first[1].nts) == (4, True, True)
    assert second[1].packets == 1


def test_a_sample_counts_as_many() -> None:
    """A request that stands for sixteen counts as sixteen."""
    table = ClientTable()
    table.saw(client(1), NOW, 4, packets=16)
    table.saw(client(1), NOW, 4)

    assert table.top(1)[0][1].packets == 17


def test_who_asks_least_makes_room() -> None:
    """A new client takes the place and the count of the one that asked least, and says how sure its count is."""
    table = ClientTable(2)
    for number in (1, 1, 1, 2, 2, 3):
        table.saw(client(number), NOW, 4)

    assert [(address, seen.packets, seen.error) for address, seen in table.top(9)] == [
        (client(1), 3, 0),
        (client(3), 3, 2),
    ]


def test_of_those_who_ask_least_the_oldest_goes() -> None:
    """Among equals the one that has been there longest makes room."""
    table = ClientTable(2)
    for number in (1, 2, 3):
        table.saw(client(number), NOW, 4)

    assert {address for address, _ in table.top(2)} == {client(2), client(3)}


def test_space_saving() -> None:
    """After a flood of strangers the table is no larger, no count is too low, and the busy ones are all there."""
    table = ClientTable(100)
    random = Random(3)
    sent = dict.fromkeys(range(20), 0)
    total = 0
    for _ in range(100_000):
        number = random.randrange(20) if random.random() < 0.5 else random.getrandbits(31) + 20
        if number < 20:
            sent[number] += 1
        total += 1
        table.saw(client(number), NOW, 4)
    top = dict(table.top(20))

    assert len(table) == 100
    assert set(top) == set(map(client, sent))
    for number, packets in sent.items():
        seen = top[client(number)]
        assert seen.packets - seen.error <= packets <= seen.packets
        assert seen.error <= total // 100
