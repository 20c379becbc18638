"""
What a configuration file says, as frozen values that can be compared.

Every default stands here or in ``algorithm.config``; the loader repeats none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
from ntptwist.config.value import HostPort
from ntptwist.identifiers import NO_REFERENCE, ReferenceId
from ntptwist.protocol.access import LOOPBACK, Action, Prefix
from ntptwist.protocol.ratelimit import RateLimit
from ntptwist.wire.header import VERSIONS

Control = Literal["system", "observe", "virtual"]
LogLevel = Literal["trace", "debug", "info", "warn", "error"]
StatisticsFormat = Literal["ntpd", "chrony"]
PortTaken = Literal["fail", "retry"]


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """
    One ``[[source]]``: its driver's word and what that driver made of the table.

    ``location`` (``file:line``) is for messages; a source that only moved inside the file is still the same.
    """

    mode: str
    configuration: Any  # each driver's own frozen value
    location: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """
    Which clock is kept.

    The system's clock is steered, or only observed; or a virtual one that lives in this process starts
    ``virtual_offset`` seconds slow against the system's (negative: fast), on an oscillator that runs
    ``virtual_frequency`` ppm fast.
    """

    control: Control = "system"
    virtual_offset: float = 0.0
    virtual_frequency: float = 0.0


@dataclass(frozen=True, slots=True)
class ObservabilitySettings:
    """
    What the daemon tells of itself.

    ``record`` is the file in which it keeps what a replay needs.  ``observation_path`` is where ntpd-rs' tools read it,
    a socket with ``observation_permissions``; ``chronyc_listen`` a loopback address or a path at which chronyc is
    answered.  ``web_listen`` is where the web page is shown, ``metrics_exporter_listen`` where Prometheus finds the
    metrics.  None stands for not at all.  ``mode6`` says whether the servers answer ntpq.
    """

    log_level: LogLevel = "info"
    record: str | None = None
    observation_path: str | None = None
    observation_permissions: int = 0o666
    chronyc_listen: HostPort | str | None = None
    mode6: bool = False
    web_listen: HostPort | None = None
    metrics_exporter_listen: HostPort | None = None


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """``[statistics]``: the directory of the statistics files, and whose format they have."""

    directory: str
    format: StatisticsFormat = "ntpd"


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Whom a server answers; see ``protocol.access.AccessList``."""

    allow: tuple[Prefix, ...] = LOOPBACK
    deny: tuple[Prefix, ...] = ()
    otherwise: Action = Action.IGNORE
    denied: Action = Action.DENY


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """
    One ``[[server]]``: the literal address that it listens on, and whom it answers how.

    ``require_nts`` is what becomes of requests without NTS, None where they are answered.  A port that is taken ends
    the daemon (``"fail"``), or is tried again until it is free.
    """

    listen: HostPort
    access: AccessSettings = AccessSettings()
    rate_limit: RateLimit | None = None
    require_nts: Action | None = None
    versions: frozenset[int] = frozenset(VERSIONS)
    interleaved: bool = True
    workers: int = 1
    on_port_taken: PortTaken = "fail"
    location: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class KeySetSettings:
    """
    ``[keyset]``: the master keys of NTS.

    A new one comes into use every ``interval`` seconds, and ``stale`` old ones are kept.  ``path`` is the file that
    keeps them, None for one in the state directory.  With ``follow`` another host writes it, and it is only read.
    """

    interval: int = 86_400
    stale: int = 7
    path: str | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class KeyServerSettings:
    """
    One ``[[nts-ke-server]]``: where it listens, and the files of its certificate.

    ``timeout`` is for one exchange, seconds.  ``ntp_server`` and ``ntp_port`` are where clients are sent, None for this
    address and for 123.
    """

    listen: HostPort
    chain: str
    key: str
    timeout: float = 1.0
    connections: int = 512
    ntp_server: str | None = None
    ntp_port: int | None = None
    on_port_taken: PortTaken = "fail"
    location: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Config:
    """
    A whole configuration.

    ``path`` is None for a text that came from no file.  A directory or file that is None is not used at all.
    ``warnings`` are complete sentences like the problems of a ConfigError; they are no part of what is configured.
    ``reference_id`` names this machine's own clock where it is served without sources (``policy.local_stratum``).
    ``source_defaults`` are in the sources already; they hold for those that are added while the daemon runs.
    Without a ``keyset`` nobody is served by NTS; there is one wherever there are ``key_servers``.
    """

    path: str | None = None
    sources: tuple[SourceEntry, ...] = ()
    source_defaults: PollLimits = PollLimits()
    servers: tuple[ServerSettings, ...] = ()
    key_servers: tuple[KeyServerSettings, ...] = ()
    keyset: KeySetSettings | None = None
    policy: SynchronizationPolicy = field(default_factory=SynchronizationPolicy)
    reference_id: ReferenceId = NO_REFERENCE
    clock: ClockSettings = field(default_factory=ClockSettings)
    control_directory: str | None = "/run/ntptwist"
    state_directory: str | None = "/var/lib/ntptwist"
    observability: ObservabilitySettings = field(default_factory=ObservabilitySettings)
    statistics: StatisticsSettings | None = None
    leap_seconds_file: str | None = None
    console: bool = False
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def with_sources(self, sources: Sequence[SourceEntry]) -> Config:
        """Give the same configuration with other sources, and with the policy that follows from their number."""
        return replace(self, sources=tuple(sources), policy=voting_policy(self.policy, sources))

    def without_clock_control(self) -> Config:
        """Give the same configuration with a clock that is only observed."""
        return replace(self, clock=ClockSettings(control="observe"))


def voting_policy(policy: SynchronizationPolicy, sources: Sequence[SourceEntry]) -> SynchronizationPolicy:
    """
    Give a policy with what it takes from the sources: how many vote, and whether one of them is required.

    A source has one vote unless its configuration tells ``voting_sources``; a group has one together, and what is only
    measured has none.
    """
    options = [getattr(source.configuration, "options", SelectionOptions()) for source in sources]
    groups = {each.group for each in options if each.group is not None and not each.noselect}
    alone = [
        getattr(source.configuration, "voting_sources", 1)
        for source, said in zip(sources, options, strict=True)
        if said.group is None and not said.noselect
    ]
    required = any(each.require for each in options)
    return replace(policy, voting_sources=len(groups) + sum(alone), needs_required=required)
