"""Single values: what is accepted, and the words for what is not."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ntptwist.config import value
from ntptwist.config.value import HostPort

WORDS = ("system", "observe")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ntp.example.net", HostPort("ntp.example.net", 123)),
        ("ntp.example.net.", HostPort("ntp.example.net.", 123)),
        ("ntp.example.net:1123", HostPort("ntp.example.net", 1123)),
        ("ntp_1", HostPort("ntp_1", 123)),
        ("zeit.bücher.example", HostPort("zeit.bücher.example", 123)),
        ("192.0.2.1", HostPort("192.0.2.1", 123)),
        ("192.0.2.1:65535", HostPort("192.0.2.1", 65535)),
        ("2001:db8::1", HostPort("2001:db8::1", 123)),
        ("::", HostPort("::", 123)),
        ("[2001:db8::1]", HostPort("2001:db8::1", 123)),
        ("[2001:db8::1]:1", HostPort("2001:db8::1", 1)),
        ("[fe80::1%eth0]:123", HostPort("fe80::1%eth0", 123)),
    ],
)
def test_addresses(given: str, expected: HostPort) -> None:
    """A host may be a name or an address, with a port or without."""
    assert expected == value.address(given, 123)


@pytest.mark.parametrize("given", ["ntp.example.net:123", "192.0.2.1:4460", "[2001:db8::1]:123"])
def test_an_address_is_written_as_it_is_read(given: str) -> None:
    """What an operator wrote with its port comes back in logs."""
    assert given == str(value.address(given, 1))


NO_HOST = "is neither a host name nor an address"
NO_PORT = "does not end in a port from 1 to 65535"
NO_IPV6 = "has several colons but is no IPv6 address (with a port: [address]:port)"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "expected a text, not ''"),
        (5, "expected a text, not 5"),
        (":123", f"':123' {NO_HOST}"),
        (".", f"'.' {NO_HOST}"),
        ("a..b", f"'a..b' {NO_HOST}"),
        ("-a", f"'-a' {NO_HOST}"),
        ("a-", f"'a-' {NO_HOST}"),
        ("a b", f"'a b' {NO_HOST}"),
        ("ntp.example/", f"'ntp.example/' {NO_HOST}"),
        ("ntp\n", f"'ntp\\n' {NO_HOST}"),
        ("::1%\x1b", f"'::1%\\x1b' {NO_HOST}"),
        ("192.0.2.256", f"'192.0.2.256' {NO_HOST}"),
        ("10.1", f"'10.1' {NO_HOST}"),
        ("127.0.0.1.", f"'127.0.0.1.' {NO_HOST}"),
        ("a" * 64, f"'{'a' * 40}'... {NO_HOST}"),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 64, f"'{'ü' * 40}'... {NO_HOST}"),
        ("a." * 127 + "a", f"'{'a.' * 20}'... {NO_HOST}"),
        ("ü." * 63 + "example", f"'{'ü.' * 20}'... {NO_HOST}"),
        ("host:", f"'host:' {NO_PORT}"),
        ("host:0", f"'host:0' {NO_PORT}"),
        ("host:65536", f"'host:65536' {NO_PORT}"),
        ("host:123456", f"'host:123456' {NO_PORT}"),
        ("host:+1", f"'host:+1' {NO_PORT}"),
        ("host:\u0661", f"'host:\u0661' {NO_PORT}"),
        ("[::1]:0", f"'[::1]:0' {NO_PORT}"),
        ("[::1]:", f"'[::1]:' {NO_PORT}"),
        ("a:b:c", f"'a:b:c' {NO_IPV6}"),
        ("[::1]123", f"'[::1]123' {NO_IPV6}"),
        ("[::1", f"'[::1' {NO_IPV6}"),
        ("[[::1]]", f"'[[::1]]' {NO_IPV6}"),
        ("192.0.2.1:1:2", f"'192.0.2.1:1:2' {NO_IPV6}"),
    ],
)
def test_bad_addresses(given: object, reason: str) -> None:
    """Whatever is no address is refused in words that say why."""
    with pytest.raises(ValueError, match=r".") as caught:
        value.address(given, 123)

    assert reason == str(caught.value)


@pytest.mark.parametrize(
    ("accept", "given", "expected"),
    [
        (value.text, "x", "x"),
        (partial(value.choice, choices=WORDS), "observe", "observe"),
        (value.boolean, False, False),
        (value.integer, -5, -5),
        (partial(value.integer, minimum=-2, maximum=17), -2, -2),
        (partial(value.integer, minimum=-2, maximum=17), 17, 17),
        (value.number, 3, 3.0),
        (partial(value.number, minimum=0, maximum=1), 0, 0.0),
        (partial(value.number, minimum=0, maximum=1), 1.0, 1.0),
        (partial(value.number, positive=True), 1e-9, 1e-9),
        (partial(value.number, infinite=True), "inf", math.inf),
        (partial(value.number, infinite=True), math.inf, math.inf),
        (value.strings, ["a", ""], ("a", "")),
        (value.table, {"a": 1}, {"a": 1}),
        (partial(value.tables, key="source"), [{}, {}], [{}, {}]),
        (value.ntp_version, 3, 3),
        (value.ntp_version, 4, 4),
        (value.ntp_version, 5, 5),
        (value.ntp_version, "auto", 5),
        (value.absolute_path, "/run/x y", "/run/x y"),
    ],
)
def test_good_values(accept: Callable[[Any], Any], given: object, expected: object) -> None:
    """What is right is given back in its own type."""
    accepted = accept(given)

    assert (expected, type(expected)) == (accepted, type(accepted))


@pytest.mark.parametrize(
    ("accept", "given", "reason"),
    [
        (value.text, True, "expected a text, not true"),
        (value.text, dt.date(2026, 11, 22), "expected a text, not 2026-11-22"),
        (value.text, 1 << 80, "expected a text, not an enormous number"),
        (
            partial(value.choice, choices=WORDS),
            "obsrve",
            "expected one of 'system', 'observe', not 'obsrve' (did you mean 'observe'?)",
        ),
        (partial(value.choice, choices=WORDS), 1, "expected one of 'system', 'observe', not 1"),
        (value.boolean, 1, "expected true or false, not 1"),
        (value.boolean, "yes", "expected true or false, not 'yes'"),
        (value.integer, True, "expected a whole number, not true"),
        (value.integer, 1.0, "expected a whole number, not 1.0"),
        (value.integer, 1 << 63, "expected a whole number, not 9223372036854775808"),
        pytest.param(
            value.integer, 16**5000, "expected a whole number, not an enormous number", id="integer of 5000 digits"
        ),
        (partial(value.integer, minimum=-2, maximum=17), -3, "expected a whole number from -2 to 17, not -3"),
        (partial(value.integer, minimum=-2, maximum=17), 18, "expected a whole number from -2 to 17, not 18"),
        (partial(value.integer, minimum=1), 0, "expected a whole number of at least 1, not 0"),
        (partial(value.integer, maximum=1), 2, "expected a whole number of at most 1, not 2"),
        (value.number, False, "expected a number, not false"),
        (value.number, "1", "expected a number, not '1'"),
        (value.number, "inf", "expected a number, not 'inf'"),
        (value.number, math.inf, "expected a number, not inf"),
        (value.number, math.nan, "expected a number, not nan"),
        pytest.param(value.number, 16**5000, "expected a number, not an enormous number", id="number of 5000 digits"),
        (partial(value.number, minimum=-1.5, maximum=1e9), -1.6, "expected a number from -1.5 to 1000000000, not -1.6"),
        (partial(value.number, positive=True), 0, "expected a number greater than 0, not 0"),
        (
            partial(value.number, minimum=0, infinite=True),
            -math.inf,
            "expected a number of at least 0 or inf, not -inf",
        ),
        (partial(value.number, minimum=0, infinite=True), math.nan, "expected a number of at least 0 or inf, not nan"),
        (value.strings, "a", "expected a list of texts, not 'a'"),
        (value.strings, ["a", 1], "expected a list of texts, not a list"),
        (value.table, 1, "expected a table, not 1"),
        (partial(value.tables, key="source"), {}, "expected tables with [[source]] above each, not a table"),
        (partial(value.tables, key="source"), [{}, 1], "expected tables with [[source]] above each, not a list"),
        (value.ntp_version, 2, "expected 3, 4, 5 or 'auto', not 2"),
        (value.ntp_version, 4.0, "expected 3, 4, 5 or 'auto', not 4.0"),
        (value.ntp_version, True, "expected 3, 4, 5 or 'auto', not true"),
        (value.absolute_path, "run/x", "expected an absolute path, not 'run/x'"),
        (value.absolute_path, "", "expected an absolute path, not ''"),
        (value.absolute_path, "/a\0b", "expected an absolute path, not '/a\\x00b'"),
        (value.absolute_path, 1, "expected an absolute path, not 1"),
    ],
)
def test_bad_values(accept: Callable[[Any], Any], given: object, reason: str) -> None:
    """What is wrong is refused with what was expected and what stood there, shortened."""
    with pytest.raises(ValueError, match=r".") as caught:
        accept(given)

    assert reason == str(caught.value)
