"""What shows the daemon to others is made as it is configured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ntptwist.config.loader import loads
from ntptwist.config.model import Config, ObservabilitySettings
from ntptwist.config.value import HostPort
from ntptwist.observe.history import Sampler
from ntptwist.observe.latency import Latency
from ntptwist.observe.observer import Observer
from ntptwist.observe.web import Page, WebServer
from ntptwist.observing import STATIC, make_observers, make_pages
from ntptwist.registry import find_driver
from ntptwist.service import make_service
from ntptwist.sim.world import World
from ntptwist.system import System
from tests.page.showcase import SILENT, WRONG, Showcase

WEB = HostPort("127.0.0.1", 9976)
METRICS = HostPort("127.0.0.1", 9975)


def observers(control_directory: str | None, **settings: Any) -> list[Any]:
    """Make the observers of a configuration."""
    config = replace(loads("", find_driver), state_directory=None, control_directory=None)
    world = World(1)
    system = make_service(config, world.reactor, world.clock, world.randbytes).system
    assert isinstance(system, System)
    wanted = Config(control_directory=control_directory, observability=ObservabilitySettings(**settings))
    return make_observers(wanted, system, world.reactor)


def test_nobody_looks_nothing_is_made() -> None:
    """A daemon that nobody may ask samples nothing."""
    assert observers(None) == []


def test_the_tool_alone(tmp_path: Path) -> None:
    """With a control directory there is a history, and the socket that tells it."""
    assert [type(each) for each in observers(str(tmp_path))] == [Observer, Sampler]


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({"web_listen": WEB}, [WEB]),
        ({"metrics_exporter_listen": METRICS}, [METRICS]),
        ({"web_listen": WEB, "metrics_exporter_listen": METRICS}, [WEB, METRICS]),
    ],
)
def test_listeners(settings: dict[str, Any], ports: list[HostPort]) -> None:
    """Each address that is configured has its listener; the reactor is then watched."""
    made = observers(None, **settings)

    assert [type(each) for each in made[:2]] == [Sampler, Latency]
    assert [each.listen for each in made if isinstance(each, WebServer)] == ports


def test_http_is_imported_only_when_configured() -> None:
    """A daemon without a listener for browsers loads no HTTP."""
    code = "import sys, ntptwist.service; print(any(name.startswith('twisted.web') for name in sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert printed.stdout == "False\n"


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    """What a daemon shows that has run for two hours in a virtual world, with a wrong and a silent source."""
    return make_pages(Showcase(good=4, hours=2).views)


def content(pages: dict[str, Page], path: str, **query: bytes) -> str:
    """Give what is at a path."""
    made = pages[path].make({name.encode(): [value] for name, value in query.items()})
    return made.decode() if isinstance(made, bytes) else "".join(made)


def test_the_page_of_a_real_daemon(pages: dict[str, Page]) -> None:
    """The page tells the sources of a running daemon, why each is used or not, and what has happened."""
    text = unescape(content(pages, "/"))

    assert "Synchronized" in text
    assert "falseticker" in text
    assert WRONG in text
    assert SILENT in text
    assert "stepped forward" in text


def test_status_and_history_agree(pages: dict[str, Page]) -> None:
    """The sources of the history are those of the state, and its last row is what the clock says now."""
    status = json.loads(content(pages, "/status.json"))
    history = json.loads(content(pages, "/history.json"))
    measured = {row["id"] for row in status["sources"] if row["offset"] is not None}

    assert measured == {each["id"] for each in history["sources"]}
    assert status["frequency"] == pytest.approx(history["clock"]["frequency"][-1], abs=1e-3)
    assert len(history["times"]) == 112
    assert history["clock"]["requests"][-1] > 0


def test_the_history_after_a_tick(pages: dict[str, Page]) -> None:
    """The page's script asks for what it does not have yet; what is no number asks for everything."""
    some = json.loads(content(pages, "/history.json", after=b"100"))
    everything = [json.loads(content(pages, "/history.json", after=bad)) for bad in (b"x", b"-5", b"9" * 40)]

    assert len(some["times"]) == 11
    assert {len(each["times"]) for each in everything} == {112}


def test_metrics_of_a_real_daemon(pages: dict[str, Page]) -> None:
    """Prometheus' own parser reads what a running daemon tells."""
    families = {each.name: each for each in text_string_to_metric_families(content(pages, "/metrics"))}
    false = {each.labels["name"]: each.value for each in families["ntptwist_source_falseticker"].samples}

    assert families["ntptwist_synchronized"].samples[0].value == 1.0
    assert false == {**{f"198.51.100.{number}:123": 0.0 for number in range(1, 5)}, f"{WRONG}:123": 1.0} | (
        {f"[{SILENT}]:123": 0.0} if f"[{SILENT}]:123" in false else {}
    )


def test_every_file_of_the_page_is_served(pages: dict[str, Page]) -> None:
    """Whatever the page refers to is there, uPlot's licence too."""
    text = content(pages, "/")

    assert all(f'"{path.removeprefix("/")}"' in text for path in STATIC)
    assert "MIT" in content(pages, "/uplot.LICENSE")
    assert "uPlot" in content(pages, "/uplot.js")
