"""What Prometheus is told, read by Prometheus' own parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import ntptwist
from ntptwist.identifiers import Leap
from ntptwist.observe.catalogue import Scrape, catalogue
from ntptwist.observe.metrics import Meter, exposition
from ntptwist.snapshot import KeyServerSnapshot, SourceObservation, SourceSnapshot, SystemSnapshot, TimeSnapshot
from ntptwist.timestamp import ClockReading, Monotonic, Timestamp
from tests.observe.rows import server, source, system

NTPD_RS = {
    "ntp_uptime_seconds": {"version", "build_commit", "build_commit_date"},
    "ntp_system_poll_interval_seconds": set(),
    "ntp_system_accumulated_steps_seconds": set(),
    "ntp_system_accumulated_steps_threshold_seconds": set(),
    "ntp_system_leap_indicator": set(),
    "ntp_system_root_delay_seconds": set(),
    "ntp_system_root_dispersion_seconds": set(),
    "ntp_system_stratum": set(),
    **dict.fromkeys(
        (
            *("ntp_source_poll_interval_seconds", "ntp_source_unanswered_polls", "ntp_source_nts_cookies_available"),
            *("ntp_source_offset_seconds", "ntp_source_delay_seconds", "ntp_source_uncertainty_seconds"),
            *("ntp_source_root_delay_seconds", "ntp_source_root_dispersion_seconds"),
        ),
        frozenset({"name", "address", "id"}),
    ),
    **dict.fromkeys(
        (
            *("ntp_server_received_packets_total", "ntp_server_accepted_packets_total"),
            *("ntp_server_denied_packets_total", "ntp_server_ignored_packets_total"),
            *("ntp_server_rate_limited_packets_total", "ntp_server_response_send_errors_total"),
            *("ntp_server_nts_received_packets_total", "ntp_server_nts_accepted_packets_total"),
            *("ntp_server_nts_denied_packets_total", "ntp_server_nts_nak_packets_total"),
        ),
        frozenset({"listen_address"}),
    ),
}
"""ntpd-rs' metrics and their labels, but for its count of limited requests with NTS, which is not counted here."""


def parsed(scrape: Scrape) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Give the samples by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families("".join(exposition(scrape))):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def full() -> Scrape:
    """Give a scrape in which every metric has a sample."""
    observation = SourceObservation(
        "nts.example.net:4460", "192.0.2.9:123", "nts", reach=0b11111100, poll=7, nts_cookies=8, sent=9, received=7
    )
    known = source(2, stratum=1, jitter=1e-5, root_delay=1e-3, root_dispersion=2e-3, selected=True).estimate
    row = SourceSnapshot(source(2).id, observation, known)
    return Scrape(
        system(row, source(None), steps=1, accumulated_steps=0.5),
        (server(40, 10),),
        (KeyServerSnapshot("[::]:4460", None, {"given": 3, "tls": 1}),),
        uptime=61.5,
        threshold=5.0,
        latency=0.003,
    )


def value(scrape: Scrape, name: str) -> float:
    """Give the only sample of a metric."""
    (number,) = parsed(scrape)[name].values()
    return number


def test_everything_that_is_declared_is_told() -> None:
    """A full state has a sample of each metric in the catalogue, with the declared labels, and no others."""
    found = parsed(full())

    assert set(found) == {name for name, *_ in catalogue()}
    for name, _, labels, _ in catalogue():
        assert {tuple(sorted(labels))} == {tuple(label for label, _ in sample) for sample in found[name]}


def test_the_kinds_and_the_words() -> None:
    """The parser finds for each metric the kind and the explanation that the catalogue has."""
    families = {family.name: family for family in text_string_to_metric_families("".join(exposition(full())))}

    for name, kind, _, words in catalogue():
        family = families[name.removesuffix("_total") if kind == "counter" else name]
        assert (kind, words) == (family.type, family.documentation)


def test_the_names_and_labels_of_ntpd_rs() -> None:
    """Dashboards made for ntpd-rs find its metrics under their names, with their labels."""
    ours = {name: set(labels) for name, _, labels, _ in catalogue()}

    assert NTPD_RS == {name: labels for name, labels in ours.items() if name.startswith("ntp_")}


def test_counters_end_in_total() -> None:
    """Counters end in ``_total`` and nothing else does, as Prometheus wants it."""
    assert all(name.endswith("_total") == (kind == "counter") for name, kind, _, _ in catalogue())


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ntp_uptime_seconds", 61.5),
        ("ntp_system_poll_interval_seconds", 128.0),
        ("ntp_system_accumulated_steps_seconds", 0.5),
        ("ntp_system_accumulated_steps_threshold_seconds", 5.0),
        ("ntp_system_leap_indicator", 0.0),
        ("ntp_system_stratum", 2.0),
        ("ntptwist_synchronized", 1.0),
        ("ntptwist_clock_offset_seconds", 5e-6),
        ("ntptwist_clock_error_bound_seconds", 2e-3),
        ("ntptwist_clock_frequency_ratio", -3.5e-6),
        ("ntptwist_clock_frequency_error_ratio", 5e-8),
        ("ntptwist_clock_steps_total", 1.0),
        ("ntptwist_sources", 1.0),
        ("ntptwist_sources_selected", 1.0),
        ("ntptwist_sources_missing", 1.0),
        ("ntptwist_reactor_latency_seconds", 0.003),
        ("ntp_source_unanswered_polls", 2.0),
        ("ntp_source_nts_cookies_available", 8.0),
        ("ntp_source_offset_seconds", 1e-3),
        ("ntptwist_source_packets_sent_total", 9.0),
        ("ntptwist_source_selected", 1.0),
        ("ntptwist_source_falseticker", 0.0),
        ("ntptwist_source_reachable", 1.0),
        ("ntp_server_received_packets_total", 40.0),
        ("ntp_server_nts_received_packets_total", 10.0),
        ("ntptwist_server_up", 1.0),
        ("ntptwist_key_exchange_up", 1.0),
    ],
)
def test_the_numbers(name: str, number: float) -> None:
    """Each metric has the number of the state, in base units."""
    assert number == pytest.approx(value(full(), name))


def test_key_exchanges_by_outcome() -> None:
    """Connections to the server of keys are counted by how they ended."""
    found = parsed(full())["ntptwist_key_exchange_connections_total"]

    assert found == {
        (("listen_address", "[::]:4460"), ("outcome", "given")): 3.0,
        (("listen_address", "[::]:4460"), ("outcome", "tls")): 1.0,
    }


def test_what_is_not_known_has_no_sample() -> None:
    """Before anything is known there are no samples of offset and root delay, nor of servers that there are not."""
    unknown = SystemSnapshot(Timestamp(0), Monotonic(0), TimeSnapshot(), "system", False, "waiting")
    found = parsed(Scrape(unknown))

    assert not {"ntptwist_clock_offset_seconds", "ntp_system_root_delay_seconds", "ntptwist_server_up"} & set(found)
    assert value(Scrape(unknown), "ntp_system_leap_indicator") == 4.0
    assert value(Scrape(unknown), "ntp_system_poll_interval_seconds") == 16.0
    assert value(Scrape(unknown), "ntp_system_accumulated_steps_threshold_seconds") == -1.0
    assert value(Scrape(unknown), "ntptwist_synchronized") == 0.0


@pytest.mark.parametrize(("leap", "number"), [(Leap.INSERT, 1.0), (Leap.DELETE, 2.0)])
def test_leap_seconds(leap: Leap, number: float) -> None:
    """An announced leap second has ntpd-rs' number."""
    scrape = Scrape(system(time=TimeSnapshot(leap, 1)))

    assert number == value(scrape, "ntp_system_leap_indicator")


def test_a_falseticker_is_seen() -> None:
    """A source that contradicts the majority can be alerted on."""
    scrape = Scrape(system(source(reason="falseticker: 250 ms from the majority")))

    assert value(scrape, "ntptwist_source_falseticker") == 1.0


@given(name=st.text())
def test_any_name_survives(name: str) -> None:
    """Whatever a source is called, the parser finds it as it is: quotes, backslashes and newlines are escaped."""
    found = parsed(Scrape(system(source(1, name.replace("\r", " ")))))

    assert dict(next(iter(found["ntp_source_offset_seconds"])))["name"] == name.replace("\r", " ")


class StubSystem:
    """A system that has just started."""

    class _Clock:
        now = 5_000_000_000

        def read(self) -> ClockReading:
            """Give the time."""
            return ClockReading(Timestamp(self.now), Monotonic(self.now))

    def __init__(self) -> None:
        self.clock = self._Clock()

    def snapshot(self) -> SystemSnapshot:
        """Give its state."""
        return system(source(1), seconds=self.clock.now / 1e9)


def test_the_meter_reads_the_system() -> None:
    """The uptime is counted since the daemon was made, whatever the clock was stepped by since."""
    stub: Any = StubSystem()
    meter = Meter(stub, lambda: [server(3)], threshold=lambda: 2.0)
    stub.clock.now += 7_000_000_000
    text = meter.text()

    assert f'ntp_uptime_seconds{{version="{ntptwist.__version__}",build_commit="",build_commit_date=""}} 7.0' in text
    assert "ntp_system_accumulated_steps_threshold_seconds 2.0\n" in text
    assert 'ntp_server_received_packets_total{listen_address="[::]:123"} 3' in text
    assert "ntptwist_reactor_latency_seconds" not in text
