"""Where the tools of other daemons are answered: nowhere unless it is said, and only on this machine."""

from __future__ import annotations

import pytest

from ntptwist.config.loader import loads
from ntptwist.config.model import ObservabilitySettings
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError
from tests.config.stub import find_driver

SOURCE = '[[source]]\nmode = "server"\naddress = "192.0.2.1"\n'
SERVER = "[[server]]\nlisten = '127.0.0.1:123'\n"
EXPECTED = "expected 127.0.0.1:323, [::1]:323 or the path of a socket (only this machine is answered), not"


def settings(text: str) -> ObservabilitySettings:
    """Give what a table says."""
    return loads(f"[observability]\n{text}\n{SOURCE}{SERVER}", find_driver).observability


def test_nothing_answers_as_shipped() -> None:
    """Without a word about it nothing is opened."""
    assert settings("") == ObservabilitySettings()


def test_every_key() -> None:
    """Each key arrives."""
    text = "chronyc-listen = '127.0.0.1'\nmode6 = true\nobservation-path = '/run/o'\nobservation-permissions = 0o600"

    assert settings(text) == ObservabilitySettings(
        observation_path="/run/o", observation_permissions=0o600, chronyc_listen=HostPort("127.0.0.1", 323), mode6=True
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.9.9.9:1323", HostPort("127.9.9.9", 1323)),
        ("[::1]:323", HostPort("::1", 323)),
        ("::1", HostPort("::1", 323)),
        ("/run/chrony/chronyd.sock", "/run/chrony/chronyd.sock"),
    ],
)
def test_where_chronyc_may_ask(given: str, expected: HostPort | str) -> None:
    """At an address of this machine alone, or at a path."""
    assert settings(f"chronyc-listen = '{given}'").chronyc_listen == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chronyc-listen = '0.0.0.0:323'", f"chronyc-listen: {EXPECTED} '0.0.0.0:323'"),
        ("chronyc-listen = '[::]:323'", f"chronyc-listen: {EXPECTED} '[::]:323'"),
        ("chronyc-listen = '192.0.2.1'", f"chronyc-listen: {EXPECTED} '192.0.2.1'"),
        ("chronyc-listen = 'localhost'", f"chronyc-listen: {EXPECTED} 'localhost'"),
        ("chronyc-listen = 323", "chronyc-listen: expected a text, not 323"),
        (
            f"chronyc-listen = '/{'x' * 107}'",
            f"chronyc-listen: the path of a socket has at most 107 octets: '/{'x' * 39}'...",
        ),
        ("observation-path = 'observe'", "observation-path: expected an absolute path, not 'observe'"),
        (
            "observation-permissions = 0o1777",
            "observation-permissions: expected a whole number from 0 to 511, not 1023",
        ),
        ("mode6 = 1", "mode6: expected true or false, not 1"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    """Addresses that others can reach, and what is no address, with the file's line."""
    with pytest.raises(ConfigError) as caught:
        settings(text)

    assert caught.value.problems == (f"<text>:2: observability.{problem}",)


def test_ntpq_needs_a_server() -> None:
    """ntpq asks port 123, so there has to be a server, if only for this machine."""
    with pytest.raises(ConfigError) as caught:
        loads(f"[observability]\nmode6 = true\n{SOURCE}", find_driver)

    (problem,) = caught.value.problems
    assert problem.startswith("<text>:2: observability.mode6: ntpq is answered on the port of a [[server]]")
