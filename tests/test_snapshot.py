"""What servers and observers read of the daemon's state."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntptwist.identifiers import Leap
from ntptwist.snapshot import MAXIMUM_DISPERSION, SourceEstimate, SourceObservation, SystemSnapshot, TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp

SECOND = 1_000_000_000


def test_a_new_daemon_is_not_synchronized() -> None:
    """Before anything is known the snapshot tells nobody to trust this clock."""
    time = TimeSnapshot()

    assert (time.synchronized, time.leap, time.stratum) == (False, Leap.UNSYNCHRONIZED, 16)
    assert time.root_dispersion(Monotonic(0)) == MAXIMUM_DISPERSION


@pytest.mark.parametrize("leap", [Leap.NONE, Leap.INSERT, Leap.DELETE])
def test_a_leap_second_ahead_is_synchronized(leap: Leap) -> None:
    """Every leap indicator but the alarm says that the clock may be used."""
    assert TimeSnapshot(leap=leap).synchronized


@pytest.mark.parametrize(
    ("seconds", "dispersion"),
    [
        (0, 0.5 + math.sqrt(1.0)),
        (1, 0.5 + math.sqrt(1 + 2 * 2 + 3 + 6 / 3)),
        (2, 0.5 + math.sqrt(1 + 2 * 2 * 2 + 3 * 4 + 6 * 8 / 3)),
    ],
)
def test_the_dispersion_grows_as_the_variance_does(seconds: int, dispersion: float) -> None:
    """The servers' dispersion and one standard deviation of our own error are added."""
    time = TimeSnapshot(
        monotonic=Monotonic(10 * SECOND), dispersion=0.5, base=1.0, linear=2.0, quadratic=3.0, wander=6.0
    )

    assert time.root_dispersion(Monotonic((10 + seconds) * SECOND)) == pytest.approx(dispersion, rel=1e-12)


def test_the_past_is_as_good_as_the_snapshot() -> None:
    """A request that was received just before the snapshot was taken is answered with its dispersion."""
    time = TimeSnapshot(monotonic=Monotonic(SECOND), dispersion=0.5, wander=1.0)

    assert time.root_dispersion(Monotonic(0)) == 0.5


def test_a_variance_that_rounding_made_negative() -> None:
    """A covariance that is negative by rounding does not fail; the servers' dispersion is left."""
    time = TimeSnapshot(dispersion=0.5, base=-1e-30)

    assert time.root_dispersion(Monotonic(0)) == 0.5


@given(st.floats(0, 20), *[st.floats(0, 1e3)] * 4, st.integers(0, 10**18), st.integers(0, 10**18))
def test_the_dispersion_only_grows(
    dispersion: float, base: float, linear: float, quadratic: float, wander: float, early: int, more: int
) -> None:
    """Without a measurement the error bound never shrinks, and never passes 16 seconds."""
    time = TimeSnapshot(dispersion=dispersion, base=base, linear=linear, quadratic=quadratic, wander=wander)
    first = time.root_dispersion(Monotonic(early))
    second = time.root_dispersion(Monotonic(early + more))

    assert min(dispersion, 16.0) <= first <= second <= 16.0


def test_a_source_begins_with_nothing_known() -> None:
    """A source that has not answered yet is shown as unused, with the reason."""
    estimate = SourceEstimate()
    observation = SourceObservation("ntp.example", "192.0.2.1:123", "server")

    assert (estimate.selected, estimate.reason, estimate.offset) == (False, "no measurement yet", None)
    assert (observation.reach, observation.trouble, observation.sent) == (0, None, 0)


def test_a_system_begins_without_sources() -> None:
    """The state of a daemon that has just started can be shown."""
    system = SystemSnapshot(Timestamp(0), Monotonic(0), TimeSnapshot(), "observe", synchronized=False, state="starting")

    assert (system.sources, system.offset, system.steps) == ((), None, 0)
