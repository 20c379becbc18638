"""Which address of a pool is asked next, and when its name may be looked up again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ntptwist.identifiers import ReferenceId
from ntptwist.spawners.candidates import MOST_HELD, MOST_KNOWN, Candidates, Fault, canonical

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::3"
NOBODY: frozenset[ReferenceId] = frozenset()


def learnt(*addresses: str) -> Candidates:
    """Give the books after one answer, at 0 s."""
    candidates = Candidates()
    candidates.learn(addresses, 0.0)
    return candidates


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::3", "2001:db8::3"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("0.0.0.0", None),
        ("::", None),
        ("255.255.255.255", None),
        ("224.0.1.1", None),
        ("ff05::101", None),
        ("pool.example", None),
    ],
)
def test_one_form_of_each_address(given: str, form: str | None) -> None:
    """An address is the same however it is written, and what is no host's address is none."""
    assert canonical(given) == form


def test_each_address_once_in_the_order_of_the_answer() -> None:
    """A name server that repeats itself gives no server two votes."""
    assert list(learnt(B, A, B, "::ffff:192.0.2.1", C, "224.0.1.1").free(0.0, NOBODY)) == [B, A, C]


def test_the_newest_answer_comes_first() -> None:
    """Addresses that were named just now are tried before older ones, which are kept."""
    candidates = learnt(A, B)
    candidates.learn([C, B], 3600.0)

    assert list(candidates.free(3600.0, NOBODY)) == [C, B, A]


def test_leaves_out_what_is_ignored_or_taken() -> None:
    """The operator's list, this host's own addresses and those in use are no candidates."""
    candidates = Candidates([A])
    candidates.learn([A, B, C], 0.0)

    assert list(candidates.free(0.0, frozenset({ReferenceId.of_address(C)}))) == [B]


@pytest.mark.parametrize(
    ("fault", "seconds"), [(Fault.FAILED, 3600.0), (Fault.REJECTED, 86_400.0), (Fault.DENIED, 604_800.0)]
)
def test_a_fault_is_remembered_for_its_time(fault: Fault, seconds: float) -> None:
    """A server that failed is not asked for an hour, one that lied for a day, one that denied for a week."""
    candidates = learnt(A)
    candidates.hold(A, fault, 100.0)
    candidates.learn([A], 200.0)

    assert list(candidates.free(100.0 + seconds - 1.0, NOBODY)) == []
    assert list(candidates.free(100.0 + seconds, NOBODY)) == [A]


def test_the_last_resort_is_what_failed_first() -> None:
    """When every server fails, the one whose failure is longest ago is asked again; who denied never is."""
    candidates = learnt(A, B, C)
    candidates.hold(A, Fault.FAILED, 0.0)
    candidates.hold(B, Fault.DENIED, 1.0)
    candidates.hold(C, Fault.FAILED, 2.0)
    candidates.hold(A, Fault.FAILED, 3.0)

    assert list(candidates.last_resort(NOBODY)) == [C, A]
    assert list(candidates.last_resort(frozenset({ReferenceId.of_address(C)}))) == [A]


def test_a_dropped_address_needs_a_new_answer() -> None:
    """Who was let go for the sake of change comes back only if the name still names it."""
    candidates = learnt(A, B)
    candidates.drop(A)
    candidates.drop(C)
    without = list(candidates.free(0.0, NOBODY))
    candidates.learn([A], 1.0)

    assert without == [B]
    assert list(candidates.free(1.0, NOBODY)) == [A, B]


def test_summary_tells_what_is_held_back() -> None:
    """People see how many addresses there are and how many may not be asked now."""
    candidates = learnt(A, B)
    before = candidates.summary(0.0)
    candidates.hold(A, Fault.FAILED, 0.0)

    assert before == "2 known"
    assert candidates.summary(0.0) == "2 known, 1 of them held back"


def test_burst_then_back_off_then_hourly() -> None:
    """A name that never fills the pool is looked up four times at once, then after 1, 2, 4 ... minutes, then hourly."""
    candidates = Candidates()
    when = 0.0
    times: list[float] = []
    while len(times) < 12:
        if candidates.may_look_up(when):
            times.append(when)
            candidates.learn([A], when)
        else:
            when += 1.0
    waits = [b - a for a, b in pairwise(times)]

    assert waits == [0.0, 0.0, 0.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 3600.0, 3600.0]


def test_hourly_once_the_pool_was_full() -> None:
    """A pool that was full looks its name up once an hour at most, whatever its servers do."""
    candidates = learnt(A)
    candidates.settle()

    assert not candidates.may_look_up(3599.0)
    assert candidates.may_look_up(3600.0)


def test_an_enormous_answer_is_cut() -> None:
    """A name server that gives a thousand addresses fills no memory."""
    candidates = learnt(*(f"10.0.{n // 256}.{n % 256}" for n in range(1000)))

    assert len(list(candidates.free(0.0, NOBODY))) == MOST_KNOWN


def test_faults_without_end_are_cut() -> None:
    """Of too many faulty addresses those that would come back first are forgotten, the denials stay."""
    candidates = Candidates()
    candidates.hold(A, Fault.DENIED, 0.0)
    for n in range(1000):
        candidates.hold(f"10.0.{n // 256}.{n % 256}", Fault.FAILED, n / 1000)
    candidates.learn([A, "10.0.0.0", "10.0.3.231"], 1.0)

    assert len(list(candidates.last_resort(NOBODY))) == MOST_HELD - 1
    assert list(candidates.free(1.0, NOBODY)) == ["10.0.0.0"]
