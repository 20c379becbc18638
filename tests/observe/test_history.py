"""What is kept of the last day, and how it is told."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from twisted.internet.task import Clock

from ntptwist.identifiers import SourceId
from ntptwist.observe.history import CAPACITY, INTERVAL, SOURCE_LIMIT, History, Ring, Sampler
from ntptwist.snapshot import SystemSnapshot
from tests.observe.rows import START, server, source, system


def told(history: History, snapshot: SystemSnapshot, after: int = -1) -> Any:
    """Read the JSON form."""
    return json.loads("".join(history.pieces(snapshot, after)))


def test_a_ring_keeps_the_latest_rows() -> None:
    """The oldest row makes room for the newest, and rows come out in their order."""
    ring = Ring("I", 1, 3)
    for number in range(5):
        ring.append(number, [number / 2])

    assert [list(each) for each in ring.between(0, 9)] == [[2, 3, 4], [1.0, 1.5, 2.0]]
    assert [list(each) for each in ring.between(3, 3)] == [[3], [1.5]]
    assert (len(ring), ring.latest) == (3, 4)


def test_an_empty_ring() -> None:
    """A ring without rows has no latest one."""
    ring = Ring("q", 0, 3)

    assert ring.latest is None
    assert [list(each) for each in ring.between(0, 9)] == [[]]


@pytest.mark.parametrize("number", [None, math.nan, math.inf])
def test_what_is_not_known_is_null(number: float | None) -> None:
    """A number that is missing or none at all is null in JSON."""
    history = History()
    history.sample(system(offset=number))

    assert told(history, system())["clock"]["offset"] == [None]


def test_a_sample_of_everything() -> None:
    """The clock and each source have a row at the same tick, in Unix seconds."""
    history = History()
    history.sample(system(source(7), seconds=64))
    data = told(history, system(seconds=65))

    assert data["times"] == [START // 10**9 + 64]
    assert (data["first"], data["next"], data["interval"]) == (0, 1, INTERVAL)
    assert data["clock"]["frequency"] == [-3.5]
    assert data["clock"]["error_bound"] == [2e-3]
    assert data["sources"] == [
        {
            "id": 7,
            "name": "ntp1.example.net:123",
            "address": "192.0.2.1:123",
            "mode": "server",
            "at": [0],
            "offset": [1e-3],
            "uncertainty": [1e-4],
            "delay": [2e-3],
        }
    ]


def test_nothing_new_no_row() -> None:
    """A source that has not measured since the last sample has no new row: it is polled less often."""
    history = History()
    for tick, measurements in enumerate((1, 1, 2)):
        history.sample(system(source(measurements=measurements), seconds=64 * tick))
    data = told(history, system(seconds=200))

    assert data["sources"][0]["at"] == [0, 2]
    assert len(data["times"]) == 3


def test_a_step_moves_the_whole_axis() -> None:
    """Samples from before a step stand where they really happened, so the axis never runs backwards."""
    history = History()
    history.sample(system(seconds=0))
    history.sample(system(seconds=64, shift=-3600))
    data = told(history, system(seconds=64, shift=-3600))

    assert [time - START // 10**9 for time in data["times"]] == [-3600, -3536]


def test_only_what_is_new_is_told_again() -> None:
    """Who asks for what came after a tick gets that, and rows of sources are counted from there."""
    history = History()
    for tick in range(4):
        history.sample(system(source(measurements=tick + 1), seconds=64 * tick))
    data = told(history, system(seconds=200), after=1)

    assert (data["first"], data["next"], len(data["times"])) == (2, 4, 2)
    assert data["sources"][0]["at"] == [0, 1]
    assert told(history, system(seconds=200), after=3)["times"] == []


def test_a_source_that_is_not_kept() -> None:
    """Nothing is told of a source that there is not."""
    history = History()
    history.sample(system(source(1)))

    assert history.source(SourceId(9), history.axis(system())) is None


def test_a_source_that_goes_while_it_is_read() -> None:
    """A source that is forgotten while a slow reader takes the pieces is left out."""
    history = History(capacity=1)
    history.sample(system(source(1)))
    pieces = history.pieces(system())
    begun = next(pieces)
    history.sample(system(seconds=64))

    assert json.loads(begun + "".join(pieces))["sources"] == []


def test_a_day_is_kept() -> None:
    """What is older than 24 h is dropped, from the axis, the clock and the sources."""
    history = History()
    for tick in range(CAPACITY + 10):
        history.sample(system(source(measurements=tick + 1), seconds=64 * tick))
    data = told(history, system(seconds=64 * (CAPACITY + 10)))

    assert {len(data["times"]), len(data["clock"]["offset"]), len(data["sources"][0]["at"])} == {CAPACITY}
    assert data["first"] == 10
    assert data["sources"][0]["at"] == list(range(CAPACITY))
    assert CAPACITY * INTERVAL == 86_400


def test_octets_of_a_source() -> None:
    """A source with a full day takes 37,800 octets, the clock 59,400 and the axis 10,800."""
    with_source, without = History(), History()
    for tick in range(CAPACITY):
        without.sample(system(seconds=64 * tick))
        with_source.sample(system(source(measurements=tick + 1), seconds=64 * tick))

    assert with_source.octets - without.octets == 37_800
    assert without.octets == 59_400 + 10_800
    assert SOURCE_LIMIT * 37_800 < 10_000_000


def test_a_source_that_has_ended_goes_after_a_day() -> None:
    """A source is shown as long as something of it lies within the day, and is then forgotten."""
    history = History(capacity=4)
    history.sample(system(source(1)))
    kept = []
    for tick in range(1, 6):
        history.sample(system(source(2), seconds=64 * tick))
        kept.append(SourceId(1) in history.sources)

    assert kept == [True, True, True, False, False]


def test_a_source_that_never_measured_is_not_kept() -> None:
    """Nothing is kept of a source that has not measured anything, nor of an entry that has no source."""
    history = History()
    history.sample(system(source(1, offset=None), source(None)))

    assert history.sources == ()


def test_no_more_sources_than_the_limit() -> None:
    """Beyond the limit, one that has ended makes room; while none has, a new one is not kept."""
    history = History(source_limit=2)
    history.sample(system(source(1), source(2), source(3)))
    crowded = history.sources
    history.sample(system(source(2), source(3), seconds=64))
    history.sample(system(source(2), source(3), seconds=128))

    assert crowded == (1, 2)
    assert history.sources == (2, 3)


def test_the_load_is_a_rate() -> None:
    """Requests are counted per second since the sample before, with the share that had NTS."""
    history = History()
    for tick, (received, with_nts) in enumerate(((100, 50), (164, 66), (164, 66))):
        history.sample(system(seconds=64 * tick), [server(received, with_nts)])
    clock = told(history, system(seconds=200))["clock"]

    assert clock["requests"] == [None, 1.0, 0.0]
    assert clock["nts_share"] == [0.5, 0.25, None]


def test_a_server_that_starts_anew() -> None:
    """Counters that have become less are no load below zero."""
    history = History()
    for tick, received in enumerate((100, 10)):
        history.sample(system(seconds=64 * tick), [server(received)])

    assert told(history, system(seconds=64))["clock"]["requests"] == [None, 0.0]


def test_what_is_sampled_meanwhile_is_not_told() -> None:
    """A slow reader gets the samples of the moment at which it asked, whatever is added while it reads."""
    history = History()
    history.sample(system(source(1)))
    pieces = history.pieces(system())
    begun = next(pieces)
    history.sample(system(source(1, measurements=2), source(2), seconds=64))
    data = json.loads(begun + "".join(pieces))

    assert data["next"] == 1
    assert {len(data["times"]), len(data["clock"]["offset"]), len(data["sources"][0]["at"])} == {1}


class StubSystem:
    """A system whose time passes with the reactor's."""

    def __init__(self, reactor: Clock) -> None:
        self._reactor = reactor

    def snapshot(self) -> SystemSnapshot:
        """Give its state."""
        return system(source(1), seconds=self._reactor.seconds())


def test_the_sampler_samples_each_interval() -> None:
    """A service takes the first sample after an interval, and ends with the daemon."""
    reactor = Clock()
    history = History()
    sampler = Sampler(history, StubSystem(reactor), tuple, reactor)  # type: ignore[arg-type]
    sampler.startService()
    reactor.pump([INTERVAL] * 3)
    sampler.stopService()
    sampler.stopService()

    assert told(history, system(seconds=200))["next"] == 3
    assert reactor.getDelayedCalls() == []
