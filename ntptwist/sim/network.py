"""
The virtual network: hosts, and one-way paths between them.

Each path has its own random generator, seeded by the world's seed and the names of its ends, so what one path does to
its packets depends on nothing but the packets that it was given.  A packet that finds no open port on a host that
exists is answered by an ICMP port-unreachable; one to a host that nobody knows is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from ntptwist.sim.timeline import Timeline
from ntptwist.timestamp import NANOSECONDS

Endpoint = tuple[str, int]
"""A literal address and a port."""

Shape = Callable[[Random, float], float]
"""Draws a queueing delay of a given scale; both in seconds."""


def exponential(random: Random, scale: float) -> float:
    """Draw with mean ``scale``: a queue."""
    return random.expovariate(1.0) * scale


def gaussian(random: Random, scale: float) -> float:
    """Draw with standard deviation ``scale`` around five times that: many small causes."""
    return max(random.gauss(5.0, 1.0), 0.0) * scale


def gamma(random: Random, scale: float) -> float:
    """Draw with mean ``scale`` from three queues in a row."""
    return random.gammavariate(3.0, scale / 3.0)


def uniform(random: Random, scale: float) -> float:
    """Draw with mean ``scale`` from an even spread that starts at 0: interrupts by a timer, radio slots."""
    return random.random() * 2.0 * scale


def pareto(random: Random, scale: float) -> float:
    """Draw with mean ``2 scale`` and no variance at all: rare and very late packets."""
    return (random.paretovariate(1.5) - 1.0) * scale


def lognormal(random: Random, scale: float) -> float:
    """Draw with median ``scale``."""
    return random.lognormvariate(0.0, 1.0) * scale


@dataclass(frozen=True, slots=True)
class Path:
    """
    One way from a host to another.

    A packet takes ``base`` plus a delay of ``shape`` and scale ``jitter``, seconds.  ``loss`` and ``duplication`` are
    shares of the packets; a duplicate has a delay of its own.  A share ``reordering`` is held back for another ``hold``
    seconds, so that later packets overtake it.  Times are seconds since the start of the world: nothing passes in an
    outage (from, to), a route change (from, seconds) adds to the base for good, and in a congestion (from, to, factor)
    the jitter is so many times larger.  With a ``correlation`` the queue is a slow one: it changes in so many seconds,
    and packets that are closer together find it much the same.
    """

    base: float = 0.0
    jitter: float = 0.0
    shape: Shape = exponential
    correlation: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    hold: float = 3.0
    outages: tuple[tuple[float, float], ...] = ()
    routes: tuple[tuple[float, float], ...] = ()
    congestions: tuple[tuple[float, float, float], ...] = ()

    def delay(self, random: Random, seconds: float, queue: Queue | None = None) -> float:
        """Draw the delay of a packet that leaves so many seconds after the start; ``queue`` is that of a slow one."""
        delay = self.base
        for since, added in self.routes:
            if seconds >= since:
                delay += added
        if self.jitter:
            jitter = self.shape(random, self.jitter) if queue is None else queue.delay(self, seconds)
            for since, until, factor in self.congestions:
                if since <= seconds < until:
                    jitter *= factor
            delay += jitter
        if self.reordering and random.random() < self.reordering:
            delay += self.hold
        return delay

    def copies(self, random: Random, seconds: float, queue: Queue | None = None) -> tuple[float, ...]:
        """Draw the delays of all copies of a packet that arrive."""
        delay = self.delay(random, seconds, queue)  # drawn for a lost one too: the others' delays stay as they are
        if self.loss and random.random() < self.loss:
            return ()
        for since, until in self.outages:
            if since <= seconds < until:
                return ()
        if self.duplication and random.random() < self.duplication:
            return (delay, self.delay(random, seconds, queue))
        return (delay,)


class Queue:
    """A queue that changes slowly: delays drawn at multiples of the correlation time, straight lines between them."""

    __slots__ = ("_ends", "_index", "_random")

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - the weather, not a key
        self._index = -1
        self._ends = (0.0, 0.0)

    def delay(self, path: Path, seconds: float) -> float:
        """Give the queueing delay at a time, which may only go forward."""
        position = seconds / path.correlation
        while self._index < int(position):
            first = self._ends[1] if self._index >= 0 else path.shape(self._random, path.jitter)
            self._ends = (first, path.shape(self._random, path.jitter))
            self._index += 1
        before, after = self._ends
        return before + (after - before) * (position - self._index)


PERFECT = Path()


def path_name(seed: int | str, source: str, destination: str) -> str:
    """Name a path: the seed of its random generator, for whoever wants the same delays elsewhere."""
    return f"{seed}/{source}>{destination}"


class Socket(Protocol):
    """What is bound to an endpoint of the network."""

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Take a packet."""

    def refused(self, source: Endpoint) -> None:
        """Take the news that the port at ``source`` is closed."""


class Network:
    """
    All hosts of a world.

    ``connected`` and ``unrouted`` say what the machines of the world have a route to: False for none at all, and single
    addresses.  ``sent`` counts the packets of each host.
    """

    def __init__(self, timeline: Timeline, seed: int | str) -> None:
        self.connected = True
        self.unrouted: set[str] = set()
        self.sent: Counter[str] = Counter()
        self._timeline = timeline
        self._seed = seed
        self._hosts: set[str] = set()
        self._paths: dict[tuple[str, str], tuple[Path, Random, Queue | None]] = {}
        self._sockets: dict[Endpoint, Socket] = {}

    def add_host(self, host: str) -> None:
        """Let there be a host."""
        self._hosts.add(host)

    def set_path(self, source: str, destination: str, path: Path) -> None:
        """Make or change the one-way path from a host to another; where none is set it takes no time."""
        self._hosts.update((source, destination))
        name = path_name(self._seed, source, destination)
        found = self._paths.get((source, destination))
        random = found[1] if found is not None else Random(name)  # noqa: S311 - the weather, not a key
        self._paths[source, destination] = (path, random, Queue(f"{name}/queue") if path.correlation else None)

    def has_route(self, host: str) -> bool:
        """Tell whether a machine would get a packet to this address out at all."""
        return self.connected and host not in self.unrouted

    def is_bound(self, endpoint: Endpoint) -> bool:
        """Tell whether an endpoint is in use."""
        return endpoint in self._sockets

    def bind(self, endpoint: Endpoint, socket: Socket) -> None:
        """Open an endpoint; ValueError if it is in use."""
        if endpoint in self._sockets:
            raise ValueError(f"{endpoint} is in use")
        self._hosts.add(endpoint[0])
        self._sockets[endpoint] = socket

    def unbind(self, endpoint: Endpoint) -> None:
        """Close an endpoint."""
        del self._sockets[endpoint]

    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        """Send a packet now."""
        self.sent[source[0]] += 1
        self._travel(source[0], destination[0], self._arrive, source, destination, data)

    def _travel(self, origin: str, target: str, arrive: Callable[..., None], *arguments: object) -> None:
        timeline = self._timeline
        found = self._paths.get((origin, target))
        if found is None:
            timeline.at(timeline.now, arrive, *arguments)
            return
        path, random, queue = found
        for delay in path.copies(random, (timeline.now - timeline.start) / NANOSECONDS, queue):
            timeline.at(timeline.now + round(delay * NANOSECONDS), arrive, *arguments)

    def _arrive(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        socket = self._sockets.get(destination)
        if socket is not None:
            socket.arrived(data, source)
        elif destination[0] in self._hosts:
            self._travel(destination[0], source[0], self._refuse, source, destination)

    def _refuse(self, source: Endpoint, destination: Endpoint) -> None:
        socket = self._sockets.get(source)
        if socket is not None:
            socket.refused(destination)
