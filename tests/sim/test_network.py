"""Paths and what they do to packets."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from ntptwist.sim.network import (
    Endpoint,
    Network,
    Path,
    Shape,
    exponential,
    gamma,
    gaussian,
    lognormal,
    pareto,
    uniform,
)
from ntptwist.sim.timeline import Timeline
from ntptwist.timestamp import NANOSECONDS

HERE, THERE = ("192.0.2.1", 40_000), ("198.51.100.1", 123)


class Stop:
    """A socket that notes when something came."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.arrivals: list[tuple[int, bytes]] = []
        self.refusals: list[tuple[int, Endpoint]] = []

    def arrived(self, data: bytes, source: Endpoint) -> None:
        """Note a packet."""
        self.arrivals.append((self.timeline.elapsed, data))

    def refused(self, source: Endpoint) -> None:
        """Note a port-unreachable."""
        self.refusals.append((self.timeline.elapsed, source))

    @property
    def delays(self) -> list[float]:
        """What came was sent one second after the other: the delays, seconds."""
        return [elapsed / NANOSECONDS - int.from_bytes(data, "big") for elapsed, data in self.arrivals]


def send_each_second(path: Path, count: int, seed: int = 1, host: str = THERE[0]) -> Stop:
    """Send packets down a path, one a second, and give what came out of it."""
    timeline = Timeline()
    network = Network(timeline, seed)
    network.set_path(HERE[0], host, path)
    stop = Stop(timeline)
    network.bind((host, 123), stop)
    for second in range(count):
        when = timeline.start + second * NANOSECONDS
        timeline.at(when, network.send, HERE, (host, 123), second.to_bytes(4, "big"))
    timeline.run_for(count + 1000.0)
    return stop


def test_a_path_takes_its_base_delay() -> None:
    """Without jitter every packet takes the same time, to the nanosecond."""
    stop = send_each_second(Path(base=0.0123), 3)

    assert [elapsed for elapsed, _ in stop.arrivals] == [12_300_000, 1_012_300_000, 2_012_300_000]


@pytest.mark.parametrize(
    ("shape", "mean"),
    [(exponential, 1.0), (gaussian, 5.0), (gamma, 1.0), (uniform, 1.0), (lognormal, math.exp(0.5))],
)
def test_shapes_have_the_mean_that_they_say(shape: Shape, mean: float) -> None:
    """Each kind of jitter is measured in the unit that its description gives."""
    random = Random(1)
    drawn = [shape(random, 1e-3) for _ in range(20_000)]

    assert min(drawn) >= 0.0
    assert sum(drawn) / len(drawn) == pytest.approx(mean * 1e-3, rel=0.03)


def test_pareto_is_mostly_small_and_rarely_huge() -> None:
    """The heavy tail has a median below its scale and packets that are a hundred times later."""
    random = Random(1)
    drawn = sorted(pareto(random, 1e-3) for _ in range(20_000))

    assert drawn[10_000] == pytest.approx((2 ** (1 / 1.5) - 1) * 1e-3, rel=0.05)
    assert drawn[-1] > 0.1


def test_jitter_comes_on_top_of_the_base() -> None:
    """No packet is faster than the path."""
    delays = send_each_second(Path(1e-3, 1e-4), 5000).delays

    assert min(delays) >= 1e-3
    assert sum(delays) / len(delays) == pytest.approx(1.1e-3, rel=0.01)


def test_loss() -> None:
    """A share of the packets does not come."""
    assert len(send_each_second(Path(loss=0.3), 5000).arrivals) == pytest.approx(3500, abs=100)


def test_loss_leaves_the_first_packets_as_they_are() -> None:
    """The delay of a packet is drawn before its fate: until the first loss a bad path is as fast as a good one."""
    good = send_each_second(Path(1e-3, 1e-4), 1).delays
    bad = send_each_second(Path(1e-3, 1e-4, loss=1e-9), 1).delays

    assert bad == good


def test_duplication() -> None:
    """A share of the packets comes twice, the second one at a time of its own."""
    stop = send_each_second(Path(1e-3, 1e-4, duplication=0.25), 2000)
    first = {data for _, data in stop.arrivals}

    assert len(first) == 2000
    assert len(stop.arrivals) == pytest.approx(2500, abs=60)
    assert len({elapsed for elapsed, _ in stop.arrivals}) == len(stop.arrivals)


def test_reordering() -> None:
    """A share of the packets is overtaken by the next ones."""
    stop = send_each_second(Path(1e-3, reordering=0.2, hold=2.5), 1000)
    late = [delay for delay in stop.delays if delay > 1.0]

    assert len(late) == pytest.approx(200, abs=40)
    assert late == pytest.approx([2.501] * len(late))
    assert [data for _, data in stop.arrivals] != sorted(data for _, data in stop.arrivals)


def test_outages() -> None:
    """Nothing that leaves in an outage arrives, and everything else does."""
    arrived = {int.from_bytes(data, "big") for _, data in send_each_second(Path(outages=((3, 5), (8, 9))), 12).arrivals}

    assert arrived == {0, 1, 2, 5, 6, 7, 9, 10, 11}


def test_route_changes_add_up() -> None:
    """A route change makes a path longer or shorter from its moment on."""
    delays = send_each_second(Path(5e-3, routes=((2, 1e-3), (4, -3e-3))), 6).delays

    assert delays == pytest.approx([5e-3, 5e-3, 6e-3, 6e-3, 3e-3, 3e-3])


def test_congestion_multiplies_the_jitter() -> None:
    """In a congestion the queues are longer, and the base stays."""
    quiet = send_each_second(Path(1e-3, 1e-4), 100).delays
    busy = send_each_second(Path(1e-3, 1e-4, congestions=((50, 80, 10.0),)), 100).delays

    assert busy[:50] + busy[80:] == quiet[:50] + quiet[80:]
    tenfold = [10 * (delay - 1e-3) for delay in quiet[50:80]]

    assert [delay - 1e-3 for delay in busy[50:80]] == pytest.approx(tenfold, abs=1e-8)


def test_chance_belongs_to_the_path_and_the_seed() -> None:
    """A path does the same in every run, something else with another seed, and something else than its neighbour."""
    path = Path(1e-3, 1e-4)
    first = send_each_second(path, 50).delays

    assert send_each_second(path, 50).delays == first
    assert send_each_second(path, 50, seed=2).delays != first
    assert send_each_second(path, 50, host="198.51.100.2").delays != first


def test_traffic_on_one_path_does_not_disturb_another() -> None:
    """Another source's packets change nothing for this one: experiments can be compared packet by packet."""
    path = Path(1e-3, 1e-4)
    timeline = Timeline()
    network = Network(timeline, 1)
    stop = Stop(timeline)
    network.bind(THERE, stop)
    for host in (THERE[0], "203.0.113.9"):
        network.set_path(HERE[0], host, path)
    for second in range(50):
        when = timeline.start + second * NANOSECONDS
        timeline.at(when, network.send, HERE, ("203.0.113.9", 123), b"")
        timeline.at(when, network.send, HERE, THERE, second.to_bytes(4, "big"))
    timeline.run_for(100.0)

    assert stop.delays == send_each_second(path, 50).delays


def test_a_path_can_be_changed() -> None:
    """A new path takes the place of the old one and goes on with its chance."""
    timeline = Timeline()
    network = Network(timeline, 1)
    stop = Stop(timeline)
    network.bind(THERE, stop)
    network.set_path(HERE[0], THERE[0], Path(1e-3))
    network.send(HERE, THERE, bytes(4))
    network.set_path(HERE[0], THERE[0], Path(2e-3))
    network.send(HERE, THERE, bytes(4))
    timeline.run_for(1.0)

    assert stop.delays == [1e-3, 2e-3]


def test_a_closed_port_is_refused_after_a_round_trip() -> None:
    """The sender hears that nobody listens when the news has come back."""
    timeline = Timeline()
    network = Network(timeline, 1)
    sender = Stop(timeline)
    network.bind(HERE, sender)
    network.set_path(HERE[0], THERE[0], Path(2e-3))
    network.set_path(THERE[0], HERE[0], Path(3e-3))
    network.send(HERE, THERE, b"")
    timeline.run_for(1.0)

    assert sender.refusals == [(5_000_000, THERE)]


def test_a_refusal_finds_nobody() -> None:
    """News of a closed port for a sender that has closed its own is lost."""
    timeline = Timeline()
    network = Network(timeline, 1)
    network.add_host(THERE[0])
    network.add_host(HERE[0])
    network.send(HERE, THERE, b"")
    timeline.run_for(1.0)

    assert network.sent[HERE[0]] == 1


def test_an_unknown_host_swallows_packets() -> None:
    """A packet to an address that nobody has is lost without a word."""
    timeline = Timeline()
    network = Network(timeline, 1)
    sender = Stop(timeline)
    network.bind(HERE, sender)
    network.send(HERE, ("203.0.113.1", 123), b"")
    timeline.run_for(1.0)

    assert (sender.arrivals, sender.refusals) == ([], [])


def test_hosts_without_a_path_are_next_to_each_other() -> None:
    """Where no path was set a packet takes no time; it still arrives in a later turn."""
    timeline = Timeline()
    network = Network(timeline, 1)
    stop = Stop(timeline)
    network.bind(THERE, stop)
    network.send(HERE, THERE, bytes(4))

    assert stop.arrivals == []

    timeline.run_for(0.0)

    assert stop.arrivals == [(0, bytes(4))]


def test_an_endpoint_is_bound_once() -> None:
    """Two sockets can't have one address and port, until the first is closed."""
    timeline = Timeline()
    network = Network(timeline, 1)
    network.bind(HERE, Stop(timeline))
    with pytest.raises(ValueError, match="is in use"):
        network.bind(HERE, Stop(timeline))
    network.unbind(HERE)

    assert not network.is_bound(HERE)


def test_routes() -> None:
    """A machine has a route to everywhere unless the network is gone or an address is cut off."""
    network = Network(Timeline(), 1)
    network.unrouted.add("203.0.113.1")

    assert network.has_route("198.51.100.1")
    assert not network.has_route("203.0.113.1")

    network.connected = False

    assert not network.has_route("198.51.100.1")


def test_a_slow_queue_delays_neighbours_alike() -> None:
    """With a correlation of 100 s packets a second apart meet much the same queue, those minutes apart another one."""
    quick = send_each_second(Path(1.0, 1e-3), 2000).delays
    slow = send_each_second(Path(1.0, 1e-3, correlation=100.0), 2000).delays
    steps = [sum(abs(a - b) for a, b in pairwise(delays)) / 1999 for delays in (quick, slow)]

    assert steps[1] < steps[0] / 20
    assert min(slow) >= 1.0
    assert 0.5e-3 < sum(slow) / 2000 - 1.0 < 2e-3
    assert slow == send_each_second(Path(1.0, 1e-3, correlation=100.0), 2000).delays
