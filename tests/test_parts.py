"""The parts of a running daemon when not even the old ones can be had again."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from ntptwist.config.difference import compare
from ntptwist.config.loader import loads
from ntptwist.errors import DeviceError
from ntptwist.parts import Parts
from ntptwist.registry import find_driver
from ntptwist.sim.world import World
from tests.sim.daemon import VirtualDaemon

SERVER = '[[server]]\nlisten = "192.0.2.1:{}"\nallowlist = {{ filter = ["0.0.0.0/0"] }}\n'


class Crowded(MultiService):
    """A daemon on a machine where another program takes each port as soon as it is free."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self._reactor = reactor

    def removeService(self, service: Any) -> Any:  # noqa: N802 - Twisted's name
        """Let the service go, and take its port."""
        done = super().removeService(service)
        self.taken.append(self._reactor.listen_udp(service.server.host, service.server.port, DatagramProtocol()))
        return done


def test_a_port_that_was_taken_meanwhile() -> None:
    """When the old port can't be had again either, the daemon goes on and tries it until it is free."""
    world = World(1)
    other = world.reactor.listen_udp("192.0.2.1", 125, DatagramProtocol())
    old, new = loads(SERVER.format(123), find_driver), loads(SERVER.format(125), find_driver)
    crowded = Crowded(world.reactor)
    with VirtualDaemon(world, "") as daemon:
        parts = Parts(old, crowded, daemon.system, None, world.reactor, find_driver, lambda: None)
        parts.adopt()
        crowded.startService()
        with pytest.raises(DeviceError, match="Address already in use"):
            raise_from(Deferred.fromCoroutine(parts.apply(compare(old, new))))
        (server,) = parts.servers
        meanwhile = server.observe().trouble
        crowded.taken.pop().stopListening()
        daemon.run(2)
        later = (server.observe().trouble, bool(server.server.running))
        crowded.stopService()
        other.stopListening()

    assert meanwhile == "Address already in use"
    assert later == (None, True)
    assert parts.config == old


def raise_from(deferred: Deferred[None]) -> None:
    """Raise what a Deferred has failed with."""
    failures: list[Any] = []
    deferred.addErrback(failures.append)
    for failure in failures:
        failure.raiseException()
