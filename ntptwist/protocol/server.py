"""
The server's half of the on-wire protocol (RFC 5905, sections 8 and 9.2): one request in, one reply out, no state.

A reply is never longer than its request, so nobody is attacked through this server with more than the attacker sends.
What stands in a request after the header is not read.
"""

from __future__ import annotations

from ntptwist.errors import WireError
from ntptwist.protocol.actions import Dropped
from ntptwist.snapshot import TimeSnapshot
from ntptwist.timestamp import Monotonic, Timestamp, encode_short, encode_timestamp
from ntptwist.wire.header import Header, Mode


def respond(
    request: bytes, received: Timestamp, transmit: Timestamp, time: TimeSnapshot, monotonic: Monotonic
) -> bytes | Dropped:
    """
    Give the reply to a request that came in at ``received``, or say why there is none.

    ``transmit`` is the local clock and ``monotonic`` the same clock's other axis at the time of replying.
    """
    try:
        asked = Header.parse(request)
    except WireError as error:
        return Dropped(f"not a request: {error}")
    if asked.mode is not Mode.CLIENT:
        return Dropped(f"the packet has mode {asked.mode:d}, not that of a client")
    return Header(
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
