"""What an operator says of sources decides who votes, who is followed and whether anything is done at all."""

from __future__ import annotations

import pytest

from ntptwist.algorithm.config import PollLimits, SelectionOptions, SynchronizationPolicy
from ntptwist.algorithm.controller import Controller
from ntptwist.identifiers import SourceId
from tests.algorithm.world import HandClock, World, server_id

WRONG = 0.5


class Council(World):
    """Sources with options, each with an error of its own."""

    def __init__(self, *sources: tuple[float, SelectionOptions | None], policy: SynchronizationPolicy) -> None:
        super().__init__(HandClock(error=100_000_000), 0, policy)
        self.errors = {SourceId(number): error for number, (error, _) in enumerate(sources)}
        self.sources = list(self.errors)
        for source, (_, options) in zip(self.sources, sources, strict=True):
            self.controller.add_source(source, PollLimits(), server_id(source), options)

    way = 100e-6
    """Seconds to each server, and back."""

    def meet(self, rounds: int = 6) -> list[str]:
        """Ask everybody several times; give what is thought of each."""
        for _ in range(rounds):
            for source, error in self.errors.items():
                self.ask(source, error, outward=self.way, homeward=self.way)
            self.pass_time(2.0)
        return [self.controller.estimate(source).reason for source in self.sources]


def policy(voting: int, minimum: int | None = None, *, required: bool = False) -> SynchronizationPolicy:
    """Give a policy for so many votes."""
    return SynchronizationPolicy(voting, minimum, needs_required=required)


def test_noselect_is_only_measured() -> None:
    """A source that must not be followed is shown with its offset, has no vote, and moves nothing."""
    council = Council((0.0, None), (WRONG, SelectionOptions(noselect=True)), policy=policy(1))
    reasons = council.meet()

    assert reasons == ["used", "only measured (noselect)"]
    assert council.controller.estimate(SourceId(1)).offset == pytest.approx(WRONG, abs=1e-4)
    assert abs(council.clock.error) < 1e-4


def test_a_preferred_source_is_followed_alone() -> None:
    """While a preferred source agrees the others only vote; when it is wrong they are followed."""
    prefer = SelectionOptions(prefer=True)
    good = Council((0.0, None), (1e-4, prefer), (0.0, None), policy=policy(3))
    bad = Council((0.0, None), (WRONG, prefer), (0.0, None), policy=policy(3))

    assert good.meet() == ["agrees, but others are preferred", "used", "agrees, but others are preferred"]
    assert bad.meet()[1] == "falseticker: 500 ms from the majority"
    assert sum(reason.startswith("used") for reason in bad.meet()) == 2


def test_a_trusted_source_outvotes_all_others() -> None:
    """Where one source is trusted three that agree against it are falsetickers."""
    trust = SelectionOptions(trust=True)
    council = Council((WRONG, None), (WRONG, None), (WRONG, None), (0.0, trust), policy=policy(4, 1))
    reasons = council.meet()

    assert reasons[3] == "used"
    assert all(reason.startswith("falseticker") for reason in reasons[:3])


def test_trusted_sources_that_disagree_decide_nothing() -> None:
    """Two trusted sources that contradict each other leave the clock alone."""
    trust = SelectionOptions(trust=True)
    council = Council((WRONG, trust), (0.0, trust), (0.0, None), policy=policy(3, 1))

    assert council.meet() == ["no majority: 1 of 2 agree, 2 needed"] * 3
    assert council.clock.steps == []


def test_the_minimum_counts_beside_trust() -> None:
    """A trusted source decides where the truth is, but the minimum of sources has to be there too."""
    council = Council((WRONG, None), (0.0, SelectionOptions(trust=True)), (0.0, None), policy=policy(3, 3))

    assert council.meet() == ["no majority: 2 of 3 agree, 3 needed"] * 3


@pytest.mark.parametrize(("error", "synchronized"), [(0.0, True), (WRONG, False)])
def test_a_required_source_must_agree(error: float, synchronized: bool) -> None:
    """Without a required source among those that agree the clock is left alone."""
    require = SelectionOptions(require=True)
    council = Council((0.0, None), (0.0, None), (error, require), policy=policy(3, required=True))
    reasons = council.meet()

    assert council.controller.status().synchronized == synchronized
    assert (reasons[0] == "waiting for a required source to agree") != synchronized


def test_a_required_source_that_is_not_there_is_waited_for() -> None:
    """A required source whose name is not even resolved keeps the clock from being touched."""
    council = Council((0.0, None), (0.0, None), policy=policy(3, required=True))

    assert council.meet(30) == ["waiting for a required source to agree"] * 2
    assert council.clock.steps == []


def test_a_group_does_not_outvote_others() -> None:
    """Three servers of one operator that are wrong together don't outvote two of others."""
    group = SelectionOptions(group="theirs")
    wrong = [(WRONG, group)] * 3
    reasons = Council(*wrong, (0.0, None), (0.0, None), policy=policy(3)).meet()

    assert all(reason.startswith("falseticker") for reason in reasons[:3])
    assert all(reason.startswith("used") for reason in reasons[3:])


def test_no_single_early_source_wins() -> None:
    """With a minimum the first source to answer moves nothing, however long the others take."""
    council = Council((WRONG, None), policy=policy(4, 2))
    reasons = council.meet(60)

    assert reasons == ["no majority: 1 of 1 agree, 2 needed"]
    assert council.clock.steps == []


class Drift(Council):
    """One of several servers, 5 ms away each, runs 5 ppm fast."""

    way = 5e-3

    def meet(self, rounds: int = 6) -> list[str]:
        """Ask everybody each 16 s."""
        start = self.clock.true
        for _ in range(rounds):
            self.errors[SourceId(0)] = (self.clock.true - start) * 5e-15
            super().meet(1)
            self.pass_time(14.0)
        return [self.controller.estimate(source).reason for source in self.sources]


def test_a_drifting_server_is_a_falseticker_by_its_frequency() -> None:
    """A server 5 ms away that drifts is found out by its frequency while its offset still looks right."""
    drift = Drift((0.0, None), (0.0, None), (0.0, None), (0.0, None), policy=policy(4))
    reasons = drift.meet(50)

    assert reasons[0].startswith("falseticker: drifts by")
    assert all(reason.startswith("used") for reason in reasons[1:])


@pytest.mark.parametrize("trust", [None, SelectionOptions(trust=True)])
def test_a_drift_that_leaves_too_few_is_not_judged(trust: SelectionOptions | None) -> None:
    """Where the rest is less than the operator asks for, or where sources are trusted, frequencies decide nothing."""
    minimum = 4 if trust is None else 1
    drift = Drift((0.0, None), (0.0, trust), (0.0, None), (0.0, None), policy=policy(4, minimum))
    reasons = drift.meet(50)

    assert not any("drifts" in reason for reason in reasons)


def test_the_controller_takes_sources_without_options() -> None:
    """Nothing said of a source means that it votes and may be followed."""
    controller = Controller(SynchronizationPolicy(), HandClock())
    controller.add_source(SourceId(0), PollLimits(), server_id(SourceId(0)))

    assert controller.estimate(SourceId(0)).reason == "no measurement yet"
