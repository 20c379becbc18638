"""
The server's half of the on-wire protocol (RFC 5905, sections 8 and 9.2): one request in, one reply out, no state.

A reply is never longer than its request, so nobody is attacked through this server with more than the attacker sends.
What stands in a request after the header is read by ``nts`` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntptwist.errors import WireError
from ntptwist.identifiers import KissCode, Leap, ReferenceId
from ntptwist.protocol.actions import Dropped
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp, encode_short, encode_timestamp
from ntptwist.wire.header import Header, Mode

if TYPE_CHECKING:
    from ntptwist.nts.responder import ServerProtection


def respond(
    request: bytes,
    received: Timestamp,
    transmit: Timestamp,
    time: TimeSnapshot,
    monotonic: Monotonic,
    nts: ServerProtection | None = None,
) -> bytes | Dropped:
    """
    Give the reply to a request that came in at ``received``, or say why there is none.

    ``transmit`` is the local clock and ``monotonic`` the same clock's other axis at the time of replying.  With
    ``nts``, requests that use NTS are answered in kind, or with the kiss NTSN where their cookie does not open.
    """
    try:
        asked = Header.parse(request)
    except WireError as error:
        return Dropped(f"not a request: {error}")
    if asked.mode is not Mode.CLIENT:
        return Dropped(f"the packet has mode {asked.mode:d}, not that of a client")
    try:
        protected = nts.read(request) if nts is not None else None
    except WireError as error:
        return Dropped(f"not a request: {error}")
    if nts is not None and protected is not None and protected.session is None:
        return nts.seal(_refusal(asked).serialize(), protected)
    reply = Header(
        leap=time.leap,
        version=asked.version,
        mode=Mode.SERVER,
        stratum=time.stratum,
        poll=asked.poll,
        precision=time.precision,
        root_delay=encode_short(time.root_delay),
        root_dispersion=encode_short(time.root_dispersion(monotonic)),
        reference_id=time.reference_id,
        # The clock may have been stepped back since it was last set; no client likes a reference time to come.
        reference_timestamp=encode_timestamp(min(time.reference_time, received)),
        origin_timestamp=asked.transmit_timestamp,
        receive_timestamp=encode_timestamp(received),
        transmit_timestamp=encode_timestamp(transmit),
    ).serialize()
    return reply if nts is None or protected is None else nts.seal(reply, protected)


def _refusal(asked: Header) -> Header:
    """Give the kiss that says that a request can't be verified (RFC 8915, section 5.7)."""
    return Header(
        leap=Leap.UNSYNCHRONIZED,
        version=asked.version,
        mode=Mode.SERVER,
        poll=asked.poll,
        reference_id=ReferenceId(KissCode.NTSN.value),
        origin_timestamp=asked.transmit_timestamp,
    )
