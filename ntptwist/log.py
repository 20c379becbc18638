"""
Logging by audience, with one threshold for the whole daemon.

critical = the clock is not safe, error = the operator must act, warn = degraded, info = a state changed,
debug = packets.  ``twistd`` chooses where events go (``--logfile``, ``--syslog``, ``--logger``); this module only
decides which are made at all, so that ``log-level`` holds whatever the observer.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger as TwistedLogger
from twisted.logger import LogLevel

LEVELS = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}
"""The words of ``log-level`` in a configuration; ntpd-rs' words."""

_threshold = [LogLevel.info]


def set_log_level(word: str) -> None:
    """Let events pass from this level on; KeyError when it is none of LEVELS."""
    _threshold[0] = LEVELS[word]


class Logger(TwistedLogger):
    """A Twisted logger that drops events below the threshold before they are made."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:  # noqa: A002 - Twisted's name
        """Pass an event on when it is important enough."""
        if level >= _threshold[0]:
            super().emit(level, format, **kwargs)
