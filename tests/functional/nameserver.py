"""
A name server for one name: ``python nameserver.py IP LOG NAME ADDRESS ...``.

It answers on port 53 of ``IP``, over UDP and TCP, with the addresses of the family that is asked for, in their order;
any other name does not exist.  Each question is a line in the file ``LOG``: the type and the name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.names import common, dns, error, server


class OneName(common.ResolverBase):
    """Knows the addresses of one name."""

    def __init__(self, questions: Path, name: str, addresses: Sequence[str]) -> None:
        super().__init__()
        self._questions = questions
        self._name = name
        self._records: dict[int, list[Any]] = {
            dns.A: [dns.Record_A(each) for each in addresses if ":" not in each],
            dns.AAAA: [dns.Record_AAAA(each) for each in addresses if ":" in each],
        }

    def query(self, query: Any, timeout: Any = None) -> Any:
        """Answer a question, and note it."""
        name = query.name.name.decode("ascii").lower()
        with self._questions.open("a") as file:
            print(dns.QUERY_TYPES.get(query.type, query.type), name, file=file)
        if name != self._name:
            return defer.fail(error.DomainError(name))
        records = self._records.get(query.type, [])
        return defer.succeed(([dns.RRHeader(name, each.TYPE, ttl=60, payload=each) for each in records], [], []))


def main(ip: str, log: str, name: str, *addresses: str) -> None:
    """Serve until somebody ends it."""
    running: Any = reactor
    factory = server.DNSServerFactory(clients=[OneName(Path(log), name, addresses)])
    running.listenUDP(53, dns.DNSDatagramProtocol(factory), interface=ip)
    running.listenTCP(53, factory, interface=ip)
    Path(log).touch()
    running.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
