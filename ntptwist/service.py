"""
The composition root: the only module that knows everybody.

``make_service(config, reactor)`` builds the same tree for twistd, for a tac file, for the console script and for a
virtual world::

    Daemon > RecordFile
           > Statistics
           > Observer | Sampler | Latency | WebServer
           > ChronycServer | ObservationServer
           > ControlServer
           > Console
           > ClockState
           > LeapSecondsFile
           > System > SpawnerService > sources
           > KeyServing > KeyRotation | KeyFollower
                        > KeyServerService
           > ServerService
           > Notifier
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService

import ntptwist
from ntptwist.algorithm.controller import Controller
from ntptwist.config.loader import load, read_source
from ntptwist.config.model import ClockSettings, Config, StatisticsSettings
from ntptwist.control.server import ControlServer
from ntptwist.errors import ClockError, DeviceError
from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.interfaces import IClock, IClockController, IControl, ISourceDriver
from ntptwist.kernel.addresses import local_addresses
from ntptwist.kernel.clock import KernelClock, ObservingClock, VirtualClock, explain
from ntptwist.kernel.timex import RealSystem
from ntptwist.leapseconds import LeapSecondsFile
from ntptwist.log import Logger
from ntptwist.net.notify import Notifier
from ntptwist.observe.answers import make_answers
from ntptwist.observe.record import RecordFile, RecordingController
from ntptwist.observe.words import amount, slow_or_fast
from ntptwist.observing import make_observers
from ntptwist.parts import Parts
from ntptwist.registry import find_driver
from ntptwist.reload import Control
from ntptwist.snapshot import ServerSnapshot
from ntptwist.state import ClockState
from ntptwist.system import System

if TYPE_CHECKING:
    from ntptwist.keyserving import KeyServing
    from ntptwist.manhole import Console

EX_SOFTWARE = 70
"""sysexits(3): the clock can't be steered, or must not be."""


class Daemon(MultiService):
    """
    The root of the service tree.

    ``exit_status`` is what the process should end with: 0, or 70 after a failure that made the clock unsafe.
    """

    log = Logger()

    def __init__(self, reactor: Any, clock: IClock, *, steers: bool) -> None:
        super().__init__()
        self.clock = clock
        self.system: System | None = None
        self.exit_status = 0
        self.control: IControl | None = None
        self._reactor = reactor
        self._steers = steers
        self._taken_over = False

    def privilegedStartService(self) -> None:
        """
        Open ports and take the clock over while privileges last; one line and exit 69 or 70 when that is refused.

        The ports come first: a second daemon that was started by mistake ends before it has touched the clock.
        """
        super().privilegedStartService()
        if self._steers:
            try:
                self.take_over()
            except DeviceError as error:
                print(f"ntptwist: {error}", file=sys.stderr)
                raise SystemExit(EX_SOFTWARE) from error

    def take_over(self) -> None:
        """Take the clock over, once; DeviceError when that is refused."""
        if self._taken_over or not isinstance(self.clock, KernelClock):
            return
        try:
            self.clock.take_over()
        except ClockError as error:
            raise DeviceError(explain(error)) from error
        self._taken_over = True

    def reload(self) -> None:
        """Read the configuration anew, as SIGHUP asks; the log tells what became of it."""
        assert self.control is not None  # noqa: S101 - make_service has given it
        self.log.info("the configuration is read anew")
        self.control.reload().addErrback(lambda failure: self.log.failure("the reload failed", failure))

    def summary(self) -> str:
        """Say how the clock is, for the service manager."""
        assert self.system is not None  # noqa: S101 - make_service has built it
        status = self.system.controller.status()
        if not status.synchronized:
            return status.state
        return f"clock {slow_or_fast(status.offset)}, certain to within {amount(status.error_bound)}: {status.state}"

    def fail(self, reason: str) -> None:
        """End the daemon: the clock is not safe in its hands.  The first reason counts."""
        if self.exit_status:
            return
        self.log.critical("the daemon ends: {reason}", reason=reason)
        self.exit_status = EX_SOFTWARE
        self._reactor.callLater(0, self._reactor.stop)


_reference_id = lru_cache(maxsize=256)(ReferenceId.of_address)
"""A host's addresses are looked up each minute and seldom change."""


def make_clock(settings: ClockSettings) -> IClock:
    """Make the clock that a configuration asks for; touches nothing."""
    system = RealSystem()
    if settings.control == "system":
        return KernelClock(system)
    if settings.control == "observe":
        return ObservingClock(system)
    return VirtualClock(system, settings.virtual_offset, settings.virtual_frequency)


def make_service(
    config: Config,
    reactor: Any,
    clock: IClock | None = None,
    randbytes: Callable[[int], bytes] = os.urandom,
    own_addresses: Callable[[], Iterable[IPv4Address | IPv6Address]] = local_addresses,
    find_driver: Callable[[str], ISourceDriver] = find_driver,
    read: Callable[[], Config] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Daemon:
    """
    Build the daemon.

    ``clock`` replaces the one that the configuration asks for, ``own_addresses`` tells another host's than this one's,
    and ``find_driver`` may know other drivers.  ``read`` gives the configuration of a reload, which is that of the same
    file otherwise.  ``environment`` is that of a process which a service manager may have started.  Nothing is opened
    and no clock is touched before the service is started.  Raises DriverError for a mode that no driver knows.
    """
    clock = clock or make_clock(config.clock)
    daemon = Daemon(reactor, clock, steers=bool(config.sources))
    controller: IClockController
    if config.observability.record is None:
        controller = Controller(config.policy, clock)
    else:
        file = RecordFile(config.observability.record)
        file.setServiceParent(daemon)  # the first, so the last to be stopped
        controller = RecordingController(config.policy, clock, file)
    controller = _watched(config.statistics, controller, daemon, reactor)

    def own_ids() -> frozenset[ReferenceId]:
        return frozenset(map(_reference_id, own_addresses()))

    daemon.system = System(reactor, clock, controller, randbytes, own_ids, daemon.fail, config.state_directory)
    keys = _make_key_serving(config, clock, randbytes, reactor)
    parts = Parts(config, daemon, daemon.system, keys, reactor, find_driver, daemon.take_over)
    if read is None and config.path is not None:
        read = partial(load, config.path, find_driver)
    notifier = Notifier(reactor, daemon.summary, environment) if environment is not None else None
    daemon.control = Control(parts, daemon.system, reactor, read, partial(read_source, find_driver), notifier)

    def observe_servers() -> list[ServerSnapshot]:
        return [server.observe() for server in parts.servers]

    observers = make_observers(
        config,
        daemon.system,
        reactor,
        observe_servers,
        keys.observe if keys is not None else tuple,
    )
    for observer in observers:
        observer.setServiceParent(daemon)
    if config.control_directory is not None:
        ControlServer(config.control_directory, daemon.control, reactor).setServiceParent(daemon)
        if config.console:
            _make_console(config.control_directory, daemon.system, parts, reactor).setServiceParent(daemon)
    for answering in make_answers(config, daemon.system, reactor, observe_servers):
        answering.setServiceParent(daemon)
    if config.state_directory is not None and clock.control != "virtual":
        ClockState(config.state_directory, controller, reactor).setServiceParent(daemon)
    if config.leap_seconds_file is not None:
        leaps = LeapSecondsFile(config.leap_seconds_file, controller, daemon.system, reactor)
        leaps.setServiceParent(daemon)
    daemon.system.setServiceParent(daemon)
    parts.adopt()
    if notifier is not None:
        notifier.setServiceParent(daemon)  # the last: ready when all others are, and the first to stop
    return daemon


def _watched(
    settings: StatisticsSettings | None, controller: IClockController, daemon: Daemon, reactor: Any
) -> IClockController:
    """Let a controller's measurements be written into statistics files, where that is configured."""
    if settings is None:
        return controller
    from ntptwist.observe.statistics import Statistics, WatchedController, names_of

    def names() -> dict[SourceId, str]:
        assert daemon.system is not None  # noqa: S101 - it is what measures
        return names_of(daemon.system.snapshot())

    statistics = Statistics(settings.directory, settings.format, names, reactor)
    statistics.setServiceParent(daemon)
    return WatchedController(controller, statistics)


def _make_console(directory: str, system: System, parts: Parts, reactor: Any) -> Console:
    """Make the console: the parts of Twisted that it needs are loaded only then."""
    from ntptwist.manhole import Console

    return Console(
        directory,
        system,
        reactor,
        ntptwist.__version__,
        lambda: {"config": parts.config},
        lambda: [server.observe() for server in parts.servers],
    )


def _make_key_serving(
    config: Config, clock: IClock, randbytes: Callable[[int], bytes], reactor: Any
) -> KeyServing | None:
    """Make what serves NTS, where it is configured: TLS and ciphers are loaded only then."""
    if config.keyset is None:
        return None
    from ntptwist.keyserving import KeyServing

    return KeyServing(config, clock, randbytes, reactor)
