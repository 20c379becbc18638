"""How late replies leave."""

from __future__ import annotations

from ntptwist.protocol.lag import LARGEST, LENGTH, Lag


def test_nothing_is_known_at_first() -> None:
    """Before the first stamp no lag is assumed."""
    assert Lag().value == 0


def test_a_low_quantile_counts() -> None:
    """Replies that were held up do not make the next ones late."""
    lag = Lag()
    for late in (10, 900, 12, 800, 11, 700, 600, 13):
        lag.learn(late)

    assert lag.value == 12


def test_it_follows() -> None:
    """After as many replies as are looked back upon the old ones are forgotten."""
    lag = Lag()
    for late in [10] * LENGTH + [20] * LENGTH:
        lag.learn(late)

    assert lag.value == 20


def test_a_step_of_the_clock_teaches_nothing() -> None:
    """A reply that seems to have left before it was made, or far too late, is no measure of the lag."""
    lag = Lag()
    for late in (10, -1, LARGEST, 10):
        lag.learn(late)

    assert lag.value == 10
