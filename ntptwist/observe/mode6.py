"""
The state of the daemon in the words of ntpd, for ntpq (``wire.mode6``).

Offsets are ours: reference minus local, here in milliseconds; the frequency is the correction, ppm, as in ntpd.
Sources are its associations; one that has no address yet is none.  The clocks of this machine have addresses in
127.127.0.0/16 and names like ``PPS(0)``, by which ntpq knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

import ntptwist
from ntptwist.errors import WireError
from ntptwist.identifiers import Leap, ReferenceId
from ntptwist.observe.address import clock_name, endpoint, followed, is_reference_clock
from ntptwist.snapshot import SourceSnapshot, SystemSnapshot
from ntptwist.timestamp import Timestamp, encode_timestamp
from ntptwist.wire.mode6 import (
    ClockSource,
    Failure,
    Operation,
    Query,
    Selection,
    answer,
    parse,
    peer_status,
    refusal,
    system_status,
    text,
)

Variables = dict[str, object]

_SELECTIONS = {
    "best": Selection.CANDIDATE,
    "used": Selection.CANDIDATE,
    "falseticker": Selection.FALSETICKER,
    "drifting": Selection.FALSETICKER,
    "not_preferred": Selection.OUTLIER,
    "agrees": Selection.OUTLIER,
    "required": Selection.OUTLIER,
}
"""By the standing of a source (``algorithm.select.Standing``) that is not followed; all others are rejected."""

_DRIVERS = {"sock": ("SOCK", 28), "pps": ("PPS", 22), "gpsd": ("GPSD", 46)}
"""The name of a reference clock's kind and its number among ntpd's drivers."""
_OTHER_DRIVER = ("LOCAL", 1)

_CLIENT, _SERVER = 3, 4
_NO_STRATUM = 16


def association(row: SourceSnapshot) -> int:
    """Give the number of a source."""
    return (row.id or 0) & 0xFFFF


def associations(snapshot: SystemSnapshot) -> list[SourceSnapshot]:
    """Give the sources that are associations."""
    return [row for row in snapshot.sources if row.id is not None]


def status_of_system(snapshot: SystemSnapshot) -> int:
    """Give the status word of the system."""
    best = followed(snapshot)
    kept = ClockSource.UNSPECIFIED
    if best is not None:
        kept = ClockSource.NTP
        if is_reference_clock(best):
            kept = ClockSource.PPS if best.observation.mode == "pps" else ClockSource.RADIO
    return system_status(snapshot.time.leap, kept)


def status_of_source(row: SourceSnapshot, snapshot: SystemSnapshot) -> int:
    """Give the status word of a source."""
    selection = _SELECTIONS.get(row.estimate.standing, Selection.REJECTED)
    if followed(snapshot) is row:
        selection = Selection.PPS_PEER if row.observation.mode == "pps" else Selection.SYSTEM_PEER
    nts = row.observation.nts_cookies is not None
    return peer_status(selection, reachable=row.observation.reach != 0, authenticated=nts)


def system_variables(snapshot: SystemSnapshot) -> Variables:
    """Give what ``ntpq -c rv`` shows."""
    clock = snapshot.time
    best = followed(snapshot)
    known = clock.synchronized
    return {
        "version": _quoted(f"ntptwist {ntptwist.__version__}"),
        "leap": int(clock.leap),
        "stratum": clock.stratum,
        "precision": clock.precision,
        "rootdelay": _milliseconds(clock.root_delay if known else 0.0),
        "rootdisp": _milliseconds(clock.root_dispersion(snapshot.monotonic)),
        "refid": _reference(clock.reference_id, clock.stratum) if known else "INIT",
        "reftime": _stamp(clock.reference_time if known else None),
        "clock": _stamp(snapshot.now),
        "peer": 0 if best is None else association(best),
        "peeradr": "0.0.0.0:0" if best is None else _peer_address(best),
        "peermode": 0 if best is None else _CLIENT,
        "tc": 0 if best is None else best.observation.poll,
        "offset": _milliseconds(snapshot.offset),
        "frequency": f"{snapshot.oscillator_frequency:.3f}",
        "sys_jitter": _milliseconds(None if best is None else best.estimate.jitter),
        "clk_jitter": _milliseconds(snapshot.corrections.typical),
        "clk_wander": f"{snapshot.frequency_error or 0.0:.3f}",
    }


def source_variables(row: SourceSnapshot, snapshot: SystemSnapshot) -> Variables:
    """Give what ``ntpq -c "rv ASSOCIATION"`` shows and ``ntpq -p`` makes its line of."""
    seen, known = row.observation, row.estimate
    last = known.last_measurement
    received = None if last is None else Timestamp(snapshot.now - (snapshot.monotonic - last))
    stratum = _NO_STRATUM if known.stratum is None else known.stratum
    return {
        **_address_variables(row),
        "leap": int(Leap.UNSYNCHRONIZED if known.leap is None else known.leap),
        "stratum": stratum,
        "precision": known.precision or 0,
        "rootdelay": _milliseconds(known.root_delay),
        "rootdisp": _milliseconds(known.root_dispersion),
        "refid": "INIT" if known.reference_id is None else _reference(known.reference_id, stratum),
        "reftime": _stamp(None),  # not known; ntpq takes it for the last answer where there was none
        "rec": _stamp(received),
        "reach": f"{seen.reach:#x}",
        "hmode": _CLIENT,
        "pmode": _SERVER,
        "hpoll": seen.poll,
        "ppoll": seen.poll,
        "offset": _milliseconds(known.offset),
        "delay": _milliseconds(known.delay),
        "dispersion": _milliseconds(known.uncertainty),
        "jitter": _milliseconds(known.jitter),
        **({} if seen.nts_cookies is None else {"ntscookies": seen.nts_cookies}),
    }


def clock_variables(row: SourceSnapshot) -> Variables:
    """Give what ``ntpq -c cv`` shows of a clock of this machine."""
    seen, known = row.observation, row.estimate
    return {
        "name": _quoted(_driver(seen.mode)[0]),
        "device": _quoted(seen.address or seen.name),
        "poll": seen.received + seen.dropped,
        "baddata": seen.dropped,
        "stratum": known.stratum or 0,
        "refid": _reference(clock_name(row), 0),
    }


class ControlAnswers:
    """Answers requests of mode 6; ``snapshot`` gives the state."""

    def __init__(self, snapshot: Callable[[], SystemSnapshot]) -> None:
        self._snapshot = snapshot

    def __call__(self, request: bytes) -> list[bytes]:
        """Give the datagrams that answer a request; none to what is no request."""
        try:
            query = parse(request)
        except WireError:
            return []
        snapshot = self._snapshot()
        row = next((each for each in associations(snapshot) if association(each) == query.association), None)
        if query.association and row is None:
            return [refusal(query, Failure.ASSOCIATION)]
        match query.operation:
            case Operation.READ_STATUS if row is None:
                return answer(query, status_of_system(snapshot), _status_list(snapshot))
            case Operation.READ_STATUS | Operation.READ_VARIABLES if row is not None:
                return _variables(query, status_of_source(row, snapshot), source_variables(row, snapshot))
            case Operation.READ_VARIABLES:
                return _variables(query, status_of_system(snapshot), system_variables(snapshot))
            case Operation.READ_CLOCK_VARIABLES:
                clock = row or followed(snapshot)
                if clock is None or not is_reference_clock(clock):
                    return [refusal(query, Failure.ASSOCIATION)]
                return _variables(query, 0, clock_variables(clock))
        return [refusal(query, Failure.OPERATION)]


def _status_list(snapshot: SystemSnapshot) -> bytes:
    rows = associations(snapshot)
    return b"".join(
        association(row).to_bytes(2, "big") + status_of_source(row, snapshot).to_bytes(2, "big") for row in rows
    )


def _variables(query: Query, status: int, known: Mapping[str, object]) -> list[bytes]:
    """
    Answer with the variables that were asked for.

    One that is not known here refuses them all: ntpq then asks for each alone, where some of its commands crash on an
    answer that lacks any.
    """
    if not known.keys() >= set(query.names):
        return [refusal(query, Failure.VARIABLE)]
    return answer(query, status, text({name: known[name] for name in query.names or known}))


def _address_variables(row: SourceSnapshot) -> Variables:
    where = endpoint(row)
    if where is None:
        name, driver = _driver(row.observation.mode)
        unit = association(row) & 0xFF
        return {"srcadr": f"127.127.{driver}.{unit}", "srcport": 0, "srchost": _quoted(f"{name}({unit})")}
    host = str(where.host)
    named = {} if row.observation.name.startswith((host, "[")) else {"srchost": _quoted(row.observation.name)}
    return {"srcadr": host, "srcport": where.port, **named}


def _peer_address(row: SourceSnapshot) -> str:
    where = endpoint(row)
    if where is not None and where.host.version == 6:
        return f"[{where.host}]:{where.port}"
    variables = _address_variables(row)
    return f"{variables['srcadr']}:{variables['srcport']}"


def _driver(mode: str) -> tuple[str, int]:
    return _DRIVERS.get(mode, _OTHER_DRIVER)


def _reference(reference: ReferenceId, stratum: int) -> str:
    """Give a reference id as ntpd writes it: letters up to stratum 1 where they are any, else an address."""
    letters = bytes(reference).rstrip(b"\0 ")
    if stratum <= 1 and letters.isalnum():
        return letters.decode("ascii")
    return str(IPv4Address(bytes(reference)))


def _milliseconds(seconds: float | None) -> str:
    return f"{(seconds or 0.0) * 1e3:.6f}"


def _stamp(moment: Timestamp | None) -> str:
    value = 0 if moment is None else encode_timestamp(moment)
    return f"0x{value >> 32:08x}.{value & 0xFFFFFFFF:08x}"


def _quoted(words: str) -> str:
    plain = words.replace('"', "'")
    return f'"{plain}"'
