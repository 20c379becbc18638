"""
What shows the daemon to others: the socket of ``ntptwist-ctl``, the history behind the plots, the page and the metrics.

Only what is configured is made, and HTTP is imported only then.  All of it reads snapshots; whatever of it fails, the
clock goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from socket import gethostname
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from ntptwist.algorithm.update import Decision
from ntptwist.config.model import Config
from ntptwist.identifiers import SourceId
from ntptwist.observe.history import History, Sampler
from ntptwist.observe.html import EVENT_LIMIT, FILES, Event, page
from ntptwist.observe.latency import Latency
from ntptwist.observe.metrics import CONTENT_TYPE, Meter
from ntptwist.observe.observer import Observer
from ntptwist.observe.state import status_data
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot
from ntptwist.system import System
from ntptwist.timestamp import Timestamp

if TYPE_CHECKING:
    from ntptwist.observe.web import Page

STATIC = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/uplot.css": "text/css; charset=utf-8",
    "/uplot.js": "text/javascript; charset=utf-8",
    "/uplot.LICENSE": "text/plain; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}
"""The files of the page, and their types."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Views:
    """All that there is to show, of ``host``; ``servers`` and ``key_servers`` give what there is of those now."""

    system: System
    history: History
    meter: Meter
    servers: Callable[[], Iterable[ServerSnapshot]] = tuple
    key_servers: Callable[[], Iterable[KeyServerSnapshot]] = tuple
    host: str = field(default_factory=gethostname)

    def status(self) -> dict[str, Any]:
        """Give the state as plain data."""
        return status_data(self.system.snapshot(), self.servers(), self.key_servers())

    def page(self) -> Iterator[str]:
        """Give the web page in pieces."""
        status = self.status()
        names = {row["id"]: row["name"] for row in status["sources"]}
        return page(status, self.host, [self._event(*each, names) for each in self._latest()])

    def _latest(self) -> list[tuple[int, Decision]]:
        return list(islice(reversed(self.system.journal), EVENT_LIMIT))

    def _event(self, time: int, decision: Decision, names: Mapping[SourceId | None, str]) -> Event:
        about = ""
        if decision.source is not None:
            about = f"{names.get(decision.source, 'a source that has ended')}: "
        return Event(Timestamp(time), decision.kind.value, about + decision.reason)


def make_observers(
    config: Config,
    system: System,
    reactor: Any,
    servers: Callable[[], Iterable[ServerSnapshot]] = tuple,
    key_servers: Callable[[], Iterable[KeyServerSnapshot]] = tuple,
) -> list[IService]:
    """Make what a configuration asks for."""
    settings = config.observability
    web, exporter = settings.web_listen, settings.metrics_exporter_listen
    directory = config.control_directory
    latency = Latency(reactor) if web is not None or exporter is not None else None
    if directory is None and latency is None:
        return []
    history = History()
    meter = Meter(
        system, servers, key_servers, lambda: system.controller.policy.accumulated_step_panic_threshold, latency
    )
    services: list[IService] = []
    if directory is not None:
        services.append(Observer(directory, system, reactor, servers, key_servers, history, meter))
    services.append(Sampler(history, system, servers, reactor))
    if latency is not None:
        services.append(latency)
        from ntptwist.observe.web import WebServer, any_path

        pages = make_pages(Views(system, history, meter, servers, key_servers))
        if web is not None:
            services.append(WebServer(web, pages.get, "nobody sees the web page", reactor))
        if exporter is not None:
            services.append(WebServer(exporter, any_path(pages["/metrics"]), "Prometheus gets no metrics", reactor))
    return services


def make_pages(views: Views) -> dict[str, Page]:
    """Make what ``web-listen`` shows, by paths."""
    from ntptwist.observe.web import Page

    return {
        "/": Page("text/html; charset=utf-8", lambda _: views.page()),
        "/status.json": Page(JSON, lambda _: json.dumps(views.status(), allow_nan=False).encode()),
        "/history.json": Page(JSON, lambda query: views.history.pieces(views.system.snapshot(), _after(query))),
        "/metrics": Page(CONTENT_TYPE, lambda _: views.meter.pieces()),
        **{path: Page(kind, _reader(path)) for path, kind in STATIC.items()},
    }


def _reader(path: str) -> Callable[[Any], bytes]:
    content = (FILES / path.removeprefix("/")).read_bytes()
    return lambda _: content


def _after(query: dict[bytes, list[bytes]]) -> int:
    """Give the tick after which samples are wanted; whatever is no number asks for all."""
    given = query.get(b"after", [b""])[0]
    return int(given) if given.isdigit() and len(given) < 10 else -1
