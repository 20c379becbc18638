"""``[[server]]``: ntpd-rs' keys and ours, closed where nothing is said, and every mistake in words with its line."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ntptwist.config.loader import loads
from ntptwist.config.model import AccessSettings, ServerSettings
from ntptwist.config.table import HostPort
from ntptwist.errors import ConfigError
from ntptwist.identifiers import NO_REFERENCE, ReferenceId
from ntptwist.protocol.access import LOOPBACK, Action
from ntptwist.protocol.ratelimit import RateLimit
from tests.config.stub import find_driver

SOURCE = '[[source]]\nmode = "server"\naddress = "192.0.2.1"\n'
SERVER = '[[server]]\nlisten = "192.0.2.1:123"\nallowlist = { filter = [], action = "ignore" }\n'


def server(text: str) -> ServerSettings:
    """Give the only server of a file."""
    (settings,) = loads(text, find_driver).servers
    return settings


def problems(text: str) -> tuple[str, ...]:
    """Give the problems of a file, without its name."""
    with pytest.raises(ConfigError) as caught:
        loads(text + SOURCE, find_driver)
    return tuple(problem.removeprefix("<text>") for problem in caught.value.problems)


def warnings(text: str) -> tuple[str, ...]:
    """Give the warnings of a file, without its name."""
    return tuple(warning.removeprefix("<text>") for warning in loads(text + SOURCE, find_driver).warnings)


def test_everything_said() -> None:
    """Every key has its place."""
    settings = server(
        """
        [[server]]
        listen = "[2001:db8::1]:124"
        allowlist = { filter = ["192.0.2.77/24", "2001:db8::/32"], action = "deny" }
        denylist = { filter = ["192.0.2.9/32"], action = "ignore" }
        rate-limiting-cache-size = 100
        rate-limiting-cutoff-ms = 250
        rate-limiting-burst = 3
        rate-limiting-action = "kiss"
        rate-limiting-ipv4-prefix = 24
        rate-limiting-ipv6-prefix = 56
        require-nts = "deny"
        accept-ntp-versions = [4]
        interleaved = false
        workers = 1
        on-port-taken = "retry"
        """
    )

    assert settings == ServerSettings(
        listen=HostPort("2001:db8::1", 124),
        access=AccessSettings(
            allow=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
            deny=(ip_network("192.0.2.9/32"),),
            otherwise=Action.DENY,
            denied=Action.IGNORE,
        ),
        rate_limit=RateLimit(250_000_000, 3, 100, 24, 56, kiss=True),
        require_nts=Action.DENY,
        versions=frozenset({4}),
        interleaved=False,
        on_port_taken="retry",
    )


def test_nothing_said() -> None:
    """Without a list a server answers this machine only, both versions, as often as it is asked."""
    settings = server('[[server]]\nlisten = "0.0.0.0"')

    assert settings == ServerSettings(HostPort("0.0.0.0", 123))
    assert (settings.access.allow, settings.access.otherwise) == (LOOPBACK, Action.IGNORE)
    assert settings.location == "<text>:1"


def test_a_server_without_a_list_is_a_warning() -> None:
    """An operator who comes from ntpd-rs is told, with the line, that a server without a list is closed here."""
    told = "without an allowlist only this machine is answered (ntpd-rs would answer everybody)"

    assert warnings('[[server]]\nlisten = "[::]:123"\n') == (f":1: server[1]: {told}",)
    assert warnings('[[server]]\nlisten = "127.0.0.1:123"\n') == ()
    assert warnings(SERVER) == ()


@pytest.mark.parametrize(
    ("given", "meant"), [("true", Action.IGNORE), ("false", None), ("'ignore'", Action.IGNORE), ("'deny'", Action.DENY)]
)
def test_nts_may_be_required(given: str, meant: Action | None) -> None:
    """``require-nts`` is a truth value or what becomes of the others."""
    assert server(f"{SERVER}require-nts = {given}").require_nts is meant


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("listn = 1", ":4: server[1].listn: unknown key (did you mean 'listen'?)"),
        ("require-nts = 'no'", ":4: server[1].require-nts: expected true, false, 'ignore' or 'deny', not 'no'"),
        (
            "accept-ntp-versions = [2]",
            ":4: server[1].accept-ntp-versions: expected a list of some of 3, 4, 5, not a list",
        ),
        (
            "accept-ntp-versions = []",
            ":4: server[1].accept-ntp-versions: expected a list of some of 3, 4, 5, not a list",
        ),
        (
            "accept-ntp-versions = [5]",
            ":4: server[1].accept-ntp-versions: NTPv5 is not built yet, and no other version is left",
        ),
        ("workers = 0", ":4: server[1].workers: expected a whole number from 1 to 64, not 0"),
        (
            "on-port-taken = 'wait'",
            ":4: server[1].on-port-taken: expected one of 'fail', 'retry', not 'wait'",
        ),
        ("denylist = []", ":4: server[1].denylist: expected a table, not a list"),
        ("denylist = { action = 'deny' }", ":4: server[1].denylist.filter: required key is missing"),
        (
            "denylist = { filter = [], action = 'drop' }",
            ":4: server[1].denylist.action: expected one of 'ignore', 'deny', not 'drop'",
        ),
        (
            "denylist = { filter = ['10.0.0.0'] }",
            ":4: server[1].denylist.filter: '10.0.0.0' has no length: a prefix is address/length",
        ),
        (
            "denylist = { filter = ['10.0.0.0/8',\n'10.1/16'] }",
            ":4: server[1].denylist.filter: '10.1/16' does not begin with an IPv4 or IPv6 address",
        ),
        (
            "denylist = { filter = ['10.0.0.0/33'] }",
            ":4: server[1].denylist.filter: '10.0.0.0/33' does not end in a length from 0 to 32",
        ),
        (
            "denylist = { filter = ['10.0.0.0/255.0.0.0'] }",
            ":4: server[1].denylist.filter: '10.0.0.0/255.0.0.0' does not end in a length from 0 to 32",
        ),
        (
            "denylist = { filter = ['fe80::%1/10'] }",
            ":4: server[1].denylist.filter: 'fe80::%1/10' does not end in a length from 0 to 128",
        ),
        (
            "rate-limiting-cache-size = 9\nrate-limiting-cutoff-ms = 9\nrate-limiting-burst = 0",
            ":6: server[1].rate-limiting-burst: expected a whole number from 1 to 1000, not 0",
        ),
    ],
)
def test_single_problems(line: str, problem: str) -> None:
    """Each kind of mistake has its words and its line."""
    assert problems(f"{SERVER}{line}\n") == (problem,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[server]]\nallowlist = { filter = [] }\n", ":1: server[1].listen: required key is missing"),
        (
            SERVER.replace("192.0.2.1:123", "localhost:123"),
            ":2: server[1].listen: 'localhost:123' is no address of this machine, like 0.0.0.0:123 or [::]:123",
        ),
        (SERVER + SERVER, ":5: server[2].listen: 192.0.2.1:123 shares addresses with 192.0.2.1:123 (<text>:1)"),
        (
            SERVER + SERVER.replace("192.0.2.1", "[0::0]"),
            ":5: server[2].listen: [::]:123 shares addresses with 192.0.2.1:123 (<text>:1)",
        ),
        (
            SERVER.replace("192.0.2.1", "0.0.0.0") + SERVER,
            ":5: server[2].listen: 192.0.2.1:123 shares addresses with 0.0.0.0:123 (<text>:1)",
        ),
        ("[synchronization]\nreference-id = 'TOOLONG'\n",
         ":2: synchronization.reference-id: expected one to four characters of ASCII, not 'TOOLONG'"),
    ],
)  # fmt: skip
def test_problems_of_addresses(text: str, problem: str) -> None:
    """A server has a literal address of its own."""
    assert problems(text) == (problem,)


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (
            "accept-ntp-versions = [3, 4, 5]",
            ":4: server[1].accept-ntp-versions: NTPv5 is not built yet, requests of version 5 are ignored",
        ),
        (
            "rate-limiting-cache-size = 9\nrate-limiting-burst = 2",
            ":5: server[1].rate-limiting-burst: has no effect: rate-limiting-cache-size or -cutoff-ms is not set",
        ),
    ],
)
def test_warnings(line: str, warning: str) -> None:
    """What has no effect is a warning."""
    assert warnings(f"{SERVER}{line}\n") == (warning,)


@pytest.mark.parametrize("other", ["192.0.2.2:123", "192.0.2.1:124", "[2001:db8::1]:123", "[::]:124"])
def test_several_servers(other: str) -> None:
    """A machine may serve on as many addresses as it has."""
    servers = loads(SERVER + SERVER.replace("192.0.2.1:123", other), find_driver).servers

    assert [str(server.listen) for server in servers] == ["192.0.2.1:123", other]


def test_the_wildcard_of_ipv4() -> None:
    """It leaves the addresses of IPv6 to others."""
    text = SERVER.replace("192.0.2.1", "0.0.0.0") + SERVER.replace("192.0.2.1", "[2001:db8::1]")

    assert len(loads(text, find_driver).servers) == 2


def test_an_own_clock_has_a_name() -> None:
    """``reference-id`` is what a machine without sources is called by its clients."""
    text = "[synchronization]\nlocal-stratum = 1\nreference-id = 'GPS'\n"

    assert loads(text, find_driver).reference_id == ReferenceId(b"GPS\0")
    assert loads("", find_driver).reference_id == NO_REFERENCE
    assert warnings(text) == ()
