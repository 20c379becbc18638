"""
The interfaces between the parts of the daemon, and towards drivers from outside.

Who calls what, and when, is said at each method.  Nothing here may block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from ntptwist.identifiers import Leap, SourceId, SpawnerId
    from ntptwist.measurement import Measurement
    from ntptwist.snapshot import SourceObservation, SystemSnapshot, TimeSnapshot
    from ntptwist.timestamp import Timestamp


class IClock(Interface):
    """
    A clock that can be read and, unless it only observes, steered.

    Synchronous and deterministic: every call returns at once.  It has two axes of the same rate: ``local`` can be
    stepped, ``monotonic`` can't.  A call that the kernel refuses raises ClockError.
    """

    control: str = Attribute("how it is controlled: 'system', 'observe' or 'virtual'")
    steerable: bool = Attribute("False: step and set_frequency must not be called")
    maximum_frequency: float = Attribute("largest |frequency| that set_frequency can reach, ppm")

    def read() -> ClockReading:
        """Read all axes of the clock together."""

    def from_kernel(stamp: Timestamp) -> Timestamp:
        """Map a recent timestamp that the kernel took (this machine's CLOCK_REALTIME) onto the ``local`` axis."""

    def step(delta: int) -> ClockReading:
        """Move ``local`` by ``delta`` nanoseconds at once; return the clock right after it."""

    def set_frequency(ppm: float) -> ClockReading:
        """
        Make the clock run ``ppm`` faster than its oscillator; return the clock when that took effect.

        The value is clamped to the limits and rounded to the kernel's unit: ``frequency`` tells what is in force.
        """

    def frequency() -> float:
        """Give the correction in force, ppm; positive makes the clock run faster."""

    def set_status(leap: Leap, estimated_error: float, maximum_error: float) -> None:
        """
        Tell the kernel what is known of the clock: leap indicator (UNSYNCHRONIZED sets STA_UNSYNC), and both errors
        in seconds.  The system calls it after every change and often enough that maxerror stays true.
        """

    def set_tai_offset(seconds: int) -> None:
        """Tell the kernel TAI - UTC in whole seconds."""


class IClockController(Interface):
    """
    The algorithm as the system sees it: pure, it is told everything and steers the clock that it was given.

    Every method that may change the clock returns a ControlUpdate for the system to apply.
    """

    policy: SynchronizationPolicy = Attribute("what the operator decides; may be set")
    own_addresses: frozenset[ReferenceId] = Attribute("the ids under which our clients would name us; may be set")
    leap_table: LeapTable | None = Attribute("the list of leap seconds, which has a vote; may be set")

    def restore(memory: ClockMemory) -> None:
        """Go on with what was known before a restart; called at most once, before everything else."""

    def memory() -> ClockMemory | None:
        """Give what is worth knowing after a restart; None as long as nothing is known."""

    def release() -> None:
        """The daemon stops: leave the clock as it should run on by itself.  ``timer`` takes it up again."""

    def add_source(
        source: SourceId, limits: PollLimits, address: ReferenceId, options: SelectionOptions | None = None
    ) -> None:
        """Start to keep books on a source; ``address`` is the id that its own clients would report."""

    def remove_source(source: SourceId) -> ControlUpdate:
        """Forget a source and everything it measured."""

    def measured(source: SourceId, measurement: Measurement) -> ControlUpdate:
        """Take a measurement of a source."""

    def next_poll(source: SourceId) -> float:
        """A request is being sent: give the seconds until the next one of this source (without jitter)."""

    def desired_poll(source: SourceId) -> int:
        """Give the poll exponent, log2 seconds, that stands in the next request."""

    def verify(source: SourceId) -> None:
        """Ask a source quickly a few times from its next poll on; called when an operator wants it."""

    def correct_now() -> ControlUpdate:
        """
        Step the clock by all that is left to correct, whatever its size; called when an operator wants it.

        Nothing happens while nobody tells the time, or to a clock that is only observed.
        """

    def timer() -> ControlUpdate:
        """The time that the last ControlUpdate asked for has come."""

    def estimate(source: SourceId) -> SourceEstimate:
        """Give what is thought of a source now."""

    def rejected() -> dict[SourceId, str]:
        """Give the sources that are of no use although others tell the time, and why; empty while none do."""

    def status() -> ControllerStatus:
        """Give the state of the clock as the algorithm sees it now."""


class ISourceController(Interface):
    """What a running source holds: its own end of the algorithm.  Given by ISystem.register."""

    def measured(measurement: Measurement) -> None:
        """Hand in a measurement.  May lead to ``clock_stepped`` on every source before it returns."""

    def next_poll() -> float:
        """A request is being sent: give the seconds until the next one (without jitter)."""

    def desired_poll() -> int:
        """Give the poll exponent, log2 seconds, that stands in the next request."""


class ISource(Interface):
    """
    Something that measures; also a Twisted IService, child of its spawner.

    ``startService`` registers it with the system, ``stopService`` ends it with reason STOPPED.
    """

    id: SourceId = Attribute("unique in the life of the process")

    def when_ended() -> Deferred[SourceEnd]:
        """Return a Deferred that fires once, when the source has come to its end; called by its spawner service."""

    def clock_stepped(delta: int) -> None:
        """
        The local clock was stepped by ``delta`` nanoseconds: drop what is under way, since the stamps of one
        measurement must lie on the same side of a step.  Called by the system.
        """

    def observe() -> SourceObservation:
        """Say who you are and how it goes.  Called by the system for observers; must be cheap."""


class IPolledSource(ISource):
    """A source that asks, so that it can be told to ask soon."""

    def ask_soon() -> None:
        """Let the next request leave within seconds.  Called by the system when an operator wants a burst."""


class ISpawner(Interface):
    """
    Creates sources of one configured entry; ntpd-rs' Spawner.

    It makes one attempt when told and keeps books; pacing and back-off belong to the SpawnerService around it.
    """

    id: SpawnerId = Attribute("unique in the life of the process")
    description: str = Attribute("kind of spawner, for people: standard, pool, nts, ...")
    address_description: str = Attribute("what was configured, for people: a name, an address or a path")

    def is_complete() -> bool:
        """Tell whether there is nothing to spawn at present."""

    def try_spawn() -> Deferred[list[ISource]]:
        """
        Make one attempt to create the sources that are missing.

        Fails with NTPTwistError when it could not; the reason is shown and the attempt repeated after a while.
        """

    def source_registered(source: ISource) -> None:
        """A source of this spawner has started; only for its books."""

    def source_removed(source: SourceId, end: SourceEnd) -> None:
        """A source of this spawner has ended; only for its books."""


class IPoolSpawner(ISpawner):
    """A spawner of sources that can stand in for each other, so that one which is of no use can be replaced."""

    def review() -> list[ISource]:
        """
        Give the sources to be stopped because others are better; its books have forgotten them by then.

        The SpawnerService calls it every few minutes and then asks whether more are wanted.
        """

    def condition() -> str | None:
        """Say how many sources there are and which was dropped last, and why; None when there is no news of that."""


class ISourceDriver(Interface):
    """
    A kind of source that a configuration can name; found by twisted.plugin.

    ``ntptwist.registry.SourceDriver`` is the stock implementation.
    """

    name: str = Attribute("the ``mode`` word in the configuration")
    description: str = Attribute("one line for ``ntptwist-ctl drivers``")

    def configure(table: Any) -> Any:
        """
        Read one ``[[source]]`` table into a frozen configuration; problems are noted in the table, all of them.

        ``table`` is a ``ntptwist.config.table.Table``.
        """

    def spawner(configuration: Any, system: ISystem, reactor: Any) -> ISpawner:
        """Make the spawner of a configuration."""


class ISpawnerService(Interface):
    """The service around a spawner, child of the system: pacing, back-off, and what to show of it."""

    offline: bool = Attribute("whether the operator has taken it offline: no sources, no packets")

    def waiting() -> SourceObservation | None:
        """Say what this spawner is doing beside its sources; None while they are all that there is to show."""


class ISystem(Interface):
    """The coordinator, as spawners, servers and observers see it."""

    clock: IClock = Attribute("the clock that is being kept")
    randbytes: Any = Attribute("source of random octets: ``randbytes(n) -> bytes``")
    state_directory: str | None = Attribute("where things are kept over a restart; None: nowhere")

    def register(
        source: ISource,
        spawner: SpawnerId,
        limits: PollLimits,
        address: ReferenceId,
        options: SelectionOptions | None = None,
    ) -> ISourceController:
        """A source begins; called by its startService.  ``options`` is what the operator says of it."""

    def forget(source: SourceId) -> None:
        """A source has ended; called by its spawner service."""

    def time() -> TimeSnapshot:
        """Give what a server may say of the time."""

    def snapshot() -> SystemSnapshot:
        """Give the whole state."""

    def taken() -> frozenset[ReferenceId]:
        """Give the addresses that are no use for one more source: this host's own, and those of all sources."""

    def rejected() -> dict[SourceId, str]:
        """Give the sources that are of no use although others tell the time, and why; empty while none do."""

    def new_source_id() -> SourceId:
        """Give an id that was never used before."""

    def new_spawner_id() -> SpawnerId:
        """Give an id that was never used before."""


class IControl(Interface):
    """
    What operators may change in a running daemon; given to ``control.sock`` and to SIGHUP by the composition root.

    Every method returns a Deferred of a Report: wishes are carried out one after the other, each as a whole or not at
    all.  Sources are named as the list of sources shows them; no names stand for all of them.
    """

    def reload() -> Deferred[Report]:
        """Read the configuration anew and make the daemon what it says."""

    def add(values: dict[str, Any]) -> Deferred[Report]:
        """Add the source of a ``[[source]]`` table."""

    def remove(names: Sequence[str]) -> Deferred[Report]:
        """Remove sources; there must be a name."""

    def set_offline(names: Sequence[str], *, offline: bool) -> Deferred[Report]:
        """Let sources send and take nothing, or work again; they stay in the list."""

    def burst(names: Sequence[str]) -> Deferred[Report]:
        """Ask sources quickly a few times."""

    def correct_now() -> Deferred[Report]:
        """Step the clock by all that is left to correct."""


class IPPSDevice(Interface):
    """One edge of a pulse-per-second device, ready for use."""

    def wait(timeout: float) -> Pulse | None:
        """
        Wait for a pulse, at most so many seconds; None when there was none.

        It blocks, so it is called in a thread, by one caller at a time; in a virtual world, where threads are run
        inline, it returns a Deferred.  NTPTwistError when the device is gone.
        """

    def close() -> None:
        """Close the device; nobody is waiting any more."""


class ITimestampedDatagramReceiver(Interface):
    """
    A DatagramProtocol that wants the kernel's timestamps (this machine's CLOCK_REALTIME) with its datagrams.

    A transport of IReactorTimestampedUDP calls these where the protocol provides them; any other DatagramProtocol gets
    ``datagramReceived`` and ``connectionRefused``.
    """

    def datagram_received(data: bytes, address: tuple[str, int], stamp: Timestamp) -> None:
        """A datagram from ``address`` came in at ``stamp``."""

    def datagram_transmitted(stamp: Timestamp) -> None:
        """
        The last datagram that was written left at ``stamp``.

        Called at least once for each write that succeeded, before ``write`` returns; again if the kernel's own stamp
        comes later: the last call is the best.
        """

    def network_error(errno: int) -> None:
        """The network refused (ECONNREFUSED, EHOSTUNREACH, ...), from a call or from ICMP; the socket stays open."""


class IBatchReceiver(ITimestampedDatagramReceiver):
    """
    The protocol of a server, which answers whole batches where its transport has them.

    Such a transport calls these, and ``network_error``; one without batches calls ``datagram_received``.
    """

    wants_control: bool = Attribute("whether it answers mode 6; what it never answers may be dropped in the kernel")

    def batch_received(batch: Batch, count: int) -> None:
        """The first ``count`` rows have come in: answer them by ``batch.send`` and ``batch.reply`` before returning."""

    def batch_departed(key: int, stamp: Timestamp) -> None:
        """What was sent with this number for its stamp left at ``stamp``."""


class IReactorTimestampedUDP(Interface):
    """
    UDP with timestamps.

    The kernel's is ``ntptwist.net.port.TimestampedUDP``; a virtual reactor provides its own.  What is returned is a
    Twisted IUDPTransport: ``write``, ``getHost``, ``stopListening``.  The protocol's ``makeConnection`` (so its
    ``startProtocol``) has been called by then, ``stopProtocol`` follows ``stopListening``, and after that nothing.
    """

    def connect_udp(host: str, port: int, protocol: Any) -> Any:
        """
        Open a socket on a fresh ephemeral port, connected to a literal address (``%scope`` allowed).

        Raises OSError when the kernel refuses (no route, no descriptors left).
        """

    def listen_udp(host: str, port: int, protocol: Any) -> Any:
        """
        Open a socket bound to a literal address, for a server; ``::`` takes IPv4 too, in IPv6's form of it.

        A datagram that is written to where the one came from that is being delivered leaves from the address at which
        that arrived.  Raises OSError when the kernel refuses.
        """


if TYPE_CHECKING:
    from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
    from ntptwist.algorithm.leap import LeapTable
    from ntptwist.algorithm.memory import ClockMemory
    from ntptwist.algorithm.update import ControllerStatus, ControlUpdate
    from ntptwist.control.report import Report
    from ntptwist.identifiers import ReferenceId, SourceEnd
    from ntptwist.kernel.mmsg import Batch
    from ntptwist.kernel.pps import Pulse
    from ntptwist.snapshot import SourceEstimate
    from ntptwist.timestamp import ClockReading
