"""
``waitsync``, ``check`` and ``metrics``: for scripts, the start of the system and monitoring.
"""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from typing import Any

from ntptwist.cli.client import EX_OK, NoDaemonError, ask, control_directory
from ntptwist.cli.terminal import write
from ntptwist.observe.words import amount, slow_or_fast

EX_NOT_SYNCHRONIZED = 1
OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""The exit statuses of a monitoring plugin (Nagios, Icinga and their like)."""

_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_UNITS = (("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("min", 60.0), ("s", 1.0), ("", 1.0))


def seconds(text: str) -> float:
    """Read a duration: ``100ms``, ``2.5 s``, ``0.1``."""
    unit, size = next((unit, size) for unit, size in _UNITS if text.endswith(unit))
    with suppress(ValueError):
        value = float(text.removesuffix(unit)) * size
        if 0.0 < value < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 100ms or 2s")


def register(subparsers: Any) -> None:
    """Add the commands to a parser."""
    text = "wait until the clock is right; exit status 0 when it is, 1 when it was not in time"
    wait = subparsers.add_parser("waitsync", help=text, description=text)
    wait.add_argument("--max-error", type=seconds, metavar="TIME", help="and certain to within this, such as 100ms")
    wait.add_argument("--timeout", type=seconds, metavar="TIME", help="how long; without it as long as it takes")
    wait.add_argument("--interval", type=seconds, metavar="TIME", default=1.0, help="between two looks (%(default)s s)")
    text = "tell monitoring how the clock is: exit status 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"
    check = subparsers.add_parser("check", help=text, description=text)
    check.add_argument("-w", "--warning", type=seconds, metavar="TIME", help="warn beyond this offset, such as 1ms")
    check.add_argument("-c", "--critical", type=seconds, metavar="TIME", help="critical beyond this offset")
    check.add_argument("--max-error", type=seconds, metavar="TIME", help="critical if less certain than to within this")
    text = "the daemon's metrics, as Prometheus reads them"
    subparsers.add_parser("metrics", help=text, description=text)


def run(options: Any) -> int:
    """Do one of them."""
    directory = control_directory(options.config)
    if options.command == "waitsync":
        return _wait(directory, options)
    if options.command == "metrics":
        print(ask(directory, "metrics"), end="")
        return EX_OK
    try:
        status = ask(directory, "status")
    except NoDaemonError as error:
        write([f"NTPTWIST UNKNOWN - {error}"])
        return UNKNOWN
    result, text = _judge(status, options)
    write([f"NTPTWIST {_WORDS[result]} - {text} | {_figures(status, options)}"])
    return result


def _wait(directory: str, options: Any) -> int:
    """Look again and again, as chronyc's waitsync does; also while no daemon answers yet."""
    begun, told = time.monotonic(), ""
    while True:
        try:
            status = ask(directory, "status")
        except NoDaemonError as error:
            right, text = False, str(error)
        else:
            right, text = _right(status, options.max_error)
        if text != told:
            write([text])
            told = text
        if right:
            return EX_OK
        left = float("inf") if options.timeout is None else options.timeout - (time.monotonic() - begun)
        if left <= 0.0:
            return EX_NOT_SYNCHRONIZED
        time.sleep(min(options.interval, left))


def _right(status: dict[str, Any], limit: float | None) -> tuple[bool, str]:
    if not status["synchronized"]:
        return False, f"not synchronized: {status['state']}"
    certain = f"the clock is {slow_or_fast(status['offset'])}, certain to within {amount(status['error_bound'])}"
    if limit is not None and (status["error_bound"] is None or status["error_bound"] > limit):
        return False, f"synchronized, but less certain than to within {amount(limit)}"
    return True, f"synchronized: {certain}"


def _judge(status: dict[str, Any], options: Any) -> tuple[int, str]:
    """Give the verdict and its reason."""
    if not status["synchronized"]:
        return CRITICAL, f"not synchronized: {status['state']}"
    offset, bound = abs(status["offset"]), status["error_bound"]
    text = f"the clock is {slow_or_fast(status['offset'])}, certain to within {amount(bound)}"
    if options.critical is not None and offset > options.critical:
        return CRITICAL, f"{text}; more than {amount(options.critical)} off"
    if options.max_error is not None and bound > options.max_error:
        return CRITICAL, f"{text}; it should be {amount(options.max_error)}"
    if options.warning is not None and offset > options.warning:
        return WARNING, f"{text}; more than {amount(options.warning)} off"
    return OK, text


def _figures(status: dict[str, Any], options: Any) -> str:
    """Give performance data: ``label=value[unit];warning;critical``, both of them ranges around 0."""

    def around(limit: float | None) -> str:
        return "" if limit is None else f"-{limit:.9g}:{limit:.9g}"

    figures = [f"frequency={status['frequency']:.4f}", f"stratum={status['stratum']}"]
    figures.append(f"sources_used={len(status['used'])}")
    if status["error_bound"] is not None:
        limit = "" if options.max_error is None else f"{options.max_error:.9g}"
        figures.insert(0, f"error_bound={status['error_bound']:.9f}s;;{limit}")
    if status["offset"] is not None:
        limits = f"{around(options.warning)};{around(options.critical)}"
        figures.insert(0, f"offset={status['offset']:.9f}s;{limits}")
    return " ".join(figures)
