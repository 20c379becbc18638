"""The noise of both paths."""

from __future__ import annotations

from random import Random

import pytest

from ntptwist.algorithm.noise import PathNoise


def _learnt(outward: float, homeward: float, variance: float) -> PathNoise:
    random = Random(1)
    noise = PathNoise(1e-3)
    for _ in range(600):
        noise.learn(random.expovariate(1.0 / outward), random.expovariate(1.0 / homeward), 0.1, variance)
    return noise


def test_scales_of_both_paths_are_learnt() -> None:
    """One path of 100 us and one of 300 us are told apart when the offset is known well."""
    noise = _learnt(1e-4, 3e-4, 1e-12)

    assert noise.total == pytest.approx(4e-4, rel=0.2)
    assert noise.homeward / noise.outward == pytest.approx(3.0, rel=0.35)
    assert noise.offset_variance == pytest.approx(2.5e-8, rel=0.5)


def test_split_is_not_learnt_from_an_unknown_offset() -> None:
    """While the offset is less certain than the jitter, both paths count as equally noisy."""
    noise = _learnt(1e-4, 3e-4, 1e-6)

    assert noise.homeward / noise.outward == pytest.approx(1.0, rel=0.05)


def test_one_freak_teaches_little() -> None:
    """A residual of a second counts as ten scales, and it widens the noise of its own sample."""
    noise = _learnt(1e-4, 1e-4, 1e-12)
    before = noise.total
    noise.learn(1.0, 1e-4, 0.1, 1e-12)

    assert noise.total < 1.2 * before
    assert noise.widening(1.0) > 1000.0
    assert 1.0 == noise.widening(before)


def test_scales_never_vanish() -> None:
    """A path without any noise keeps the noise of rounded stamps."""
    noise = PathNoise(1e-5)
    for _ in range(1000):
        noise.learn(0.0, 0.0, 0.1, 1e-18)

    assert noise.total >= 2e-7
    assert noise.outward > 0.0
