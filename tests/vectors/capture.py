"""
Captures the packets in this directory from the real daemons of the functional tests.

Plain requests are made here; all others come from a real client, whose exchanges with a real server pass through a
relay that writes them down.  What each reply means is read by ntplib, which shares nothing with this project; it knows
neither extension fields nor MACs, and gives timestamps as floats, so those are cut out here, at the offsets of RFC
5905, section 7.3, and the timestamps are compared with ntplib's.  Run it from the project:

    python3 tests/functional/peers/fetch.py
    .venv/bin/python -m tests.vectors.capture
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import ntplib

from tests.functional.peers.daemons import Address, Chrony, Daemon, NTPDRs, NTPsec
from tests.functional.peers.fetch import PeersMissingError
from tests.functional.peers.lab import Lab

Record = dict[str, object]
Exchange = tuple[bytes, bytes]

HERE = Path(__file__).parent
RELAY_IP, RELAY_LINK_IP, SERVER_IP = "127.0.9.1", "10.99.1.2", "127.0.9.2"
POLL, PRECISION, COOKIE = 6, -24, bytes.fromhex("0123456789abcdef")
PEERS: tuple[tuple[type[Daemon], str], ...] = (
    (Chrony, "bookworm"),
    (Chrony, "sid"),
    (NTPDRs, "sid"),
    (NTPsec, "bookworm"),
    (NTPsec, "sid"),
)
UNIQUE_IDENTIFIER = struct.pack("!HH32s", 0x0104, 36, bytes(range(32)))
UNKNOWN_FIELD = struct.pack("!HH24s", 0x7777, 28, bytes(range(24)))
KEYS = {
    9: ("MD5", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"),
    10: ("SHA1", "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf"),
    11: ("AES128", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
}
_TIMESTAMPS = {"reference": 16, "origin": 24, "receive": 32, "transmit": 40}
_HEADER_OCTETS, _LONGEST_MAC = 48, 24


class CaptureError(Exception):
    """A daemon did not do what was to be captured."""


def request(version: int) -> bytes:
    """Give a plain client request with a transmit timestamp that is easy to know again."""
    return struct.pack("!BBbb36x8s", version << 3 | 3, 0, POLL, PRECISION, COOKIE)


def expected(reply: bytes) -> Record:
    """Give what a reply means."""
    packet = ntplib.NTPPacket()
    packet.from_data(reply[:_HEADER_OCTETS])
    theirs = (packet.ref_timestamp, packet.orig_timestamp, packet.recv_timestamp, packet.tx_timestamp)
    stamps = {name: reply[offset : offset + 8] for name, offset in _TIMESTAMPS.items()}
    for ours, float_seconds in zip(stamps.values(), theirs, strict=True):
        if abs(int.from_bytes(ours) / 2**32 - float_seconds) > 1e-6:
            raise CaptureError(f"ntplib reads another timestamp than {ours.hex()}")
    fields, mac = trailer(reply)
    return {
        "leap": packet.leap,
        "version": packet.version,
        "mode": packet.mode,
        "stratum": packet.stratum,
        "poll": (packet.poll + 128) % 256 - 128,  # ntplib reads it as unsigned
        "precision": packet.precision,
        "root_delay_seconds": packet.root_delay,
        "root_dispersion_seconds": packet.root_dispersion,
        "reference_id": f"{packet.ref_id:08x}",
        **{f"{name}_timestamp": stamp.hex() for name, stamp in stamps.items()},
        **({"fields": fields} if fields else {}),
        **({"mac": mac} if mac else {}),
    }


def trailer(packet: bytes) -> tuple[list[Record], Record]:
    """Give the extension fields and the MAC of a packet: RFC 7822, section 3."""
    rest = packet[_HEADER_OCTETS:]
    fields: list[Record] = []
    while len(rest) > _LONGEST_MAC:
        kind, size = struct.unpack_from("!HH", rest)
        fields.append({"type": f"{kind:04x}", "body": rest[4:size].hex()})
        rest = rest[size:]
    mac: Record = {"key_id": int.from_bytes(rest[:4]), "digest": rest[4:].hex()} if rest else {}
    return fields, mac


def record(daemon: Daemon, name: str, how: str, exchange: Exchange) -> Record:
    """Give the entry of one exchange; ``name`` says what is special about it."""
    version = daemon.peers.versions[daemon.kind]
    asked, reply = exchange
    return {
        "name": f"{daemon.kind} {version.split('-')[0].split('+')[0]}: {name}",
        "origin": f"{daemon.kind} {version} of Debian {daemon.suite}: {how}",
        "request": asked.hex(),
        "reply": reply.hex(),
        "expected": expected(reply),
    }


def ask(daemon: Daemon, sent: bytes, code: bytes = b"") -> Exchange:
    """Send a request until it is answered, with the kiss ``code`` where one is given."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        reply = daemon.lab.ask(sent, *daemon.address, seconds=0.1)
        if reply is not None and (not code or (reply[1], reply[12:16]) == (0, code)):
            return sent, reply
        time.sleep(0.02)
    raise CaptureError(f"{daemon.kind} of {daemon.suite} does not give the wanted reply")


def relayed(client: Daemon, server: Daemon, *, ip: str = RELAY_IP, count: int = 1) -> list[Exchange]:
    """Start a client whose source is a relay at ``ip``, and give its first exchanges with the server."""
    exchanges = []
    with client.lab.open_socket() as near, client.lab.open_socket() as far:
        near.bind((ip, 123))
        near.settimeout(10)
        far.connect(server.address)
        far.settimeout(1)
        client.start()
        for _ in range(count):
            asked, whom = near.recvfrom(4096)
            far.send(asked)
            reply = far.recv(4096)
            near.sendto(reply, whom)
            exchanges.append((asked, reply))
    return exchanges


def plain(peer: type[Daemon], suite: str) -> Iterator[Record]:
    """Give the replies to plain requests, with a local reference and without one."""
    for stratum in (1, None):
        with closing(Lab()) as lab:
            server = peer(lab, suite, stratum=stratum).start()
            server = server.wait_serving() if stratum is None else server.wait_synchronised()
            how = "no reference" if stratum is None else f"local reference of stratum {stratum}"
            state = "unsynchronised" if stratum is None else "synchronised"
            for version in (4, 3):
                yield record(server, f"{state}, NTPv{version}", f"{how}, plain request", ask(server, request(version)))
            if stratum is not None and peer is not NTPsec:
                sent = request(4) + UNKNOWN_FIELD
                yield record(server, "unknown extension field", f"{how}, field 7777 in the request", ask(server, sent))


def following(peer: type[Daemon], suite: str) -> Iterator[Record]:
    """Give the reply of a daemon that follows a server of stratum 3."""
    with closing(Lab()) as lab:
        server = Chrony(lab, suite, ip=RELAY_LINK_IP if peer is NTPsec else SERVER_IP, stratum=3).start()
        client = peer(lab, suite, sources=[server.wait_serving().address]).start().wait_synchronised()
        how = "following a chronyd of stratum 3, plain request"
        yield record(client, "following, NTPv4", how, ask(client, request(4)))


def chrony_client(lab: Lab, suite: str, options: str, extra: str = "") -> Chrony:
    """Give a chronyd that asks the relay."""
    source = f"server {RELAY_IP} port 123 iburst minpoll 0 maxpoll 0 {options}\n"
    return Chrony(lab, suite, ip="127.0.1.1", extra=source + extra)


def interleaved(suite: str) -> Iterator[Record]:
    """Give the first exchanges of chronyd with itself in interleaved mode, the first of them basic."""
    with closing(Lab()) as lab:
        server = Chrony(lab, suite, ip=SERVER_IP, stratum=1).start().wait_serving()
        for number, (asked, reply) in enumerate(relayed(chrony_client(lab, suite, "xleave"), server, count=5), 1):
            kind = "interleaved" if reply[24:32] == asked[32:40] != asked[40:48] else "basic"
            if (kind == "basic") != (number < 3):
                raise CaptureError(f"exchange {number} of chronyd of {suite} with xleave is {kind}")
            how = "chronyd of the same release as client with xleave"
            yield record(server, f"xleave exchange {number}, {kind}", how, (asked, reply))


def experimental(suite: str) -> Iterator[Record]:
    """Give an exchange of chronyd with itself that has chrony's experimental extension field both ways."""
    with closing(Lab()) as lab:
        server = Chrony(lab, suite, ip=SERVER_IP, stratum=1).start().wait_serving()
        (exchange,) = relayed(chrony_client(lab, suite, "extfield F323"), server)
        how = "chronyd of the same release as client with extfield F323"
        yield record(server, "experimental extension field", how, exchange)


def authenticated(suite: str) -> Iterator[Record]:
    """Give exchanges of chronyd with itself under symmetric keys."""
    for number, (algorithm, key) in KEYS.items():
        with closing(Lab()) as lab:
            keys = lab.directory / "keys"
            keys.write_text("".join(f"{each} {name} HEX:{text}\n" for each, (name, text) in KEYS.items()))
            extra = f"keyfile {keys}\n"
            server = Chrony(lab, suite, ip=SERVER_IP, stratum=1, extra=extra).start().wait_serving()
            (exchange,) = relayed(chrony_client(lab, suite, f"key {number}", extra), server)
            how = f"chronyd of the same release as client, {algorithm} key {key}"
            yield record(server, f"{algorithm} MAC", how, exchange)


def real_clients() -> Iterator[Record]:
    """Give the first request of every daemon as a client, with the reply of the newest chronyd."""
    for peer, suite in PEERS:
        with closing(Lab()) as lab:
            ip = RELAY_LINK_IP if peer is NTPsec else RELAY_IP
            sources: list[Address] = [(ip, 123)]
            client = peer(lab, suite, sources=sources)
            server = Chrony(lab, "sid", ip=SERVER_IP, stratum=1).start().wait_serving()
            version = client.peers.versions[client.kind]
            how = f"asked by {client.kind} {version} of Debian {suite} as client"
            (exchange,) = relayed(client, server, ip=ip)
            yield record(server, f"asked by {client.kind} of {suite}", how, exchange)


def kisses() -> Iterator[Record]:
    """Give the kisses-o'-death that the daemons can be brought to send."""
    deny = 'denylist = { filter = ["127.0.0.0/8"], action = "deny" }\n'
    with closing(Lab()) as lab:
        servers = (
            (Chrony(lab, "sid", stratum=1, extra="ratelimit interval 8 burst 1 leak 1 kod 1\n"), b"RATE"),
            (NTPDRs(lab, "sid", ip="127.0.1.2", stratum=1, extra=deny), b"DENY"),
            (NTPsec(lab, "sid", stratum=1, extra="restrict 10.99.1.1 kod limited\n"), b"RATE"),
        )
        for server, code in servers:
            exchange = ask(server.start(), request(4), code)
            how = f"plain requests until it sends one, with {server.extra.strip()!r}"
            yield record(server, f"kiss {code.decode()}", how, exchange)


def unique_identifier() -> Iterator[Record]:
    """Give the reply of ntpd-rs to a plain request with a unique identifier, which it returns."""
    with closing(Lab()) as lab:
        server = NTPDRs(lab, "sid", stratum=1).start().wait_serving()
        exchange = ask(server, request(4) + UNIQUE_IDENTIFIER)
        yield record(server, "unique identifier", "plain request with field 0104", exchange)


def write(name: str, *captures: Iterator[Record]) -> None:
    """Write the records of captures to a file, each on its own lines."""
    records = [each for capture in captures for each in capture]
    (HERE / name).write_text(json.dumps(records, indent=1) + "\n")
    print(f"{name}: {len(records)} exchanges")


def main() -> int:
    """Write all files anew."""
    try:
        chrony = [captured for suite in ("bookworm", "sid") for captured in (plain(Chrony, suite), interleaved(suite))]
        write("chrony.json", *chrony, following(Chrony, "sid"), experimental("sid"), authenticated("sid"))
        write("ntpd-rs.json", plain(NTPDRs, "sid"), following(NTPDRs, "sid"), unique_identifier())
        write("ntpsec.json", plain(NTPsec, "bookworm"), plain(NTPsec, "sid"), following(NTPsec, "sid"))
        write("clients.json", real_clients())
        write("kisses.json", kisses())
    except (PeersMissingError, CaptureError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
