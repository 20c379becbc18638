"""What a configuration says of NTS on the serving side."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ntptwist.config.loader import loads
from ntptwist.config.model import Config, KeyServerSettings, KeySetSettings
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError
from tests.config.stub import find_driver
from tests.ntske.certificates import DAY, Authority

SERVER = "[[server]]\nlisten = '127.0.0.1'\n"
QUIET = "no source is configured: the clock is left alone"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Give a directory with a certificate and its key."""
    put(tmp_path, Authority.make())
    return tmp_path


def put(directory: Path, authority: Authority, begin: datetime | None = None, end: datetime | None = None) -> None:
    """Put a certificate and its key into a directory."""
    made = authority.certify("ntp.example", begin=begin, end=end)
    (directory / "chain.pem").write_bytes(made.pem + authority.pem)
    (directory / "key.pem").write_bytes(made.key_pem)
    (directory / "key.pem").chmod(0o600)


def text(files: Path, *lines: str, listen: str = "127.0.0.1") -> str:
    """Give a key exchange server with more lines."""
    return "\n".join(
        (
            "[[nts-ke-server]]",
            f"listen = '{listen}'",
            f"certificate-chain-path = '{files}/chain.pem'",
            f"private-key-path = '{files}/key.pem'",
            *lines,
            "",
        )
    )


def read(given: str) -> Config:
    """Read a text."""
    return loads(given, find_driver, "t")


def problems(given: str) -> tuple[str, ...]:
    """Give what is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        read(given)
    return caught.value.problems


def warnings(given: str) -> tuple[str, ...]:
    """Give the warnings of a text, without the one of all that have no sources."""
    return tuple(each for each in read(given).warnings if not each.endswith(QUIET))


def test_defaults(files: Path) -> None:
    """A key exchange server needs an address and two files; the port is 4460 and the keys are the default's."""
    config = read(SERVER + text(files))

    assert config.key_servers == (
        KeyServerSettings(HostPort("127.0.0.1", 4460), f"{files}/chain.pem", f"{files}/key.pem"),
    )
    assert config.keyset == KeySetSettings(86_400, 7, None, follow=False)
    assert warnings(SERVER + text(files)) == ()


def test_everything(files: Path) -> None:
    """Every key of ntpd-rs arrives where it belongs."""
    lines = (
        "key-exchange-timeout-ms = 2500",
        "concurrent-connections = 100",
        "ntp-server = 'ntp.example'",
        "ntp-port = 1123",
        "accept-ntp-versions = [4]",
        "accepted-pool-authentication-tokens = []",
        "on-port-taken = 'retry'",
        "[keyset]",
        "stale-key-count = 3",
        "key-rotation-interval = 3600",
        "key-storage-path = '/var/lib/keys'",
    )
    config = read(text(files, *lines, listen="[::]:4461"))

    assert config.key_servers == (
        KeyServerSettings(
            HostPort("::", 4461), f"{files}/chain.pem", f"{files}/key.pem", 2.5, 100, "ntp.example", 1123, "retry"
        ),
    )
    assert config.keyset == KeySetSettings(3600, 3, "/var/lib/keys", follow=False)
    assert warnings(text(files, *lines)) == ()


def test_keys_without_a_key_exchange() -> None:
    """A host that only serves time has a key set where the file says so, and none otherwise."""
    assert read(SERVER).keyset is None
    assert read(f"{SERVER}[keyset]\nkey-storage-path = '/k'\nfollow = true").keyset == KeySetSettings(
        path="/k", follow=True
    )


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ("[keyset]", "t:1: keyset: has no effect: neither a [[server]] nor an [[nts-ke-server]] is configured"),
        (
            f"{SERVER}[keyset]\nfollow = true\nstale-key-count = 7",
            "t:5: keyset.stale-key-count: has no effect: with follow the keys are rotated by whoever writes the file",
        ),
    ],
)
def test_warnings_of_the_key_set(given: str, warning: str) -> None:
    """What has no effect is said."""
    assert warnings(given) == (warning,)


def test_warnings_of_a_server(files: Path) -> None:
    """What an operator should know of a key exchange server is said."""
    (files / "key.pem").chmod(0o644)

    assert warnings(text(files, "longlived-connections = 7")) == (
        (
            "t:1: nts-ke-server[1].ntp-server: is missing, and no [[server]] is configured: clients are sent here for"
            " nothing"
        ),
        f"t:4: nts-ke-server[1].private-key-path: everybody on this machine may read it: {files}/key.pem",
        "t:5: nts-ke-server[1].longlived-connections: has no effect: only servers of an NTS pool have such connections",
    )


def test_an_expired_certificate(files: Path) -> None:
    """A certificate that has expired is a warning with its end: it may be renewed, or the clock may be wrong."""
    end = datetime.now(UTC) - DAY
    put(files, Authority.make(), end - DAY, end)

    assert warnings(SERVER + text(files)) == (
        (
            f"t:5: nts-ke-server[1].certificate-chain-path: the certificate has expired on {end:%Y-%m-%d %H:%M} UTC: "
            f"{files}/chain.pem"
        ),
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("accept-ntp-versions = [3]", "accept-ntp-versions: expected a list of some of 4, 5, not a list"),
        ("accept-ntp-versions = [5]", "accept-ntp-versions: NTPv5 is not built yet, and no other version is left"),
        (
            "accepted-pool-authentication-tokens = ['x']",
            "accepted-pool-authentication-tokens: being a server of an NTS pool is not built yet",
        ),
        (
            "key-exchange-timeout-ms = 0",
            "key-exchange-timeout-ms: expected a whole number from 1 to 60000, not 0",
        ),
        (
            "ntp-server = 'a:1'",
            "ntp-server: expected a host name in ASCII or an address, without a port, not 'a:1'",
        ),
        (
            "ntp-server = 'bücher.example'",
            "ntp-server: expected a host name in ASCII or an address, without a port, not 'bücher.example'",
        ),
        ("listn = ''", "listn: unknown key (did you mean 'listen'?)"),
    ],
)
def test_problems(files: Path, line: str, problem: str) -> None:
    """What can't be meant is refused with its line."""
    assert problems(SERVER + text(files, line)) == (f"t:7: nts-ke-server[1].{problem}",)


def test_version_5_beside_4(files: Path) -> None:
    """Version 5 beside version 4 is accepted, and only version 4 is agreed upon."""
    assert read(text(files, "accept-ntp-versions = [4, 5]")).key_servers


def test_two_on_one_address(files: Path) -> None:
    """Two servers can't share an address."""
    assert problems(SERVER + text(files) + text(files, listen="[::]:4460")) == (
        "t:8: nts-ke-server[2].listen: [::]:4460 shares addresses with 127.0.0.1:4460 (t:3)",
    )


def test_files_that_are_missing(tmp_path: Path) -> None:
    """Files that can't be read are both told."""
    assert problems(text(tmp_path)) == (
        f"t:3: nts-ke-server[1].certificate-chain-path: can't be read: No such file or directory: {tmp_path}/chain.pem",
        f"t:4: nts-ke-server[1].private-key-path: can't be read: No such file or directory: {tmp_path}/key.pem",
    )


def test_files_that_are_no_use(files: Path) -> None:
    """Files that hold something else are refused with their names."""
    (files / "chain.pem").write_text("nothing")
    (files / "key.pem").write_text("nothing")

    assert problems(text(files)) == (
        (
            "t:3: nts-ke-server[1].certificate-chain-path: it holds no certificates in PEM, or one that can't be used: "
            f"{files}/chain.pem"
        ),
        f"t:4: nts-ke-server[1].private-key-path: it holds no private key in PEM that can be used: {files}/key.pem",
    )


def test_a_key_of_another_certificate(files: Path) -> None:
    """A key that does not belong to the certificate is refused."""
    (files / "key.pem").write_bytes(Authority.make().key_pem)

    assert problems(text(files)) == (
        (
            "t:4: nts-ke-server[1].private-key-path: it is not the key of the first certificate in the chain: "
            f"{files}/key.pem"
        ),
    )


def test_intervals(files: Path) -> None:
    """Keys are rotated once a minute at most."""
    assert problems(f"{SERVER}[keyset]\nkey-rotation-interval = 1\nstale-key-count = -1") == (
        "t:4: keyset.key-rotation-interval: expected a whole number from 60 to 31622400, not 1",
        "t:5: keyset.stale-key-count: expected a whole number from 0 to 1000, not -1",
    )
    assert files.exists()
