"""The page and the metrics of the real daemon, over real sockets."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.daemon import Ntptwist
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab

pytestmark = pytest.mark.functional

LISTEN = """
[observability]
web-listen = "127.0.0.1:9976"
metrics-exporter-listen = "127.0.0.1:9975"
"""


def listening(daemon: Ntptwist) -> Ntptwist:
    """Add both listeners to the configuration of a daemon."""
    daemon.file.write_text(daemon.file.read_text() + LISTEN)
    return daemon


def get(lab: Lab, port: int, path: str, host: str = "localhost") -> tuple[HTTPResponse, str]:
    """Ask for a path, as a browser on that machine does."""
    with closing(HTTPConnection(host, port)) as connection:
        connection.sock = lab.open_socket(kind=socket.SOCK_STREAM)
        connection.sock.settimeout(5)
        connection.sock.connect(("127.0.0.1", port))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read().decode()


def number(text: str, name: str) -> float:
    """Give the only sample of a metric."""
    samples: list[Any] = [each for family in text_string_to_metric_families(text) for each in family.samples]
    (value,) = [each.value for each in samples if each.name == name]
    return float(value)


def test_a_daemon_that_follows_a_real_server(lab: Lab) -> None:
    """Page, state and metrics of one daemon say the same: synchronised to that server."""
    server = Chrony(lab, "sid", stratum=1).start().wait_synchronised(15)
    daemon = listening(Ntptwist(lab, [server.address])).start()
    daemon.wait(lambda state: state["synchronized"] and state["sources"][0]["measurements"] >= 4, 15)
    _, page = get(lab, 9976, "/")
    _, state = get(lab, 9976, "/status.json")
    _, exported = get(lab, 9975, "/")
    rebound, _ = get(lab, 9976, "/", "evil.example")
    status = daemon.stop()

    assert 'class="badge good"' in page
    assert json.loads(state)["sources"][0]["selected"]
    assert number(exported, "ntptwist_synchronized") == 1.0
    assert abs(number(exported, "ntp_source_offset_seconds")) < 1e-3
    assert number(exported, "ntp_uptime_seconds") > 0
    assert number(exported, "ntptwist_reactor_latency_seconds") < 1.0
    assert rebound.status == 421
    assert status == 0


def test_a_port_that_is_taken(lab: Lab) -> None:
    """Two daemons with the same ports: the second says so in one line each and goes on without them."""
    with (
        closing(lab.open_socket(kind=socket.SOCK_STREAM)) as web,
        closing(lab.open_socket(kind=socket.SOCK_STREAM)) as metrics,
    ):
        for taken, port in ((web, 9976), (metrics, 9975)):
            taken.bind(("127.0.0.1", port))
            taken.listen()
        daemon = listening(Ntptwist(lab, [("127.0.0.9", 123)])).start()
        state = daemon.wait(bool, 15)
        status = daemon.stop()

    assert not state["synchronized"]
    assert daemon.log().count("Address already in use") == 2
    assert status == 0
