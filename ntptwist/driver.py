"""
What the author of a driver imports: the public face, under names that stay.

A driver is three things: a line that names it (``SourceDriver``, found by twisted.plugin), a spawner that reads its
``[[source]]`` table and makes its sources, and a source, of one of the shapes below.  Everything that they need is
handed on here and nothing else is promised: ``docs/reference/driver-interface.rst`` explains each name, and a test
compares that page with ``__all__``.

Nothing is defined here: a name moves in without moving its module.
"""

from __future__ import annotations

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.table import HostPort, Table
from ntptwist.errors import DeviceError, DriverError, NTPTwistError, ResolutionError, WireError
from ntptwist.identifiers import EndReason, Leap, ReferenceId, SourceEnd, SourceId, SpawnerId
from ntptwist.interfaces import ISource, ISourceController, ISourceDriver, ISpawner, ISystem
from ntptwist.measurement import Measurement, OneWayMeasurement, TwoWayMeasurement
from ntptwist.registry import SourceDriver
from ntptwist.snapshot import SourceObservation
from ntptwist.sources.blocking import BlockingSource
from ntptwist.sources.oneway import OneWaySettings, OneWaySource
from ntptwist.sources.polled import PolledSource, Reading
from ntptwist.spawners.local import LocalSpawner
from ntptwist.spawners.single import SingleSpawner
from ntptwist.timestamp import NANOSECONDS, Monotonic, Timestamp

__all__ = [
    "NANOSECONDS",
    "BlockingSource",
    "DeviceError",
    "DriverError",
    "EndReason",
    "HostPort",
    "ISource",
    "ISourceController",
    "ISourceDriver",
    "ISpawner",
    "ISystem",
    "Leap",
    "LocalSpawner",
    "Measurement",
    "Monotonic",
    "NTPTwistError",
    "OneWayMeasurement",
    "OneWaySettings",
    "OneWaySource",
    "PollLimits",
    "PolledSource",
    "Reading",
    "ReferenceId",
    "ResolutionError",
    "SelectionOptions",
    "SingleSpawner",
    "SourceDriver",
    "SourceEnd",
    "SourceId",
    "SourceObservation",
    "SpawnerId",
    "Table",
    "Timestamp",
    "TwoWayMeasurement",
    "WireError",
]
