"""
The metrics: each is a row of one of the tables below, with the words that explain it.

What means the same as a metric of ntpd-rs has its name and its labels, so that dashboards and alerts go on working.
What ntpd-rs does not have is called ``ntptwist_*``.  The manual's tables are made from these.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import twisted

import ntptwist
from ntptwist.identifiers import Leap
from ntptwist.protocol.reach import Reach
from ntptwist.snapshot import KeyServerSnapshot, ServerSnapshot, SourceSnapshot, SystemSnapshot

NO_SOURCE_POLL = 16.0
"""Seconds; ntpd-rs' word while there is no source."""

Subject = TypeVar("Subject")
Kind = Literal["gauge", "counter"]

_LEAP = {Leap.NONE: 0, Leap.INSERT: 1, Leap.DELETE: 2, Leap.UNSYNCHRONIZED: 4}
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one answer is made of; ``uptime`` in seconds, ``threshold`` of accumulated steps in seconds."""

    snapshot: SystemSnapshot
    servers: tuple[ServerSnapshot, ...] = ()
    key_servers: tuple[KeyServerSnapshot, ...] = ()
    uptime: float = 0.0
    threshold: float | None = None
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Metric(Generic[Subject]):
    """One metric: ``value`` gives the number of its subject, None where there is none."""

    name: str
    kind: Kind
    help: str
    value: Callable[[Subject], float | None]


def _shortest_poll(scrape: Scrape) -> float:
    polls = [row.observation.poll for row in scrape.snapshot.sources if row.id is not None]
    return 2.0 ** min(polls) if polls else NO_SOURCE_POLL


def _root_delay(scrape: Scrape) -> float | None:
    time = scrape.snapshot.time
    return time.root_delay if time.synchronized else None


def _root_dispersion(scrape: Scrape) -> float | None:
    time = scrape.snapshot.time
    return time.root_dispersion(scrape.snapshot.monotonic) if time.synchronized else None


def _parts(ppm: float | None) -> float | None:
    return None if ppm is None else ppm / _MILLION


SYSTEM: tuple[Metric[Scrape], ...] = (
    Metric(
        "ntp_system_poll_interval_seconds",
        "gauge",
        "Shortest time between two requests to a source; 16 without sources.",
        _shortest_poll,
    ),
    Metric(
        "ntp_system_accumulated_steps_seconds",
        "gauge",
        "Sum of the steps after the first, without their signs.",
        lambda scrape: scrape.snapshot.accumulated_steps,
    ),
    Metric(
        "ntp_system_accumulated_steps_threshold_seconds",
        "gauge",
        "Sum of steps beyond which the daemon ends; -1 for no limit.",
        lambda scrape: -1.0 if scrape.threshold is None else scrape.threshold,
    ),
    Metric(
        "ntp_system_leap_indicator",
        "gauge",
        "Leap second that is announced: 0 none, 1 one is inserted, 2 one is left out; 4 while not synchronised.",
        lambda scrape: _LEAP[scrape.snapshot.time.leap],
    ),
    Metric(
        "ntp_system_root_delay_seconds",
        "gauge",
        "Time of a round trip to the primary reference; missing while not synchronised.",
        _root_delay,
    ),
    Metric(
        "ntp_system_root_dispersion_seconds",
        "gauge",
        "Error that is likely with regard to the primary reference; missing while not synchronised.",
        _root_dispersion,
    ),
    Metric(
        "ntp_system_stratum",
        "gauge",
        "Servers between this clock and the primary reference, and one; 16 while not synchronised.",
        lambda scrape: scrape.snapshot.time.stratum,
    ),
    Metric(
        "ntptwist_synchronized",
        "gauge",
        "Whether this clock may be trusted: 1 yes, 0 no.",
        lambda scrape: scrape.snapshot.synchronized,
    ),
    Metric(
        "ntptwist_clock_offset_seconds",
        "gauge",
        "What is left to correct, reference minus local: positive where the clock is slow.",
        lambda scrape: scrape.snapshot.offset,
    ),
    Metric(
        "ntptwist_clock_error_bound_seconds",
        "gauge",
        "Largest error of the clock: |offset| + root dispersion + half the root delay, with three standard deviations.",
        lambda scrape: scrape.snapshot.error_bound,
    ),
    Metric(
        "ntptwist_clock_frequency_ratio",
        "gauge",
        "Correction of the clock's rate in force; 1e-6 is 1 ppm, positive makes it run faster.",
        lambda scrape: _parts(scrape.snapshot.frequency),
    ),
    Metric(
        "ntptwist_clock_frequency_error_ratio",
        "gauge",
        "Standard deviation of the frequency as it is known; 1e-6 is 1 ppm.",
        lambda scrape: _parts(scrape.snapshot.frequency_error),
    ),
    Metric("ntptwist_clock_steps_total", "counter", "Steps of the clock.", lambda scrape: scrape.snapshot.steps),
    Metric(
        "ntptwist_sources",
        "gauge",
        "Sources that are running.",
        lambda scrape: sum(row.id is not None for row in scrape.snapshot.sources),
    ),
    Metric(
        "ntptwist_sources_selected",
        "gauge",
        "Sources that the clock follows.",
        lambda scrape: sum(row.estimate.selected for row in scrape.snapshot.sources),
    ),
    Metric(
        "ntptwist_sources_missing",
        "gauge",
        "Entries of the configuration that still look for a source, or for more of them.",
        lambda scrape: sum(row.id is None for row in scrape.snapshot.sources),
    ),
    Metric(
        "ntptwist_reactor_latency_seconds",
        "gauge",
        "Longest time by which a timer came late in the last minute: how long something else kept the daemon busy.",
        lambda scrape: scrape.latency,
    ),
)
"""What there is once."""

SOURCE: tuple[Metric[SourceSnapshot], ...] = (
    Metric(
        "ntp_source_poll_interval_seconds",
        "gauge",
        "Time between two requests.",
        lambda row: 2.0**row.observation.poll,
    ),
    Metric(
        "ntp_source_unanswered_polls",
        "gauge",
        "Requests in a row that were not answered, 8 at most.",
        lambda row: Reach(row.observation.reach).unanswered,
    ),
    Metric(
        "ntp_source_nts_cookies_available",
        "gauge",
        "Cookies in stock, 8 at most; a source without NTS has no sample.",
        lambda row: row.observation.nts_cookies,
    ),
    Metric("ntp_source_offset_seconds", "gauge", "Reference minus local clock.", lambda row: row.estimate.offset),
    Metric("ntp_source_delay_seconds", "gauge", "Time of a round trip.", lambda row: row.estimate.delay),
    Metric(
        "ntp_source_uncertainty_seconds",
        "gauge",
        "Standard deviation of the offset as it is known.",
        lambda row: row.estimate.uncertainty,
    ),
    Metric(
        "ntp_source_root_delay_seconds",
        "gauge",
        "Root delay that the source reports of itself.",
        lambda row: row.estimate.root_delay,
    ),
    Metric(
        "ntp_source_root_dispersion_seconds",
        "gauge",
        "Root dispersion that the source reports of itself.",
        lambda row: row.estimate.root_dispersion,
    ),
    Metric(
        "ntptwist_source_selected",
        "gauge",
        "Whether the clock follows the source: 1 yes, 0 no.",
        lambda row: row.estimate.selected,
    ),
    Metric(
        "ntptwist_source_falseticker",
        "gauge",
        "Whether the source contradicts the majority: 1 yes, 0 no.",
        lambda row: row.estimate.reason.startswith("falseticker"),
    ),
    Metric(
        "ntptwist_source_reachable",
        "gauge",
        "Whether one of the last eight requests was answered: 1 yes, 0 no.",
        lambda row: row.observation.reach != 0,
    ),
    Metric(
        "ntptwist_source_stratum",
        "gauge",
        "Stratum that the source reports.",
        lambda row: row.estimate.stratum,
    ),
    Metric(
        "ntptwist_source_jitter_seconds",
        "gauge",
        "Scatter of single measurements.",
        lambda row: row.estimate.jitter,
    ),
    Metric(
        "ntptwist_source_measurements_total",
        "counter",
        "Measurements that the algorithm was given.",
        lambda row: row.estimate.measurements,
    ),
    Metric(
        "ntptwist_source_packets_sent_total",
        "counter",
        "Requests sent.",
        lambda row: row.observation.sent,
    ),
    Metric(
        "ntptwist_source_packets_received_total",
        "counter",
        "Replies that were good.",
        lambda row: row.observation.received,
    ),
    Metric(
        "ntptwist_source_packets_dropped_total",
        "counter",
        "Replies that were refused: not ours, not authentic, or bogus.",
        lambda row: row.observation.dropped,
    ),
)
"""What there is of every source; labels ``name`` as configured, ``address`` and ``id``."""


def _counter(name: str, words: str, key: str) -> Metric[ServerSnapshot]:
    return Metric(name, "counter", words, lambda server: server.counters.get(key))


SERVER: tuple[Metric[ServerSnapshot], ...] = (
    _counter("ntp_server_received_packets_total", "Requests received.", "received"),
    _counter("ntp_server_accepted_packets_total", "Requests answered with the time.", "accepted"),
    _counter("ntp_server_denied_packets_total", "Requests answered with a refusal.", "denied"),
    _counter("ntp_server_ignored_packets_total", "Packets that were not answered.", "ignored"),
    _counter("ntp_server_rate_limited_packets_total", "Requests that came too often.", "rate_limited"),
    _counter(
        "ntp_server_response_send_errors_total", "Replies that the network refused to take.", "response_send_errors"
    ),
    _counter("ntp_server_nts_received_packets_total", "Requests with NTS received.", "nts_received"),
    _counter("ntp_server_nts_accepted_packets_total", "Requests with NTS answered with the time.", "nts_accepted"),
    _counter("ntp_server_nts_denied_packets_total", "Requests with NTS answered with a refusal.", "nts_denied"),
    _counter("ntp_server_nts_nak_packets_total", "Requests whose cookies could not be read.", "nts_nak"),
    _counter("ntptwist_server_interleaved_packets_total", "Requests answered in interleaved mode.", "interleaved"),
    _counter("ntptwist_server_control_packets_total", "Requests of mode 6.", "control"),
    Metric(
        "ntptwist_server_up",
        "gauge",
        "Whether the server has its address: 1 yes, 0 no.",
        lambda server: server.trouble is None,
    ),
)
"""What there is of every server; label ``listen_address``."""

KEY_SERVER: tuple[Metric[KeyServerSnapshot], ...] = (
    Metric(
        "ntptwist_key_exchange_up",
        "gauge",
        "Whether the server of NTS keys has its address: 1 yes, 0 no.",
        lambda server: server.trouble is None,
    ),
)
"""What there is of every server of NTS keys; label ``listen_address``."""

CONNECTIONS: Metric[int] = Metric(
    "ntptwist_key_exchange_connections_total",
    "counter",
    "Connections for NTS keys by how they ended; the outcome is ``given`` where they gave keys.",
    lambda number: number,
)
"""The same, with the label ``outcome`` beside."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A metric whose labels say something that does not change while the daemon runs."""

    name: str
    help: str
    labels: tuple[tuple[str, str], ...]
    value: Callable[[Scrape], float]


CONSTANT = (
    Constant(
        "ntp_uptime_seconds",
        "Time since the start of the daemon.",
        (("version", ntptwist.__version__), ("build_commit", ""), ("build_commit_date", "")),
        lambda scrape: scrape.uptime,
    ),
    Constant(
        "ntptwist_build_info",
        "Versions of the daemon and of what it runs on; the value is 1.",
        (
            ("version", ntptwist.__version__),
            ("python", platform.python_version()),
            ("twisted", twisted.__version__),
        ),
        lambda _: 1.0,
    ),
)
"""What says which program this is; ntpd-rs' labels of its own build are empty, which to Prometheus is none."""


def catalogue() -> Iterator[tuple[str, Kind, tuple[str, ...], str]]:
    """Give every metric there can be: its name, its kind, the names of its labels, and what it means."""
    for constant in CONSTANT:
        yield constant.name, "gauge", tuple(name for name, _ in constant.labels), constant.help
    for metric in SYSTEM:
        yield metric.name, metric.kind, (), metric.help
    for source in SOURCE:
        yield source.name, source.kind, ("name", "address", "id"), source.help
    for server in SERVER:
        yield server.name, server.kind, ("listen_address",), server.help
    for key_server in KEY_SERVER:
        yield key_server.name, key_server.kind, ("listen_address",), key_server.help
    yield CONNECTIONS.name, CONNECTIONS.kind, ("listen_address", "outcome"), CONNECTIONS.help
