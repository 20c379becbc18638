"""
The whole daemon in a scenario of the table: made by ``make_service``, in the virtual world of ``ntptwist.sim``.

The scenarios of ``etc/scenarios`` that bear the same names say the same in a user's words; a test compares them.
"""

from __future__ import annotations

from bench.scenarios import ADDRESSES, SCENARIOS
from bench.scenarios import Scenario as TableScenario
from bench.simulate import Result
from ntptwist.algorithm.config import PollLimits
from ntptwist.config.loader import loads
from ntptwist.registry import find_driver
from ntptwist.sim.scenario import ForeignStep, ReceiverPlan, Scenario, ServerPlan
from ntptwist.sim.server import Behaviour
from ntptwist.sim.trial import run


def simulate_daemon(
    name: str, limits: PollLimits, seed: int = 1, limit: int | None = None, settle: int | None = None
) -> Result:
    """Run the daemon in a scenario."""
    report = run(virtual_scenario(name, limits, limit, settle), seed)
    return Result.of(report.statistics, report.recovered[0] if report.recovered else None)


def virtual_scenario(name: str, limits: PollLimits, limit: int | None = None, settle: int | None = None) -> Scenario:
    """Describe a scenario of the table to the virtual world."""
    scenario = SCENARIOS[name]
    addresses = ADDRESSES[: len(scenario.outward)]
    text = f"[source-defaults]\npoll-interval-limits = {{ min = {limits.minimum}, max = {limits.maximum} }}\n"
    text += "".join(f'[[source]]\nmode = "server"\naddress = "{address}"\n' for address in addresses)
    if scenario.pulse is not None:
        text += f'[[source]]\nmode = "pps"\npath = "/dev/pps0"\nprecision = {scenario.pulse!r}\n'
    return Scenario(
        name=name,
        title="",
        config=loads(text, find_driver),
        duration=limit or scenario.limit,
        settle=scenario.settle if settle is None else settle,
        offset=-scenario.offset,
        oscillator=scenario.crystal(),
        servers=tuple(_server(scenario, index, address) for index, address in enumerate(addresses)),
        receiver=None if scenario.pulse is None else ReceiverPlan(pulse_jitter=scenario.pulse),
        events=() if scenario.step is None else (ForeignStep(*scenario.step),),
    )


def _server(scenario: TableScenario, index: int, address: str) -> ServerPlan:
    offsets, frequencies = scenario.server_offsets, scenario.server_frequencies
    behaviour = Behaviour(
        offset=offsets[index] if offsets else 0.0, frequency=frequencies[index] if frequencies else 0.0
    )
    return ServerPlan(address, behaviour, up=scenario.path(index, home=False), down=scenario.path(index, home=True))
