"""
``mode = "pps"``: the pulses of a device of this machine.

Pulses tell the fraction of a second and not which second it is: they do not vote, and are used once others have told
the time to a fifth of the period.  With ``lock`` one source alone numbers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ntptwist.algorithm.config import SelectionOptions
from ntptwist.config.table import Table
from ntptwist.interfaces import IPPSDevice, ISource, ISystem
from ntptwist.kernel.pps import Edge, open_pulse_device
from ntptwist.sources.blocking import own_thread
from ntptwist.sources.oneway import OneWaySettings, parse_reference_id
from ntptwist.sources.pps import PPSSource
from ntptwist.spawners.local import LocalSpawner

EDGES: tuple[Edge, ...] = ("assert", "clear")


@dataclass(frozen=True, slots=True)
class PPSConfiguration:
    """What one ``[[source]]`` with ``mode = "pps"`` says."""

    path: str
    settings: OneWaySettings
    edge: Edge = "assert"
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 0


class PPSSpawner(LocalSpawner):
    """
    Keeps a device open, and the source behind it.

    ``open_device`` and ``threads`` are for devices and threads that are not this machine's.
    """

    description = "pps"

    def __init__(
        self,
        configuration: PPSConfiguration,
        system: ISystem,
        reactor: Any,
        open_device: Callable[[str, Edge], IPPSDevice] = open_pulse_device,
        threads: Callable[[str], Any] = own_thread,
    ) -> None:
        super().__init__(system)
        self.address_description = configuration.path
        self._configuration = configuration
        self._reactor = reactor
        self._open_device = open_device
        self._threads = threads

    @staticmethod
    def configure(table: Table) -> PPSConfiguration:
        """Read the table of one source."""
        options = table.selection_options()
        settings = replace(
            OneWaySettings.configure(table, "PPS"),
            options=options,
            period=table.number("period", 1.0, minimum=0.1, maximum=1024.0),
            lock=table.parsed("lock", parse_reference_id, None, None),
        )
        return PPSConfiguration(table.path("path"), settings, table.choice("edge", EDGES, EDGES[0]), options)

    async def make(self) -> list[ISource]:
        """Open the device; DeviceError when that is not possible."""
        configured = self._configuration
        path, settings = configured.path, configured.settings
        device = self._open_device(path, configured.edge)
        return [PPSSource(path, device, settings, self._system, self.id, self._reactor, self._threads)]
