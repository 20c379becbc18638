"""
In the virtual machine: have a time daemon steer the kernel's clock against a known truth, and write down how it did.

The daemon starts with a clock that is ``--offset`` seconds slow and whose oscillator is ``--ppm`` slow, and finds one
server, two hops away at 198.51.100.2.  Each second the true offset is taken.  The result is ``/run/out/result.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from ntptwist.kernel.timex import RealSystem, Timex
from tests.vm.machine import PARAMETER
from tests.vm.reference import Reference

NETWORK = """
ip netns add server
ip netns add router
ip link add v0 type veth peer name r0 netns router
ip -n router link add r1 type veth peer name v1 netns server
ip addr add 192.0.2.1/24 dev v0
ip link set v0 up
ip route add 198.51.100.0/24 via 192.0.2.2
ip -n router addr add 192.0.2.2/24 dev r0
ip -n router addr add 198.51.100.1/24 dev r1
ip -n router link set r0 up
ip -n router link set r1 up
ip netns exec router sysctl -qw net.ipv4.ip_forward=1
ip -n server addr add 198.51.100.2/24 dev v1
ip -n server link set v1 up
ip -n server route add default via 198.51.100.1
"""
STARTING_S = 4
STARTED_S = 20
"""By this second the daemon has read all its files."""
SPINNER = ["chrt", "--idle", "0", "sh", "-c", "while :; do :; done"]
"""
Takes the processor whenever nobody wants it.  While the daemon waits for a file of the host's, an idle machine would
jump to its next timer, and a start of half a second would take minutes of its time.
"""
LOG = Path("/run/daemon.log")
FIELDS = ("status", "freq", "tick", "maxerror", "esterror", "tai")


def make_network(delay_us: int, jitter_us: int) -> None:
    """Make the way to the server; its delay sits in the router, behind the kernel's transmit timestamps."""
    commands = NETWORK.strip().splitlines()
    if delay_us:
        shape = f"root netem delay {delay_us}us {jitter_us}us"
        commands += [f"tc -n router qdisc add dev {device} {shape}" for device in ("r0", "r1")]
    for command in commands:
        subprocess.run(command.split(), check=True)


def observe(command: list[str], reference: Reference, seconds: int) -> dict[str, object]:
    """Run the daemon for a while; give the true offsets (s, ns), the kernel's state and the daemon's exit status."""
    samples = []
    running: dict[str, subprocess.Popen[bytes]] = {}
    start = time.monotonic()
    with LOG.open("wb") as log:
        for second in range(seconds):
            if second == STARTING_S:
                running["spinner"] = subprocess.Popen(SPINNER)
                running["daemon"] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            elif second == STARTED_S:
                running["spinner"].kill()
            samples.append((second, reference.offset()))
            time.sleep(max(start + second + 1 - time.monotonic(), 0.0))
        state = Timex()
        kernel_state = RealSystem().adjtimex(state)
        ended_early = running["daemon"].poll() is not None
        for process in running.values():
            process.terminate()
        status = {name: process.wait(30) for name, process in running.items()}["daemon"]
    return {
        "samples": samples,
        "kernel": {"state": kernel_state, **{name: getattr(state, name) for name in FIELDS}},
        "exit": f"{status}, before its time" if ended_early else status,
        "log": LOG.read_text(errors="replace"),
    }


def main() -> None:
    """Read in everything that is needed, set the scene, and observe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offset", type=float, default=0.5)
    parser.add_argument("--ppm", type=float, default=50.0)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--delay-us", type=int, default=0)
    parser.add_argument("--jitter-us", type=int, default=0)
    parser.add_argument("--pulses", action="store_true", help="a pulse at each true second, on /dev/pps0")
    parser.add_argument("--warm-up", default="true", help="a command that reads in what the daemon will need")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if PARAMETER not in Path("/proc/cmdline").read_text(encoding="ascii").split():
        raise SystemExit("this changes the clock, and runs in tests/vm/run.py only")
    # Waiting for the host's files makes this machine's time run ahead: most of it must be over before time matters.
    subprocess.run(options.warm_up, shell=True, check=True, stdout=subprocess.DEVNULL)
    make_network(options.delay_us, options.jitter_us)
    reference = Reference.create(options.offset, options.ppm)
    server = ["ip", "netns", "exec", "server", sys.executable, "-m", "tests.vm.reference", "198.51.100.2"]
    with subprocess.Popen(server) as serving:
        time.sleep(3)
        with ExitStack() as undo:
            if options.pulses:
                pulsing = subprocess.Popen([sys.executable, "-m", "tests.vm.pulses"])
                undo.callback(pulsing.wait)
                undo.callback(pulsing.terminate)
            result = observe(options.command, reference, options.seconds)
        serving.terminate()
    Path("/run/out/result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
