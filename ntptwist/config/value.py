"""
Single values of a configuration: what is accepted, and the words for what is not.

Each function takes what ``tomllib`` gave and returns the value in its own type, or raises ValueError whose text says
what was expected and what stood there.  They know nothing of files and keys: ``table`` adds those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ntptwist.identifiers import ReferenceId

Choice = TypeVar("Choice", bound=str)

_LONGEST_SHOWN = 40
_LARGEST = 2**63
"""TOML's integers have 64 bits; tomllib takes more, and Python then refuses to print them or to make floats of them."""

_LONGEST_HOST = 254
"""RFC 1035, section 2.3.4, with the last dot."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A name or a literal address (an IPv6 one may carry a ``%scope``), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def shown(value: object) -> str:
    """Give a value as a message shows it: on one line, in printable characters, shortened."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() if len(value) > _LONGEST_SHOWN:
            return f"{value[:_LONGEST_SHOWN]!r}..."
        case int() if abs(value) > _LARGEST:
            return "an enormous number"
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() | int() | float():
            return repr(value)
        case _:
            return str(value)  # a date or a time


def suggestion(word: str, known: Sequence[str]) -> str:
    """Give `` (did you mean 'x'?)`` when a known word is close, nothing otherwise."""
    close = get_close_matches(word, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def refused(expected: str, value: object, hint: str = "") -> ValueError:
    """Make the error of a value that is not what was expected."""
    return ValueError(f"expected {expected}, not {shown(value)}{hint}")


def text(value: Any) -> str:
    """Accept a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise refused("a text", value)
    return value


def choice(value: Any, choices: Sequence[Choice]) -> Choice:
    """Accept one of some words."""
    for known in choices:
        if value == known:
            return known
    words = ", ".join(repr(str(known)) for known in choices)
    hint = suggestion(value, choices) if isinstance(value, str) else ""
    raise refused(f"one of {words}", value, hint)


def boolean(value: Any) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise refused("true or false", value)
    return value


def integer(value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """Accept a whole number between two limits, both included; true and false are none."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not (-_LARGEST if minimum is None else minimum) <= value < (_LARGEST if maximum is None else maximum + 1)
    ):
        raise refused(f"a whole number{_range(minimum, maximum)}", value)
    return value


def number(
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    positive: bool = False,
    infinite: bool = False,
) -> float:
    """
    Accept a number between two limits, both included, or one greater than 0.

    With ``infinite`` the word ``"inf"`` and TOML's own ``inf`` are accepted too.  NaN never is.
    """
    if infinite and value in ("inf", math.inf):
        return math.inf
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not -_LARGEST <= value <= _LARGEST  # neither NaN nor infinity
        or (positive and value <= 0)
        or (minimum is not None and value < minimum)
        or (maximum is not None and value > maximum)
    ):
        limits = " greater than 0" if positive else _range(minimum, maximum)
        raise refused(f"a number{limits}{' or inf' if infinite else ''}", value)
    return float(value)


def strings(value: Any) -> tuple[str, ...]:
    """Accept a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise refused("a list of texts", value)
    return tuple(value)


def table(value: Any) -> dict[str, Any]:
    """Accept a table."""
    if not isinstance(value, dict):
        raise refused("a table", value)
    return value


def tables(value: Any, key: str) -> list[dict[str, Any]]:
    """Accept an array of tables; ``key`` is its name, for the message."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refused(f"tables with [[{key}]] above each", value)
    return value


def ntp_version(value: Any) -> int:
    """Accept 3, 4, 5, or ``"auto"`` (5)."""
    if value == "auto":
        return 5
    if not isinstance(value, int) or value not in (3, 4, 5):
        raise refused("3, 4, 5 or 'auto'", value)
    return value


def absolute_path(value: Any) -> str:
    """Accept an absolute path: a daemon's working directory is nobody's concern."""
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute() or "\0" in value:
        raise refused("an absolute path", value)
    return value


def prefix(value: Any) -> IPv4Network | IPv6Network:
    """Accept ``address/length``; bits behind the length mean nothing."""
    given = text(value)
    address, slash, length = given.partition("/")
    if not slash:
        raise ValueError(f"{shown(given)} has no length: a prefix is address/length")
    try:
        IPv6Address(address) if ":" in address else IPv4Address(address)
    except ValueError:
        raise ValueError(f"{shown(given)} does not begin with an IPv4 or IPv6 address") from None
    largest = 128 if ":" in address else 32
    if "%" in address or not _LENGTH.fullmatch(length) or int(length) > largest:
        raise ValueError(f"{shown(given)} does not end in a length from 0 to {largest}")
    return ip_network(given, strict=False)


def reference_id(value: Any) -> ReferenceId:
    """Accept one to four letters, digits and signs of ASCII."""
    if not isinstance(value, str) or not 1 <= len(value) <= 4 or not value.isascii() or not value.isprintable():
        raise refused("one to four characters of ASCII", value)
    return ReferenceId.of_text(value)


def address(value: Any, default_port: int) -> HostPort:
    """
    Accept ``host``, ``host:port``, a literal address, or ``[IPv6]:port``, by ntpd-rs' rule.

    With more than one colon it is an IPv6 address, with one it is ``host:port``, with none it is a host.
    """
    given = text(value)
    port = default_port
    if not given.isprintable():
        raise ValueError(f"{shown(given)} is neither a host name nor an address")
    if given.count(":") > 1:
        return _ipv6(given, default_port)
    host, colon, digits = given.partition(":")
    if colon:
        port = _port(digits, given)
    if not _is_host(host):
        raise ValueError(f"{shown(given)} is neither a host name nor an address")
    return HostPort(host, port)


def listening_address(value: Any, default_port: int) -> HostPort:
    """Accept a literal address that this machine may have, with or without a port."""
    listen = address(value, default_port)
    try:
        return HostPort(str(ip_address(listen.host)), listen.port)
    except ValueError:
        raise ValueError(
            f"{shown(value)} is no address of this machine, like 0.0.0.0:{default_port} or [::]:{default_port}"
        ) from None


def _ipv6(given: str, default_port: int) -> HostPort:
    bracketed = re.fullmatch(r"\[(.*)\](?::(.*))?", given)
    host, digits = bracketed.groups() if bracketed else (given, None)
    try:
        IPv6Address(host)
    except ValueError:
        reason = f"{shown(given)} has several colons but is no IPv6 address (with a port: [address]:port)"
        raise ValueError(reason) from None
    return HostPort(host, default_port if digits is None else _port(digits, given))


def _port(digits: str, given: str) -> int:
    if not _PORT.fullmatch(digits) or not 1 <= int(digits) <= 65535:
        raise ValueError(f"{shown(given)} does not end in a port from 1 to 65535")
    return int(digits)


def _is_host(host: str) -> bool:
    """Tell whether this is a literal IPv4 address or can be the name of a host (RFC 1123, section 2.1)."""
    if len(host) > _LONGEST_HOST:
        return False
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():  # a resolver would take 10.1 for 10.0.0.1
        try:
            IPv4Address(host)
        except ValueError:
            return False
        return True
    try:
        ascii_labels = [label.encode("idna").decode("ascii") for label in labels]
    except UnicodeError:
        return False
    return sum(map(len, ascii_labels)) + len(labels) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, ascii_labels))


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:.12g} to {maximum:.12g}"
    if minimum is not None:
        return f" of at least {minimum:.12g}"
    if maximum is not None:
        return f" of at most {maximum:.12g}"
    return ""
