"""
From a configured name to an address that can be used.

The look-up itself is the reactor's (getaddrinfo in a thread, unless another resolver is installed).  What is added here
is a limit in time, errors in words, and the choice of the first address that this host has a route to.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ntptwist.errors import ResolutionError
from ntptwist.net.address import with_scope
from ntptwist.net.port import timestamped_udp
from ntptwist.net.threads import abandon_threads_on_stop


@implementer(IResolutionReceiver)
class _Answer:
    """Collects the addresses of one name.  An answer that comes too late does a cancelled Deferred no harm."""

    def __init__(self) -> None:
        self.complete: Deferred[list[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address):
            self._addresses.append(address.host)
        elif isinstance(address, IPv6Address):
            self._addresses.append(with_scope(address.host, int(address.scopeID)))

    def resolutionComplete(self) -> None:
        self.complete.callback(list(dict.fromkeys(self._addresses)))


def _may_be_a_name(text: str) -> bool:
    """Tell whether getaddrinfo takes a text at all; where it raises instead, Twisted's resolver never answers."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return text != "" and text.isprintable()


async def resolve(reactor: Any, name: str, timeout: float = 5.0) -> list[str]:
    """
    Give the addresses of a name, IPv4 and IPv6, each once, in the resolver's order; a literal address gives itself.

    ``timeout`` is in seconds; an answer that comes later is ignored.  ResolutionError, in a sentence for people, when
    there is no address.
    """
    try:
        return [str(ip_address(name))]
    except ValueError:
        pass
    if not _may_be_a_name(name):
        raise ResolutionError(f"{name!r} is neither a name nor an address")
    abandon_threads_on_stop(reactor)
    answer = _Answer()
    reactor.nameResolver.resolveHostName(answer, name, transportSemantics="UDP")
    try:
        addresses = await answer.complete.addTimeout(timeout, reactor)
    except DeferredTimeoutError:
        raise ResolutionError(f"{name!r}: no answer from the resolver within {timeout:g} s") from None
    if not addresses:
        raise ResolutionError(f"{name!r} does not resolve")
    return addresses


def first_reachable(reactor: Any, addresses: Sequence[str], port: int) -> str:
    """
    Give the first address that a UDP socket of this reactor can be connected to, so that there is a route to it.

    No datagram is sent.  ResolutionError, with the reason for each address, when there is none.
    """
    udp = timestamped_udp(reactor)
    probe = DatagramProtocol()
    probe.noisy = False
    refusals = []
    for address in addresses:
        try:
            udp.connect_udp(address, port, probe).stopListening()
        except OSError as error:
            refusals.append(f"{address}: {error.strerror}")
        else:
            return address
    raise ResolutionError(f"no address can be reached ({'; '.join(refusals) or 'there is none'})")
