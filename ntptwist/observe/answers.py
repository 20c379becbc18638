"""
Where the tools of other daemons are answered, as the configuration says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service

from ntptwist.config.model import Config
from ntptwist.interfaces import ISystem
from ntptwist.observe.chronyc import ChronycServer
from ntptwist.observe.ntpd_rs import ObservationServer
from ntptwist.snapshot import ServerSnapshot


def make_answers(
    config: Config, system: ISystem, reactor: Any, servers: Callable[[], Sequence[ServerSnapshot]]
) -> list[Service]:
    """Make the services for chronyc and for ntpd-rs' tools, none that is not configured; ntpq asks the servers."""
    settings = config.observability
    made: list[Service] = []
    if settings.chronyc_listen is not None:
        made.append(ChronycServer(settings.chronyc_listen, system, reactor, servers))
    if settings.observation_path is not None:
        made.append(
            ObservationServer(
                settings.observation_path,
                settings.observation_permissions,
                system,
                reactor,
                servers,
                config.policy.accumulated_step_panic_threshold,
            )
        )
    return made
