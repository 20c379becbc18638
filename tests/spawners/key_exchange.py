"""A key exchange in a virtual world: both machines of the real one, without TLS between them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ntptwist.errors import KeyExchangeError, ResolutionError
from ntptwist.net.resolver import resolve
from ntptwist.nts.exchange import ClientExchange, Completed, KeyExchangeResult, ServerExchange
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.responder import ServerProtection
from ntptwist.ntske.tls import Trust
from ntptwist.sim.server import ReferenceServer
from ntptwist.sim.world import World


class VirtualKeyExchange:
    """
    Stands in for ``exchange_keys``; a name's addresses take turns, and each serves time as well.

    ``times`` are those of all attempts, in seconds; ``moments`` by which certificates were to be judged.  While
    ``trouble`` is set, attempts fail with it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.times: list[float] = []
        self.moments: list[datetime | None] = []
        self.trouble: str | None = None
        self.keys: KeySet
        self.new_keys()

    def new_keys(self) -> None:
        """Give the servers new keys, as after a restart without their key file."""
        self.keys = KeySet.fresh(self.world.randbytes)

    def serve(self, servers: Iterable[ReferenceServer]) -> None:
        """Let servers answer in NTS, with the keys of this moment."""
        for server in servers:
            server.nts = ServerProtection(self.keys, self.world.randbytes)

    async def __call__(
        self, reactor: Any, host: str, port: int, trust: Trust, timeout: float = 5.0, moment: datetime | None = None
    ) -> KeyExchangeResult:
        """Exchange keys."""
        self.times.append(reactor.seconds())
        self.moments.append(moment)
        if self.trouble is not None:
            raise KeyExchangeError(f"key exchange with {host}: {self.trouble}")
        try:
            addresses = await resolve(reactor, host, timeout)
        except ResolutionError as error:
            raise KeyExchangeError(str(error)) from None
        session = self.world.randbytes(16)

        def export(context: bytes, size: int) -> bytes:
            return hashlib.sha512(session + context).digest()[:size]

        client = ClientExchange(export)
        answered = ServerExchange(export, self.keys.make_cookies).received(client.request)
        assert answered is not None
        completed = client.received(answered.data)
        assert isinstance(completed, Completed)
        server = addresses[(len(self.times) - 1) % len(addresses)]
        return replace(completed.result, server=server, port=123)
