"""
Captures of the operator's tool for the manual: the demo runs for a while, and a pseudo terminal watches it.

    python docs/captures.py

writes ``docs/reference/captures/*.txt``.  It takes two minutes, touches no clock and needs no network but loopback.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CAPTURES = HERE / "reference" / "captures"
COLUMNS, LINES = 118, 26
SETTLED = 60.0
"""Seconds that the demo runs before it is looked at."""

KEYS = {"watch": b"", "watch-why": b"\x1b[B\x1b[B\x1b[B\r"}
COMMANDS = {
    "status": ["status"],
    "sources": ["sources"],
    "tracking": ["tracking"],
    "stats": ["stats"],
    "why": ["why", "127.0.0.5"],
    "events": ["events"],
    "check": ["check", "-w", "1ms", "-c", "10ms"],
}


def tool(config: str, *words: str) -> list[str]:
    """Give the command line of the tool."""
    return [sys.executable, "-m", "ntptwist.cli.ctl", "-c", config, *words]


def environment() -> dict[str, str]:
    """Give the environment that the tool is run in."""
    path = {"PYTHONPATH": str(HERE.parent), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return {**path, "NO_COLOR": "1", "TERM": "xterm"}


def run(command: list[str], keys: bytes = b"", seconds: float = 0.0) -> str:
    """
    Give what a command writes to a terminal: all of it, or after ``seconds`` the last frame.

    The keys are pressed a little before that.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(  # noqa: S603 - our own tool
        command, stdin=slave, stdout=slave, stderr=slave, env=environment(), start_new_session=True
    )
    seen, begun, typed = b"", time.monotonic(), False
    while time.monotonic() < begun + seconds if seconds else process.poll() is None:
        if keys and not typed and time.monotonic() > begun + seconds - 4.0:
            os.write(master, keys)
            typed = True
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    while select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
    os.close(master)
    os.close(slave)
    frames = [frame for frame in seen.decode().split("\x1b[H") if frame.endswith("\x1b[J")]
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[-1] if frames else seen.decode()).replace("\r", "")


def main() -> None:
    """Make all captures."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "ntptwist.cli.daemon", "--demo"], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        config = next(found[1] for line in demo.stdout or () if (found := re.search(r"-c (\S+) status", line)))
        time.sleep(SETTLED)
        texts = {name: run(tool(config, "watch"), keys, 30.0) for name, keys in KEYS.items()}
        texts |= {name: run(tool(config, *words)) for name, words in COMMANDS.items()}
    finally:
        demo.terminate()
        demo.wait(20)
    CAPTURES.mkdir(exist_ok=True)
    host = os.uname().nodename
    for name, text in texts.items():
        told = re.sub(r"(?<=/ntptwist-demo-)\w+", lambda found: "x" * len(found[0]), text).replace(
            f" {host} ", " host1 "
        )
        (CAPTURES / f"{name}.txt").write_text(told.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
