"""
From a TOML file to a Scenario, or to all its problems at once.

The file is read like the daemon's configuration and with the same words for what is wrong: typed getters note every
problem with its line and go on (``config.table``).  What stands below ``[daemon]`` is that very configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any

from ntptwist.config import value
from ntptwist.config.loader import FindDriver, parse, read
from ntptwist.config.model import ClockSettings
from ntptwist.config.table import Table
from ntptwist.errors import ConfigError
from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.sim import network
from ntptwist.sim.network import Path
from ntptwist.sim.oscillator import OscillatorModel, Sine
from ntptwist.sim.scenario import (
    Disconnect,
    Event,
    ForeignStep,
    LeapSecond,
    Limits,
    NamePlan,
    ReceiverPlan,
    Refuse,
    Restart,
    Scenario,
    ServerPlan,
    Suspend,
    Window,
)
from ntptwist.sim.server import GOOD, Behaviour
from ntptwist.sim.timeline import NEW_YEAR_2026
from ntptwist.timestamp import NANOSECONDS, Timestamp

LARGEST_FILE = 1 << 20
LONGEST = 10 * 366 * 86_400
"""Seconds; the trace of ten years would fill a memory."""
PPM = 1e-6

SHAPES: dict[str, network.Shape] = {
    "exponential": network.exponential,
    "gaussian": network.gaussian,
    "gamma": network.gamma,
    "uniform": network.uniform,
    "pareto": network.pareto,
    "lognormal": network.lognormal,
}
LEAPS = {str(leap): leap for leap in Leap}
KISSES = {code.name.lower(): code for code in KissCode}


def load(path: str, find_driver: FindDriver) -> Scenario:
    """Read a scenario; ConfigError tells every problem of the file at once."""
    file = FilePath(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path}: is longer than {LARGEST_FILE} octets")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: octet {content[error.start]:#04x} is not UTF-8") from error
    return loads(text, find_driver, path)


def loads(text: str, find_driver: FindDriver, path: str = "<text>") -> Scenario:
    """Read a scenario from a text; messages name ``path`` as its file."""
    root, findings = parse(text, path)
    world = root.table("world")
    duration = world.integer("duration", 40_000, minimum=1, maximum=LONGEST)
    servers = tuple(_server(table) for table in root.tables("server"))
    scenario = Scenario(
        name=FilePath(path).stem,
        title=root.text("title", ""),
        config=_daemon(root.table("daemon"), find_driver),
        seeds=world.parsed("seeds", _seeds, (1,), (1,)),
        duration=duration,
        settle=world.integer("settle", duration // 4, minimum=0, maximum=duration - 1),
        start=world.parsed("start", _moment, NEW_YEAR_2026, NEW_YEAR_2026),
        offset=world.number("offset", 0.01, minimum=-1e9, maximum=1e9),
        oscillator=_oscillator(world.table("oscillator")),
        servers=servers,
        receiver=_receiver(root.table("receiver")) if root.holds_table("receiver") else None,
        names=tuple(_name(table) for table in root.tables("name")),
        events=tuple(event for table in root.tables("event") if (event := _event(table, duration)) is not None),
        limits=_limits(root.table("limits"), duration, tuple(server.address for server in servers)),
        nightly=root.boolean("nightly", default=False),
    )
    addresses = [server.address for server in servers]
    for index, table in enumerate(root.tables("server")):
        if addresses[index] in addresses[:index]:
            table.problem("address", f"{addresses[index]} is the address of another server")
    root.finish()
    if findings.problems:
        raise ConfigError(*findings.problems)
    return scenario


def _daemon(table: Table, find_driver: FindDriver) -> Any:
    config = read(table, find_driver)
    if config.clock != ClockSettings():
        table.problem("clock", "the clock of a scenario is its [world]'s")
    return config


def _oscillator(table: Table) -> OscillatorModel:
    default = OscillatorModel()
    sines = table.tables("sines")
    return OscillatorModel(
        frequency=_ppm(table, "frequency", default.frequency),
        wander=_ppm(table, "wander", default.wander),
        sines=tuple(Sine(_ppm(sine, "amplitude"), sine.number("period", positive=True)) for sine in sines),
        frequency_jumps=tuple((at, jump * PPM) for at, jump in _rows(table, "frequency-jumps", 2)),
        wander_jumps=tuple((at, jump * PPM) for at, jump in _rows(table, "wander-jumps", 2)),
    )


def _ppm(table: Table, key: str, default: float | None = None) -> float:
    """Read parts per million as a fraction."""
    if default is not None and key not in table:
        table.accept([key])
        return default
    return table.number(key, minimum=-1e5, maximum=1e5) * PPM


def _server(table: Table) -> ServerPlan:
    behaviour = _behaviour(table, GOOD)
    both = _path(table.table("path"))
    return ServerPlan(
        address=table.parsed("address", _address, ..., "192.0.2.255"),
        behaviour=behaviour,
        changes=_changes(table, behaviour),
        up=_path(table.table("up"), both),
        down=_path(table.table("down"), both),
    )


def _changes(table: Table, behaviour: Behaviour) -> tuple[tuple[float, Behaviour], ...]:
    """Read how a server changes; each change goes on from the one before it."""
    changes = []
    for change in table.tables("change"):
        behaviour = _behaviour(change, behaviour)
        changes.append((change.number("at", minimum=0, maximum=LONGEST), behaviour))
    return tuple(changes)


def _behaviour(table: Table, default: Behaviour) -> Behaviour:
    return replace(
        default,
        offset=table.number("offset", default.offset),
        frequency=_ppm(table, "frequency", default.frequency),
        jumps=tuple((at, jump) for at, jump in _rows(table, "jumps", 2, default.jumps)),
        leap=LEAPS[table.choice("leap", tuple(LEAPS), str(default.leap))],
        stratum=table.integer("stratum", default.stratum, minimum=0, maximum=255),
        reference_id=table.parsed("reference-id", ReferenceId.of_text, default.reference_id, default.reference_id),
        root_delay=table.number("root-delay", default.root_delay, minimum=0, maximum=60_000),
        root_dispersion=table.number("root-dispersion", default.root_dispersion, minimum=0, maximum=60_000),
        processing=table.number("processing", default.processing, minimum=0),
        kiss=_kiss(table, default.kiss),
        kiss_within=table.number("kiss-within", default.kiss_within, minimum=0, infinite=True),
        silent=table.boolean("silent", default=default.silent),
    )


def _kiss(table: Table, default: KissCode | None) -> KissCode | None:
    word = table.choice("kiss", (*KISSES, "none"), None)
    return default if word is None else KISSES.get(word)


def _path(table: Table, default: Path = network.PERFECT) -> Path:
    share: Callable[[str, float], float] = partial(_share, table)
    shapes = {function: word for word, function in SHAPES.items()}
    return replace(
        default,
        base=table.number("base", default.base, minimum=0),
        jitter=table.number("jitter", default.jitter, minimum=0),
        shape=SHAPES[table.choice("shape", tuple(SHAPES), shapes[default.shape])],
        correlation=table.number("correlation", default.correlation, minimum=0),
        loss=share("loss", default.loss),
        duplication=share("duplication", default.duplication),
        reordering=share("reordering", default.reordering),
        hold=table.number("hold", default.hold, minimum=0),
        outages=tuple((since, until) for since, until in _rows(table, "outages", 2, default.outages)),
        routes=tuple((since, added) for since, added in _rows(table, "routes", 2, default.routes)),
        congestions=tuple(
            (since, until, factor) for since, until, factor in _rows(table, "congestions", 3, default.congestions)
        ),
    )


def _share(table: Table, key: str, default: float) -> float:
    return table.number(key, default, minimum=0, maximum=1)


def _rows(table: Table, key: str, length: int, default: Any = ()) -> Any:
    """Read a list of lists of so many numbers."""

    def rows(given: Any) -> Any:
        if not isinstance(given, list) or not all(isinstance(row, list) and len(row) == length for row in given):
            raise ValueError(f"expected a list of lists of {length} numbers")
        return tuple(tuple(value.number(item) for item in row) for row in given)

    return table.parsed(key, rows, default, ())


def _name(table: Table) -> NamePlan:
    return NamePlan(
        name=table.text("name"),
        addresses=table.parsed("addresses", lambda given: tuple(map(_address, value.strings(given))), ..., ()),
        delay=table.number("delay", 0.0, minimum=0, infinite=True),
    )


def _receiver(table: Table) -> ReceiverPlan:
    default = ReceiverPlan()
    return ReceiverPlan(
        path=table.path("path", default.path),
        sample_jitter=table.number("sample-jitter", default.sample_jitter, minimum=0),
        pulse_jitter=table.number("pulse-jitter", default.pulse_jitter, minimum=0),
        sample_outages=tuple((since, until) for since, until in _rows(table, "sample-outages", 2)),
        pulse_outages=tuple((since, until) for since, until in _rows(table, "pulse-outages", 2)),
    )


def _event(table: Table, duration: int) -> Event | None:
    at = table.number("at", minimum=0, maximum=duration)
    kind = table.choice("kind", ("step", "suspend", "leap", "disconnect", "restart", "refuse"))
    if not table.sound:
        table.accept_all()
        return None
    match kind:
        case "step":
            return ForeignStep(at, table.number("seconds"))
        case "suspend":
            return Suspend(at, table.number("seconds", positive=True), table.number("error", 0.0))
        case "leap":
            return LeapSecond(at, LEAPS[table.choice("leap", ("insert", "delete"))])
        case "disconnect":
            return Disconnect(at, table.number("seconds", positive=True))
        case "restart":
            return Restart(at, table.number("seconds", 0.0, minimum=0))
        case _:
            return Refuse(at)


def _limits(table: Table, duration: int, servers: tuple[str, ...]) -> Limits:
    amount: Callable[[str], float | None] = partial(_amount, table)
    count: Callable[[str], int | None] = partial(_count, table)
    limits = Limits(
        rms=amount("rms"),
        maximum=amount("maximum"),
        frequency=None if (ppm := amount("frequency")) is None else ppm * PPM,
        below_10ms=count("below-10ms"),
        below_1ms=count("below-1ms"),
        below_100us=count("below-100us"),
        packets=count("packets"),
        steps=count("steps"),
        beyond_bound=amount("beyond-bound"),
        beyond_3_sigma=amount("beyond-3-sigma"),
        synchronized=table.boolean("synchronized", default=False) if "synchronized" in table else None,
        exit_status=count("exit-status"),
        used=table.strings("used", ()),
        unused=table.strings("unused", ()),
        told=table.strings("told", ()),
        untold=table.strings("untold", ()),
        windows=tuple(_window(window, duration) for window in table.tables("window")),
    )
    for key, addresses in (("used", limits.used), ("unused", limits.unused)):
        for address in addresses:
            if address not in servers:
                table.problem(key, f"no server has the address {value.shown(address)}")
    table.accept(["synchronized"])
    return limits


def _amount(table: Table, key: str) -> float | None:
    return table.number(key, None, minimum=0)


def _count(table: Table, key: str) -> int | None:
    return table.integer(key, None, minimum=0)


def _window(table: Table, duration: int) -> Window:
    first = table.integer("first", minimum=0, maximum=duration - 1)
    return Window(
        first=first,
        last=table.integer("last", duration, minimum=first + 1, maximum=duration),
        rms=_amount(table, "rms"),
        maximum=_amount(table, "maximum"),
    )


def _seeds(given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or not given:
        raise value.refused("a list of whole numbers", given)
    return tuple(value.integer(seed) for seed in given)


def _address(given: Any) -> str:
    return str(ip_address(value.text(given)))


def _moment(given: Any) -> Timestamp:
    """Accept a date with a time; UTC if it does not say."""
    if not isinstance(given, datetime):
        raise value.refused("a date and a time", given)
    moment = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0).timestamp()
    return Timestamp(round(whole) * NANOSECONDS + moment.microsecond * 1000)
