"""Logging with one threshold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from ntptwist.log import LEVELS, Logger, set_log_level


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The levels of the events that get through."""
    levels: list[str] = []

    def observe(event: Any) -> None:
        levels.append(event["log_level"].name)

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield levels
    publisher.removeObserver(observe)
    set_log_level("info")


@pytest.mark.parametrize(
    ("word", "through"),
    [
        ("trace", ["debug", "info", "warn", "error", "critical"]),
        ("debug", ["debug", "info", "warn", "error", "critical"]),
        ("info", ["info", "warn", "error", "critical"]),
        ("warn", ["warn", "error", "critical"]),
        ("error", ["error", "critical"]),
    ],
)
def test_events_below_the_threshold_are_not_made(heard: list[str], word: str, through: list[str]) -> None:
    """``log-level`` decides what is logged, whatever the observer."""
    set_log_level(word)
    log = Logger()
    log.debug("a packet")
    log.info("a change")
    log.warn("degraded")
    log.error("act")
    log.critical("not safe")

    assert heard == through


def test_unknown_words_are_refused() -> None:
    """Only the words of a configuration are levels."""
    assert "loud" not in LEVELS
    with pytest.raises(KeyError):
        set_log_level("loud")
