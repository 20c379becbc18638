"""
How well clients measure servers, chronyd and ours on either side: offsets over loopback, where the true one is 0.

``python bench/precision.py [--seconds 60]`` prints mean and standard deviation of the offset, reference minus local, in
microseconds, with the middle half of all values: a machine that has other things to do spoils the deviation first.
Clients only measure and never correct.  chronyd's are read from its log of measurements, ours from the record of the
daemon; a probe with kernel timestamps says how much earlier than its reply a server's transmit timestamp is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean, median, pstdev, quantiles

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.probe import INTERVAL, Probe, earliness, offset  # noqa: E402 - the path had to be set first
from bench.serving import CLIENT_CORE, Server, serve_chronyd, serve_ntptwist  # noqa: E402
from ntptwist.measurement import TwoWayMeasurement  # noqa: E402
from ntptwist.observe.plain import unpack  # noqa: E402
from tests.functional.daemon import BIN, Ntptwist  # noqa: E402
from tests.functional.peers.daemons import Chrony  # noqa: E402
from tests.functional.peers.lab import Lab  # noqa: E402
from tests.functional.peers.nts import Credentials  # noqa: E402

POLL = -4
SETTLING = 20
"""Measurements at the start that do not count."""

_ADDRESS, _OFFSET, _MODE = 2, 11, 17
_SOURCE = '[[source]]\nmode = "server"\naddress = "{ip}"\npoll-interval-limits = {{ min = -2, max = -2 }}\n'


class ChronyObserver(Chrony):
    """chronyd that measures servers, all in basic or all in interleaved mode, and follows none."""

    def __init__(self, lab: Lab, ip: str, servers: Iterable[Server], *, interleaved: bool) -> None:
        self._letter = "I" if interleaved else "B"
        mode = " xleave" if interleaved else ""
        lines = [f"server {each.ip} minpoll {POLL} maxpoll {POLL} noselect{mode}" for each in servers]
        super().__init__(lab, "sid", ip=ip, port=1123, extra="\n".join([*lines, "log measurements", ""]))
        self.extra += f"logdir {self.directory}"

    def command(self) -> list[str | Path]:
        """Give the words that run it on the clients' core."""
        return ["taskset", "-c", CLIENT_CORE, *super().command()]

    def offsets(self, server: Server) -> list[float]:
        """Give the offsets that it has measured of a server, microseconds."""
        rows = (line.split() for line in (self.directory / "measurements.log").read_text().splitlines())
        found = [
            1e6 * float(row[_OFFSET])
            for row in rows
            if len(row) > _MODE and row[_ADDRESS] == server.ip and row[_MODE][1:2] == self._letter
        ]
        return found[SETTLING:]


def observe_with_ours(lab: Lab, servers: Iterable[Server]) -> tuple[Ntptwist, Path]:
    """Start our daemon as a client that observes; give it with the path of its record."""
    client = Ntptwist(lab, [], name="observer", command=("taskset", "-c", CLIENT_CORE, BIN / "ntptwist"))
    record = client.directory / "record"
    sources = "".join(_SOURCE.format(ip=server.ip) for server in servers)
    client.file.write_text(f'{client.file.read_text()}\n[observability]\nrecord = "{record}"\n{sources}')
    return client.start(), record


def recorded_offsets(record: Path, *, interleaved: bool) -> list[list[float]]:
    """Give the offsets in a record of our daemon, microseconds, source by source."""
    found: dict[int, list[float]] = {}
    for line in record.read_text().splitlines():
        name, arguments, *_ = json.loads(line)
        if name == "measured":
            measurement = unpack(TwoWayMeasurement, arguments[1])
            of_source = found.setdefault(arguments[0], [])
            if measurement.interleaved == interleaved:
                of_source.append(1e6 * measurement.offset)
    return [found[source][SETTLING:] for source in sorted(found)]


def show(label: str, values: Sequence[float]) -> None:
    """Print one row."""
    if len(values) < 8:
        print(f"{label:<44}{len(values):>8} too few")
        return
    low, _, high = quantiles(values, n=4)
    print(f"{label:<44}{len(values):>8}{fmean(values):>9.2f}{pstdev(values):>9.2f}{low:>10.2f} ..{high:>6.2f}")


def main() -> None:
    """Measure everything with everything."""
    options = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    options.add_argument("--seconds", type=float, default=60.0, help="that daemons measure; probes take a third of it")
    chosen = options.parse_args()
    with closing(Lab()) as lab:
        credentials = Credentials(lab)
        servers = serve_chronyd(lab, credentials), serve_ntptwist(lab, credentials)
        basic = ChronyObserver(lab, "127.0.3.1", servers, interleaved=False).start()
        interleaved = ChronyObserver(lab, "127.0.3.2", servers, interleaved=True).start()
        ours, record = observe_with_ours(lab, servers)
        time.sleep(chosen.seconds)
        for client in (basic, interleaved, ours):
            client.stop()
        print(f"{'offset, us':<44}{'count':>8}{'mean':>9}{'std':>9}{'middle half':>18}")
        for server in servers:
            show(f"chronyd of {server.name}, basic", basic.offsets(server))
            show(f"chronyd of {server.name}, interleaved", interleaved.offsets(server))
        for server, offsets in zip(servers, recorded_offsets(record, interleaved=True), strict=True):
            show(f"ntptwist of {server.name}, interleaved", offsets)
        probed = {}
        for mode in (False, True):
            for server in servers:
                probe = Probe(lab, server.ip, interleaved=mode)
                probed[server, mode] = list(probe.measure(round(chosen.seconds / 12 / INTERVAL)))[SETTLING:]
                words = "interleaved" if mode else "basic"
                show(f"probe of {server.name}, {words}", [offset(stamps) for stamps in probed[server, mode]])
        for server in servers:
            early = [median(map(earliness, probed[server, mode])) for mode in (False, True)]
            print(
                f"T3 of {server.name} is early by {early[0]:.2f} us, in interleaved mode {early[1]:.2f}: basic offsets"
            )
            print(f"    are wrong by {-early[0] / 2:.2f} us, median; goal: 1 us")


if __name__ == "__main__":
    main()
