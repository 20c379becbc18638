"""
Who asks most: a bounded table of clients (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k
elements in data streams", 2005: Space-Saving).

A client that is not in the full table takes the place of the one that asked least, and its count too: any client that
sent more than one request in ``capacity`` is there, and no count is too low.  Clients of one count stand together, so a
request costs the same however many clients there are.
"""

from __future__ import annotations

from ntptwist.timestamp import Monotonic

CAPACITY = 1024


class Client:
    """
    One client.

    ``packets`` is what it sent, of which ``error`` may have been others' before it; ``last_seen``, ``version``,
    ``interleaved`` and ``nts`` are those of its latest request.
    """

    __slots__ = ("error", "interleaved", "last_seen", "nts", "packets", "version")

    def __init__(self, error: int) -> None:
        self.packets = error
        self.error = error
        self.last_seen = Monotonic(0)
        self.version = 0
        self.interleaved = False
        self.nts = False


class ClientTable:
    """The clients of one server that ask most; ``len`` is how many there are, ``capacity`` the most."""

    __slots__ = ("_clients", "_groups", "_least", "capacity")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._clients: dict[bytes, Client] = {}
        self._groups: dict[int, dict[bytes, Client]] = {}
        self._least = 0  # no group has fewer packets: counts only grow once the table is full

    def __len__(self) -> int:
        return len(self._clients)

    def saw(
        self,
        address: bytes,
        monotonic: Monotonic,
        version: int,
        *,
        interleaved: bool = False,
        nts: bool = False,
        packets: int = 1,
    ) -> None:
        """Count a request, or as many as it is a sample of, from a plain address at this moment."""
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = Client(self._make_room())
        else:
            self._take_out(address, client.packets)
        client.packets += packets
        self._groups.setdefault(client.packets, {})[address] = client
        client.last_seen = monotonic
        client.version = version
        client.interleaved = interleaved
        client.nts = nts

    def top(self, number: int) -> list[tuple[bytes, Client]]:
        """Give the clients that ask most, the first first."""
        return sorted(self._clients.items(), key=lambda item: -item[1].packets)[:number]

    def _make_room(self) -> int:
        """Give the count that a new client inherits: that of the one whose place it takes, 0 while there is room."""
        if len(self._clients) < self.capacity:
            return 0
        if self._least not in self._groups:
            self._least += 1  # mostly where the client that came last is
            if self._least not in self._groups:
                self._least = min(self._groups)
        victim = next(iter(self._groups[self._least]))
        self._take_out(victim, self._least)
        del self._clients[victim]
        return self._least

    def _take_out(self, address: bytes, packets: int) -> None:
        """Take a client out of those with as many packets."""
        group = self._groups[packets]
        del group[address]
        if not group:
            del self._groups[packets]
