"""
``mode = "gpsd"``: a receiver that a gpsd reads, by gpsd's own JSON over TCP.

Other than through a socket, it does not matter which of both daemons is started first or again: a connection that is
lost is made anew.  The serial time is a source that votes; the pulse, where the receiver has one, refines it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint

from ntptwist.algorithm.config import SelectionOptions
from ntptwist.config import value
from ntptwist.config.table import HostPort, Table
from ntptwist.errors import DeviceError
from ntptwist.interfaces import ISource, ISystem
from ntptwist.sources.gpsd import GpsdConversation, GpsdFactory, GpsdSource
from ntptwist.sources.oneway import OneWaySettings
from ntptwist.spawners.local import LocalSpawner
from ntptwist.wire.gpsd import PORT

CONNECT_LIMIT = 10.0
SERIAL_PRECISION = 0.02
PULSE_PRECISION = 1e-6
"""Seconds; a serial line wanders by tens of milliseconds, a pulse by the latency of an interrupt."""
SERIAL_ACCURACY = 0.2
"""Seconds; a receiver begins to speak of a second when it is over, some sooner and some later."""


@dataclass(frozen=True, slots=True)
class GpsdConfiguration:
    """What one ``[[source]]`` with ``mode = "gpsd"`` says; ``device`` None for whichever gpsd has."""

    address: HostPort
    device: str | None
    serial: OneWaySettings
    pulse: OneWaySettings
    options: SelectionOptions = SelectionOptions()
    voting_sources: int = 1


class GpsdSpawner(LocalSpawner):
    """Keeps a connection to a gpsd, and both sources behind it; ``endpoint`` replaces the configured address."""

    description = "gpsd"

    def __init__(
        self,
        configuration: GpsdConfiguration,
        system: ISystem,
        reactor: Any,
        endpoint: IStreamClientEndpoint | None = None,
    ) -> None:
        super().__init__(system)
        address = configuration.address
        self.address_description = f"{configuration.device or 'gpsd'} at {address}"
        self._configuration = configuration
        self._reactor = reactor
        self._endpoint = endpoint or HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_LIMIT)

    @staticmethod
    def configure(table: Table) -> GpsdConfiguration:
        """Read the table of one source."""
        here = HostPort("127.0.0.1", PORT)
        options = table.selection_options()
        serial = OneWaySettings.configure(table, "GPS", SERIAL_PRECISION, SERIAL_ACCURACY)
        pulse = OneWaySettings.configure(table, "PPS", PULSE_PRECISION, prefix="pps-")
        return GpsdConfiguration(
            address=table.parsed("address", lambda given: value.address(given, PORT), here, here),
            device=table.text("device", None),
            serial=replace(serial, options=options),
            pulse=replace(pulse, period=1.0, options=options),
            options=options,
        )

    async def make(self) -> list[ISource]:
        """Connect; DeviceError when nobody answers."""
        configured = self._configuration
        serial, pulse = (
            GpsdSource(
                f"{self.address_description} {what}",
                str(configured.address),
                "gpsd",
                settings,
                self._system,
                self.id,
                self._reactor,
            )
            for what, settings in (("serial", configured.serial), ("pps", configured.pulse))
        )
        conversation = GpsdConversation(serial, pulse, configured.device, self._reactor)
        try:
            await self._endpoint.connect(GpsdFactory(conversation))
        except (ConnectError, DNSLookupError) as error:
            raise DeviceError(f"no connection to gpsd at {configured.address}: {error}") from error
        return [serial, pulse]
