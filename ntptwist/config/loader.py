"""
From a file to a Config, or to all its problems at once.

The keys are those of ntpd-rs' ``ntp.toml``, plus our own.  What ntpd-rs knows and this daemon does not do yet is
refused where leaving it out would change what the machine offers or whom it believes (the pool's extensions of NTS,
kinds of sources), and accepted with a warning otherwise.  A key that neither knows is refused.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, get_args

from ntptwist.algorithm.config import PanicThreshold, PollLimits, Profile, StepPolicy, SynchronizationPolicy
from ntptwist.algorithm.leap import LeapTable, parse_leap_table
from ntptwist.config import value
from ntptwist.config.answers import ALL_PERMISSIONS, chronyc_listen, socket_path
from ntptwist.config.files import LARGEST_FILE, drop_ins, read_text
from ntptwist.config.keys import read_key_servers, read_keyset
from ntptwist.config.lines import locate
from ntptwist.config.listening import METRICS_PORT, WEB_PORT, read_listener
from ntptwist.config.model import (
    ClockSettings,
    Config,
    Control,
    LogLevel,
    ObservabilitySettings,
    SourceEntry,
    StatisticsFormat,
    StatisticsSettings,
    voting_policy,
)
from ntptwist.config.serving import read_servers
from ntptwist.config.table import Findings, Table
from ntptwist.config.value import shown
from ntptwist.errors import ConfigError, DriverError
from ntptwist.interfaces import ISourceDriver

FindDriver = Callable[[str], ISourceDriver]
"""``ntptwist.registry.find_driver``, or a test's own."""

DEFAULT_PATH = "/etc/ntptwist/ntptwist.toml"

_ADDED = ("source", "server")
"""What a drop-in may add."""
_NTPD_RS_MODES = ("nts-pool", "csptp")
_NOT_BUILT = {
    "csptp": "CSPTP",
    "csptp-server": "CSPTP",
}
_NTPD_RS_ALGORITHM = (
    "precision-low-probability",
    "precision-high-probability",
    "precision-hysteresis",
    "precision-minimum-weight",
    "poll-interval-low-weight",
    "poll-interval-high-weight",
    "poll-interval-hysteresis",
    "poll-interval-step-threshold",
    "delay-outlier-threshold",
    "initial-wander",
    "initial-frequency-uncertainty",
    "maximum-source-uncertainty",
    "range-statistical-weight",
    "range-delay-weight",
    "steer-offset-threshold",
    "steer-offset-leftover",
    "steer-frequency-threshold",
    "steer-frequency-leftover",
    "step-threshold",
    "slew-maximum-frequency-offset",
    "slew-minimum-duration",
    "maximum-frequency-steer",
    "ignore-server-dispersion",
    "meddling-threshold",
)
_NTPD_RS_CLOCK = ("clock", "interface", "timestamp-mode")
_NTPD_RS_OBSERVABILITY = ("log-path", "log-path-metrics-exporter", "ansi-colors")
_DEFAULTS = Config()
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_LARGEST_OFFSET = 2.0**31
"""Seconds, half an era: a virtual clock farther away could not be told from one in another era."""
_LARGEST_FREQUENCY = 1e5
"""Parts per million; a tenth of the rate is more than any oscillator's error."""


def load(path: str, find_driver: FindDriver) -> Config:
    """Read a configuration file and its drop-ins; ConfigError tells every problem of all of them at once."""
    refused: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []

    def opened(file: str) -> tuple[Table, Findings]:
        try:
            text, noticed = read_text(file)
            warnings.extend(noticed)
            return parse(text, file)
        except ConfigError as error:
            refused[file] = error.problems
            return parse("", file)  # which has no problems

    files = [opened(path)]
    try:
        files += map(opened, drop_ins(path))
    except ConfigError as error:
        refused[path] = (*refused.get(path, ()), *error.problems)
    return _finished(replace(_read(files, find_driver), path=path), files, refused, warnings)


def loads(text: str, find_driver: FindDriver, path: str | None = None) -> Config:
    """Read a configuration from a text; messages name ``path`` as its file."""
    files = [parse(text, path or "<text>")]
    return _finished(replace(_read(files, find_driver), path=path), files)


def read_source(find_driver: FindDriver, values: Mapping[str, Any], default_limits: PollLimits) -> SourceEntry:
    """Read one ``[[source]]`` that stands in no file; ConfigError tells every problem of it."""
    findings = Findings("")
    table = Table(values, (), findings, default_limits)
    entry = _source(table, find_driver)
    table.finish()
    if findings.problems or entry is None:
        raise ConfigError(*findings.problems)
    return entry


def _read(files: Sequence[tuple[Table, Findings]], find_driver: FindDriver) -> Config:
    """Read the tables of a configuration and of its drop-ins."""
    (root, _), *others = files
    return read(root, find_driver, [table for table, _ in others])


def _finished(
    config: Config,
    files: Sequence[tuple[Table, Findings]],
    refused: Mapping[str, Sequence[str]] | None = None,
    noticed: Sequence[str] = (),
) -> Config:
    """
    Refuse what nobody asked for, and raise all problems, or else give all warnings, file by file.

    ``refused`` has the files that can't be read as TOML, with the reasons.
    """
    problems: list[str] = []
    warnings = [*noticed]
    for table, findings in files:
        table.finish()
        problems += [*(refused or {}).get(findings.file, ()), *findings.problems]
        warnings += findings.warnings
    if problems:
        raise ConfigError(*problems)
    return replace(config, warnings=tuple(warnings))


def read(root: Table, find_driver: FindDriver, additions: Sequence[Table] = ()) -> Config:
    """
    Read a configuration from a table, which may be a part of another file; ``additions`` are those of drop-ins.

    Problems and warnings are noted in the tables, and the caller finishes the files.
    """
    root.default_limits = root.table("source-defaults").poll_limits()
    for addition in additions:
        addition.default_limits = root.default_limits
        for key in addition:
            if key not in _ADDED:
                addition.problem(key, "only [[source]] and [[server]] may stand in a drop-in")
        addition.accept_all()
    tables = [root, *additions]
    sources = tuple(
        entry
        for table in tables
        for source in table.tables("source")
        if (entry := _source(source, find_driver)) is not None
    )
    servers = read_servers([server for table in tables for server in table.tables("server")])
    key_servers = read_key_servers(root.tables("nts-ke-server"), serves_time=bool(servers))
    config = Config(
        sources=sources,
        source_defaults=root.default_limits,
        servers=servers,
        key_servers=key_servers,
        keyset=read_keyset(root.table("keyset")) if key_servers or "keyset" in root else None,
        policy=_policy(root.table("synchronization"), sources),
        reference_id=root.table("synchronization").parsed(
            "reference-id", value.reference_id, _DEFAULTS.reference_id, _DEFAULTS.reference_id
        ),
        clock=_clock(root.table("clock")),
        control_directory=root.table("control").path("directory", _DEFAULTS.control_directory),
        state_directory=root.table("state").path("directory", _DEFAULTS.state_directory),
        observability=_observability(root.table("observability")),
        statistics=_statistics(root.table("statistics")) if "statistics" in root else None,
        leap_seconds_file=root.table("synchronization").path("leap-seconds-file", None),
        console=root.table("console").boolean("enabled", default=_DEFAULTS.console),
    )
    if "keyset" in root and not servers and not key_servers:
        root.warning("keyset", "has no effect: neither a [[server]] nor an [[nts-ke-server]] is configured")
    if config.observability.mode6 and all(server.workers > 1 for server in config.servers):
        root.table("observability").problem(
            "mode6",
            "ntpq is answered by a [[server]] without workers, and there is none: listen = '127.0.0.1:123' makes one",
        )
    if not sources:
        root.warning(None, "no source is configured: the clock is left alone")
    for key, feature in _NOT_BUILT.items():
        root.parsed(key, partial(_refuse, feature), None, None)
    return config


def parse(text: str, file: str) -> tuple[Table, Findings]:
    """Give the table of a whole TOML text; ConfigError where it breaks TOML's rules."""
    try:
        values = tomllib.loads(text)
        findings = Findings(file, locate(text))
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        position = _POSITION.search(reason)
        line = position[1] if position and position[1] else str(text.rstrip().count("\n") + 1)
        column = f" at column {position[2]}" if position and position[2] else " at the end"
        raise ConfigError(f"{file}:{line}: not valid TOML{column}: {_POSITION.sub('', reason)}") from error
    except ValueError as error:  # Python's own limit on the digits of an integer
        raise ConfigError(f"{file}: not valid TOML: an integer has too many digits") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: arrays or tables are nested too deeply") from error
    return Table(values, (), findings), findings


def _source(table: Table, find_driver: FindDriver) -> SourceEntry | None:
    """Let the driver of a ``[[source]]`` read it; nothing when there is no such driver."""
    mode = table.text("mode")
    if not table.sound:
        table.accept_all()
        return None
    try:
        configuration = find_driver(mode).configure(table)
    except DriverError as error:
        table.problem("mode", f"mode {shown(mode)} is not built yet" if mode in _NTPD_RS_MODES else str(error))
        table.accept_all()
        return None
    return SourceEntry(mode, configuration, table.location)


def _policy(table: Table, sources: Sequence[SourceEntry]) -> SynchronizationPolicy:
    """Read ``[synchronization]``."""
    policy = read_policy(table, voting_policy(_DEFAULTS.policy, sources))
    if "reference-id" in table and policy.local_stratum == _DEFAULTS.policy.local_stratum:
        table.warning("reference-id", "has no effect: local-stratum is 16")
    if sources and policy.voting_sources < policy.agreeing:
        table.warning(
            "minimum-agreeing-sources",
            f"{policy.agreeing} must agree but only {policy.voting_sources} can vote: the clock is left alone",
        )
    return policy


def read_policy(table: Table, default: SynchronizationPolicy) -> SynchronizationPolicy:
    """Read the keys of ``[synchronization]``; what is missing comes from ``default``."""
    policy = replace(
        default,
        minimum_agreeing_sources=table.integer("minimum-agreeing-sources", default.minimum_agreeing_sources, minimum=1),
        step_policy=StepPolicy(
            table.choice("step-policy", [policy.value for policy in StepPolicy], default.step_policy.value)
        ),
        startup_step_panic_threshold=_threshold(
            table, "startup-step-panic-threshold", default.startup_step_panic_threshold
        ),
        single_step_panic_threshold=_threshold(
            table, "single-step-panic-threshold", default.single_step_panic_threshold
        ),
        accumulated_step_panic_threshold=table.number(
            "accumulated-step-panic-threshold", default.accumulated_step_panic_threshold or 0.0, minimum=0
        )
        or None,
        local_stratum=table.integer("local-stratum", default.local_stratum, minimum=1, maximum=16),
        leap_table=_leap_table(table) or default.leap_table,
        profile=Profile(table.choice("profile", [profile.value for profile in Profile], default.profile.value)),
    )
    if not table.boolean("warn-on-jump", default=True):
        table.warning("warn-on-jump", "has no effect: every step is logged")
    table.without_effect(["algorithm"], "this daemon's own filter and steering need no tuning")
    table.table("algorithm").accept(_NTPD_RS_ALGORITHM)
    return policy


def _leap_table(table: Table) -> LeapTable | None:
    """Read the list of leap seconds; one that can't be used costs a warning, for the servers announce them too."""
    path = table.path("leap-seconds-file", None)
    if path is None:
        return None
    try:
        return read_leap_table(Path(path))
    except OSError as error:
        table.warning("leap-seconds-file", f"is not used: can't be read: {error.strerror}: {path}")
    except ValueError as error:
        table.warning("leap-seconds-file", f"is not used: {error}: {path}")
    return None


def read_leap_table(path: Path) -> LeapTable:
    """Read a list of leap seconds; OSError or ValueError, with the reason, when it can't be used."""
    with path.open("rb") as file:
        return parse_leap_table(file.read(LARGEST_FILE).decode("ascii", "replace"))


def _threshold(table: Table, key: str, default: PanicThreshold) -> PanicThreshold:
    """Read a threshold: one number of seconds for both directions, or a table where a missing one is unlimited."""
    if table.holds_table(key):
        parts = table.table(key)
        return PanicThreshold(
            parts.number("forward", math.inf, minimum=0, infinite=True),
            parts.number("backward", math.inf, minimum=0, infinite=True),
        )
    both = table.number(key, None, minimum=0, infinite=True)
    return default if both is None else PanicThreshold(both, both)


def _clock(table: Table) -> ClockSettings:
    """Read ``[clock]``."""
    default = _DEFAULTS.clock
    settings = ClockSettings(
        control=table.choice("control", get_args(Control), default.control),
        virtual_offset=table.number(
            "virtual-offset", default.virtual_offset, minimum=-_LARGEST_OFFSET, maximum=_LARGEST_OFFSET
        ),
        virtual_frequency=table.number(
            "virtual-frequency", default.virtual_frequency, minimum=-_LARGEST_FREQUENCY, maximum=_LARGEST_FREQUENCY
        ),
    )
    if settings.control != "virtual" and (settings.virtual_offset or settings.virtual_frequency):
        keys = ["virtual-offset", "virtual-frequency"]
        table.without_effect(keys, "only a clock with control = 'virtual' takes it")
    table.without_effect(_NTPD_RS_CLOCK, "hardware clocks are not built yet")
    return settings


def _observability(table: Table) -> ObservabilitySettings:
    """Read ``[observability]``."""
    table.without_effect(_NTPD_RS_OBSERVABILITY, "not built yet")
    default = _DEFAULTS.observability
    return ObservabilitySettings(
        log_level=table.choice("log-level", get_args(LogLevel), default.log_level),
        record=table.path("record", default.record),
        observation_path=table.parsed("observation-path", socket_path, default.observation_path, None),
        observation_permissions=table.integer(
            "observation-permissions", default.observation_permissions, minimum=0, maximum=ALL_PERMISSIONS
        ),
        chronyc_listen=table.parsed("chronyc-listen", chronyc_listen, default.chronyc_listen, None),
        mode6=table.boolean("mode6", default.mode6),
        web_listen=read_listener(table, "web-listen", WEB_PORT),
        metrics_exporter_listen=read_listener(table, "metrics-exporter-listen", METRICS_PORT),
    )


def _statistics(table: Table) -> StatisticsSettings:
    """Read ``[statistics]``."""
    return StatisticsSettings(
        directory=table.path("directory"),
        format=table.choice("format", get_args(StatisticsFormat), StatisticsSettings("").format),
    )


def _refuse(feature: str, _: Any) -> NoReturn:
    raise ValueError(f"{feature} is not built yet")
