"""What the formats of other daemons have in common."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from ntptwist.config.model import Config, ObservabilitySettings
from ntptwist.config.value import HostPort
from ntptwist.identifiers import SourceId
from ntptwist.observe.address import Endpoint, clock_name, endpoint, followed, is_reference_clock
from ntptwist.observe.answers import make_answers
from ntptwist.observe.chronyc import ChronycServer
from ntptwist.observe.ntpd_rs import ObservationServer
from ntptwist.observe.recent import LIFETIME, Recent
from ntptwist.snapshot import SystemSnapshot
from tests.observe.picture import BEST, FALSE, PICTURE, PULSE, SILENT_CLOCK, UNRESOLVED


@pytest.mark.parametrize(
    ("mode", "address", "expected"),
    [
        ("server", "192.0.2.1:123", Endpoint(ip_address("192.0.2.1"), 123)),
        ("pool", "[fe80::1%eth0]:1123", Endpoint(ip_address("fe80::1"), 1123)),
        ("gpsd", "127.0.0.1:2947", None),
        ("pps", "/dev/pps0", None),
        ("server", "", None),
        ("server", "not an address:5", None),
    ],
)
def test_where_a_source_is_asked(mode: str, address: str, expected: Endpoint | None) -> None:
    """Only servers have an address, and only one that was found."""
    row = replace(BEST, observation=replace(BEST.observation, mode=mode, address=address))

    assert endpoint(row) == expected


def test_clocks_of_this_machine() -> None:
    """Receivers, pulses and whatever an outside driver brings are clocks; a server without an address is none."""
    strange = replace(BEST, observation=replace(BEST.observation, mode="sundial", address="garden"))

    assert [is_reference_clock(row) for row in (*PICTURE.sources, strange)] == [*[False] * 3, True, True, False, True]
    assert clock_name(PULSE) == b"PPS\0"
    assert clock_name(SILENT_CLOCK) == b"SOCK"


def test_the_source_that_is_followed() -> None:
    """It is the first of those that are used, if it is still there."""
    assert followed(PICTURE) is BEST
    assert followed(replace(PICTURE, used=())) is None
    assert followed(replace(PICTURE, used=(SourceId(99),), sources=(FALSE, UNRESOLVED))) is None


class CountingSystem:
    """A system that counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def snapshot(self) -> SystemSnapshot:
        """Give its state."""
        self.looks += 1
        return PICTURE


def test_one_picture_for_many_questions() -> None:
    """What is asked within a tenth of a second is answered from one snapshot; later there is a new one."""
    times = iter([5.0, 5.0 + LIFETIME / 2, 5.0 + 2 * LIFETIME])
    system = CountingSystem()
    recent = Recent(system.snapshot, lambda: next(times))
    looks = [(recent(), system.looks)[1] for _ in range(3)]

    assert looks == [1, 1, 2]


class StubReactor:
    """A reactor that knows the time."""

    def seconds(self) -> float:
        """Give it."""
        return 5.0


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (ObservabilitySettings(), []),
        (
            ObservabilitySettings(chronyc_listen=HostPort("127.0.0.1", 323), observation_path="/run/x/observe"),
            [ChronycServer, ObservationServer],
        ),
    ],
)
def test_only_what_is_configured_answers(settings: ObservabilitySettings, kinds: list[type]) -> None:
    """Nothing is opened that the configuration does not ask for."""
    made = make_answers(Config(observability=settings), CountingSystem(), StubReactor(), tuple)  # type: ignore[arg-type]

    assert [type(service) for service in made] == kinds
