"""Where the daemon shows itself over HTTP."""

from __future__ import annotations

import pytest

from ntptwist.config.loader import loads
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError
from tests.config.stub import find_driver

NO_SOURCE = "no source is configured: the clock is left alone"


def test_nowhere_unless_it_is_said() -> None:
    """No port is opened by default."""
    observability = loads("", find_driver).observability

    assert observability.web_listen is None
    assert observability.metrics_exporter_listen is None


@pytest.mark.parametrize(
    ("given", "listen"),
    [
        ("127.0.0.1", HostPort("127.0.0.1", 9976)),
        ("127.0.0.1:80", HostPort("127.0.0.1", 80)),
        ("::1", HostPort("::1", 9976)),
        ("[::1]:80", HostPort("::1", 80)),
    ],
)
def test_loopback(given: str, listen: HostPort) -> None:
    """A loopback address is taken as it is, with the page's own port where none is given."""
    config = loads(f'[observability]\nweb-listen = "{given}"', find_driver)

    assert config.observability.web_listen == listen
    assert [warning for warning in config.warnings if NO_SOURCE not in warning] == []


def test_the_port_of_the_exporter() -> None:
    """Metrics have ntpd-rs' port where none is given."""
    config = loads('[observability]\nmetrics-exporter-listen = "127.0.0.1"', find_driver)

    assert config.observability.metrics_exporter_listen == HostPort("127.0.0.1", 9975)


@pytest.mark.parametrize("key", ["web-listen", "metrics-exporter-listen"])
def test_another_address_is_a_warning(key: str) -> None:
    """Who opens it to others is told what that means."""
    config = loads(f'[observability]\n{key} = "0.0.0.0:80"', find_driver)

    assert f"observability.{key}: everybody who reaches 0.0.0.0:80 can read it" in config.warnings[-1]


@pytest.mark.parametrize("given", ['"localhost"', '"host.example.net:80"', "true", "80", '""', '"127.0.0.1:0"'])
def test_what_is_no_address(given: str) -> None:
    """A name could mean another machine tomorrow, so only a literal address is taken."""
    with pytest.raises(ConfigError, match="web-listen"):
        loads(f"[observability]\nweb-listen = {given}", find_driver)
