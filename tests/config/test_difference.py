"""What lies between two configurations, in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ntptwist.config.difference import compare, describe_source
from ntptwist.config.loader import loads
from ntptwist.config.model import Config, KeyServerSettings, KeySetSettings, SourceEntry
from ntptwist.config.value import HostPort
from tests.config.stub import find_driver

SOURCE = '[[source]]\nmode = "server"\naddress = "{}"\n'
ONE, TWO, THREE = (SOURCE.format(f"192.0.2.{number}") for number in (1, 2, 3))
SERVER = '[[server]]\nlisten = "127.0.0.1:{}"\n'
KEY_SERVER = KeyServerSettings(HostPort("127.0.0.1", 4460), "/chain", "/key")


def read(text: str) -> Config:
    """Read a configuration."""
    return loads(text, find_driver)


def test_the_same() -> None:
    """A source that only moved is the same."""
    difference = compare(read(ONE + TWO), read("\n\n" + TWO + ONE))

    assert (difference.changes, difference.later, difference.sources) == ((), (), (1, 0))


def test_sources_come_go_and_change() -> None:
    """Each is told by mode and address, a change with what is different; its place says what stays."""
    old = read(ONE + TWO + SOURCE.format("192.0.2.4"))
    new = read(SOURCE.format("192.0.2.4") + THREE + TWO + "ntp-version = 3\npoll-interval-limits.max = 8\n")
    difference = compare(old, new)

    assert difference.sources == (2, None, None)
    assert difference.changes == (
        "source server 192.0.2.1:123 goes",
        "source server 192.0.2.2:123 starts afresh: limits.maximum: 10, now 8, version: 4, now 3",
        "source server 192.0.2.3:123 is new",
    )
    assert difference.config == new


def test_a_source_that_stands_twice() -> None:
    """Of two that are equal one may go."""
    difference = compare(read(ONE + ONE), read(ONE))

    assert difference.sources == (0,)
    assert difference.changes == ("source server 192.0.2.1:123 goes", "sources that must agree: 2, now 1")


def test_a_source_without_a_name() -> None:
    """One whose driver has neither address nor path is named by where it stands."""
    (entry,) = read("\n[[source]]\nmode = 'crowd'\nvotes = 2\n").sources

    assert describe_source(entry) == "source crowd <text>:2"
    assert describe_source(SourceEntry("pps", type("Pulse", (), {"path": "/dev/pps0"})())) == "source pps /dev/pps0"


def test_servers() -> None:
    """They are told by their address."""
    difference = compare(read(SERVER.format(1) + SERVER.format(2)), read(SERVER.format(2) + SERVER.format(3)))

    assert difference.servers == (1, None)
    assert difference.changes == ("server 127.0.0.1:1 goes", "server 127.0.0.1:3 is new")


def test_a_server_that_changes() -> None:
    """What is different is named, and what is too long for a line is not shown."""
    old, new = read(SERVER.format(1)), read(SERVER.format(1) + "interleaved = false\nrequire-nts = 'deny'\n")
    many = "', '".join(f"198.51.100.{number}/32" for number in range(9))
    longer = read(SERVER.format(1) + f"allowlist.filter = ['{many}']\n")

    assert compare(old, new).changes == (
        "server 127.0.0.1:1 starts afresh: require-nts: none, now deny, interleaved: true, now false",
    )
    assert compare(old, longer).changes == ("server 127.0.0.1:1 starts afresh: access.allow changed",)


@pytest.mark.parametrize("setting", ["local-stratum = 9", "reference-id = 'HERE'\nlocal-stratum = 16"])
def test_what_servers_say_is_a_part_of_them(setting: str) -> None:
    """A server holds what it says without sources, so it is opened anew when that changes."""
    difference = compare(read(SERVER.format(1)), read(SERVER.format(1) + f"[synchronization]\n{setting}\n"))

    assert difference.servers == (None,)
    assert difference.changes[0] == "server 127.0.0.1:1 starts afresh: what it serves"


def test_the_policy() -> None:
    """Every setting of it can change; what only follows from the sources is told in what it means."""
    text = "[synchronization]\nsingle-step-panic-threshold = 5\n"
    more = compare(read(ONE), read(text + ONE + TWO))

    assert more.changes == (
        "source server 192.0.2.2:123 is new",
        "synchronization.single-step-panic-threshold.forward: 1000.0, now 5.0",
        "synchronization.single-step-panic-threshold.backward: 1000.0, now 5.0",
        "sources that must agree: 1, now 2",
    )
    assert more.config.policy.voting_sources == 2


def test_what_needs_a_restart() -> None:
    """It is named, and not taken over: the same comparison says it again."""
    text = "[clock]\ncontrol = 'observe'\n[control]\ndirectory = '/x'\n"
    text += "[observability]\nrecord = '/r'\nlog-level = 'warn'\n"
    old, new = read(ONE), read(text + ONE)
    difference = compare(old, new)

    assert difference.later == (
        "needs a restart: clock.control: system, now observe",
        "needs a restart: control-directory: /run/ntptwist, now /x",
        "needs a restart: observability.record: none, now /r",
    )
    assert difference.changes == ("observability.log-level: info, now warn",)
    assert difference.config == replace(old, observability=replace(old.observability, log_level="warn"))
    assert compare(difference.config, new).later == difference.later


def test_key_servers() -> None:
    """They come and go where there are keys already; the keys themselves need a restart."""
    plain = read(ONE)
    keys = replace(plain, keyset=KeySetSettings())
    serving = replace(keys, key_servers=(KEY_SERVER,))
    longer = replace(serving, keyset=KeySetSettings(stale=3))

    assert compare(keys, serving).changes == ("key exchange server 127.0.0.1:4460 is new",)
    assert compare(plain, serving).later == (
        "needs a restart: keyset changed",
        "needs a restart: key exchange servers, where there were none",
    )
    assert compare(plain, serving).config == plain
    assert compare(serving, longer).later == ("needs a restart: keyset.stale: 7, now 3",)


def test_lists_of_leap_seconds() -> None:
    """Another list is told without its length."""
    old = read(ONE)
    table = type("Table", (), {"announces": None})()
    new = replace(old, policy=replace(old.policy, leap_table=table))

    assert compare(old, new).changes == ("the list of leap seconds is another one",)


def test_content_is_never_shown() -> None:
    """Octets, certificates for example, are only said to be different."""
    old = Config(sources=(SourceEntry("x", b"1", "f:1"),))
    new = Config(sources=(SourceEntry("x", b"2", "f:1"),))

    assert compare(old, new).changes == ("source x f:1 starts afresh: changed",)
