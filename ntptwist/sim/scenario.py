"""
A scenario: one machine with its clock, the servers around it, what happens to them, and what the daemon must achieve.

Plain frozen values; ``scenario_file`` reads them from TOML and ``trial`` lets them happen.  Times are seconds of true
time since the start of the world, frequencies are fractions: the files' ppm end where they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ntptwist.config.model import Config
from ntptwist.identifiers import Leap
from ntptwist.sim.network import PERFECT, Path
from ntptwist.sim.oscillator import OscillatorModel
from ntptwist.sim.server import GOOD, Behaviour
from ntptwist.sim.timeline import NEW_YEAR_2026
from ntptwist.timestamp import Timestamp


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """A server: how it behaves at first and from some seconds on, and the paths to it and back."""

    address: str
    behaviour: Behaviour = GOOD
    changes: tuple[tuple[float, Behaviour], ...] = ()
    up: Path = PERFECT
    down: Path = PERFECT


@dataclass(frozen=True, slots=True)
class NamePlan:
    """A name of DNS: its addresses, and the seconds until an answer comes (infinity: never)."""

    name: str
    addresses: tuple[str, ...]
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class ReceiverPlan:
    """
    A GPS receiver beside the machine: samples to a socket at ``path`` and pulses, with their standard deviations.

    In an outage (from, to) the one or the other is silent.
    """

    path: str = "/run/gps.sock"
    sample_jitter: float = 1e-3
    pulse_jitter: float = 1e-6
    sample_outages: tuple[tuple[float, float], ...] = ()
    pulse_outages: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignStep:
    """Somebody else moves the clock by ``seconds``."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Suspend:
    """The machine sleeps for ``seconds``; the kernel takes that for ``error`` seconds too long."""

    at: float
    seconds: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class LeapSecond:
    """UTC has a leap second; ``at`` is a midnight at the end of a month."""

    at: float
    leap: Leap


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The machine has no route to anywhere for ``seconds``."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is stopped, and started again ``seconds`` later with what it kept in its state directory."""

    at: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """From now on the kernel refuses to have its clock changed."""

    at: float


Event = ForeignStep | Suspend | LeapSecond | Disconnect | Restart | Refuse


@dataclass(frozen=True, slots=True)
class Window:
    """Limits for the seconds from ``first`` up to, not including, ``last``."""

    first: int
    last: int
    rms: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What every run must keep; None and empty ask for nothing.

    ``rms``, ``maximum`` (seconds) and ``frequency`` (RMS, fractional) hold after the settling time; ``below_...`` are
    the seconds until the error must be below that for good.  ``beyond_bound`` and ``beyond_3_sigma`` are the largest
    share of moments at which the error may have been greater than what the daemon claimed.  ``synchronized`` is how it
    must end; ``used`` and ``unused`` name servers that must, or must not, ever have been selected; ``told`` are words
    that must be in its decisions.
    """

    rms: float | None = None
    maximum: float | None = None
    frequency: float | None = None
    below_10ms: int | None = None
    below_1ms: int | None = None
    below_100us: int | None = None
    packets: int | None = None
    steps: int | None = None
    beyond_bound: float | None = None
    beyond_3_sigma: float | None = None
    synchronized: bool | None = None
    exit_status: int | None = None
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    Everything that happens, but for the seed; ``config`` is the daemon's ordinary configuration.

    ``offset`` is truth minus the machine's clock at the ``start``.  Figures are those of the seconds after ``settle``.
    """

    name: str
    title: str
    config: Config
    seeds: tuple[int, ...] = (1,)
    duration: int = 40_000
    settle: int = 10_000
    start: Timestamp = NEW_YEAR_2026
    offset: float = 0.01
    oscillator: OscillatorModel = field(default_factory=OscillatorModel)
    servers: tuple[ServerPlan, ...] = ()
    names: tuple[NamePlan, ...] = ()
    receiver: ReceiverPlan | None = None
    events: tuple[Event, ...] = ()
    limits: Limits = field(default_factory=Limits)
    nightly: bool = False
