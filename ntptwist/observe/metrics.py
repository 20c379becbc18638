"""
The state as text for Prometheus (its exposition format 0.0.4).

A value that is not known has no sample: a gap is true, a zero would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ntptwist.interfaces import ISystem
from ntptwist.observe.catalogue import (
    CONNECTIONS,
    CONSTANT,
    KEY_SERVER,
    SERVER,
    SOURCE,
    SYSTEM,
    Kind,
    Metric,
    Scrape,
    Subject,
)
from ntptwist.observe.latency import Latency
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot
from ntptwist.timestamp import seconds_between

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Give labels as they stand behind a name."""
    inside = ",".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"'))
        for name, value in pairs
    )
    return f"{{{inside}}}" if inside else ""


def exposition(scrape: Scrape) -> Iterator[str]:
    """Give the whole text in pieces: those of the system, of the sources and of the servers."""
    lines: list[str] = []
    for constant in CONSTANT:
        lines += _head(constant.name, constant.help, "gauge")
        lines.append(f"{constant.name}{labels(constant.labels)} {_number(constant.value(scrape))}")
    lines += _samples(SYSTEM, [("", scrape)])
    yield "\n".join([*lines, ""])
    rows = [
        (labels([("name", row.observation.name), ("address", row.observation.address), ("id", str(row.id))]), row)
        for row in scrape.snapshot.sources
        if row.id is not None
    ]
    for metric in SOURCE:
        yield "\n".join([*_samples((metric,), rows), ""])
    servers = [(labels([("listen_address", server.address)]), server) for server in scrape.servers]
    key_servers = [(labels([("listen_address", server.address)]), server) for server in scrape.key_servers]
    outcomes = [
        (labels([("listen_address", server.address), ("outcome", outcome)]), number)
        for server in scrape.key_servers
        for outcome, number in server.outcomes.items()
    ]
    lines = [*_samples(SERVER, servers), *_samples(KEY_SERVER, key_servers), *_samples((CONNECTIONS,), outcomes), ""]
    yield "\n".join(lines)


def _head(name: str, words: str, kind: Kind) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _samples(metrics: Iterable[Metric[Subject]], subjects: list[tuple[str, Subject]]) -> list[str]:
    lines: list[str] = []
    for metric in metrics:
        name, value = metric.name, metric.value
        known = [(label, number) for label, subject in subjects if (number := value(subject)) is not None]
        if known:
            lines += _head(name, metric.help, metric.kind)
            lines += [f"{name}{label} {_number(number)}" for label, number in known]
    return lines


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))


class Meter:
    """
    Reads the system for Prometheus.

    ``threshold`` gives the limit of accumulated steps in force; ``latency`` is the reactor's, where it is measured.
    """

    def __init__(
        self,
        system: ISystem,
        servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
        key_servers: Callable[[], Iterable[KeyServerSnapshot]] = tuple,
        threshold: Callable[[], float | None] = lambda: None,
        latency: Latency | None = None,
    ) -> None:
        self._system = system
        self._servers = servers
        self._key_servers = key_servers
        self._threshold = threshold
        self._latency = latency
        self._started = system.clock.read().monotonic

    def scrape(self) -> Scrape:
        """Take everything at one moment."""
        snapshot = self._system.snapshot()
        return Scrape(
            snapshot,
            tuple(self._servers()),
            tuple(self._key_servers()),
            seconds_between(snapshot.monotonic, self._started),
            self._threshold(),
            None if self._latency is None else self._latency.longest(),
        )

    def pieces(self) -> Iterator[str]:
        """Give the text in pieces, of which each is quickly made."""
        return exposition(self.scrape())

    def text(self) -> str:
        """Give the whole text."""
        return "".join(self.pieces())
