"""
Unmodified chronyc, ntpq and ntp-ctl look at the daemon and print what its own tool says, with their own signs.

The clock under test is a virtual one that starts 0.3 s slow on an oscillator 40 ppm slow, or one that is never
corrected, so that no sign can be right by chance.  The servers are chronyd; one of them is ahead by 100 ms.
"""

from __future__ import annotations

import csv
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.functional.daemon import Ntptwist
from tests.functional.peers import fetch
from tests.functional.peers.daemons import Chrony
from tests.functional.peers.lab import Lab, LabError

pytestmark = pytest.mark.functional

SLOW = 'control = "virtual"\nvirtual-offset = 0.3\nvirtual-frequency = -40.0'
AHEAD = "server 127.0.1.1 iburst minpoll -2 maxpoll 0 offset 0.1\nmakestep 0.001 3\n"
"""Makes a chronyd follow a good server at a distance of 100 ms; without a clock to steer it corrects what it serves."""
ANSWERS = """
[[server]]
listen = "127.0.0.1:123"
[observability]
mode6 = true
chronyc-listen = "{chronyc}"
observation-path = "{directory}/observe"
"""
FEED = """
[[source]]
mode = "sock"
path = "{directory}/feed"
precision = 0.1
reference-id = "GPS"
noselect = true
"""
MILLISECOND = 1e-3
TRACKING = struct.pack("!BBBBHHIII", 6, 1, 0, 0, 33, 0, 1, 0, 0).ljust(104, b"\0")
SUITES = ("bookworm", "sid")


def servers(lab: Lab) -> list[tuple[str, int]]:
    """Start a server that is ahead by 100 ms and three good ones."""
    good = [Chrony(lab, "sid", ip=f"127.0.1.{each}", stratum=1).start() for each in (1, 2, 3)]
    for server in good:
        server.wait_synchronised(15)
    ahead = Chrony(lab, "sid", ip="127.0.1.4", extra=AHEAD).start().wait_synchronised(15)
    return [server.address for server in (ahead, *good)]


def configured(lab: Lab, sources: list[tuple[str, int]], clock: str, chronyc: str = "", more: str = "") -> Ntptwist:
    """Give a daemon that answers them all; chronyc at its own path unless another place is given."""
    daemon = Ntptwist(lab, sources, clock=clock, minimum=0)
    text = (more + ANSWERS).format(directory=daemon.directory, chronyc=chronyc or daemon.directory / "chronyd.sock")
    daemon.file.write_text(daemon.file.read_text() + text)
    return daemon.start()


def chronyc(lab: Lab, suite: str, where: object, *words: str) -> str:
    """Give what chronyc prints; the newer one runs as root here, for there is no user of its own."""
    user = ["-u", "root"] if suite == "sid" else []
    client = fetch.unpacked(suite).command("chronyc")
    return lab.run([*client, *user, "-n", "-h", str(where), *words], seconds=20)


def table(lab: Lab, suite: str, where: object, *words: str) -> list[list[str]]:
    """Give what chronyc prints in its form for programs."""
    return list(csv.reader(chronyc(lab, suite, where, "-c", *words).splitlines()))


def ntpq(lab: Lab, *words: str) -> str:
    """Give what ntpq prints of the daemon."""
    return lab.run([*fetch.unpacked("bookworm").command("ntpq"), *words, "127.0.0.1"], seconds=20)


class Receiver:
    """A program that writes to the daemon what time it is: samples 50 ms ahead of the system's clock."""

    def __init__(self, lab: Lab, daemon: Ntptwist) -> None:
        self._socket = lab.open_socket(socket.AF_UNIX)
        self._path = str(daemon.directory / "feed")

    def sample(self) -> None:
        """Write one."""
        now = time.time()
        self._socket.sendto(
            struct.pack("@qqdiiii", int(now), int(now % 1 * 1e6), 0.05, 0, 0, 0, 0x534F434B), self._path
        )

    def close(self) -> None:
        """Stop."""
        self._socket.close()


@pytest.fixture
def slow(lab: Lab) -> Iterator[tuple[Ntptwist, dict[str, Any]]]:
    """A daemon whose clock was 0.3 s and 40 ppm slow, with the receiver of its own, and its state when all is known."""
    addresses = servers(lab)
    daemon = configured(lab, addresses, SLOW, more=FEED)
    with ExitStack() as ends:
        ends.callback(daemon.stop)
        daemon.wait(lambda state: len(state["sources"]) == 5, 10)
        receiver = Receiver(lab, daemon)
        ends.callback(receiver.close)

        def settled(state: dict[str, Any]) -> bool:
            receiver.sample()
            return (
                bool(state["synchronized"])
                and state["frequency_error"] < 1.0
                and all(source["measurements"] >= 8 for source in state["sources"])
            )

        yield daemon, daemon.wait(settled, 40)


@pytest.mark.parametrize("suite", SUITES)
def test_chronyc(lab: Lab, slow: tuple[Ntptwist, dict[str, Any]], suite: str) -> None:
    """chronyc's tables say of offsets, reach, poll, stratum and reference what our own status says."""
    daemon, _ = slow
    where = daemon.directory / "chronyd.sock"
    sources = {row[2]: row for row in table(lab, suite, where, "sources")}
    stats = {row[0]: row for row in table(lab, suite, where, "sourcestats")}
    state = daemon.status()
    (tracking,) = table(lab, suite, where, "tracking")

    assert [sources[f"127.0.1.{each}"][1] for each in (4,)] == ["x"]
    assert sorted(sources[f"127.0.1.{each}"][1] for each in (1, 2, 3)) == ["*", "+", "+"]
    assert sources["GPS"][:2] == ["#", "?"]
    for ours in state["sources"]:
        name = "GPS" if ours["mode"] == "sock" else ours["address"].removesuffix(":123")
        row = sources[name]
        assert int(row[3]) == ours["stratum"]
        assert int(row[5], 8) & 1 == ours["reach"] & 1
        assert abs(int(row[4]) - ours["poll"]) <= 1
        assert float(row[7]) == pytest.approx(-ours["offset"], abs=MILLISECOND)
        assert float(stats[name][6]) == pytest.approx(-ours["offset"], abs=MILLISECOND)
        assert float(stats[name][5]) > 0.0
    assert float(sources["127.0.1.4"][7]) == pytest.approx(-0.1, abs=MILLISECOND)
    assert float(sources["127.0.1.4"][8]) == pytest.approx(-0.1, abs=MILLISECOND)
    assert tracking[1] == sources[tracking[1]][2]
    assert sources[tracking[1]][1] == "*"
    assert int(tracking[2]) == state["stratum"] == 2
    assert float(tracking[3]) == pytest.approx(time.time(), abs=10.0)
    assert abs(float(tracking[4])) < MILLISECOND
    assert float(tracking[7]) == pytest.approx(-40.0, abs=3.0)
    assert float(tracking[10]) == pytest.approx(state["root_delay"], abs=MILLISECOND)
    assert tracking[13] == "Normal"
    assert "ppm slow" in chronyc(lab, suite, where, "tracking")


@pytest.mark.parametrize("suite", SUITES)
def test_chronyc_beyond_the_tables(lab: Lab, slow: tuple[Ntptwist, dict[str, Any]], suite: str) -> None:
    """The other commands that read are answered in the form of each release; those that change anything are refused."""
    daemon, _ = slow
    where = daemon.directory / "chronyd.sock"
    ntpdata = {row[0]: row for row in table(lab, suite, where, "ntpdata")}
    select = {row[1]: row for row in table(lab, suite, where, "selectdata")}
    (stats,) = table(lab, suite, where, "serverstats")
    (activity,) = table(lab, suite, where, "activity")

    assert float(ntpdata["127.0.1.4"][18]) == pytest.approx(0.1, abs=MILLISECOND)
    assert set(ntpdata) == {f"127.0.1.{each}" for each in (1, 2, 3, 4)}
    assert select["127.0.1.4"][0] == "x"
    assert float(select["127.0.1.4"][15]) <= -0.099
    assert select["GPS"][0] == "N"
    assert int(stats[2]) > 4
    assert activity == ["4", "0", "0", "0", "0"]
    assert len(table(lab, suite, where, "authdata")) == 4
    assert chronyc(lab, suite, where, "waitsync", "1", "0.01", "100").startswith("try: 1, refid:")
    assert chronyc(lab, suite, where, "sourcename", "127.0.1.4").strip() == "127.0.1.4:123"
    for command in ("makestep", "burst 4/4", "shutdown", "add server 127.0.1.9"):
        with pytest.raises(LabError, match="501 Not authorised"):
            chronyc(lab, suite, where, *command.split())


@pytest.mark.parametrize("suite", SUITES)
def test_chronyc_sees_two_daemons_alike(lab: Lab, suite: str) -> None:
    """chronyd and this daemon watch the same servers with the same clock: chronyc prints the same of both."""
    addresses = servers(lab)
    theirs = Chrony(lab, suite, ip="127.0.1.9", sources=addresses).start()
    daemon = configured(lab, addresses, 'control = "observe"')
    daemon.wait(lambda state: state["synchronized"] and all(row["measurements"] >= 5 for row in state["sources"]), 30)
    theirs.wait_synchronised(20)
    seen = {}
    for where in (theirs.directory / "command", daemon.directory / "chronyd.sock"):
        sources = {row[2]: row for row in table(lab, suite, where, "sources")}["127.0.1.4"]
        stats = {row[0]: row for row in table(lab, suite, where, "sourcestats")}["127.0.1.4"]
        select = {row[1]: row for row in table(lab, suite, where, "selectdata")}["127.0.1.4"]
        ntpdata = table(lab, suite, where, "ntpdata", "127.0.1.4")[0]
        (tracking,) = table(lab, suite, where, "tracking")
        seen[where] = [
            *(*sources[:4], float(sources[7]), float(sources[8]), float(stats[6])),
            *(select[0], float(select[15]), float(ntpdata[18]), float(tracking[4]), tracking[2], tracking[13]),
        ]
    daemon.stop()
    ours, others = seen.values()

    assert [each for each in ours if isinstance(each, str)] == [each for each in others if isinstance(each, str)]
    numbers = [[each for each in row if isinstance(each, float)] for row in (ours, others)]
    assert numbers[0] == pytest.approx(numbers[1], abs=MILLISECOND)
    assert numbers[0][0] == pytest.approx(-0.1, abs=MILLISECOND)


@pytest.mark.parametrize("suite", SUITES)
def test_a_clock_that_is_slow(lab: Lab, suite: str) -> None:
    """A clock that nobody corrects is 100 ms slow: every tool says so, each with its own sign."""
    addresses = servers(lab)
    daemon = configured(lab, addresses[:1], 'control = "observe"', chronyc="127.0.0.1:323")
    daemon.wait(lambda state: state["synchronized"] and state["sources"][0]["measurements"] >= 4, 20)
    tracking = chronyc(lab, suite, "127.0.0.1", "tracking")
    peers = ntpq(lab, "-pn")
    variables = ntpq(lab, "-c", "rv 0 offset")
    daemon.stop()
    system_time = re.search(r"System time +: ([0-9.]+) seconds (\w+) of NTP time", tracking)

    assert system_time is not None
    assert float(system_time[1]) == pytest.approx(0.1, abs=MILLISECOND)
    assert system_time[2] == "slow"
    assert float(peers.splitlines()[-1].split()[8]) == pytest.approx(100.0, abs=1.0)
    assert float(variables.strip().partition("=")[2]) == pytest.approx(100.0, abs=1.0)


def test_ntpq(lab: Lab, slow: tuple[Ntptwist, dict[str, Any]]) -> None:
    """ntpq's table, associations and variables say what our own status says, in milliseconds."""
    _, state = slow
    lines = ntpq(lab, "-pn").splitlines()[2:]
    rows = {line[1:].split()[0]: (line[0], line[1:].split()) for line in lines}
    associations = ntpq(lab, "-c", "as")
    system = ntpq(lab, "-c", "rv")
    source = ntpq(lab, "-c", "rv 1")

    assert rows["127.0.1.4"][0] == "x"
    assert sorted(rows[f"127.0.1.{each}"][0] for each in (1, 2, 3)) == ["*", "+", "+"]
    for ours in state["sources"][:4]:
        _, refid, stratum, kind, _, poll, reach, delay, offset, jitter = rows[ours["address"].removesuffix(":123")][1]
        assert (int(stratum), kind) == (ours["stratum"], "u")
        assert refid in ("127.127.1.1", "127.0.1.1")
        assert int(poll) in (2 ** ours["poll"], 2 ** (ours["poll"] + 1))
        assert int(reach, 8) & 1
        assert float(offset) == pytest.approx(ours["offset"] * 1e3, abs=1.0)
        assert float(delay) == pytest.approx(ours["delay"] * 1e3, abs=1.0)
        assert 0.0 < float(jitter) < 1.0
    assert rows["SOCK(5)"][1][2:4] == ["0", "l"]
    assert re.search(r"\n +1 +1 +\w+ +yes +yes +none +falsetick", associations)
    assert re.search(r"sys\.peer", associations)
    assert "leap_none, sync_ntp" in system
    assert float(re.search(r"frequency=([-0-9.]+)", system)[1]) == pytest.approx(40.0, abs=3.0)  # type: ignore[index]
    assert "sel_falsetick" in source
    assert float(re.search(r"offset=([-0-9.]+)", source)[1]) == pytest.approx(100.0, abs=1.0)  # type: ignore[index]
    assert 'device="' in ntpq(lab, "-c", "cv 5")
    assert "srcadr=127.127.28.5" in ntpq(lab, "-c", "rv 5")
    assert re.search(r"system peer mode: +client", ntpq(lab, "-c", "sysinfo"))
    assert "127.0.1.4" in ntpq(lab, "-c", "pe") + ntpq(lab, "-n", "-c", "pe")


def test_ntp_ctl(lab: Lab, slow: tuple[Ntptwist, dict[str, Any]]) -> None:
    """ntpd-rs' status and the text of its metrics exporter are made from our observation socket."""
    daemon, state = slow
    file = daemon.directory / "ntpd-rs.toml"
    file.write_text(
        f'[observability]\nobservation-path = "{daemon.directory}/observe"\n'
        '[[source]]\nmode = "server"\naddress = "127.0.1.1"\n'
    )
    ctl = fetch.unpacked("sid").command("ntp-ctl")
    status = lab.run([*ctl, "status", "-c", str(file)])
    metrics = lab.run([*ctl, "status", "-f", "prometheus", "-c", str(file)])
    offsets = dict(re.findall(r'ntp_source_offset_seconds\{name="([^"]*)".*\} ([-0-9.e]+)', metrics))

    assert f"Stratum:\t{state['stratum']}" in status
    assert float(re.search(r"127\.0\.1\.4:123 \(\d+\)\n\tOffset:\t+([-+0-9.]+)", status)[1]) == pytest.approx(  # type: ignore[index]
        0.1, abs=MILLISECOND
    )
    assert set(offsets) == {source["name"] for source in state["sources"]}
    for source in state["sources"]:
        assert float(offsets[source["name"]]) == pytest.approx(source["offset"], abs=MILLISECOND)
    assert "ntp_system_leap_indicator 0" in metrics
    assert 'listen_address="127.0.0.1:123"' in metrics


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["address", "path"])
def test_a_hundred_slow_readers(lab: Lab, family: socket.AddressFamily) -> None:
    """A hundred that ask and never read keep nobody else from an answer; at a path only as long as they are there."""
    at_path = family == socket.AF_UNIX
    daemon = configured(lab, [("127.0.1.1", 123)], 'control = "observe"', chronyc="" if at_path else "127.0.0.1:323")
    daemon.wait(bool, 10)
    where = str(daemon.directory / "chronyd.sock") if at_path else "127.0.0.1"
    with ExitStack() as sockets:
        for number in range(100):
            asking = sockets.enter_context(lab.open_socket(family))
            asking.bind(str(daemon.directory / f"asking.{number}") if at_path else ("127.0.0.1", 0))
            asking.settimeout(5.0)
            for _ in range(20):
                asking.sendto(TRACKING, where if at_path else (where, 323))
            asking.sendto(b"\xff" * 2000, where if at_path else (where, 323))
        if not at_path:
            meanwhile = table(lab, "bookworm", where, "tracking")
    after = table(lab, "bookworm", where, "tracking")
    alive = daemon.status()
    daemon.stop()

    assert after[0][13] == "Not synchronised"
    assert at_path or meanwhile == after
    assert alive["sources"]
