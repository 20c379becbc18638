"""The table of metrics in the manual, and the files for Prometheus and Grafana: they name what there is."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ntptwist.observe.catalogue import catalogue

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "etc" / "prometheus-rules.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "etc" / "grafana.json").read_text(encoding="utf-8"))
KNOWN = {name: set(labels) for name, _, labels, _ in catalogue()}
METRIC = re.compile(r"\bntp(?:twist)?_[a-z_]+\b")


def expressions_of_rules() -> list[str]:
    """Give what the alerts are made of."""
    return re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE)


def expressions_of_dashboard(node: Any = DASHBOARD) -> Iterator[str]:
    """Give what the panels show."""
    if isinstance(node, dict):
        if "expr" in node:
            yield node["expr"]
        for each in node.values():
            yield from expressions_of_dashboard(each)
    elif isinstance(node, list):
        for each in node:
            yield from expressions_of_dashboard(each)


@pytest.fixture
def extension() -> ModuleType:
    """The extension of Sphinx that makes the table."""
    spec = importlib.util.spec_from_file_location("metrics", ROOT / "docs" / "metrics.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_has_every_metric(extension: ModuleType) -> None:
    """The two tables of the reference together have a row for each metric, and none twice."""
    lines = [*extension.table_of("ntp_"), *extension.table_of("ntptwist_")]
    rows = [line[9:-2] for line in lines if line.startswith("   * - ``")]

    assert sorted(KNOWN) == sorted(rows)


def test_alerts_use_metrics_that_exist() -> None:
    """Every alert is made of metrics that the daemon has: an alert on a misspelt one never fires."""
    used = {name for expression in expressions_of_rules() for name in METRIC.findall(expression)}

    assert len(expressions_of_rules()) == RULES.count("- alert:")
    assert used
    assert used <= set(KNOWN)


def test_the_dashboard_uses_metrics_that_exist() -> None:
    """Every panel shows metrics that the daemon has."""
    used = {name for expression in expressions_of_dashboard() for name in METRIC.findall(expression)}

    assert used
    assert used <= set(KNOWN)


def test_alerts_cover_what_goes_wrong() -> None:
    """There are alerts for a clock that is not synchronised or too uncertain, lost and false sources, and cookies."""
    used = {name for expression in expressions_of_rules() for name in METRIC.findall(expression)}

    assert used >= {
        "ntptwist_synchronized",
        "ntptwist_clock_error_bound_seconds",
        "ntptwist_source_reachable",
        "ntptwist_sources_missing",
        "ntptwist_source_falseticker",
        "ntp_source_nts_cookies_available",
    }


def test_labels_in_the_words_of_alerts_exist() -> None:
    """An alert names only labels that one of its metrics has, or that Prometheus adds."""
    for alert in RULES.split("- alert:")[1:]:
        (expression,) = re.findall(r"expr: (.+)", alert)
        having = set.union(*(KNOWN[name] for name in METRIC.findall(expression))) | {"instance"}

        assert set(re.findall(r"\$labels\.(\w+)", alert)) <= having


def test_panels_have_a_place_of_their_own() -> None:
    """No two panels of the dashboard overlap, and each has its own number."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

        assert not taken & cells
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
