"""The servers of a virtual world."""

from __future__ import annotations

import pytest

from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.sim.network import Endpoint, Network
from ntptwist.sim.server import (
    DENYING,
    SILENT,
    UNSYNCHRONIZED,
    Behaviour,
    ReferenceServer,
    kiss_of_death,
)
from ntptwist.sim.timeline import Timeline
from ntptwist.timestamp import NANOSECONDS, decode_timestamp
from ntptwist.wire.header import Header, Mode

ME: Endpoint = ("192.0.2.1", 40_000)
SERVER: Endpoint = ("198.51.100.1", 123)
REQUEST = Header(poll=-2, transmit_timestamp=0x1234567890ABCDEF).serialize()


class Asker:
    """Asks a server by bare packets."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, 1)
        self.server = ReferenceServer(self.timeline, self.network, SERVER, behaviour)
        self.replies: list[bytes] = []
        self.network.bind(ME, self)

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Keep a reply."""
        self.replies.append(data)

    def refused(self, source: Endpoint) -> None:
        """Nothing is refused here."""

    def ask(self, at: float = 0.0, request: bytes = REQUEST) -> Header | None:
        """Ask so many seconds after the start; give the reply if one came."""
        self.timeline.run_until(self.timeline.start + round(at * NANOSECONDS))
        self.replies.clear()
        self.network.send(ME, SERVER, request)
        self.timeline.run_for(0.1)
        return Header.parse(self.replies[0]) if self.replies else None


def offset(asker: Asker, at: float) -> float:
    """Give the server's receive stamp minus true time, seconds."""
    reply = asker.ask(at)

    assert reply is not None

    stamp = decode_timestamp(reply.receive_timestamp, asker.timeline.now)
    return (stamp - asker.timeline.start) / NANOSECONDS - at


def test_a_good_server_tells_the_truth() -> None:
    """A good server is a stratum 1 whose stamps are true time; it copies the client's nonce."""
    asker = Asker(Behaviour())
    reply = asker.ask(1000.5)

    assert reply is not None
    assert (reply.mode, reply.leap, reply.stratum) == (Mode.SERVER, Leap.NONE, 1)
    assert reply.reference_id.text(1) == "GPS"
    assert reply.origin_timestamp == 0x1234567890ABCDEF
    assert decode_timestamp(reply.receive_timestamp, asker.timeline.now) == asker.timeline.start + 1_000_500_000_000
    assert reply.transmit_timestamp == reply.receive_timestamp & ~1
    assert reply.reference_timestamp <= reply.receive_timestamp
    assert reply.root_dispersion == 0


@pytest.mark.parametrize(
    ("behaviour", "at", "expected"),
    [
        (Behaviour(offset=0.1), 1000.0, 0.1),
        (Behaviour(offset=-0.1), 1000.0, -0.1),
        (Behaviour(frequency=5e-6), 1000.0, 5e-3),
        (Behaviour(offset=1.0, frequency=-1e-6), 2000.0, 0.998),
        (Behaviour(jumps=((500.0, 0.5), (900.0, -2.0))), 499.0, 0.0),
        (Behaviour(jumps=((500.0, 0.5), (900.0, -2.0))), 500.0, 0.5),
        (Behaviour(jumps=((500.0, 0.5), (900.0, -2.0))), 901.0, -1.5),
    ],
)
def test_bad_clocks(behaviour: Behaviour, at: float, expected: float) -> None:
    """A false, a drifting and a jumping server are off by what was asked for, to the nanosecond."""
    assert offset(Asker(behaviour), at) == pytest.approx(expected, abs=2e-9)


def test_processing_takes_time() -> None:
    """A server that takes 300 us to answer says so, and its answer is late."""
    asker = Asker(Behaviour(processing=300e-6))
    reply = asker.ask()

    assert reply is not None

    received = decode_timestamp(reply.receive_timestamp, asker.timeline.now)
    transmit = decode_timestamp(reply.transmit_timestamp, asker.timeline.now)

    assert transmit - received == 300_000


def test_tells_its_distance_from_the_reference() -> None:
    """What a server says of its own sources stands in its replies."""
    behaviour = Behaviour(
        stratum=3,
        reference_id=ReferenceId.of_address("192.0.2.77"),
        root_delay=0.25,
        root_dispersion=0.5,
        precision=-18,
    )
    reply = Asker(behaviour).ask()

    assert reply is not None
    assert (reply.stratum, reply.reference_id, reply.precision) == (3, ReferenceId.of_address("192.0.2.77"), -18)
    assert (reply.root_delay, reply.root_dispersion) == (0x4000, 0x8000)


def test_unsynchronized_servers_say_so() -> None:
    """A server that has no time answers with leap 3 and stratum 16."""
    reply = Asker(UNSYNCHRONIZED).ask()

    assert reply is not None
    assert (reply.leap, reply.stratum) == (Leap.UNSYNCHRONIZED, 16)


@pytest.mark.parametrize("leap", [Leap.INSERT, Leap.DELETE])
def test_leap_seconds_are_announced(leap: Leap) -> None:
    """A server that announces a leap second does so in each reply."""
    reply = Asker(Behaviour(leap=leap)).ask()

    assert reply is not None
    assert reply.leap is leap


def test_servers_follow_leap_seconds() -> None:
    """After an inserted leap second a good server's time is UTC's."""
    asker = Asker(Behaviour())
    asker.timeline.leap_shift = -NANOSECONDS

    assert offset(asker, 10.0) == -1.0


def test_silent_servers() -> None:
    """A silent server counts the requests and does not answer."""
    asker = Asker(SILENT)

    assert asker.ask() is None
    assert asker.server.requests == 1


def test_denying_servers() -> None:
    """A server that denies service answers with the kiss code DENY, our nonce and nothing else."""
    reply = Asker(DENYING).ask()

    assert reply is not None
    assert (reply.mode, reply.leap, reply.stratum) == (Mode.SERVER, Leap.UNSYNCHRONIZED, 0)
    assert bytes(reply.reference_id) == b"DENY"
    assert reply.origin_timestamp == 0x1234567890ABCDEF
    assert reply.poll == -2
    assert (reply.receive_timestamp, reply.transmit_timestamp) == (0, 0)


def test_servers_that_want_fewer_requests() -> None:
    """A server with a limit gives RATE to whoever asks again too soon, and serves the others."""
    asker = Asker(Behaviour(kiss=KissCode.RATE, kiss_within=16.0))
    answers = [asker.ask(at) for at in (0.0, 10.0, 20.0, 36.1)]

    assert [answer.stratum for answer in answers if answer is not None] == [1, 0, 0, 1]


@pytest.mark.parametrize("version", [3, 4])
def test_a_kiss_has_the_version_of_its_request(version: int) -> None:
    """A kiss answers in the client's own version of the protocol."""
    request = Header(version=version).serialize()

    assert Header.parse(kiss_of_death(request, KissCode.RSTR)).version == version


@pytest.mark.parametrize("request_bytes", [b"", bytes(47), bytes([0x24]) + bytes(47)])
def test_nonsense_is_not_answered(request_bytes: bytes) -> None:
    """What is too short, or no request, gets no answer."""
    assert Asker(Behaviour()).ask(request=request_bytes) is None


def test_servers_can_change() -> None:
    """A server behaves in one way until it behaves in another."""
    asker = Asker(Behaviour())
    asker.timeline.at(asker.timeline.start + 100 * NANOSECONDS, asker.server.behave, Behaviour(offset=0.5))

    assert offset(asker, 99.0) == 0.0
    assert offset(asker, 101.0) == 0.5


def test_a_server_does_not_mind_closed_clients() -> None:
    """A client that has closed its port is no concern of the server's."""
    asker = Asker(Behaviour())
    asker.network.unbind(ME)

    assert asker.ask() is None
    assert asker.server.requests == 1
