"""
What serving costs beside chronyd: requests a second, their latency, NTS, key exchanges; one core, loopback.

Both servers run on one core of a private network and are asked in turn from the other core; chronyd never sets the
clock.  ``python bench/serve.py [--seconds 3] [--rounds 5]`` prints medians of the rounds, the medians of our ratio to
chronyd in each round, and the goals.  The rows "per CPU second" hold even where the machine has other things to do.
Requests that got no reply within 100 ms are lost; a reply that is wrong ends the benchmark.  It needs a C compiler for
the load generator, and the chronyd that the functional tests unpack (``tests/functional/peers/fetch.py``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.serving import (  # noqa: E402 - the path had to be set first
    Load,
    Loaded,
    Server,
    exchange_keys,
    processor_seconds,
    serve_chronyd,
    serve_ntptwist,
    write_templates,
)
from ntptwist.nts.aead import Algorithm  # noqa: E402
from tests.functional.peers.lab import Lab  # noqa: E402
from tests.functional.peers.nts import Credentials  # noqa: E402

IN_FLIGHT = (1, 16, 256, 1024)
NTS_IN_FLIGHT = 256
GOALS = {
    "plain, 1 in flight": ">= 0.7",
    "plain, 256 in flight": ">= 1.0",
    "plain, 1024 in flight": ">= 1.1",
    "NTS, 256 in flight": ">= 0.4",
    "key exchanges per CPU second": ">= 1000",
}


class Rounds:
    """What was measured of two servers in alternating rounds: for each row the values of both."""

    def __init__(self, load: Load, servers: tuple[Server, Server], seconds: float) -> None:
        self.rows: dict[str, list[tuple[float, float]]] = {}
        self._load = load
        self._servers = servers
        self._seconds = seconds

    def add(self, label: str, theirs: float, ours: float) -> None:
        """Add the values of one round."""
        self.rows.setdefault(label, []).append((theirs, ours))

    def load(self, label: str, in_flight: int, turn: int, templates: Mapping[Server, Path] | None = None) -> None:
        """Load both, each first in every other round, and add the rows of it."""
        seen: dict[Server, Loaded] = {}
        for server in self._servers if turn % 2 == 0 else self._servers[::-1]:
            options = ("-t", templates[server]) if templates is not None else ()
            loaded = seen[server] = self._load.run(server, in_flight, self._seconds, *options)
            if loaded.wrong or loaded.kisses or not loaded.replies:
                raise SystemExit(f"{label}: {server.name} answers wrongly or not at all: {loaded}")
        theirs, ours = (seen[server] for server in self._servers)
        self.add(label, theirs.rate, ours.rate)
        self.add(f"{label}: per CPU second", theirs.per_processor_second, ours.per_processor_second)
        self.add(f"{label}: median latency, us", theirs.median_us, ours.median_us)
        self.add(f"{label}: lost, %", _lost(theirs), _lost(ours))

    def show(self) -> None:
        """Print the table."""
        print(f"{'':<46}{'chronyd':>10}{'ntptwist':>10}{'ratio':>8}{'in rounds':>14}{'goal':>9}")
        for label, values in self.rows.items():
            theirs, ours = (median(each) for each in zip(*values, strict=True))
            ratios = sorted(mine / other for other, mine in values if other and not label.endswith("%"))
            ratio = f"{median(ratios):.2f}" if ratios else ""
            extent = f"{ratios[0]:.2f}..{ratios[-1]:.2f}" if ratios else ""
            print(f"{label:<46}{_shown(theirs):>10}{_shown(ours):>10}{ratio:>8}{extent:>14}{GOALS.get(label, ''):>9}")


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _lost(loaded: Loaded) -> float:
    return 100.0 * loaded.lost / loaded.sent


def key_exchanges_per_second(lab: Lab, server: Server, count: int) -> float:
    """Give the key exchanges that a second of the server's processor time makes."""
    before = processor_seconds(server.pid)
    for _ in range(count):
        exchange_keys(lab, server.ip)
    return count / (processor_seconds(server.pid) - before)


def main() -> None:
    """Measure both in alternating rounds."""
    options = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    options.add_argument("--seconds", type=float, default=3.0, help="of each load")
    options.add_argument("--rounds", type=int, default=5, help="of all loads")
    options.add_argument("--clients", type=int, default=64, help="that use NTS")
    options.add_argument("--exchanges", type=int, default=200, help="of keys in each round")
    options.add_argument("--aead", type=int, choices=[*Algorithm], default=Algorithm.AES_SIV_CMAC_256)
    chosen = options.parse_args()
    with closing(Lab()) as lab:
        load = Load(lab)
        credentials = Credentials(lab)
        servers = serve_chronyd(lab, credentials), serve_ntptwist(lab, credentials)
        templates = {server: lab.directory / f"{server.name}.requests" for server in servers}
        for server, path in templates.items():
            clients = [exchange_keys(lab, server.ip, Algorithm(chosen.aead)) for _ in range(chosen.clients)]
            write_templates(path, clients, NTS_IN_FLIGHT)
        rounds = Rounds(load, servers, chosen.seconds)
        for turn in range(chosen.rounds):
            for in_flight in IN_FLIGHT:
                rounds.load(f"plain, {in_flight} in flight", in_flight, turn)
            rounds.load(f"NTS, {NTS_IN_FLIGHT} in flight", NTS_IN_FLIGHT, turn, templates)
            made = [key_exchanges_per_second(lab, server, chosen.exchanges) for server in servers]
            rounds.add("key exchanges per CPU second", *made)
        rounds.show()


if __name__ == "__main__":
    main()
