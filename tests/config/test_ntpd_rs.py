"""Configurations of ntpd-rs, in the forms its guides recommend, are accepted or refused by name, never half obeyed."""

from __future__ import annotations

import math

import pytest

from ntptwist.algorithm.config import PanicThreshold, PollLimits
from ntptwist.config.loader import loads
from ntptwist.errors import ConfigError
from ntptwist.registry import find_driver

PACE = "has no effect: every source starts at the algorithm's own pace"

CLIENT = """\
[observability]
# how much is logged
log-level = "info"
observation-path = "/var/run/ntpd-rs/observe"

[[source]]
mode = "server"
address = "ntp-a.example.net"

[[source]]
mode = "server"
address = "ntp-b.example.net:123"
ntp-version = "auto"

[[source]]
mode = "server"
address = "[2001:db8::c]:123"
poll-interval-limits = { min = 6, max = 10 }
initial-poll-interval = 6

[source-defaults]
poll-interval-limits = { min = 4, max = 10 }
initial-poll-interval = 4

[synchronization]
single-step-panic-threshold = 1800
startup-step-panic-threshold = { forward = "inf", backward = 86400 }
minimum-agreeing-sources = 3

[synchronization.algorithm]
initial-wander = 1e-7
"""

PACKAGED = """\
[observability]
observation-path = "/var/run/ntpd-rs/observe"

[[source]]
mode = "pool"
address = "ntpd-rs.pool.example.net"
count = 4

[synchronization]
single-step-panic-threshold = 1800
startup-step-panic-threshold = { forward = "inf", backward = 86400 }
"""

EVERYTHING = """\
[[source]]
mode = "nts"
address = "nts.example.net:4460"
certificate-authority = "/etc/ntpd-rs/ca.pem"

[[source]]
mode = "nts-pool"
address = "pool.example.net"
count = 3

[[source]]
mode = "sock"
path = "/run/chrony.ttyS0.sock"
precision = 1e-3

[[source]]
mode = "pps"
path = "/dev/pps0"
precision = 1e-7

[[server]]
listen = "0.0.0.0:123"

[[server]]
listen = "[::]:123"

[[nts-ke-server]]
listen = "0.0.0.0:4460"
certificate-chain-path = "/etc/ntpd-rs/chain.pem"
private-key-path = "/etc/ntpd-rs/key.pem"

[keyset]
stale-key-count = 7
"""


def test_a_client() -> None:
    """A client of several servers is taken over with its values; a warning tells each thing without effect."""
    config = loads(CLIENT, find_driver, "ntp.toml")

    assert [source.configuration.limits for source in config.sources] == [
        PollLimits(4, 10),
        PollLimits(4, 10),
        PollLimits(6, 10),
    ]
    assert config.policy.minimum_agreeing_sources == 3
    assert config.policy.single_step_panic_threshold == PanicThreshold(1800.0, 1800.0)
    assert config.policy.startup_step_panic_threshold == PanicThreshold(math.inf, 86400.0)
    assert config.warnings == (
        "ntp.toml:13: source[2].ntp-version: has no effect: NTPv5 is not built yet, version 4 is used",
        f"ntp.toml:19: source[3].initial-poll-interval: {PACE}",
        f"ntp.toml:23: source-defaults.initial-poll-interval: {PACE}",
        "ntp.toml:30: synchronization.algorithm: has no effect: this daemon's own filter and steering need no tuning",
    )


def test_the_packaged_default() -> None:
    """What ntpd-rs' packages install runs here as it stands, its observation socket included."""
    config = loads(PACKAGED, find_driver, "ntp.toml")

    assert [source.mode for source in config.sources] == ["pool"]
    assert config.policy.voting_sources == 4
    assert config.observability.observation_path == "/var/run/ntpd-rs/observe"
    assert config.warnings == ()


def test_what_is_not_built_yet() -> None:
    """A file that asks for more than this daemon does is refused with all that is missing, and nothing else."""
    with pytest.raises(ConfigError) as caught:
        loads(EVERYTHING, find_driver, "ntp.toml")

    assert caught.value.problems == (
        "ntp.toml:4: source[1].certificate-authority: can't be read: No such file or directory: /etc/ntpd-rs/ca.pem",
        "ntp.toml:7: source[2].mode: mode 'nts-pool' is not built yet",
        "ntp.toml:25: server[2].listen: [::]:123 shares addresses with 0.0.0.0:123 (ntp.toml:21)",
        (
            "ntp.toml:29: nts-ke-server[1].certificate-chain-path: can't be read: No such file or directory: "
            "/etc/ntpd-rs/chain.pem"
        ),
        (
            "ntp.toml:30: nts-ke-server[1].private-key-path: can't be read: No such file or directory: "
            "/etc/ntpd-rs/key.pem"
        ),
    )
