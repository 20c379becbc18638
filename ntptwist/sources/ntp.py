"""
A source that asks one NTP server at one address.

The conversation is ``protocol.client.ClientAssociation``; this shell gives it a socket, stamps and a timer.  Each
request leaves from a fresh port (RFC 9109), so a late reply finds nobody and a forger has 16 bits more to guess.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.identifiers import EndReason, ReferenceId, SpawnerId
from ntptwist.interfaces import IPolledSource, ISourceController, ISystem, ITimestampedDatagramReceiver
from ntptwist.log import Logger
from ntptwist.net.port import timestamped_udp
from ntptwist.protocol.actions import Action, Demobilize, Dropped, Kissed, Measured, Reset, Send, SetTimer
from ntptwist.protocol.client import AssociationConfiguration, ClientAssociation
from ntptwist.snapshot import SourceObservation
from ntptwist.sources.ending import EndingService
from ntptwist.timestamp import Monotonic, Timestamp

if TYPE_CHECKING:
    from ntptwist.nts.packet import ClientProtection

NETWORK_ISSUES = frozenset({EADDRNOTAVAIL, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH})
"""Errors that say that this host can't reach that address now, whatever the server does."""

SOON = 2.0
"""Seconds from a step to the next request; no server is asked more often than that."""

NOTICE_INTERVAL = 60.0
"""Seconds: nothing that a server sends is logged above debug more often than this."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a source sends: the name that was configured, the literal address found for it, the port."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@implementer(IPolledSource, ITimestampedDatagramReceiver)
class NTPSource(EndingService, DatagramProtocol):
    """
    One server, polled until it is stopped or comes to its end.

    ``mode`` is the configuration's word, for observers; ``protection`` the keys and cookies of NTS, None without;
    ``options`` what the operator says of it.
    """

    log = Logger()
    noisy = False
    transport: Any  # of IReactorTimestampedUDP; connected, so ``write`` needs no address

    def __init__(
        self,
        server: ServerAddress,
        configuration: AssociationConfiguration,
        system: ISystem,
        spawner: SpawnerId,
        reactor: Any,
        mode: str = "server",
        protection: ClientProtection | None = None,
        options: SelectionOptions | None = None,
    ) -> None:
        super().__init__()
        self.id = system.new_source_id()
        self.server = server
        self.mode = mode
        self._limits: PollLimits = configuration.limits
        self._options = options
        self._system = system
        self._spawner = spawner
        self._reactor = reactor
        self._udp = timestamped_udp(reactor)
        self._association = ClientAssociation(configuration, system.randbytes, protection)
        self._protection = protection
        self._controller: ISourceController  # from the start on
        self._timer: Any = None
        self._network_trouble: str | None = None
        self._poll_exponent = configuration.limits.minimum
        self._noticed: tuple[str | None, float] = (None, -NOTICE_INTERVAL)

    # what the spawner service and the system call

    def startService(self) -> None:
        """Register with the system and send the first request in the reactor's next turn."""
        super().startService()
        address = ReferenceId.of_address(self.server.host)
        self._controller = self._system.register(self, self._spawner, self._limits, address, self._options)
        self._timer = self._reactor.callLater(0, self._poll)

    def clock_stepped(self, delta: int) -> None:  # noqa: ARG002 - whatever its size
        """Drop the request under way, whose T1 lies before the step, and ask again soon: what now is, wants proof."""
        self._association.clock_stepped()
        self.ask_soon()

    def ask_soon(self) -> None:
        """Let the next request leave within SOON, unless the server wants fewer of them."""
        if self._timer is not None and self._timer.getTime() - self._reactor.seconds() > SOON:
            self._timer.reset(SOON)

    def observe(self) -> SourceObservation:
        """Say who this is and how it goes."""
        association = self._association
        return SourceObservation(
            name=self.server.name,
            address=str(self.server),
            mode=self.mode,
            reach=association.reach.value,
            poll=self._poll_exponent,
            trouble=self._network_trouble or association.trouble,
            nts_cookies=self._protection.cookies if self._protection is not None else None,
            sent=association.sent,
            received=association.received_count - association.dropped,
            dropped=association.dropped,
        )

    # polling

    def _poll(self) -> None:
        self._timer = None
        interval = self._controller.next_poll()
        self._poll_exponent = self._controller.desired_poll()
        self._act(self._association.poll(self._reactor.seconds(), interval, self._poll_exponent))

    def _act(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if self.ended:
                return
            match action:
                case Send(data):
                    self._send(data)
                case SetTimer(seconds):
                    self._timer = self._reactor.callLater(seconds, self._poll)
                case Measured(measurement):
                    self._close()
                    self._controller.measured(measurement)
                case Kissed(code, explanation):
                    self._notice(f"kiss-o'-death {code.name}: {explanation}")
                case Dropped(reason):
                    self.log.debug("{source}: dropped: {reason}", source=self.server, reason=reason)
                case Reset(explanation):
                    self.finish(EndReason.UNREACHABLE, self._network_trouble or explanation)
                case Demobilize(explanation):
                    self.finish(EndReason.DEMOBILIZED, explanation)
        self._notice(self._association.trouble)

    def _send(self, data: bytes) -> None:
        self._close()
        try:
            self._udp.connect_udp(self.server.host, self.server.port, self)
        except OSError as error:
            self.network_error(error.errno or 0)
            return
        self._network_trouble = None
        self.transport.write(data)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.stopListening()

    def release(self) -> None:
        """Let go of timer and socket."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close()

    def _notice(self, trouble: str | None) -> None:
        """Log a trouble that is new, at most once a minute."""
        if trouble is None:
            return
        told, when = self._noticed
        now = self._reactor.seconds()
        if trouble == told or now - when < NOTICE_INTERVAL:
            return
        self._noticed = (trouble, now)
        self.log.info("{source}: {trouble}", source=self.server, trouble=trouble)

    # what the transport calls

    def datagram_transmitted(self, stamp: Timestamp) -> None:
        """Note when the request left."""
        self._association.transmitted(self._system.clock.from_kernel(stamp))

    def datagram_received(self, data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:  # noqa: ARG002
        """Take a reply; the socket is connected, so the address is the server's."""
        clock = self._system.clock
        arrived = clock.from_kernel(stamp)
        now = clock.read()
        monotonic = Monotonic(now.monotonic - (now.local - arrived))
        self._act(self._association.received(data, arrived, monotonic, self._reactor.seconds()))

    def network_error(self, errno: int) -> None:
        """
        Note what the network says.

        A server that answers is not given up for one error, since its filter is worth more than that: the reach
        register decides.  One that does not answer ends when this host has no way to it.
        """
        self._network_trouble = os.strerror(errno)
        self._notice(self._network_trouble)
        if errno in NETWORK_ISSUES and not self._association.reach.is_reachable:
            self.finish(EndReason.NETWORK_ISSUE, self._network_trouble)
